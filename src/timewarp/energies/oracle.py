"""OpenMM's own energy and forces behind the interface of the compiled potential: the oracle and the fallback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..shapes import Float
from .autograd import differentiable_energy


class OpenMMEvaluator:
    """Evaluate one configuration after another through an ``openmm.Context``.

    Args:
        system: any ``openmm.System``; it is copied.
        platform: ``"Reference"`` (double precision, one core) or another OpenMM platform's name.
        threads: number of threads for the CPU platform; others take none.

    Raises:
        ValueError: OpenMM has no such platform here.
    """

    def __init__(self, system: Any, platform: str = "Reference", threads: int | None = None) -> None:
        import openmm

        names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
        if platform not in names:
            raise ValueError(f"OpenMM has no platform {platform!r} here, only {', '.join(names)}")
        if threads is not None and platform != "CPU":
            raise ValueError(f"threads apply to the CPU platform, not to {platform}")
        properties = {} if threads is None else {"Threads": str(threads)}
        self._system = openmm.XmlSerializer.clone(system)
        self._integrator = openmm.VerletIntegrator(0.001)
        chosen = openmm.Platform.getPlatformByName(platform)
        self._context = openmm.Context(self._system, self._integrator, chosen, properties)
        self.n_atoms = system.getNumParticles()
        self.platform = platform

    def energy(self, positions: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, " batch"]:
        """Potential energy in kJ/mol, differentiable once; NaN where OpenMM refuses the positions."""
        return differentiable_energy(self._check(positions), self._evaluate)

    def forces(self, positions: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, "batch atoms 3"]:
        """Forces in kJ/(mol nm)."""
        return self.energy_and_forces(positions)[1]

    @torch.no_grad()
    def energy_and_forces(
        self, positions: Float[Tensor, "batch atoms 3"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch atoms 3"]]:
        """Both in one pass."""
        energy, forces = self._evaluate(self._check(positions), with_forces=True)
        assert forces is not None
        return energy, forces

    def energy_terms(self, positions: Float[Tensor, "batch atoms 3"]) -> dict[str, Float[Tensor, " batch"]]:
        """The energy by the class name of OpenMM's force (a fresh context, so slow: for tests and reports)."""
        import openmm

        system = openmm.XmlSerializer.clone(self._system)
        names: dict[str, int] = {}
        for force in system.getForces():
            force.setForceGroup(names.setdefault(type(force).__name__, len(names)))
        integrator = openmm.VerletIntegrator(0.001)
        context = openmm.Context(system, integrator, self._context.getPlatform())
        energies = positions.new_empty(len(names), len(positions))
        for b, configuration in enumerate(self._check(positions).detach().cpu().double().numpy()):
            context.setPositions(configuration)
            for group in names.values():
                energies[group, b] = context.getState(getEnergy=True, groups=1 << group).getPotentialEnergy()._value
        return {name: energies[group] for name, group in names.items()}

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
