"""Where chains and MD replicas start: the built structure, torsions set to given angles, a PDB file, or spread widely.

Chains that share a start are a *superchain* (Margossian et al., Bayesian Analysis 2024): how much their means differ
says how long they are, and how much the means of superchains differ says whether the starts are forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .analysis.states import farthest_first
from .analysis.torsions import named_torsions, turning_torsions
from .energies import EnergyFunction
from .geometry import beyond_bonds, dihedrals, measure_dihedrals, turn, wrap
from .geometry.concerted import scramble
from .geometry.loops import Tables
from .restriction import Restriction
from .shapes import Bool, Float
from .state import Atoms
from .trajectories import SUPERCHAINS, read_positions, superchain_labels

BUILT, SPREAD = "built", "spread"
CANDIDATES_PER_START, FEWEST_CANDIDATES = 4, 64
DRAWS_PER_CANDIDATE = 8
TURNS_PER_DRAW = 30
"""Concerted rotations that draw the conformer of a ring; half of them find a way to close it."""
MINIMISATION_STEPS = 400
REMEMBERED_STEPS = 8
LARGEST_STEP_NM = 0.01
FIRST_STEP = 1e-6
"""Of the first descent, in nm^2 mol/kJ: positions move by this times the forces."""
FORCE_TOLERANCE = 10.0
"""Largest force at a minimum, in kJ/(mol nm)."""
HIGHEST_SPREAD_KT, HIGHEST_SPREAD_KT_PER_BOND = 5.0, 1.0
"""Minima farther than this above the lowest one are no starts: a constant, and a part for each rotatable bond."""
HIGHEST_START_KT = 100.0
"""A start farther than this above the built structure, or above another chain's, is strained."""


@torch.no_grad()
def start_positions(
    energy_function: EnergyFunction,
    atoms: Atoms,
    built: Float[Tensor, "atoms 3"],
    starts: Sequence[str],
    n_chains: int,
    generator: torch.Generator,
    *,
    kT: float,
    restriction: Restriction | None = None,
    superchains: int = SUPERCHAINS,
) -> Float[Tensor, "chains atoms 3"]:
    """Start positions of chains; those of one superchain share theirs, and superchain k takes kind k of ``starts``.

    ``built`` is the built structure as it is. The others are minimised: ``phi_1=60`` or ``phi_1=60,psi_1=40`` is the
    built structure with torsions set, in degrees; ``FILE.pdb`` or ``FILE.pdb#3`` a model of a file, the first by
    default; ``spread`` draws every rotatable torsion uniformly, and the conformers of rings by concerted rotations, for
    several times as many candidates as are needed, drops minima far above the lowest, and takes those that are farthest
    from each other in the torsions of backbone and side chains. Starts that are farther from each other than the chains
    ever are make R-hat mean something.

    Args:
        energy_function: energies and forces, batched over configurations.
        atoms: the molecule.
        built: minimised positions in nm, in the precision and on the device of the chains.
        starts: kinds, at least one; cycled over the superchains.
        n_chains: number of chains.
        generator: source of the drawn torsions, on the device of the chains.
        kT: thermal energy in kJ/mol.
        restriction: the stereochemistry that starts must have; any by default.
        superchains: number of starts; chain c takes that of superchain ``c % superchains``, and where there are fewer
            chains, each has a start of its own.

    Raises:
        ValueError: there is no chain, or a start cannot be understood, names an unknown torsion or one that does not
            turn, is of another chirality or cis/trans pattern than the restriction, or stays strained.
        FileNotFoundError: no such PDB file.
    """
    check_starts(atoms, starts, built, restriction)
    if n_chains < 1:
        raise ValueError(f"at least one chain is needed, got {n_chains}")
    chains = torch.tensor(superchain_labels(n_chains, superchains))
    n_starts = int(chains.max()) + 1
    kinds = [starts[k % len(starts)] for k in range(n_starts)]
    positions = built[None].repeat(n_starts, 1, 1)
    for kind in dict.fromkeys(kinds):
        rows = [k for k in range(n_starts) if kinds[k] == kind]
        if kind == SPREAD:
            positions[rows] = _spread(energy_function, atoms, built, len(rows), generator, kT, restriction)
        elif kind != BUILT:
            positions[rows] = _minimised(energy_function, atoms, built, kind, kT, restriction)
    return positions[chains.to(built.device)]


