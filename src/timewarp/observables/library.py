"""Observables of every frame: couplings, distances, NOEs, sizes, hydrogen bonds, secondary structure, contacts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..analysis import find_conformations, named_torsions, torsion_angles
from ..geometry import measure_dihedrals, measure_volumes
from ..state import Atoms
from .karplus import DEFAULT as DEFAULT_KARPLUS
from .karplus import relations
from .requests import Request, find_atoms
from .series import Series

if TYPE_CHECKING:
    import mdtraj

RARE = 0.01
"""Hydrogen bonds and conformations below this share of the frames are not listed."""
MOST_CONFORMATIONS = 12
HBOND_NM, HBOND_DEGREES = 0.25, 120.0
"""Baker & Hubbard, Prog. Biophys. Mol. Biol. 44, 97 (1984), as MDTraj has it: H...acceptor below, D-H...A above."""
CONTACT_NM = 0.45
"""Closest heavy atoms of two residues that are in contact."""
NEIGHBOURS = 2
"""Residues that are closer than this in the sequence are always in contact, and not listed."""

Own = Callable[["mdtraj.Trajectory"], Any]


class Frames:
    """The frames of a run as observables need them.

    Args:
        atoms: the molecule.
        positions: (chains, frames, atoms, 3) in nm.
        topology: MDTraj's topology of the same atoms.
    """

    def __init__(self, atoms: Atoms, positions: np.ndarray, topology: mdtraj.Topology) -> None:
        self.atoms, self.positions, self.topology = atoms, positions, topology
        self.shape = positions.shape[:2]
        self._torsions: dict[str, np.ndarray] | None = None

    @property
    def torsions(self) -> dict[str, np.ndarray]:
        """Named torsions in rad, (chains, frames)."""
        if self._torsions is None:
            self._torsions = torsion_angles(self.positions, self.atoms)
        return self._torsions

    @property
    def mdtraj(self) -> mdtraj.Trajectory:
        """All chains one after the other."""
        import mdtraj

        return mdtraj.Trajectory(self.positions.reshape(-1, *self.positions.shape[2:]), self.topology)

    def chains(self, values: Any) -> np.ndarray:
        """Values of :attr:`mdtraj`'s frames as (chains, frames)."""
        return np.asarray(values, dtype=np.float64).reshape(self.shape)


def series_of(frames: Frames, request: Request, karplus: str = DEFAULT_KARPLUS) -> list[Series]:
    """The observables that a request asks for.

    Args:
        frames: of a run.
        request: of :func:`timewarp.observables.requests.parse`.
        karplus: set of Karplus relations.

    Raises:
        ValueError: the molecule has no such atom, or the file of a structure is of another molecule.
        FileNotFoundError: there is no such file.
    """
    if request.kind == "couplings":
        return list(couplings(frames, karplus))
    return _MAKERS[request.kind](frames, request)


def own_series(frames: Frames, functions: Mapping[str, Own]) -> list[Series]:
    """Observables of a user's own: functions of an MDTraj trajectory that give one number for each frame.

    Raises:
        ValueError: a function gives another number of values.
    """
    found = []
    for name, function in functions.items():
        values = np.asarray(function(frames.mdtraj), dtype=np.float64)
        if values.size != frames.shape[0] * frames.shape[1] or values.ndim > 2:
            raise ValueError(
                f"the observable {name!r} must give one number for each of {frames.shape[0] * frames.shape[1]} frames, "
                f"got shape {values.shape}"
            )
        found.append(Series(name, "own", "", frames.chains(values)))
    return found


def couplings(frames: Frames, karplus: str = DEFAULT_KARPLUS) -> Iterator[Series]:
    """Scalar couplings of every residue that has the atoms, from phi and psi (Graf et al., JACS 129, 1179 (2007)).

    A D residue has the mirror image's coupling. A coupling of glycine is the mean over both hands: its two alpha
    protons are seldom told apart, and its own mirror image is glycine. Where psi of the residue before counts, that
    residue's hand decides.
    """
    residues: dict[int, dict[str, int]] = {}
    for index, number in enumerate(frames.atoms.residue_numbers):
        residues.setdefault(number, {})[frames.atoms.names[index]] = index
    known = named_torsions(frames.atoms)
    for number, named in sorted(residues.items()):
        if not {"N", "CA", "C"} <= named.keys():
            continue
        own, before = _hand(frames, named), _hand(frames, residues.get(number - 1, {}))
        where = {"phi": f"phi_{number}", "psi": f"psi_{number}", "psi-1": f"psi_{number - 1}"}
        for relation in relations(karplus):
            if not all(where[t] in known for t in relation.torsions) or not _has_spins(relation.coupling, named):
                continue
            angles = {t: frames.torsions[where[t]].astype(np.float64) for t in relation.torsions}
            hand = own or (before if "psi-1" in relation.torsions else 0.0)
            values = relation(angles, hand) if hand else 0.5 * (relation(angles, 1.0) + relation(angles, -1.0))
            name = f"{relation.coupling} {number}"
            yield Series(name, "coupling", "Hz", values, model_error=relation.sigma)


