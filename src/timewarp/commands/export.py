"""``timewarp export``: frames of a run for other programs."""

from __future__ import annotations

from pathlib import Path

from ..settings.other import ExportSettings
from .parser import Argument, Call, Result, Verb


def run(call: Call) -> Result:
    """Export, and name the files."""
    import logging

    from ..trajectories import RunFolder, export
    from ..trajectories.description import BIASED

    settings = ExportSettings.make(call.settings)
    source = RunFolder.open(call.arguments["run"])
    if source.kind == "exploration":
        logging.getLogger("timewarp").warning(f"{source.path} is {BIASED}")
    files = export(
        source,
        source.path / "export" if call.out is None else call.out,
        format=settings.format,
        stride=settings.stride,
        superposed=not settings.no_superpose,
        overwrite=settings.force,
    )
    return Result("\n".join(map(str, files)), {"files": [str(file) for file in files]})


VERB = Verb(
    help="write a run's frames as DCD, HDF5, PDB or XTC",
    description="Write the frames of a run for MDTraj, MDAnalysis, VMD or PyMOL: one file per chain and, for DCD and "
    "XTC, topology.pdb beside them. Times are in ps for MD, Metropolis-Hastings steps for chains. DCD and HDF5 keep "
    "positions as they are; XTC and PDB round them, and energies that are computed from them differ.",
    run=run,
    settings=(ExportSettings,),
    arguments=(Argument("run", "run folder of `simulate`, `sample` or `explore`", "RUN", kind=Path),),
    out="folder, or a file for one chain (default RUN/export)",
    out_metavar="PATH",
    has_progress=False,
)
