"""Which molecule a file holds: the one that was given, or the one that its topology describes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..energies import Parameters, compile_system
from ..restriction import Restriction
from ..shapes import Float
from ..state import Atoms
from . import foreign
from .exporting import structure
from .folder import RunFolder
from .frame_set import FrameSet, molecule_of
from .matching import FileAtoms, match_atoms

if TYPE_CHECKING:
    from ..molecules import Molecule, Preset


@dataclass(frozen=True)
class Identity:
    """The molecule that files are matched to.

    Attributes:
        name: as given.
        atoms: the molecule.
        start: positions in nm, float64, whose handedness and bond lengths count; None checks neither.
        topology_pdb: PDB text of the start.
        parameters: the energy, compiled.
        preset: name of the force field.
        temperature_K: what frames are taken for.
        origin: what this temperature is of.
        built_notes: what was mended or is unusual, where the molecule was built.
    """

    name: str
    atoms: Atoms
    start: Float[Tensor, "atoms 3"] | None
    topology_pdb: str = ""
    parameters: Parameters | None = None
    preset: str = ""
    temperature_K: float = 0.0
    origin: str = ""
    built_notes: tuple[str, ...] = ()


def identify(
    molecule: Molecule | RunFolder | FrameSet | str | Path | None,
    preset: str | Preset | None,
    file: FileAtoms,
    first: Float[Tensor, "file_atoms 3"],
    described_by: Path,
) -> Identity:
    """The molecule that files are matched to, built from the topology where none was given.

    Args:
        molecule: what was given: a molecule, a sequence or PDB file, or frames of the same molecule.
        preset: the force field; None takes that of ``molecule``, or the default.
        file: the atoms of the file.
        first: its first frame, of a whole molecule.
        described_by: the file that names the atoms.

    Raises:
        ValueError: the molecule cannot be built, or is under another preset.
    """
    from ..molecules import build_molecule, get_preset

    if isinstance(molecule, RunFolder | FrameSet):
        parameters, theirs = molecule.parameters, str(molecule.config.get("preset"))
        if preset is not None and get_preset(preset).name != theirs:
            raise ValueError(f"{molecule.path} is under {theirs}, not {get_preset(preset).name}; leave the preset out")
        pdb = molecule.topology_pdb
        if parameters is None:
            parameters = compile_system(molecule_of(pdb, theirs, molecule.path, minimise=False).system)
        start = torch.from_numpy(structure(pdb, molecule.atoms.n_atoms).xyz[0]).double()
        return Identity(
            molecule.name,
            molecule.atoms,
            start,
            pdb,
            parameters,
            theirs,
            molecule.temperature_K,
            str(molecule.path),
        )
    if molecule is None or isinstance(molecule, str | Path):
        chosen = get_preset("amber14-obc2" if preset is None else preset)
        built = _build(chosen, file, first, described_by) if molecule is None else build_molecule(molecule, chosen)
    else:
        built = molecule
        if preset is not None and get_preset(preset).name != built.preset.name:
            raise ValueError(f"{built.name} is under {built.preset.name}, not {preset}; leave the preset out")
    return Identity(
        built.name,
        built.atoms,
        built.start_positions,
        built.pdb,
        compile_system(built.system),
        built.preset.name,
        built.preset.temperature_K,
        f"preset {built.preset.name}",
        built.notes,
    )


def _build(preset: Preset, file: FileAtoms, first: Tensor, described_by: Path) -> Molecule:
    """The molecule of a topology: as from its sequence where it is one such, else as from a PDB file."""
    from ..molecules import build_molecule
    from ..molecules.pdb_records import PROTONATION_STATES
    from ..molecules.sequences import BACK_CAP, FRONT_CAP, RESIDUES

    letters = {name: letter for letter, name in RESIDUES.items()} | {"ACE": FRONT_CAP, "NME": BACK_CAP}
    plain = [PROTONATION_STATES.get(name[-3:], name[-3:]) for name, _ in file.residue_names]
    if all(name in letters for name in plain):
        parts = [letters[name] for name in plain]
        inner = "".join(part for part in parts if len(part) == 1)
        text = "-".join([*parts[: parts[0] == FRONT_CAP], inner, *([BACK_CAP] if parts[-1] == BACK_CAP else [])])
        try:
            standard = build_molecule(text, preset)
            index = match_atoms(standard.atoms, standard.start_positions, file, first)
        except ValueError:
            pass  # not one of the sequences: the file says what it is
        else:
            if not Restriction(standard.start_positions, standard.atoms).crossed(first[index]):
                return standard
    is_pdb = foreign.suffix_of(described_by) in (".pdb", ".pdb.gz")
    text = foreign.first_model(described_by) if is_pdb else foreign.as_pdb(file, first)
    try:
        return molecule_of(text, preset, described_by)
    except ValueError as error:
        raise ValueError(f"{error} (or say what the frames are of: molecule=, a sequence or a run)") from None