@torch.no_grad()
def settle(
    energy_function: EnergyFunction,
    positions: Float[Tensor, "chains atoms 3"],
    *,
    kT: float,
    restriction: Restriction | None = None,
) -> Float[Tensor, "chains atoms 3"]:
    """Minimise positions that chains are to start from, and replace those that stay strained by other chains'.

    Args:
        energy_function: energies and forces.
        positions: in nm.
        kT: thermal energy in kJ/mol.
        restriction: the stereochemistry that starts must have; any by default.

    Raises:
        ValueError: none has a finite energy within the restriction.
    """
    positions = minimise(energy_function, positions)
    energy = energy_function.energy(positions)
    good = _allowed(energy, positions, restriction)
    lowest = energy[good].min() if good.any() else torch.inf
    good &= energy - lowest < HIGHEST_START_KT * kT
    if not good.any():
        raise ValueError("no start with a finite energy was found; give another --start, or minimise the structure")
    stand_in = good.nonzero()[:, 0]
    replacement = stand_in[torch.arange(len(positions), device=positions.device) % len(stand_in)]
    return torch.where(good[:, None, None], positions, positions[replacement])


@torch.no_grad()
def minimise(
    energy_function: EnergyFunction, positions: Float[Tensor, "batch atoms 3"], n_steps: int = MINIMISATION_STEPS
) -> Float[Tensor, "batch atoms 3"]:
    """Go downhill in all configurations at once, by limited-memory BFGS (Liu & Nocedal 1989); never uphill.

    No atom moves by more than 0.01 nm in a step; a step that would raise the energy is tried anew at a quarter of its
    length.

    Args:
        energy_function: energies and forces.
        positions: in nm.
        n_steps: forces at most; fewer where all forces are below 10 kJ/(mol nm).
    """
    energy, forces = energy_function.energy_and_forces(positions)
    shape = (REMEMBERED_STEPS, *positions.shape)
    moved, bent = positions.new_zeros(shape), positions.new_zeros(shape)
    inverse = positions.new_zeros(shape[:2])  # of the products of both
    scale, length = torch.full_like(energy, FIRST_STEP), torch.ones_like(energy)
    for step in range(n_steps):
        if step % 10 == 0 and not bool((forces.norm(dim=-1) > FORCE_TOLERANCE).any()):
            break
        recent = [(step - 1 - k) % REMEMBERED_STEPS for k in range(min(REMEMBERED_STEPS, step))]
        move = _newton_step(forces, [(moved[k], bent[k], inverse[k]) for k in recent], scale)
        downhill = _product(move, forces) > 0
        move = torch.where(_rows(downhill), move, FIRST_STEP * forces)
        longest = move.norm(dim=-1).amax(1).clamp(min=1e-12)
        move = move * _rows(length * (LARGEST_STEP_NM / longest).clamp(max=1.0))
        new_energy, new_forces = energy_function.energy_and_forces(positions + move)
        better = torch.isfinite(new_energy) & ~(new_energy > energy)
        slot = step % REMEMBERED_STEPS
        moved[slot] = torch.where(_rows(better), move, 0.0)
        bent[slot] = torch.where(_rows(better), forces - new_forces, 0.0)
        curvature = _product(moved[slot], bent[slot])
        curved = curvature > 1e-10
        inverse[slot] = torch.where(curved, 1 / curvature.clamp(min=1e-10), 0.0)
        scale = torch.where(curved, curvature / _product(bent[slot], bent[slot]).clamp(min=1e-12), scale)
        length = torch.where(better, (2 * length).clamp(max=1.0), 0.25 * length)
        positions = torch.where(_rows(better), positions + move, positions)
        energy = torch.where(better, new_energy, energy)
        forces = torch.where(_rows(better), new_forces, forces)
    return positions


def parse_torsions(text: str) -> dict[str, float]:
    """Torsions in degrees by name.

    >>> parse_torsions("phi_1=60,psi_1=-40")
    {'phi_1': 60.0, 'psi_1': -40.0}

    Raises:
        ValueError: the text cannot be understood.
    """
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[name.strip()] = math.nan
        if not math.isfinite(found[name.strip()]):
            raise ValueError(
                f"cannot understand the start {text!r}; write {BUILT}, {SPREAD}, phi_1=60,psi_1=40, or FILE.pdb"
            )
    return found


def set_torsions(
    positions: Float[Tensor, "chains atoms 3"],
    atoms: Atoms,
    degrees: Mapping[str, float],
    restriction: Restriction | None = None,
) -> Float[Tensor, "chains atoms 3"]:
    """Turn named torsions (``phi_1``) to angles in degrees; bond lengths and angles stay.

    Raises:
        ValueError: the molecule has no such torsion, or its bond does not turn (a ring, or a peptide bond that the
            restriction does not leave free).
    """
    check_torsions(atoms, degrees, restriction)
    carriers = _turning_torsions(atoms, restriction)
    known, bonds = named_torsions(atoms), _bonds_of(atoms, carriers)
    turning = beyond_bonds(atoms.tree, carriers)
    n, device = positions.shape[0], positions.device
    for name, target in degrees.items():
        row = bonds.index(frozenset(known[name][1:3]))
        now = dihedrals(positions, torch.tensor([known[name]], device=device))[:, 0]
        axis = torch.tensor(atoms.tree.references[carriers[row]][:2], device=device).expand(n, 2)
        positions = turn(positions, axis, turning[row].to(device).expand(n, -1), wrap(math.radians(target) - now))
    return positions