def _hand(frames: Frames, named: Mapping[str, int]) -> float:
    """1 of an L residue, -1 of a D residue, 0 of glycine and of caps."""
    if not {"CA", "N", "C", "CB"} <= named.keys():
        return 0.0
    row = torch.tensor([[named["CA"], named["N"], named["C"], named["CB"]]])
    first = torch.as_tensor(np.ascontiguousarray(frames.positions[0, 0], dtype=np.float64))
    return 1.0 if float(measure_volumes(first, row)) > 0 else -1.0


def _has_spins(coupling: str, named: Mapping[str, int]) -> bool:
    """Whether a residue has the atoms between which a coupling is measured."""
    spins = coupling[3:-1].split(",")
    alpha = {"HA", "HA2", "HA3"} & named.keys()
    there = {"HN": "H" in named, "HA": bool(alpha), "C": True, "CB": "CB" in named, "N": True, "CA": True}
    return all(there[spin] for spin in spins)


def _distance(frames: Frames, request: Request) -> list[Series]:
    one, other = (find_atoms(frames.atoms, name) for name in request.of.split(","))
    if len(one) != 1 or len(other) != 1:
        raise ValueError(f"{request.text!r} names several atoms; a distance is of two, an noe may be of groups")
    return [Series(request.text, "distance", "nm", _lengths(frames, one[0], other[0]))]


def _noe(frames: Frames, request: Request) -> list[Series]:
    """``<r^-6>^(-1/6)`` (slow tumbling against the exchange: r^-3 and -1/3), the mean over the pairs of a group."""
    power = 3.0 if request.kind == "noe3" else 6.0
    one, other = (find_atoms(frames.atoms, name) for name in request.of.split(","))
    pairs = [(i, j) for i in one for j in other if i != j]
    if not pairs:
        raise ValueError(f"{request.text!r} is of one atom with itself")
    values = np.mean([_lengths(frames, i, j) ** -power for i, j in pairs], axis=0)
    return [Series(request.text, "noe", "nm", values, power=-1.0 / power)]


def _dihedral(frames: Frames, request: Request) -> list[Series]:
    """Cosine and sine, whose averages mean something on a circle."""
    quadruple = [find_atoms(frames.atoms, name) for name in request.of.split(",")]
    if any(len(found) != 1 for found in quadruple):
        raise ValueError(f"{request.text!r} names several atoms at one place; a dihedral is of four")
    rows = torch.tensor([[found[0] for found in quadruple]])
    angle = measure_dihedrals(torch.as_tensor(frames.positions), rows)[..., 0].double().numpy()
    return [
        Series(f"cos {request.text}", "dihedral", "", np.cos(angle)),
        Series(f"sin {request.text}", "dihedral", "", np.sin(angle)),
    ]


def _lengths(frames: Frames, i: int, j: int) -> np.ndarray:
    x = frames.positions
    return np.linalg.norm(x[:, :, i].astype(np.float64) - x[:, :, j], axis=-1)


def _radius(frames: Frames, request: Request) -> list[Series]:
    """Mass-weighted radius of gyration about the centre of mass (MDTraj takes the centre of geometry)."""
    x = frames.positions.astype(np.float64)
    weights = np.array(frames.atoms.masses) / sum(frames.atoms.masses)
    centre = np.einsum("a,cfak->cfk", weights, x)[:, :, None]
    return [Series("rg", "size", "nm", np.sqrt(np.einsum("a,cfak->cf", weights, (x - centre) ** 2)))]


def _end_to_end(frames: Frames, request: Request) -> list[Series]:
    """Distance of the first and the last alpha carbon; a molecule with fewer than two has none."""
    alpha = [i for i, name in enumerate(frames.atoms.names) if name == "CA"]
    if len(alpha) < 2:
        return []
    return [Series("end-to-end", "size", "nm", _lengths(frames, alpha[0], alpha[-1]))]


