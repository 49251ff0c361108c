"""What the flows of one molecule share: tokens, standardised stiff coordinates, and proposals in compiled kernels."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import native
from ..energies import Parameters
from ..geometry import wrap
from ..shapes import Float
from ..state import Atoms
from .density import FORCES, InternalDensity, InternalProposer, stiff_coordinates
from .proposer import Proposal, Proposer
from .registry import Network, choose_engine
from .tokens import atom_graph, torsion_graph


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


class MoleculeFlow(Network, InternalDensity):
    """What the flows of one molecule share: its tokens, its rotatable bonds, its standardised stiff coordinates.

    A subclass says which coordinates it ``redraws``, and implements ``encode``, ``sample`` and ``log_prob`` of
    :class:`~timewarp.flows.InternalDensity`. It then has proposers, and training on frames.

    Args:
        atoms: the molecule.

    Raises:
        ValueError: the molecule has no rotatable bond, or an element that the networks do not know.
    """

    condition_is_invariant: ClassVar[bool] = True
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

    def proposers(
        self, parameters: Parameters | None, kT: float, *, engine: str | None = None, threads: int = 1
    ) -> dict[str, Proposer]:
        """``flow`` redraws all coordinates that the density is of; see :meth:`Network.proposers`."""
        if choose_engine(self, engine) == "native":
            return {"flow": self.compiled()}
        return {"flow": InternalProposer(self, self.atoms.tree)}

    def compiled(self) -> Proposer:
        """The same proposals in the compiled kernels, with the weights as they are now."""
        raise NotImplementedError


class NativeFlow:
    """Proposals of a flow of one molecule in the compiled kernels.

    The networks compute in single precision; angles, splines, internal coordinates and log densities are in double
    precision. Against the flow in double precision log q is right to some 1e-5, and the log q of a draw is that of the
    draw scored afterwards to 1e-6 or so. Chains do not see each other: results depend neither on the batch nor on the
    number of threads (:func:`timewarp.native.threads`).

    Args:
        flow: the flow; later changes of its weights are not seen.
        kernel: its compiled form.
        n_noise: normal numbers of a draw, beside a uniform angle for each soft torsion.
    """

    engine = "native"
    cost = FORCES

    def __init__(self, flow: MoleculeFlow, kernel: Any, n_noise: int = 0) -> None:
        self.atoms, self.config, self.redraws = flow.atoms, flow.config, flow.redraws
        self._kernel, self._n_noise = kernel, n_noise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.atoms.residues}, width {self.config.width}, {native.instruction_set()})"

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm), in one pass; :class:`InternalProposer` has the formulas.

        Candidates are centred on the origin. The log ratio of a draw outside the chart is NaN. Random numbers are drawn
        in the order of the torch flows.
        """
        n = len(x)
        uniform = torch.rand(n, len(self.atoms.tree.rotatable), generator=generator, dtype=torch.float64)
        noise = torch.randn(n, self._n_noise, generator=generator, dtype=torch.float64)
        candidates = torch.empty(x.shape, dtype=x.dtype)
        log_q_candidate, log_q_current = torch.empty(2, n, dtype=torch.float64)
        base = math.pi * (2 * uniform - 1)
        self._kernel.propose(x.contiguous(), base, noise, candidates, log_q_candidate, log_q_current, native.threads())
        return Proposal(candidates, log_q_current - log_q_candidate, is_centred=True)
