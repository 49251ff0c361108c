"""What does not change with the configuration: in which order a molecule grows, and the tables of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...energies import Parameters
from ...energies.pairs import pair_columns, pair_matrix, table_columns
from ...energies.rows import moved
from ...geometry import beyond_bonds
from ...state import Atoms
from ..chemistry import FARTHEST, N_TORSION_FEATURES, atom_chemistry, graph_distance
from .handedness import nearest_centres, no_centres
from .maps import StepMaps, map_patches, step_maps, turns_with
from .solvent import Solvent

TYPICAL_NM = (0.0, 0.14, 0.245, 0.31, 0.39, 0.46, 0.53, 0.60, 0.66, 0.72, 0.78, 0.83, 0.88)
"""Distance of two atoms by the number of bonds between them, for atoms whose place is not known yet."""
N_FRAGMENT = 8
N_SITE = N_TORSION_FEATURES + N_FRAGMENT + 2
N_STATIC = N_SITE + 9
"""The last one, which says that a step is a peptide bond's, is read by networks that draw these."""
N_RELATION = 6


@dataclass(frozen=True, eq=False)
class Step:
    """One torsion of the growth: what it places, and against what.

    Attributes:
        corners: atoms (i, a, b, c) of the torsion.
        turning: atoms that turn with it, placed by this step or later.
        fragment: those that this step places.
        old: those placed before.
        lj12, lj6, charge: of fragment x old, in kT; 0 for atoms on the axis, whose distances do not change.
        terms, periodicity, phase, k: torsion terms about this bond that the step completes, k in kT.
        maps: correction maps that the step completes.
        unplaced: sum of mean descreening by atoms placed later, of old and fragment atoms.
        pairs: (2, n) pairs of old atoms, positions within ``old``.
        twisting: whether it is a peptide bond's torsion, drawn on the scale of :mod:`.scale`.
    """

    corners: tuple[int, int, int, int]
    turning: Tensor
    fragment: Tensor
    old: Tensor
    lj12: Tensor
    lj6: Tensor
    charge: Tensor
    terms: Tensor
    periodicity: Tensor
    phase: Tensor
    k: Tensor
    maps: StepMaps
    unplaced: Tensor
    pairs: Tensor
    twisting: bool = False


@dataclass(frozen=True, eq=False)
class GrowthPlan:
    """A molecule, an order of its soft torsions, and the numbers of its energy at a temperature.

    Attributes:
        order: the torsions, as places in ``torsions``.
        torsions: atoms that carry the torsions which are drawn (:func:`growing_torsions`).
        centres: (steps + 1, 4), the stereocentre nearest to each fragment and its first three neighbours (-1 for none),
            as :mod:`.handedness` has them: the network sees each step in the mirror in which this centre is L.
        steps: one per torsion, in order.
        solvent: generalised Born, or None.
        map_patches, map_size: correction maps in kT, and their points a side; 0 for none.
        site_weights: (steps + 1, atoms), each fragment's centre of charge magnitudes; the root's fragment first.
        site_charge, site_heavy: net charge and number of heavy atoms of each fragment.
        beyond: (steps, steps + 1), which fragments turn with a step.
        sites: features of each fragment.
        static: features of each step.
        relations: (steps, steps + 1, n), what a step is to a fragment in the bond graph.
        inverse_kT: in mol/kJ.
    """

    order: tuple[int, ...]
    torsions: tuple[int, ...]
    centres: Tensor
    steps: tuple[Step, ...]
    solvent: Solvent | None
    map_patches: Tensor
    map_size: int
    site_weights: Tensor
    site_charge: Tensor
    site_heavy: Tensor
    beyond: Tensor
    sites: Tensor
    static: Tensor
    relations: Tensor
    inverse_kT: float

    @property
    def n_steps(self) -> int:
        """Number of torsions."""
        return len(self.steps)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> GrowthPlan:
        """A copy of the tables on a device, real numbers in a dtype."""
        return moved(self, dtype, torch.device(device))


@dataclass(frozen=True, eq=False)
class Regrowth:
    """What is redrawn: of the torsions in the plan's order all but the first ``kept``.

    Attributes:
        plan: the order of growth and its tables.
        kept: torsions that stay.
        wells: for each step, which wells may be entered (:mod:`.scale`); empty: all.
        twists: peptide bonds that are drawn first (:class:`.twist.Twists`), or None.
        twist_wells: for each of these, which wells may be entered; empty: all.
    """

    plan: GrowthPlan
    kept: int = 0
    wells: tuple[int, ...] = ()
    twists: Any = None
    twist_wells: tuple[int, ...] = ()


def growing_torsions(atoms: Atoms, omega: bool) -> tuple[int, ...]:
    """Atoms that carry the torsions which a growth draws, outwards: of soft bonds, with ``omega`` of peptide bonds."""
    if not omega:
        return atoms.tree.rotatable
    drawn = {*atoms.tree.rotatable, *atoms.twisting}
    return tuple(i for i in atoms.tree.proper if i in drawn)


