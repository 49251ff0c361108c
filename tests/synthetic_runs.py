"""Made-up runs of alanine dipeptide whose torsions are known: for tests of analysis and report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from timewarp.analysis import named_torsions
from timewarp.geometry import dihedrals, to_internal, to_positions
from timewarp.molecules import Molecule, build_molecule
from timewarp.state import Atoms


@dataclass
class FakeTrajectory:
    atoms: Atoms
    positions: torch.Tensor
    energies: torch.Tensor
    frame_spacing: float = 1.0
    unit: str = "step"


@cache
def alanine() -> Molecule:
    return build_molecule("Ace-A-Nme")


def with_torsions(start: torch.Tensor, atoms: Atoms, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
    """Turn named torsions of a structure to given angles (any batch shape), everything else kept."""
    tree, known = atoms.tree, named_torsions(atoms)
    shape = next(iter(wanted.values())).shape
    frame = start.to(torch.float64).expand(*shape, *start.shape)
    internal = to_internal(frame.contiguous(), tree).clone()
    for name, angle in wanted.items():
        bond = {known[name][1], known[name][2]}
        carrier = next(k for k in tree.proper if set(tree.references[k][:2]) == bond)
        now = dihedrals(start.to(torch.float64), torch.tensor([known[name]]))[0]
        internal[..., carrier, 2] += angle - now
    return to_positions(internal, tree, frame)


def basins(rng: np.random.Generator, chains: int, frames: int, stuck: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(phi, psi) in rad drawn independently from three states; ``stuck`` keeps the last chains in the third."""
    centres = np.deg2rad([[-70.0, 150.0], [-75.0, -20.0], [55.0, 40.0]])
    state = rng.choice(3, size=(chains, frames), p=[0.5, 0.3, 0.2])
    if stuck:
        state[: chains // 2] = rng.choice(2, size=(chains // 2, frames), p=[0.6, 0.4])
        state[chains // 2 :] = 2
    angles = centres[state] + np.deg2rad(12.0) * rng.normal(size=(chains, frames, 2))
    return angles[..., 0], angles[..., 1]


def alanine_run(seed: int = 0, chains: int = 4, frames: int = 200, stuck: bool = False, **kind: Any) -> FakeTrajectory:
    """Independent frames of alanine dipeptide, with a little noise on every atom."""
    molecule = alanine()
    rng = np.random.default_rng(seed)
    phi, psi = (torch.from_numpy(a) for a in basins(rng, chains, frames, stuck))
    positions = with_torsions(molecule.start_positions, molecule.atoms, {"phi_1": phi, "psi_1": psi})
    positions = positions + torch.from_numpy(rng.normal(scale=1e-3, size=positions.shape))
    energies = torch.from_numpy(-60 + 14 * rng.normal(size=(chains, frames)))
    return FakeTrajectory(molecule.atoms, positions.float(), energies, **kind)
