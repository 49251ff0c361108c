"""Where chains start: the built structure, some torsions set to given angles, or conformations drawn far and wide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..analysis.torsions import named_torsions
from ..geometry import beyond_bonds, dihedrals, turn, wrap
from ..shapes import Float
from ..state import Atoms
from .target import Target

BUILT, SPREAD = "built", "spread"
SPREAD_TRIES = 8
MINIMISATION_STEPS = 200
LARGEST_STEP_NM = 0.01
HIGHEST_START_KT = 100.0


@torch.no_grad()
def start_positions(
    target: Target,
    atoms: Atoms,
    built: Float[Tensor, "atoms 3"],
    starts: Sequence[str],
    n_chains: int,
    generator: torch.Generator,
) -> Float[Tensor, "chains atoms 3"]:
    """Minimised start positions; chain c takes ``starts[c % len(starts)]``.

    ``built`` is the built structure; ``phi_1=60`` or ``phi_1=60,psi_1=40`` the built structure with torsions set, in
    degrees; ``spread`` draws every rotatable torsion uniformly, keeps the lowest in energy of a few draws, and
    minimises it. Chains that start far apart are what makes R-hat mean something. A start that fails (atoms that
    overlap, a crossing of the restriction) is replaced by another chain's.

    Args:
        target: the distribution; its restriction is kept.
        atoms: the molecule.
        built: minimised positions in nm, in the precision and on the device of the chains.
        starts: at least one of the above.
        n_chains: number of chains.
        generator: source of the drawn torsions.

    Raises:
        ValueError: a start that cannot be understood, an unknown torsion or one that does not turn, or no start with
            a reasonable energy was found.
    """
    if not starts:
        raise ValueError(f"at least one start is needed: {BUILT}, {SPREAD}, or torsions such as phi_1=60")
    positions = built[None].repeat(n_chains, 1, 1)
    kinds = [starts[chain % len(starts)] for chain in range(n_chains)]
    for start in dict.fromkeys(starts):
        chains = torch.tensor([kind == start for kind in kinds], device=built.device)
        if start == SPREAD and chains.any():
            positions[chains] = _spread(target, atoms, positions[chains], generator)
        elif start != BUILT and chains.any():
            positions[chains] = set_torsions(positions[chains], atoms, parse_torsions(start))
    return settle(target, positions)


@torch.no_grad()
def settle(target: Target, positions: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, "chains atoms 3"]:
    """Minimise start positions, and replace those that fail by other chains'.

    Raises:
        ValueError: none has a reasonable energy within the target's restriction.
    """
    n_chains = len(positions)
    positions = minimise(target, positions)
    energy = target.energy(positions)
    good = torch.isfinite(energy) & ~target.flipped(positions) & ~target.turned(positions)
    lowest = energy[good].min() if good.any() else torch.inf
    good &= energy - lowest < HIGHEST_START_KT * target.kT
    if not good.any():
        raise ValueError("no start with a finite energy was found; give another --start, or minimise the structure")
    stand_in = good.nonzero()[:, 0]
    replacement = stand_in[torch.arange(n_chains, device=positions.device) % len(stand_in)]
    return torch.where(good[:, None, None], positions, positions[replacement])


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
            raise ValueError(f"cannot understand the start {text!r}; write {BUILT}, {SPREAD}, or phi_1=60,psi_1=40")
    return found


def set_torsions(
    positions: Float[Tensor, "chains atoms 3"], atoms: Atoms, degrees: Mapping[str, float]
) -> Float[Tensor, "chains atoms 3"]:
    """Turn named torsions (``phi_1``) to angles in degrees; bond lengths and angles stay.

    Raises:
        ValueError: the molecule has no such torsion, or its bond does not turn (a ring, a peptide bond).
    """
    check_torsions(atoms, degrees)
    known, turning, bonds = (
        named_torsions(atoms),
        beyond_bonds(atoms.tree, atoms.tree.rotatable),
        _rotatable_bonds(atoms),
    )
    for name, target in degrees.items():
        axis = frozenset(known[name][1:3])
        row = bonds.index(axis)
        now = dihedrals(positions, torch.tensor([known[name]], device=positions.device))[:, 0]
        n = positions.shape[0]
        positions = turn(
            positions,
            atoms.tree.torsions[row, 1:3].to(positions.device).expand(n, 2),
            turning[row].to(positions.device).expand(n, -1),
            wrap(math.radians(target) - now),
        )
    return positions


def check_torsions(atoms: Atoms, degrees: Mapping[str, float]) -> None:
    """Check that named torsions can be set.

    Raises:
        ValueError: the molecule has no such torsion, or its bond does not turn (a ring, a peptide bond).
    """
    known, bonds = named_torsions(atoms), _rotatable_bonds(atoms)
    for name in degrees:
        if name not in known:
            raise ValueError(f"no torsion {name!r} in {atoms.residues}; it has {', '.join(known) or 'none'}")
        if frozenset(known[name][1:3]) not in bonds:
            raise ValueError(f"the bond of {name} does not turn (a ring or a peptide bond); set another torsion")


def check_starts(atoms: Atoms, starts: Sequence[str]) -> None:
    """Check that starts can be made, before anything is written.

    Raises:
        ValueError: a start cannot be understood, or names a torsion that cannot be set.
    """
    for start in starts:
        if start not in (BUILT, SPREAD):
            check_torsions(atoms, parse_torsions(start))


def minimise(
    target: Target, positions: Float[Tensor, "chains atoms 3"], n_steps: int = MINIMISATION_STEPS
) -> Float[Tensor, "chains atoms 3"]:
    """Steepest descent with a step size per chain, enough to take the strain out; never goes uphill."""
    energy, forces = target.energy_and_forces(positions)
    step = torch.full_like(energy, 1e-6)[:, None, None]
    for _ in range(n_steps):
        move = step * forces
        longest = move.norm(dim=-1, keepdim=True).amax(1, keepdim=True).clamp(min=1e-12)
        candidate = positions + move * (LARGEST_STEP_NM / longest).clamp(max=1.0)
        new_energy, new_forces = target.energy_and_forces(candidate)
        better = (torch.isfinite(new_energy) & ~(new_energy >= energy))[:, None, None]
        positions = torch.where(better, candidate, positions)
        energy = torch.where(better[:, 0, 0], new_energy, energy)
        forces = torch.where(better, new_forces, forces)
        step = torch.where(better, step * 1.2, step * 0.4)
    return positions


def _spread(
    target: Target, atoms: Atoms, positions: Float[Tensor, "chains atoms 3"], generator: torch.Generator
) -> Float[Tensor, "chains atoms 3"]:
    """The lowest in energy of a few conformations with random torsions, for each chain."""
    best, lowest = positions, torch.full_like(positions[:, 0, 0], torch.inf)
    turning = beyond_bonds(atoms.tree, atoms.tree.rotatable).to(positions.device)
    bonds = atoms.tree.torsions[:, 1:3].to(positions.device)
    n = positions.shape[0]
    for _ in range(SPREAD_TRIES if len(bonds) else 0):
        drawn = positions
        for row in range(len(bonds)):
            uniform = torch.rand(n, generator=generator, device=positions.device, dtype=positions.dtype)
            drawn = turn(drawn, bonds[row].expand(n, 2), turning[row].expand(n, -1), math.pi * (2 * uniform - 1))
        energy = target.energy(drawn)
        better = energy < lowest  # False for NaN
        best = torch.where(better[:, None, None], drawn, best)
        lowest = torch.where(better, energy, lowest)
    return best


def _rotatable_bonds(atoms: Atoms) -> list[frozenset[int]]:
    return [frozenset(row) for row in atoms.tree.torsions[:, 1:3].tolist()]
