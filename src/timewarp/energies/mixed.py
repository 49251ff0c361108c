"""The energy of a padded batch whose rows are configurations of different molecules, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..shapes import Float, Int
from .potential import Potential


class MixedPotential:
    """Energies of rows that each say which molecule they are.

    A batch for training has a random mixture of molecules. Rows are gathered by molecule, and each molecule's own
    potential sees its own atoms alone, so that padding costs nothing and may hold anything.

    Args:
        potentials: one of each molecule.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, potentials: Sequence[Potential]) -> None:
        self.potentials = tuple(potentials)
        if not self.potentials:
            raise ValueError("a mixed potential needs at least one potential")

    def __repr__(self) -> str:
        largest = max(p.n_atoms for p in self.potentials)
        return f"MixedPotential({len(self.potentials)} molecule(s) of up to {largest} atoms)"

    def energy(
        self, positions: Float[Tensor, "batch atoms 3"], molecule: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Potential energy of each row in kJ/mol, differentiable once with respect to ``positions``."""
        if len(self.potentials) == 1:
            return self.potentials[0].energy(positions[:, : self.potentials[0].n_atoms])
        order: list[Tensor] = []
        energies: list[Tensor] = []
        for number in molecule.unique().tolist():
            rows = (molecule == number).nonzero()[:, 0]
            potential = self.potentials[number]
            order.append(rows)
            energies.append(potential.energy(positions[rows, : potential.n_atoms]))
        if not order:
            return positions.new_zeros(0)
        return torch.cat(energies)[torch.cat(order).argsort()]