def check_torsions(atoms: Atoms, degrees: Mapping[str, float], restriction: Restriction | None = None) -> None:
    """Check that named torsions can be set.

    Raises:
        ValueError: the molecule has no such torsion, or its bond does not turn (a ring, or a peptide bond that the
            restriction does not leave free).
    """
    known, bonds = named_torsions(atoms), _bonds_of(atoms, _turning_torsions(atoms, restriction))
    twisting = _bonds_of(atoms, atoms.twisting)
    for name in degrees:
        if name not in known:
            raise ValueError(f"no torsion {name!r} in {atoms.residues}; it has {', '.join(known) or 'none'}")
        if frozenset(known[name][1:3]) not in bonds:
            if frozenset(known[name][1:3]) in twisting:
                raise ValueError(
                    f"{name} is of a peptide bond, which does not turn here; allow it with `cis_trans` proline or all, "
                    "or set another torsion"
                )
            raise ValueError(f"the bond of {name} does not turn (a ring or a peptide bond); set another torsion")


def check_starts(
    atoms: Atoms,
    starts: Sequence[str],
    built: Float[Tensor, "atoms 3"] | None = None,
    restriction: Restriction | None = None,
) -> None:
    """Check that starts can be made, before anything is written.

    Args:
        atoms: the molecule.
        starts: kinds of starts.
        built: positions of the molecule in nm; see :func:`timewarp.trajectories.read_positions`.
        restriction: says which peptide bonds may be turned; none without.

    Raises:
        ValueError: there is no start, or one cannot be understood, names a torsion that cannot be set, or is a file of
            another molecule.
        FileNotFoundError: no such PDB file.
    """
    if not starts:
        raise ValueError(f"at least one start is needed: {BUILT}, {SPREAD}, torsions such as phi_1=60, or FILE.pdb")
    for start in starts:
        if is_file(start):
            read_start(atoms, start, built)
        elif start not in (BUILT, SPREAD):
            check_torsions(atoms, parse_torsions(start), restriction)


def is_file(start: str) -> bool:
    """Whether a start is a PDB file, ``FILE.pdb`` or ``FILE.pdb#MODEL``."""
    return start.rpartition("#")[0].lower().endswith(".pdb") or start.lower().endswith(".pdb")


def read_start(atoms: Atoms, start: str, built: Float[Tensor, "atoms 3"] | None = None) -> Float[Tensor, "atoms 3"]:
    """Positions in nm (float64) of a model of a PDB file, the first by default, atoms matched by names and bonds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read, has no such model, or is of another molecule.
    """
    name, _, model = (start, "", "1") if start.lower().endswith(".pdb") else start.rpartition("#")
    if not model.isdecimal():
        raise ValueError(f"the model of {start!r} must be a whole number from 1 on; write {name}#1")
    return read_positions(name, atoms, int(model), start=None if built is None else built.double().cpu())[0]


# --- parts ----------------------------------------------------------------------------------------------------------


def _minimised(
    energy_function: EnergyFunction,
    atoms: Atoms,
    built: Tensor,
    start: str,
    kT: float,
    restriction: Restriction | None,
) -> Float[Tensor, "atoms 3"]:
    """A start that was asked for, checked against the built structure."""
    given = read_start(atoms, start, built).to(built) if is_file(start) else None
    x = set_torsions(built[None], atoms, parse_torsions(start), restriction) if given is None else given[None]
    x = minimise(energy_function, x)
    if restriction is not None and bool(restriction.crossed(x)):
        raise ValueError(
            f"the start {start!r} has another chirality or cis/trans pattern than {atoms.residues}; peptide bonds that "
            "may be either are named by `cis_trans`"
        )
    above = float((energy_function.energy(x) - energy_function.energy(built[None])) / kT)
    if not above < HIGHEST_START_KT:
        raise ValueError(f"the start {start!r} stays {above:.3g} kT above the built structure: atoms overlap there")
    return x[0]


