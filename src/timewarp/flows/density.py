"""What every trained density offers, and the standardisation of stiff coordinates."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..geometry import InternalTree, wrap
from ..shapes import Float
from ..state import Atoms
from .tokens import atom_graph, torsion_graph


@runtime_checkable
class InternalDensity(Protocol):
    """A conditional density over internal coordinates (``docs/design.md`` section 2, *ConditionalDensity*).

    It speaks in full tensors of internal coordinates, (batch, atoms, 3) with the bond length in nm, the angle and
    the dihedral in rad of each atom of ``atoms.tree``. Its log density is with respect to the product of
    db, dtheta and dphi of the coordinates that it redraws.

    Attributes:
        family: ``C`` redraws the soft torsions and keeps the stiff coordinates; ``B`` redraws everything.
        condition_is_invariant: a candidate leads to the same condition as the state that it was drawn from,
            so that one encoding serves both directions of a Metropolis-Hastings ratio.
    """

    family: ClassVar[str]
    condition_is_invariant: ClassVar[bool]

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> Any:
        """All work that depends on the condition only; done once, however many samples follow."""
        ...

    def sample(
        self, condition: Any, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with their log densities."""
        ...

    def log_prob(self, internal: Float[Tensor, "batch atoms 3"], condition: Any) -> Float[Tensor, " batch"]:
        """Log density of the redrawn coordinates given the condition."""
        ...


def soft_coordinates(tree: InternalTree) -> Tensor:
    """Boolean (atoms, 3): the dihedrals of rotatable bonds."""
    soft = torch.zeros(tree.n_atoms, 3, dtype=torch.bool)
    soft[list(tree.rotatable), 2] = True
    return soft


def stiff_coordinates(tree: InternalTree) -> Tensor:
    """Boolean (atoms, 3): bond lengths, angles and dihedrals that only vibrate."""
    return tree.defined & ~soft_coordinates(tree)


class Standardiser(nn.Module):
    """Means and covariance of one molecule's stiff coordinates, from its molecular dynamics.

    Stiff coordinates are nearly Gaussian: after subtracting the mean (a circular one for dihedrals) and solving
    with the Cholesky factor of the covariance, they are nearly independent N(0, 1).
    """

    stiff: Tensor
    is_dihedral: Tensor
    mean: Tensor
    scale: Tensor
    cholesky: Tensor

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        stiff = stiff_coordinates(atoms.tree)
        n = int(stiff.sum())
        self.register_buffer("stiff", stiff, persistent=False)
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("scale", torch.ones(n))
        self.register_buffer("cholesky", torch.eye(n))
        dihedral = torch.zeros_like(stiff)
        dihedral[:, 2] = True
        self.register_buffer("is_dihedral", dihedral[stiff], persistent=False)

    @property
    def n_coordinates(self) -> int:
        """How many stiff coordinates there are."""
        return self.mean.shape[0]

    @torch.no_grad()
    def fit(self, internal: Float[Tensor, "frames atoms 3"]) -> None:
        """Take means and covariance from a trajectory.

        Raises:
            ValueError: fewer frames than twice the number of coordinates.
        """
        values = internal[:, self.stiff].double()
        if len(values) < 2 * self.n_coordinates:
            raise ValueError(
                f"standardising {self.n_coordinates} stiff coordinates needs at least {2 * self.n_coordinates} "
                f"frames, got {len(values)}; run a longer simulation"
            )
        if not values.isfinite().all():
            raise ValueError("the frames hold coordinates that are not finite; check the run with `timewarp analyse`")
        circular = torch.atan2(values.sin().mean(0), values.cos().mean(0))
        mean = torch.where(self.is_dihedral, circular, values.mean(0))
        centred = self._centred(values, mean)
        covariance = centred.T @ centred / (len(values) - 1)
        scale = covariance.diagonal().sqrt()
        # A little of the diagonal keeps coordinates that geometry ties together (planar siblings) well-conditioned.
        covariance = covariance + torch.diag(1e-4 * scale**2)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.cholesky.copy_(torch.linalg.cholesky(covariance))

    def _centred(self, values: Tensor, mean: Tensor) -> Tensor:
        offset = values - mean
        return torch.where(self.is_dihedral, wrap(offset), offset)

    def scaled(self, internal: Float[Tensor, "*batch atoms 3"]) -> Float[Tensor, "*batch atoms 3"]:
        """Each stiff coordinate as (value - mean) / standard deviation; zero for the others."""
        out = torch.zeros_like(internal)
        out[..., self.stiff] = self._centred(internal[..., self.stiff], self.mean) / self.scale
        return out

    def whiten(
        self, internal: Float[Tensor, "batch atoms 3"]
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, ""]]:
        """Nearly independent N(0, 1) variables in place of the stiff coordinates, and ``log |d white / d stiff|``."""
        offset = self._centred(internal[:, self.stiff], self.mean)
        out = torch.zeros_like(internal)
        out[:, self.stiff] = torch.linalg.solve_triangular(self.cholesky, offset.T, upper=False).T
        return out, -self.cholesky.diagonal().log().sum()

    def unwhiten(self, white: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, "batch atoms 3"]:
        """Inverse of :meth:`whiten`; NaN where a dihedral winds around the circle, to be rejected."""
        offset = white[:, self.stiff] @ self.cholesky.T
        winds = self.is_dihedral & (offset.abs() >= torch.pi)
        value = self.mean + offset
        value = torch.where(self.is_dihedral, wrap(value), value)
        out = torch.zeros_like(white)
        out[:, self.stiff] = value.masked_fill(winds, torch.nan)
        return out


class MoleculeFlow(nn.Module):
    """What the flows of one molecule share: its tokens, its rotatable bonds, its standardised stiff coordinates.

    Args:
        atoms: the molecule.

    Raises:
        ValueError: the molecule has no rotatable bond, or an element that the networks do not know.
    """

    _rotatable: Tensor

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        if not atoms.tree.rotatable:
            raise ValueError(f"{atoms.residues} has no rotatable bond: there is no torsion to propose")
        self.atoms = atoms
        self.standardiser = Standardiser(atoms)
        self.register_buffer("_rotatable", torch.tensor(atoms.tree.rotatable), persistent=False)
        self._atom_graph, self._torsion_graph = atom_graph(atoms), torsion_graph(atoms)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._atom_graph, self._torsion_graph = self._atom_graph.apply(fn), self._torsion_graph.apply(fn)
        return self

    def fit_standardiser(self, internal: Float[Tensor, "frames atoms 3"]) -> None:
        """Take the stiff coordinates' means and covariance from a trajectory, before training."""
        self.standardiser.fit(internal)
