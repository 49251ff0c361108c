"""OpenMM's own energy and forces behind the interface of the compiled potential: the oracle and the fallback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..shapes import Float
from .autograd import differentiable_energy


class OpenMMEvaluator:
    """Evaluate one configuration after another through an ``openmm.Context``.

    On OpenMM's Reference platform: double precision, one core.

    Args:
        system: any ``openmm.System``; it is copied.
    """

    def __init__(self, system: Any) -> None:
        import openmm

        self._system = openmm.XmlSerializer.clone(system)
        self._integrator = openmm.VerletIntegrator(0.001)
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(self._system, self._integrator, platform)
        self.n_atoms = system.getNumParticles()

    def energy(self, positions: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, " batch"]:
        """Potential energy in kJ/mol, differentiable once; NaN where OpenMM refuses the positions."""
        return differentiable_energy(self._check(positions), self._evaluate)

    @torch.no_grad()
    def energy_and_forces(
        self, positions: Float[Tensor, "batch atoms 3"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch atoms 3"]]:
        """Both in one pass."""
        energy, forces = self._evaluate(self._check(positions), with_forces=True)
        assert forces is not None
        return energy, forces

    def _check(self, positions: Tensor) -> Tensor:
        if positions.ndim != 3 or tuple(positions.shape[1:]) != (self.n_atoms, 3):
            raise ValueError(f"positions must have shape (batch, {self.n_atoms}, 3), got {tuple(positions.shape)}")
        return positions

    def _evaluate(self, positions: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        energies = torch.full((len(positions),), torch.nan, dtype=torch.float64)
        forces = torch.full(tuple(positions.shape), torch.nan, dtype=torch.float64) if with_forces else None
        for b, configuration in enumerate(positions.detach().cpu().double().numpy()):
            try:
                self._context.setPositions(configuration)
                state = self._context.getState(getEnergy=True, getForces=with_forces)
            except Exception:  # OpenMM raises its own exception for NaN positions, which here means "reject"
                continue
            energies[b] = state.getPotentialEnergy()._value
            if forces is not None:
                forces[b] = torch.from_numpy(state.getForces(asNumpy=True)._value)
        return energies.to(positions), None if forces is None else forces.to(positions)
