"""Words that several verbs share: the molecule, commands to run next, and how a run ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..settings.molecule import MoleculeSettings
from ..settings.sampling import PRESETS
from .parser import Argument, Call

MOLECULE = Argument(
    "molecule",
    "one-letter sequence (AIVL), with caps (Ace-A-Nme); a PDB or mmCIF file, FILE.pdb#2 for a model of it; a topology "
    "that brings its own force field (AMBER prmtop, GROMACS top, CHARMM psf, OpenMM System xml); or a run folder",
    "MOLECULE",
)
MOLECULE_OR_LIST = Argument("molecule", MOLECULE.help, "MOLECULE", nargs="?")
RUN = Argument("run", "run folder of `sample` or `simulate`", "RUN", kind=Path)


def command(verb: str, *words: Any, **options: Any) -> str:
    """A command line that a shell runs as it is printed.

    >>> command("sample", "my peptide.pdb", preset="amber14-obc1", start_from="a run")
    "timewarp sample 'my peptide.pdb' --preset amber14-obc1 --start-from 'a run'"
    """
    parts = ["timewarp", verb, *map(str, words)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):  # --include is given once for each folder, --parameters once for all files
            parts += [part for v in value for part in (flag, str(v))] if name == "include" else [flag, *map(str, value)]
        elif value is not None:
            parts += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(parts)


def file_options(call: Call) -> dict[str, Any]:
    """What was given beside the molecule, for a :func:`command` that names it again."""
    return call.of(MoleculeSettings)


def repeated(verb: str, *words: Any, **options: Any) -> str:
    """A command line with the options of another call: flags without values, and options with several.

    >>> repeated("sample", "AG", **{"no-flow": True, "start": ("built", "spread"), "minutes": 60.0})
    'timewarp sample AG --no-flow --start built --start spread --minutes 60'
    """
    parts = [command(verb, *words)]
    for name, value in options.items():
        for each in value if isinstance(value, tuple) else (value,):
            parts.append(f"--{name}" if each is True else command("", **{name: each}).removeprefix("timewarp '' "))
    return " ".join(parts)


def molecule_of(source: Path, training: Mapping[str, Any], residues: str) -> tuple[str | None, str | None]:
    """MOLECULE and ``--preset`` with which ``timewarp sample`` builds what a network has learnt from.

    Args:
        source: the first run, trajectory file or packed set; any peptide is served after a packed set: AIVL, say.
        training: what the network's description says of its data.
        residues: of its molecule, such as ``ALA-GLY``.
    """
    from ..molecules import is_sequence_of
    from ..trajectories import RunFolder
    from ..trajectories.compact import is_compact

    if is_compact(source):
        return "AIVL", None
    preset, name = training.get("preset"), str(training.get("molecule"))
    other = preset if preset in PRESETS[1:] else None
    if is_sequence_of(name, residues):
        return name, other
    return (RunFolder.open(source).molecule_argument if source.is_dir() else None), other


def one_or_list(call: Call) -> bool:
    """Whether a list of peptides is meant in place of one molecule.

    Raises:
        ValueError: there are both or neither, or an option that means nothing.
    """
    from ..executors import is_address

    molecule, sequences = call.arguments["molecule"], call.settings.get("sequences")
    scheduler, threads = call.settings.get("scheduler"), call.settings.get("threads")
    if (molecule is None) == (sequences is None):
        what = "neither" if molecule is None else f"{molecule} and --sequences {sequences}"
        raise ValueError(f"give a MOLECULE or --sequences FILE, got {what}")
    if scheduler is not None and sequences is None:
        raise ValueError("--scheduler is for a list of peptides: give --sequences FILE too")
    if is_address(scheduler) and threads is not None:
        raise ValueError(f"--threads counts workers of this machine; {scheduler} has its own, leave --threads out")
    return sequences is not None


def check_list(out: Path, summary: Mapping[str, Any], text: str) -> None:
    """Print what there is of a list and raise, where peptides have failed.

    Raises:
        ValueError: some have.
    """
    if failures := [row for row in summary["table"] if row["state"] == "failed"]:
        first = failures[0]
        print(text)
        raise ValueError(
            f"{len(failures)} of {summary['peptides']} peptides failed, {first['sequence']}: {first['message']} "
            f"(all are in {out / 'summary.json'}; the same command tries them again)"
        )


def percent(value: float | None) -> str:
    """A fraction as a percentage, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"
