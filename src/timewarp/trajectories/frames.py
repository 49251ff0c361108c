"""Read trajectories of other programs: match their atoms to a molecule, compute energies, refuse what does not fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..energies import Parameters, Potential
from ..files import sha256
from ..restriction import Restriction
from ..shapes import Float, Int
from ..state import Atoms
from . import foreign
from .folder import RunFolder
from .frame_set import FrameSet
from .identifying import Identity, identify
from .matching import FileAtoms, match_atoms, pieces

if TYPE_CHECKING:
    import mdtraj

    from ..molecules import Molecule

CHUNK = 1000
"""Frames read at once."""
ENERGY_BATCH = 4096
MOST_STRETCHED_NM = 0.06
"""A bond that differs more from its length in the start structure joins atoms that do not belong together."""
XTC_NOTE = (
    "XTC rounds positions to 0.001 nm, which moves energies by 2 to 4 kJ/mol (root mean square), on average upwards: "
    "give DCD where energies matter"
)


def read_frames(
    paths: Path | str | Sequence[Path | str],
    top: Path | str | None = None,
    *,
    molecule: Molecule | RunFolder | FrameSet | str | Path | None = None,
    preset: str | None = None,
    temperature_K: float | None = None,
    stride: int = 1,
    discard: int = 0,
    spacing_ps: float | None = None,
    chunk: int = CHUNK,
) -> FrameSet:
    """Read frames that any program wrote: DCD, XTC, TRR, NetCDF, MDTraj's HDF5, PDB with one or many models.

    Atoms are matched by bonds, handedness and names, not by their order; energies are computed. Frames of another
    molecule, with atoms missing or too many, of another chirality, torn apart or without a finite energy are refused.

    Args:
        paths: one file, or several of one molecule: each becomes a chain, all as long as the shortest.
        top: the atoms of the files: PDB, PSF, prmtop, GRO or HDF5. PDB and HDF5 trajectories have their own.
        molecule: what the frames are of: a molecule, a sequence (``"Ace-A-Nme"``), the path of a PDB file, or a run
            or other frames, whose preset and temperature are then taken too. By default it is built from the topology.
        preset: force field under which energies are computed (default amber14-obc2).
        temperature_K: at which the frames were sampled, in K (default: the preset's).
        stride: keep every ``stride``-th frame of each file.
        discard: frames dropped from the start of each file first.
        spacing_ps: time between the frames of a file, in ps: they are then dynamics (``kind`` is ``"md"``), from which
            pairs a lag apart and time scales may be taken. By default frames have no time (``kind`` is ``"frames"``),
            whatever times a file has: those of a Markov chain look the same.
        chunk: frames in memory at once while a file is read.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file cannot be read or its frames cannot be used; one line says why and what to do.

    Example::

        frames = read_frames("mine.dcd", top="mine.pdb", temperature_K=300)
        frames.trajectory()
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise ValueError("no trajectory was given; give at least one file")
    for value, name, least in ((stride, "stride", 1), (discard, "discard", 0), (chunk, "chunk", 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    for number, name, quantity in ((spacing_ps, "spacing_ps", "ps"), (temperature_K, "temperature_K", "K")):
        if number is not None and not 0 < number < math.inf:
            raise ValueError(f"{name} must be a positive number of {quantity}, got {number!r}")
    topology = None if top is None else foreign.read_topology(Path(top))
    notes: list[str] = []
    known: list[Identity] = []

    def identity(file: FileAtoms, first: Tensor, path: Path) -> Identity:
        if not known:
            known.append(identify(molecule, preset, file, first, path if top is None else Path(top)))
        return known[0]

    chains = [_read(path, topology, identity, stride, discard, chunk, notes, spacing_ps) for path in files]
    of = known[0]
    assert of.parameters is not None
    shortest = min(map(len, chains))
    if shortest < max(map(len, chains)):
        lengths = ", ".join(f"{path.name} {len(chain):,}" for path, chain in zip(files, chains, strict=True))
        notes.append(f"chains were cut to the shortest, {shortest:,} frames ({lengths})")
    positions = torch.stack([chain[:shortest] for chain in chains])
    energies = torch.stack([_energies(of.parameters, x, path) for x, path in zip(positions, files, strict=True)])
    if temperature_K is None:
        temperature_K = of.temperature_K
        notes.append(f"taken for frames at {temperature_K:g} K, the temperature of {of.origin}")
    if any(foreign.suffix_of(path) == ".xtc" for path in files):
        notes.append(XTC_NOTE)
    config: dict[str, Any] = {
        "preset": of.preset,
        "temperature_K": temperature_K,
        "source": [str(path) for path in files],
        "sha256": [sha256(path) for path in files],
        **({} if top is None else {"topology": str(top)}),
        "stride": stride,
        "discard": discard,
    }
    spacing = None if spacing_ps is None else spacing_ps * stride
    if spacing is not None:
        config["frame_spacing_ps"] = spacing
    notes = list(dict.fromkeys([*notes, *of.built_notes]))
    return FrameSet(
        path=files[0],
        name=of.name,
        atoms=of.atoms,
        config=config,
        topology_pdb=of.topology_pdb,
        parameters=of.parameters,
        positions=positions,
        energies=energies,
        spacing_ps=spacing,
        notes=tuple(notes),
    )


def open_source(path: Path | str, top: Path | str | None = None, **options: Any) -> RunFolder | FrameSet:
    """A run folder, or the frames of a trajectory file: whichever ``path`` is.

    Args:
        path: a folder or a file.
        top: topology of a file; a folder has its own.
        options: of :func:`read_frames`; for files alone.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: it cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return read_frames(path, top, **options)
    return RunFolder.open(path)


def read_positions(
    path: Path | str,
    atoms: Atoms,
    model: int | None = None,
    *,
    start: Float[Tensor, "atoms 3"] | None = None,
    top: Path | str | None = None,
) -> Float[Tensor, "frames atoms 3"]:
    """Positions of the models of a PDB file, or of the frames of any trajectory, with the atoms of a molecule.

    Args:
        path: the file.
        atoms: the molecule.
        model: number of the one model or frame that is wanted, from 1 on; all by default.
        start: positions of the molecule, whose handedness the file must have, and by which like neighbours (the
            hydrogens of a methylene) are told apart. Without it their names decide.
        top: topology, where the file has none of its own.

    Returns:
        In nm, float64.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is of another molecule, or has no such model.
    """
    path = Path(path)
    topology = None if top is None else foreign.read_topology(Path(top))
    known = Identity(atoms.residues, atoms, start)
    frames = _read(path, topology, lambda *_: known, 1, 0, CHUNK, [])
    if model is None:
        return frames.double()
    if not 1 <= model <= len(frames):
        raise ValueError(f"{path} has models 1 to {len(frames)}, not {model}")
    return frames[model - 1 : model].double()


def _read(
    path: Path,
    topology: mdtraj.Topology | None,
    identity: Callable[[FileAtoms, Tensor, Path], Identity],
    stride: int,
    discard: int,
    chunk: int,
    notes: list[str],
    spacing_ps: float | None = None,
) -> Float[Tensor, "frames atoms 3"]:
    """The frames of one file that are kept, checked, their atoms in the order of the molecule."""
    if topology is None and foreign.check_file(path, "trajectory", tuple(foreign.MAGIC)) not in foreign.HAVE_TOPOLOGY:
        raise ValueError(f"{path} does not say what its atoms are; give top=, a PDB, PSF or prmtop file (--top)")
    kept: list[Tensor] = []
    known: Identity | None = None
    seen = mended = 0
    for part in foreign.iterate(path, topology, chunk):
        if known is None:
            file = foreign.describe(topology or part.topology, part)
            _refuse_others(path, file)
            notes += _times(path, part.time, spacing_ps)
            first = part[0]
            foreign.make_whole(first, file.bonds)
            x = torch.from_numpy(first.xyz[0]).double()
            known = identity(file, x, path)
            try:
                index = match_atoms(known.atoms, known.start, file, x)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        skip = max(discard - seen, -(seen - discard) % stride)
        numbers = torch.arange(seen, seen + len(part))[skip::stride]
        seen += len(part)
        if len(numbers) == 0:
            continue
        part = part[skip::stride]
        positions = torch.from_numpy(part.xyz)[:, index]
        if len(torn := _torn(known, positions)) and foreign.make_whole(part, file.bonds):
            positions[torn] = torch.from_numpy(part.xyz)[:, index][torn]
            mended += len(torn)
        _check_structure(path, known, positions, numbers)
        kept.append(positions)
    if not kept:
        raise ValueError(f"{path} has {seen} frames, none left after {discard} discarded")
    if mended:
        notes.append(f"{path.name}: {mended:,} frames in pieces were made whole over the periodic box")
    return torch.cat(kept)


def _times(path: Path, times: np.ndarray, spacing_ps: float | None) -> list[str]:
    """What to say of the times that a file has."""
    apart = float(times[1] - times[0]) if len(times) > 1 and foreign.suffix_of(path) in foreign.HAVE_TIMES else 0.0
    if apart <= 0 or (spacing_ps is not None and abs(apart - spacing_ps) < 1e-3 * apart):
        return []
    advice = (
        "" if spacing_ps else f"; if its frames are of dynamics, say so (spacing_ps={apart:g}, --spacing {apart:g})"
    )
    return [f"{path.name} has a frame every {apart:g} ps by its own times{advice}"]


def _refuse_others(path: Path, file: FileAtoms) -> None:
    """Refuse water, ions, and several molecules, by name."""
    from ..molecules.pdb_records import IONS, WATER

    names = [name for name, _ in file.residue_names]
    size = Counter(file.residues)
    counts = {
        "molecules of water": sum(name.upper() in WATER for name in names),
        "ions": sum(name.upper() in IONS and size[number] == 1 for number, name in enumerate(names)),
    }
    if found := [f"{count:,} {what}" for what, count in counts.items() if count]:
        raise ValueError(
            f"{path} holds {' and '.join(found)} beside the peptide, and the solvent is implicit here: strip them with "
            "MDTraj: t = mdtraj.load(...); t.atom_slice(t.topology.select('protein')).save(...)"
        )
    molecules = [piece for piece in pieces(len(file.names), file.bonds) if piece]
    if len(molecules) > 1:  # single atoms are those that another one is missing for
        raise ValueError(
            f"{path} holds {len(molecules)} pieces that no bond joins ({file.sequence}); expected one molecule: keep "
            "one with MDTraj's atom_slice, and give frames of whole molecules, or a box by which they can be made whole"
        )


def _lengths(positions: Tensor, atoms: Atoms) -> Tensor:
    bonds = torch.tensor(atoms.bonds)
    return (positions[..., bonds[:, 0], :] - positions[..., bonds[:, 1], :]).norm(dim=-1)


def _torn(known: Identity, positions: Tensor) -> Int[Tensor, " torn"]:
    """Frames with a bond that is far from its length."""
    if known.start is None:
        return torch.zeros(0, dtype=torch.long)
    off = (_lengths(positions.double(), known.atoms) - _lengths(known.start, known.atoms)).abs()
    return (off > MOST_STRETCHED_NM).any(-1).nonzero()[:, 0]


def _check_structure(path: Path, known: Identity, positions: Tensor, numbers: Tensor) -> None:
    """Refuse frames that are torn apart, and frames of another chirality."""
    atoms = known.atoms

    def label(atom: int) -> str:
        return f"{atoms.names[atom]} of {atoms.residue_names[atom]} {atoms.residue_numbers[atom]}"

    if len(torn := _torn(known, positions)):
        frame = int(torn[0])
        assert known.start is not None
        lengths, expected = _lengths(positions[frame].double(), atoms), _lengths(known.start, atoms)
        worst = int((lengths - expected).abs().argmax())
        i, j = atoms.bonds[worst]
        raise ValueError(
            f"{path}, frame {int(numbers[frame])} (from 0): the bonded atoms {label(i)} and {label(j)} are "
            f"{lengths[worst]:.3f} nm apart, expected {expected[worst]:.3f}: the topology lists the atoms in another "
            "order than the trajectory, or the molecule is broken over a box that the file does not have"
        )
    if known.start is None:
        return
    restriction = Restriction(known.start, atoms)
    if len(wrong := restriction.flipped_centres(positions.double()).nonzero()):
        frame, centre = wrong[0].tolist()
        raise ValueError(
            f"{path}, frame {int(numbers[frame])} (from 0): {label(int(atoms.stereocentres[centre, 0]))} has the other "
            f"handedness than in {known.name} (a D residue for an L one, or the reverse); give the molecule that it is"
        )


def _energies(parameters: Parameters, positions: Float[Tensor, "frames atoms 3"], path: Path) -> Tensor:
    """In kJ/mol, in double precision.

    Raises:
        ValueError: a frame has no finite energy.
    """
    potential = Potential(parameters, dtype=torch.float64)
    energies = torch.cat([potential.energy(x.double()) for x in positions.split(ENERGY_BATCH)])
    if len(bad := (~torch.isfinite(energies)).nonzero()[:, 0]):
        raise ValueError(
            f"{path}: {len(bad)} frames have no finite energy, first frame {int(bad[0])} of those kept (from 0): atoms "
            "overlap, or the file is damaged; leave them out"
        )
    return energies
