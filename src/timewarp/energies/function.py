"""What samplers and minimisers ask of an energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..shapes import Float


@runtime_checkable
class Energy(Protocol):
    """Anything with batched energies in kJ/mol."""

    def energy(self, positions: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, " chains"]:
        """Potential energy of each configuration, in kJ/mol."""


@runtime_checkable
class EnergyFunction(Energy, Protocol):
    """Batched energies (kJ/mol) and forces (kJ/mol/nm): ``timewarp.energies.Potential``, or one of one's own."""

    def energy_and_forces(
        self, positions: Float[Tensor, "chains atoms 3"]
    ) -> tuple[Float[Tensor, " chains"], Float[Tensor, "chains atoms 3"]]:
        """Potential energy in kJ/mol and forces in kJ/mol/nm."""


class DerivedForces:
    """An energy alone, as an :class:`EnergyFunction`: forces are derived from it by automatic differentiation.

    Args:
        energy: from positions (chains, atoms, 3) in nm to energies (chains,) in kJ/mol, differentiable in torch.
    """

    def __init__(self, energy: Callable[[Tensor], Tensor]) -> None:
        self.energy = energy

    def energy_and_forces(
        self, positions: Float[Tensor, "chains atoms 3"]
    ) -> tuple[Float[Tensor, " chains"], Float[Tensor, "chains atoms 3"]]:
        """Potential energy in kJ/mol and forces in kJ/mol/nm."""
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            energy = self.energy(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), -gradient


def with_forces(potential: Energy | Callable[[Tensor], Tensor]) -> EnergyFunction:
    """An energy function as it is; an object with a method ``energy`` alone, or a function, with derived forces.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(potential, EnergyFunction):
        return potential
    energy = getattr(potential, "energy", potential)
    if not callable(energy):
        raise TypeError(f"an energy is a function of positions, or an object with a method energy; got {potential!r}")
    return DerivedForces(energy)
