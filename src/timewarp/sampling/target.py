"""The distribution that every kernel leaves invariant: Boltzmann, restricted to the starting stereochemistry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..analysis import backbone_torsions
from ..energies import Energy, leapfrog, with_forces
from ..geometry import centre
from ..restriction import Restriction
from ..shapes import Bool, Float
from ..state import Atoms, State
from ..units import kT


@runtime_checkable
class Leapfrogs(Protocol):
    """A potential that integrates the equations of motion itself, as ``timewarp.energies.Potential`` does."""

    def leapfrog(
        self, positions: Tensor, momenta: Tensor, masses: Tensor, step_ps: Tensor, n_steps: int
    ) -> tuple[Tensor, Tensor]:
        """Positions and momenta at the end of a position-first leapfrog trajectory; see :meth:`Target.leapfrog`."""


class Target:
    """The density ``exp(-U(x) / kT)``, zero where :class:`Restriction` is crossed; counts what it evaluates.

    Args:
        potential: energies in kJ/mol, batched over configurations, and forces where it has them: an object with a
            method ``energy``, or a function of positions. Forces of a potential that has none are derived from its
            energy, which must then be differentiable in torch.
        temperature_K: temperature in K.
        restriction: the stereochemistry to keep; None for a target without one.
        atoms: the molecule, from which kernels take masses, bonds and torsions; None for a target that has none.
        invariant: whether U is invariant to translation and rotation, as a molecule's is in vacuum or implicit solvent.
            Then the target is a density on shapes: kernels may move the whole molecule freely, and keep its centroid at
            the origin, where float32 is most precise.

    Attributes:
        kT: thermal energy in kJ/mol.
        watched: integer (n, 4), the torsions (every phi and psi) whose jumps Metropolis-Hastings counts.
        energy_evaluations: configurations whose energy alone was evaluated, rejected ones included.
        force_evaluations: configurations whose energy and forces were evaluated.
    """

    def __init__(
        self,
        potential: Energy | Callable[[Tensor], Tensor],
        temperature_K: float,
        restriction: Restriction | None = None,
        *,
        atoms: Atoms | None = None,
        invariant: bool = True,
    ) -> None:
        self.potential = with_forces(potential)
        self.temperature_K = temperature_K
        self.kT = kT(temperature_K)
        self.restriction = restriction
        self.atoms = atoms
        self.watched = torch.zeros(0, 4, dtype=torch.long) if atoms is None else backbone_torsions(atoms)
        self.invariant = invariant
        self.energy_evaluations = 0
        self.force_evaluations = 0

    def energy(self, positions: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, " chains"]:
        """Potential energy in kJ/mol of each configuration."""
        self.energy_evaluations += positions.shape[0]
        return self.potential.energy(positions).detach()

    def energy_and_forces(
        self, positions: Float[Tensor, "chains atoms 3"]
    ) -> tuple[Float[Tensor, " chains"], Float[Tensor, "chains atoms 3"]]:
        """Potential energy in kJ/mol and forces in kJ/mol/nm of each configuration."""
        self.force_evaluations += positions.shape[0]
        energy, forces = self.potential.energy_and_forces(positions)
        return energy.detach(), forces.detach()

    def leapfrog(
        self,
        positions: Float[Tensor, "chains atoms 3"],
        momenta: Float[Tensor, "chains atoms 3"],
        masses: Float[Tensor, " atoms"],
        step_ps: Float[Tensor, " chains"],
        n_steps: int,
    ) -> tuple[Float[Tensor, "chains atoms 3"], Float[Tensor, "chains atoms 3"]]:
        """The end of a position-first leapfrog trajectory: half a drift, kick and drift in turn, half a drift.

        A potential that has a ``leapfrog`` of its own keeps the whole trajectory to itself.

        Args:
            positions: where it starts, in nm.
            momenta: in Da nm/ps.
            masses: in Da.
            step_ps: step size of each chain, in ps.
            n_steps: forces in the trajectory.
        """
        if isinstance(self.potential, Leapfrogs):
            self.force_evaluations += n_steps * positions.shape[0]
            return self.potential.leapfrog(positions, momenta, masses, step_ps, n_steps)
        return leapfrog(lambda x: self.energy_and_forces(x)[1], positions, momenta, masses, step_ps, n_steps)

    def reduced_energy(self, energy: Float[Tensor, " chains"]) -> Float[Tensor, " chains"]:
        """Energy in kT (float64) of an energy in kJ/mol."""
        return energy.double() / self.kT

    def flipped(self, positions: Float[Tensor, "chains atoms 3"]) -> Bool[Tensor, " chains"]:
        """Which configurations have another chirality than the reference."""
        if self.restriction is None:
            return torch.zeros(positions.shape[0], dtype=torch.bool, device=positions.device)
        return self.restriction.flipped(positions)

    def turned(self, positions: Float[Tensor, "chains atoms 3"]) -> Bool[Tensor, " chains"]:
        """Which configurations have another cis/trans pattern than the reference."""
        if self.restriction is None:
            return torch.zeros(positions.shape[0], dtype=torch.bool, device=positions.device)
        return self.restriction.turned(positions)

    def recentre(self, positions: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, "chains atoms 3"]:
        """Move centroids to the origin where the target does not notice; otherwise return the positions as they are."""
        return centre(positions) if self.invariant else positions

    def init(self, positions: Float[Tensor, "chains atoms 3"]) -> State:
        """The state of chains that start at ``positions``.

        Raises:
            ValueError: an energy is not finite, or a start is outside the target's restriction.
        """
        positions = self.recentre(positions)
        if positions.shape[0] < 1:
            raise ValueError("at least one chain is needed, got none")
        energy = self.energy(positions)
        if not torch.isfinite(energy).all():
            bad = int((~torch.isfinite(energy)).nonzero()[0])
            raise ValueError(f"chain {bad} starts at energy {float(energy[bad])} kJ/mol: minimise the start positions")
        outside = self.flipped(positions) | self.turned(positions)
        if outside.any():
            bad = int(outside.nonzero()[0])
            raise ValueError(f"chain {bad} starts with another chirality or cis/trans pattern than the reference")
        return State(positions, energy)