def _hydrogen_bonds(frames: Frames, request: Request) -> list[Series]:
    """Each hydrogen bond that is there in at least 1 % of the frames: its share of the frames (MDTraj's criterion)."""
    import mdtraj

    trajectory = frames.mdtraj
    triplets = mdtraj.baker_hubbard(trajectory, freq=RARE, periodic=False, distance_cutoff=HBOND_NM)
    found = []
    for donor, hydrogen, acceptor in triplets.tolist():
        length = mdtraj.compute_distances(trajectory, [[hydrogen, acceptor]], periodic=False)[:, 0]
        angle = mdtraj.compute_angles(trajectory, [[donor, hydrogen, acceptor]], periodic=False)[:, 0]
        there = (length < HBOND_NM) & (angle > np.deg2rad(HBOND_DEGREES))
        name = f"hbond {_label(frames.atoms, hydrogen)} ... {_label(frames.atoms, acceptor)}"
        found.append(Series(name, "hydrogen bond", "", frames.chains(there)))
    return sorted(found, key=lambda series: -series.values.mean())


def _surface(frames: Frames, request: Request) -> list[Series]:
    """Solvent-accessible surface area of the molecule (Shrake & Rupley 1973, MDTraj), in nm^2."""
    import mdtraj

    return [Series("sasa", "size", "nm^2", frames.chains(mdtraj.shrake_rupley(frames.mdtraj).sum(1)))]


def _secondary(frames: Frames, request: Request) -> list[Series]:
    """DSSP's shares of helix and strand of each residue that is ever in one (Kabsch & Sander 1983, MDTraj)."""
    import mdtraj

    try:
        letters = mdtraj.compute_dssp(frames.mdtraj, simplified=True)
    except (ValueError, IndexError):  # no protein residue
        return []
    found = []
    for column, residue in enumerate(frames.topology.residues):
        number = frames.atoms.residue_numbers[next(residue.atoms).index]
        for letter, what in (("H", "helix"), ("E", "strand")):
            there = letters[:, column] == letter
            if there.any():
                found.append(Series(f"{what} {number}", "secondary structure", "", frames.chains(there)))
    return found


def _contacts(frames: Frames, request: Request) -> list[Series]:
    """Share of the frames in which heavy atoms of two residues are within 0.45 nm (MDTraj)."""
    import mdtraj

    residues = list(frames.topology.residues)
    numbers = [frames.atoms.residue_numbers[next(r.atoms).index] for r in residues]
    pairs = [(i, j) for i, j in itertools.combinations(range(len(residues)), 2) if j - i >= NEIGHBOURS]
    if not pairs:
        return []
    lengths, _ = mdtraj.compute_contacts(frames.mdtraj, pairs, scheme="closest-heavy", periodic=False)
    return [
        Series(f"contact {numbers[i]}-{numbers[j]}", "contact", "", frames.chains(lengths[:, k] < CONTACT_NM))
        for k, (i, j) in enumerate(pairs)
    ]


def _conformations(frames: Frames, request: Request) -> list[Series]:
    """Populations of the backbone conformations that hold at least 1 %."""
    found = find_conformations(frames.torsions)
    if found is None:
        return []
    shares = found.populations()
    names = [name for name in found.names[:MOST_CONFORMATIONS] if shares[name] >= RARE]
    return [Series(f"conformation {name}", "population", "", found.of(name).astype(np.float64)) for name in names]


def _rmsd(frames: Frames, request: Request) -> list[Series]:
    """Root mean square deviation of the heavy atoms from a structure, superposed (MDTraj)."""
    import mdtraj

    from ..trajectories import read_positions

    path, _, model = request.of.partition("#")
    if model and not model.isdecimal():
        raise ValueError(f"the model of {request.of!r} must be a whole number from 1 on; write {path}#1")
    reference = read_positions(path, frames.atoms, int(model or 1))[0]
    structure = mdtraj.Trajectory(np.asarray(reference, dtype=np.float32)[None], frames.topology)
    heavy = [i for i, element in enumerate(frames.atoms.elements) if element != "H"]
    return [
        Series(request.text, "rmsd", "nm", frames.chains(mdtraj.rmsd(frames.mdtraj, structure, atom_indices=heavy)))
    ]


def _label(atoms: Atoms, index: int) -> str:
    return f"{atoms.residue_numbers[index]}:{atoms.names[index]}"


_MAKERS: dict[str, Callable[[Frames, Request], list[Series]]] = {
    "distance": _distance,
    "noe": _noe,
    "noe3": _noe,
    "dihedral": _dihedral,
    "rg": _radius,
    "end-to-end": _end_to_end,
    "hbonds": _hydrogen_bonds,
    "sasa": _surface,
    "dssp": _secondary,
    "contacts": _contacts,
    "conformations": _conformations,
    "rmsd": _rmsd,
}
