"""``timewarp pack``: frames of many runs in one small file to train a transferable network on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..settings.other import PackSettings
from .parser import Argument, Call, Result, Verb


def run(call: Call) -> Result:
    """Pack, and say what the file holds."""
    from ..verbs.pack import pack

    assert call.out is not None
    made = pack(call.arguments["runs"], call.out, **call.settings)
    text = f"{made.path}: {made.peptides} peptides, {made.frames:,} frames, {made.bytes / 2**20:.1f} MiB"
    return Result(f"{text}\nsha256 {made.sha256}", {**asdict(made), "path": str(made.path)})


VERB = Verb(
    help="pack runs of many peptides into one small training set",
    description="Take frames from the runs of many peptides, evenly spread over each, in 16-bit fixed point (1e-4 nm), "
    "with their force-field parameters: one file that `timewarp train` reads anywhere, without OpenMM.",
    run=run,
    settings=(PackSettings,),
    arguments=(
        Argument(
            "runs", "run folders, or folders of `simulate --sequences`, to learn from", "RUN", nargs="*", kind=Path
        ),
    ),
    out="file to write: NAME.safetensors",
    out_required=True,
    out_metavar="FILE",
    has_progress=False,
)
