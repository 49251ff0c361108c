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
    starts: int | None = None

    @property
    def superchains(self) -> tuple[int, ...]:
        return tuple(c % (self.starts or len(self.energies)) for c in range(len(self.energies)))


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


def hopping(chains: int = 8, frames: int = 3000, rate: float = 0.02, seed: int = 1) -> np.ndarray:
    """0 or 1, changing from 0 with probability ``rate`` and from 1 with twice that: populations 2/3 and 1/3."""
    rng = np.random.default_rng(seed)
    state = np.zeros((chains, frames), dtype=int)
    state[:, 0] = rng.random(chains) < 1 / 3
    for t in range(1, frames):
        leaves = rng.random(chains) < np.where(state[:, t - 1] == 0, rate, 2 * rate)
        state[:, t] = np.where(leaves, 1 - state[:, t - 1], state[:, t - 1])
    return state


def hopping_alanine(state: np.ndarray, seed: int = 2) -> torch.Tensor:
    """Alanine dipeptide whose phi hops with ``state``, while psi goes its own, fast way."""
    m, rng = alanine(), np.random.default_rng(seed)
    phi = np.deg2rad(np.where(state == 0, -80.0, 60.0) + 10 * rng.normal(size=state.shape))
    psi = basins(rng, *state.shape)[1]
    wanted = {"phi_1": torch.tensor(phi), "psi_1": torch.tensor(psi)}
    return with_torsions(m.start_positions, m.atoms, wanted).float()


def hopping_run(seed: int = 7) -> FakeTrajectory:
    """Alanine dipeptide that hops between two sides of phi with a time scale of 16 frames, 10 ps apart."""
    state = hopping(seed=seed)
    rng = np.random.default_rng(seed)
    energies = torch.tensor(rng.normal(-65.0, 10.0, size=state.shape))
    return FakeTrajectory(alanine().atoms, hopping_alanine(state, seed), energies, frame_spacing=10.0, unit="ps")
