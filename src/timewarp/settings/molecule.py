"""Settings of the molecule's own files: what lies beside the one that MOLECULE names, and in which solvent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import Settings, setting

SOLVENTS = ("none", "hct", "obc1", "obc2", "gbn", "gbn2")


@dataclass(frozen=True, kw_only=True)
class MoleculeSettings(Settings):
    """Files that belong to MOLECULE, and its implicit solvent."""

    coordinates: Path | None = setting(
        None,
        "positions for a MOLECULE that is a topology of AMBER (prmtop), GROMACS (top), CHARMM (psf) or a System of "
        "OpenMM (xml): inpcrd, rst7, gro, crd, pdb or cif, with the same atoms in the same order",
        metavar="FILE",
        shown="the one beside it with the same stem",
        group="the molecule's files",
    )
    parameters: tuple[Path, ...] = setting(
        (),
        "parameter files of a CHARMM psf (prm, par, str, rtf)",
        metavar="FILE",
        several=True,
        shown="those beside it with the same stem",
        group="the molecule's files",
    )
    include: tuple[Path, ...] = setting(
        (),
        "folder in which #include of a GROMACS top is looked up, besides that of the top file; may be given more than "
        "once",
        metavar="FOLDER",
        shown="none",
        group="the molecule's files",
    )
    solvent: str | None = setting(
        None,
        "implicit solvent: none is vacuum, the others are generalised Born models of water",
        choices=SOLVENTS,
        shown="the preset's; obc2 for a prmtop, top or psf; what the file says for an xml",
        group="the molecule's files",
    )
    altloc: str | None = setting(
        None,
        "which of the alternate locations of a PDB or mmCIF file to take",
        metavar="LETTER",
        shown="none: a file that has them is refused",
        group="the molecule's files",
    )
    force_field: tuple[Path, ...] = setting(
        (),
        "force-field files (XML) of OpenMM for a sequence, PDB or mmCIF file, in place of --preset: a path, or the "
        "name of one that OpenMM has, such as amber03.xml; several are loaded in their order",
        metavar="FILE",
        several=True,
        shown="the preset's",
        group="the molecule's files",
    )