def _spread(
    energy_function: EnergyFunction,
    atoms: Atoms,
    built: Tensor,
    n: int,
    generator: torch.Generator,
    kT: float,
    restriction: Restriction | None,
) -> Float[Tensor, "n atoms 3"]:
    """Minima far from each other; the lowest first. If fewer are found than are needed, they are cycled."""
    candidates = max(FEWEST_CANDIDATES, CANDIDATES_PER_START * n)
    free = () if restriction is None else restriction.free_torsions
    x = minimise(energy_function, _draw(energy_function, atoms, built, candidates, generator, free))
    energy = energy_function.energy(x)
    allowed = _allowed(energy, x, restriction)
    if not allowed.any():
        raise ValueError("no spread start with a finite energy was found; give another --start")
    x, energy = x[allowed], energy[allowed]
    in_rings = sum(len(ring.bonds) - 6 for ring in atoms.rings)  # six of a ring's bonds close it
    highest = (HIGHEST_SPREAD_KT + HIGHEST_SPREAD_KT_PER_BOND * (len(atoms.tree.rotatable) + in_rings)) * kT
    x = x[energy - energy.min() < highest][energy[energy - energy.min() < highest].argsort(stable=True)]
    torsions = torch.tensor(list(turning_torsions(atoms).values()), dtype=torch.long).reshape(-1, 4)
    torsions = torch.cat([torsions, _rows_of(atoms, free)])
    if len(torsions):
        angles = measure_dihedrals(x.double().cpu(), torsions).numpy()
        x = x[torch.from_numpy(farthest_first(angles, n)).to(x.device)]
    return x[torch.arange(n, device=x.device) % len(x)]


def _draw(
    energy_function: EnergyFunction,
    atoms: Atoms,
    built: Tensor,
    n: int,
    generator: torch.Generator,
    free: Sequence[int] = (),
) -> Float[Tensor, "n atoms 3"]:
    """Conformations with every rotatable torsion and all rings drawn, each the lowest in energy of a few draws.

    The peptide bonds of the torsions ``free`` are cis in one half of them, trans in the other, each by itself.
    """
    positions = built.expand(n, -1, -1).contiguous()
    for carrier, row in zip(free, beyond_bonds(atoms.tree, free).to(built.device), strict=True):
        axis = torch.tensor(atoms.tree.references[carrier][:2], device=built.device).expand(n, 2)
        half = torch.rand(n, generator=generator, device=built.device, dtype=built.dtype) < 0.5
        positions = turn(positions, axis, row.expand(n, -1), math.pi * half.to(built))
    best, lowest = positions, torch.full_like(positions[:, 0, 0], torch.inf)
    turning = beyond_bonds(atoms.tree, atoms.tree.rotatable).to(built.device)
    bonds = atoms.tree.torsions[:, 1:3].to(built.device)
    turns = bool(atoms.rings) and built.device.type != "mps"  # closures need double precision
    rings = Tables.of(atoms.rings, atoms.n_atoms, atoms.bonds).to(built.device) if turns else None
    for _ in range(DRAWS_PER_CANDIDATE if len(bonds) or rings else 0):
        drawn = positions if rings is None else scramble(positions, rings, generator, TURNS_PER_DRAW)
        for row in range(len(bonds)):
            uniform = torch.rand(n, generator=generator, device=built.device, dtype=built.dtype)
            drawn = turn(drawn, bonds[row].expand(n, 2), turning[row].expand(n, -1), math.pi * (2 * uniform - 1))
        energy = energy_function.energy(drawn)
        better = energy < lowest  # False for NaN
        best = torch.where(_rows(better), drawn, best)
        lowest = torch.where(better, energy, lowest)
    return best


def _allowed(energy: Tensor, positions: Tensor, restriction: Restriction | None) -> Bool[Tensor, " batch"]:
    finite = torch.isfinite(energy)
    return finite if restriction is None else finite & ~restriction.crossed(positions)


def _newton_step(forces: Tensor, history: Sequence[tuple[Tensor, Tensor, Tensor]], scale: Tensor) -> Tensor:
    """Forces times the inverse Hessian that recent steps suggest: the two-loop recursion, newest step first."""
    move, weights = forces, []
    for moved, bent, inverse in history:
        weights.append(inverse * _product(moved, move))
        move = move - _rows(weights[-1]) * bent
    move = _rows(scale) * move
    for (moved, bent, inverse), weight in zip(reversed(history), reversed(weights), strict=True):
        move = move + _rows(weight - inverse * _product(bent, move)) * moved
    return move


def _product(first: Tensor, second: Tensor) -> Float[Tensor, " batch"]:
    return (first * second).sum((-1, -2))


def _rows(values: Tensor) -> Float[Tensor, "batch 1 1"] | Bool[Tensor, "batch 1 1"]:
    return values[:, None, None]


def _turning_torsions(atoms: Atoms, restriction: Restriction | None) -> tuple[int, ...]:
    """Atoms that carry the torsions which a start may set."""
    return (*atoms.tree.rotatable, *(() if restriction is None else restriction.free_torsions))


def _bonds_of(atoms: Atoms, carriers: Sequence[int]) -> list[frozenset[int]]:
    return [frozenset(atoms.tree.references[i][:2]) for i in carriers]


def _rows_of(atoms: Atoms, carriers: Sequence[int]) -> Tensor:
    return torch.tensor([(i, *atoms.tree.references[i]) for i in carriers], dtype=torch.long).reshape(-1, 4)