def random_order(atoms: Atoms, generator: torch.Generator, omega: bool = False) -> tuple[int, ...]:
    """A random order of the soft torsions in which each comes after those that it hangs on."""
    return order_by(atoms, torch.rand(len(growing_torsions(atoms, omega)), generator=generator).tolist(), omega)


def order_by(atoms: Atoms, priority: Sequence[float], omega: bool = False) -> tuple[int, ...]:
    """The order in which the free torsion of lowest priority is always the next one."""
    above = _above(atoms, growing_torsions(atoms, omega))
    left, order = set(range(len(priority))), []
    while left:
        free = [k for k in left if not (above[k] & left)]
        order.append(min(free, key=lambda k: priority[k]))
        left.remove(order[-1])
    return tuple(order)


def _corners(atoms: Atoms, torsions: Sequence[int]) -> Tensor:
    rows = [(i, *atoms.tree.references[i]) for i in torsions]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 4)


def _above(atoms: Atoms, torsions: Sequence[int]) -> list[set[int]]:
    """For each of these torsions, those that turn it."""
    turning = beyond_bonds(atoms.tree, torsions)
    axis = _corners(atoms, torsions)[:, 1]
    return [{j for j in range(len(axis)) if j != k and bool(turning[j, axis[k]])} for k in range(len(axis))]


def build_plan(
    atoms: Atoms,
    parameters: Parameters,
    kT: float,
    order: Sequence[int] | None = None,
    *,
    omega: bool = False,
    chirality: bool = False,
) -> GrowthPlan:
    """Tables for a molecule, in float64 on the CPU.

    Args:
        atoms: the molecule.
        parameters: of its energy.
        kT: in kJ/mol.
        order: of the torsions; outwards from the root by default.
        omega: whether peptide bonds are drawn too.
        chirality: whether handedness is told.

    Raises:
        ValueError: no rotatable bond, or an order in which a torsion comes before one that it hangs on.
    """
    tree = atoms.tree
    torsions = growing_torsions(atoms, omega)
    if not torsions:
        raise ValueError(f"{atoms.residues} has no rotatable bond: there is no torsion to propose")
    order = tuple(range(len(torsions))) if order is None else tuple(order)
    if sorted(order) != list(range(len(torsions))):
        raise ValueError(f"an order names each of {len(torsions)} torsions once, got {order}")
    above = _above(atoms, torsions)
    if any(above[k] & set(order[place:]) for place, k in enumerate(order)):
        raise ValueError("an order must bring each torsion after those that it hangs on")
    turning = beyond_bonds(tree, torsions)[list(order)]
    corners = _corners(atoms, torsions)[list(order)]
    twisting = [torsions[k] in atoms.twisting for k in order]
    place = torch.arange(1, len(order) + 1)[:, None] * turning
    time = place.amax(0)  # 0 for the root's fragment
    pairs = [table / kT for table in pair_tables(parameters)]
    solvent = Solvent.build(parameters, kT, torch.tensor(TYPICAL_NM, dtype=torch.float64)[graph_distance(atoms)])
    steps = tuple(
        _step(k, corners[k], turning[k], time, pairs, parameters, kT, solvent, twisting[k]) for k in range(len(order))
    )
    membership = F.one_hot(time, len(order) + 1).T.double()
    magnitude = parameters.charge.abs() + 1e-3
    weights = membership * magnitude
    beyond = torch.stack([turning[:, time == t].all(1) for t in range(len(order) + 1)], 1)
    heavy = torch.tensor([e != "H" for e in atoms.elements])
    site_charge = membership @ parameters.charge
    site_heavy = membership @ heavy.double()
    sites = _site_features(atoms, corners, membership, site_charge)
    downstream = beyond.double()
    static = torch.cat(
        [
            sites[1:],
            (downstream @ site_charge)[:, None],
            (downstream @ site_charge.clamp(min=0))[:, None],
            (downstream @ site_charge.clamp(max=0))[:, None],
            (downstream @ site_heavy)[:, None] / 10,
            downstream.sum(1)[:, None] / 5,
            torch.linspace(0, 1, len(order), dtype=torch.float64)[:, None],
            torch.full((len(order), 1), len(order) / 20, dtype=torch.float64),
            (site_charge.sum() * torch.ones(len(order), 1, dtype=torch.float64)),
            torch.tensor(twisting, dtype=torch.float64)[:, None],
        ],
        1,
    )
    return GrowthPlan(
        order=order,
        torsions=torsions,
        centres=nearest_centres(atoms, corners, membership) if chirality else no_centres(len(order) + 1),
        steps=steps,
        solvent=solvent,
        map_patches=map_patches(parameters, kT),
        map_size=parameters.cmap_grids.shape[-1],
        site_weights=weights / weights.sum(1, keepdim=True),
        site_charge=site_charge,
        site_heavy=site_heavy,
        beyond=beyond,
        sites=sites,
        static=static,
        relations=_relations(atoms, corners, beyond, membership),
        inverse_kT=1 / kT,
    )


def pair_tables(p: Parameters) -> list[Tensor]:
    """4 epsilon sigma^12, -4 epsilon sigma^6 and the Coulomb constant of each two atoms; tables are added."""
    epsilon, sigma, charge, _ = pair_columns(p)
    sigma6 = sigma**6
    lj12, lj6 = 4 * epsilon * sigma6**2, -4 * epsilon * sigma6
    if (tables := table_columns(p)) is not None:
        lj12, lj6 = lj12 + tables[0], lj6 - tables[1]
    return [pair_matrix(c, p.n_atoms) for c in (lj12, lj6, charge)]


def _step(
    k: int,
    corners: Tensor,
    turning: Tensor,
    time: Tensor,
    nonbonded: Sequence[Tensor],
    p: Parameters,
    kT: float,
    solvent: Solvent | None,
    twisting: bool,
) -> Step:
    fragment = (time == k + 1).nonzero()[:, 0]
    old = (time <= k).nonzero()[:, 0]
    later = (time > k + 1).nonzero()[:, 0]
    a, b = int(corners[1]), int(corners[2])
    off_axis = ((old != a) & (old != b)).double()
    lj12, lj6, charge = (table[fragment[:, None], old[None, :]] * off_axis for table in nonbonded)
    proper = turns_with(p.torsion_atoms, (a, b), turning)
    placed = torch.cat([old, fragment])
    unplaced = torch.zeros(len(placed), dtype=torch.float64)
    if solvent is not None:
        unplaced = solvent.descreening[placed][:, later].sum(1)
    return Step(
        corners=(int(corners[0]), a, b, int(corners[3])),
        turning=turning.nonzero()[:, 0],
        fragment=fragment,
        old=old,
        lj12=lj12,
        lj6=lj6,
        charge=charge,
        terms=p.torsion_atoms[proper],
        periodicity=p.torsion_periodicity[proper],
        phase=p.torsion_phase[proper],
        k=p.torsion_k[proper] / kT,
        maps=step_maps(p, k, (a, b), turning, time),
        unplaced=unplaced,
        pairs=torch.triu_indices(len(old), len(old), 1),
        twisting=twisting,
    )


def proper_terms(p: Parameters, corners: Tensor, turning: Tensor) -> Tensor:
    """Which torsion terms change with a torsion (i, a, b, c), of which the atoms ``turning`` turn."""
    a, b = int(corners[1]), int(corners[2])
    middle = p.torsion_atoms[:, 1:3].sort(1).values
    about = (middle == torch.tensor(sorted((a, b)))).all(1)
    ends = turning[p.torsion_atoms[:, [0, 3]]]
    outer = p.torsion_atoms[:, [0, 3]]
    # An improper about the same bond has both ends on one side and does not change; it must not be counted.
    return about & (ends.sum(1) == 1) & ~((outer == a) | (outer == b)).any(1)


def _site_features(atoms: Atoms, corners: Tensor, membership: Tensor, charge: Tensor) -> Tensor:
    chemistry = atom_chemistry(atoms)
    elements = atoms.elements

    def count(which: Sequence[bool]) -> Tensor:
        return (membership @ torch.tensor(which).double())[:, None]

    hydrogens = [e == "H" for e in elements]
    polar = [False] * len(elements)
    for i, j in atoms.bonds:
        for here, there in ((i, j), (j, i)):
            if elements[here] == "H" and elements[there] in "NOS":
                polar[here] = True
    summary = torch.cat(
        [
            charge[:, None],
            charge.abs()[:, None],
            count([not h for h in hydrogens]) / 5,
            count(hydrogens) / 5,
            count(polar) / 2,
            count([e == "O" for e in elements]) / 2,
            count([e == "N" for e in elements]) / 2,
            count([e == "S" for e in elements]) + count(list(atoms.in_ring)) / 5,
        ],
        1,
    )
    torsion = F.pad(chemistry[corners].flatten(1), (0, 0, 1, 0)).double()
    root = torch.zeros(len(membership), 2, dtype=torch.float64)
    root[0, 0], root[:, 1] = 1, charge.sum()
    return torch.cat([torsion, summary, root], 1)


def _relations(atoms: Atoms, corners: Tensor, beyond: Tensor, membership: Tensor) -> Tensor:
    steps = len(corners)
    bonds = graph_distance(atoms)
    axes = corners[:, 1]
    nearest = torch.stack([bonds[axes][:, membership[t] > 0].amin(1) for t in range(steps + 1)], 1)
    own = torch.zeros(steps, steps + 1)
    own[torch.arange(steps), torch.arange(1, steps + 1)] = 1
    hangs_on = F.pad(beyond[:, 1:].T.double(), (1, 0))  # site j's torsion turns step k
    placed = (torch.arange(steps + 1)[None, :] <= torch.arange(steps)[:, None]).double()
    parts = [own, beyond.double(), hangs_on, placed, nearest / FARTHEST, torch.exp(-0.5 * nearest)]
    return torch.stack([part.double() for part in parts], -1)
