"""Family A: the conditional RealNVP over all Cartesian coordinates (Klein et al., NeurIPS 2023, arXiv 2302.01170)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ...energies import Parameters
from ...energies.threads import run_all
from ...shapes import Bool, Float, Int
from ...state import Atoms
from ..chemistry import ELEMENTS
from ..proposer import Proposer
from ..registry import Network, choose_engine, register
from . import transformer
from .attention import KernelMixing, KernelWeights, PairMask, QueryKeyMixing
from .config import CartesianFlowConfig
from .frames import Axes, plane_axes
from .molecules import N_FEATURES, MoleculeTable
from .proposer import AuxiliaryProposer, Candidate
from .transformer import AtomTransformer, Layer

Moved = tuple[Tensor, Tensor, Tensor]
"""Positions, auxiliary and log-determinant."""


@dataclass(frozen=True)
class CartesianCondition:
    """Everything of the condition that the flow needs, computed once.

    Attributes:
        positions: x in nm.
        is_atom: True for real atoms.
        axes: what positions and auxiliaries are expressed in; None: displacements along the laboratory's axes.
        pairs: what the attention made of x.
        embedded: of each coupling's two networks, the condition's share of the first layer, (batch, atoms, hidden).
    """

    positions: Float[Tensor, "batch atoms 3"]
    is_atom: Bool[Tensor, "batch atoms"]
    axes: Axes | None
    pairs: Tensor
    embedded: tuple[tuple[Tensor, Tensor], ...]

    def __len__(self) -> int:
        return self.positions.shape[0]

    def select(self, rows: Tensor | slice) -> CartesianCondition:
        """The condition of some rows of the batch."""
        return CartesianCondition(
            self.positions[rows],
            self.is_atom[rows],
            None if self.axes is None else self.axes.select(rows),
            self.pairs[rows],
            tuple((scale[rows], shift[rows]) for scale, shift in self.embedded),
        )


class Coupling(nn.Module):
    """z <- z * exp(s(other)) + t(other), for all atoms of one variable at once; s and t are separate networks."""

    def __init__(self, config: CartesianFlowConfig) -> None:
        super().__init__()
        self.scale, self.shift = (_atom_transformer(config) for _ in range(2))

    def forward(
        self,
        moved: Float[Tensor, "n batch atoms 3"],
        other: Float[Tensor, "n batch atoms 3"],
        condition: CartesianCondition,
        embedded: tuple[Tensor, Tensor],
        *,
        inverse: bool = False,
        threads: int = 1,
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """The moved variable, and the log-determinant of the map taken; nothing happens where there is no atom."""
        is_atom = condition.is_atom.unsqueeze(-1)
        tasks = [
            partial(net, other, e, condition.pairs) for net, e in zip((self.scale, self.shift), embedded, strict=True)
        ]
        log_scale, shift = (out.masked_fill(~is_atom, 0) for out in run_all(tasks, threads))
        log_det = log_scale.sum((-1, -2))
        if inverse:
            return (moved - shift) * (-log_scale).exp(), -log_det
        return torch.addcmul(shift, moved, log_scale.exp()), log_det


@register
class CartesianFlow(Network):
    """q(x', v' | x): RealNVP over displacement and auxiliary, with atom transformers for s and t.

    Latents z^p ~ N(0, e^(2 s_p)) and z^v ~ N(0, e^(2 s_v)) pass through couplings that move the auxiliary given the
    displacement, then the displacement given the auxiliary, and so on; x' = x + displacement. The conditioning x is
    centred on its centroid, so that q is invariant under translation. Nothing depends on which molecule it is: the
    same weights serve any molecule of known elements, and padding changes nothing.

    Implements :class:`timewarp.flows.cartesian.proposer.CartesianDensity`.

    Args:
        molecules: those that the rows of a batch can be.
        config: size and kind.

    Attributes:
        threads: threads that share sampling and scoring without gradients on a CPU, each with states of its own. Set it
            where torch has one thread: threads within each product wait for each other some thousand times per draw.

    Raises:
        ValueError: a molecule has an element that the networks do not know.
    """

    kind: ClassVar[str] = "A"
    config_type: ClassVar[type] = CartesianFlowConfig
    transferable: ClassVar[bool] = True
    preference: ClassVar[int] = 3
    trained_on: ClassVar[str] = "pairs"
    _elements: Tensor
    _features: Tensor
    _bonds: Tensor
    _is_atom: Tensor
    _frame: Tensor
    _corners: Tensor
    _sums: Tensor
    _differences: Tensor

    def __init__(self, molecules: Atoms | Sequence[Atoms], config: CartesianFlowConfig | None = None) -> None:
        super().__init__()
        config = config or CartesianFlowConfig()
        self.config = config
        self.uses_auxiliary = config.use_auxiliary
        self.threads = 1
        self.serve(molecules)
        self.element = nn.Embedding(len(ELEMENTS), config.embedding)
        self.features = nn.Linear(N_FEATURES, config.embedding) if config.rich_features else None
        if config.attention == "kernel":
            self.pair_map: nn.Module = KernelWeights(
                config.length_scales_nm,
                learn_length_scales=config.learn_length_scales,
                bond_bias=config.rich_features,
            )
        else:
            radius = config.radius_nm if config.attention == "local" else None
            self.pair_map = PairMask(config.n_heads, radius_nm=radius, bond_bias=config.rich_features)
        self.couplings = nn.ModuleList(Coupling(config) for _ in range(config.n_couplings))
        self.log_scale_position = nn.Parameter(torch.zeros(()))
        self.log_scale_auxiliary = nn.Parameter(torch.zeros(()))

    def __repr__(self) -> str:
        c, count = self.config, sum(p.numel() for p in self.parameters())
        return (
            f"CartesianFlow({c.n_couplings} couplings x {c.n_layers} layers, {c.attention} attention, "
            f"{count:,} parameters, for {self.residues})"
        )

    def proposers(
        self, parameters: Parameters | None, kT: float, *, engine: str | None = None, threads: int = 1
    ) -> dict[str, Proposer]:
        """``flow`` moves all atoms; see :meth:`Network.proposers`."""
        choose_engine(self, engine)
        self.threads = threads
        return {"flow": AuxiliaryProposer(self)}

    def serve(self, molecules: Atoms | Sequence[Atoms]) -> None:
        """Change the molecules that the rows of a batch can be; the weights stay."""
        self.molecules = (molecules,) if isinstance(molecules, Atoms) else tuple(molecules)
        table = MoleculeTable.of(self.molecules)
        for field in fields(table):
            value = getattr(table, field.name)
            if hasattr(self, "log_scale_position"):
                value = value.to(self.log_scale_position.device)
                value = value.to(self.log_scale_position.dtype) if value.is_floating_point() else value
            self.register_buffer(f"_{field.name}", value, persistent=False)

    @property
    def atoms(self) -> Atoms:  # type: ignore[override]
        """The first molecule."""
        return self.molecules[0]

    @property
    def residues(self) -> str:
        """Residue names of the molecule, or how many molecules there are."""
        return self.atoms.residues if len(self.molecules) == 1 else f"{len(self.molecules)} molecules"

    @torch.no_grad()
    def fit_prior(
        self,
        before: Float[Tensor, "batch atoms 3"],
        after: Float[Tensor, "batch atoms 3"],
        molecule: Int[Tensor, " batch"] | None = None,
    ) -> None:
        """Start the scale of the positions' latents from pairs of frames: the root mean square of displacements."""
        condition = self.encode(before, torch.zeros_like(before) if self.uses_auxiliary else None, molecule)
        mask = condition.is_atom
        moved = self._positions_into(after, condition.axes or condition.positions, mask.unsqueeze(-1))[mask]
        self.log_scale_position.copy_(moved.square().mean().sqrt().log())

    def encode(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        auxiliary: Float[Tensor, "batch atoms 3"] | None = None,
        molecule: Int[Tensor, " batch"] | None = None,
    ) -> CartesianCondition:
        """Attention weights, embeddings and frames of the conditioning states.

        Args:
            positions: x in nm, padded to any size that holds the molecules of this batch.
            auxiliary: v of the same states; needed where the config's ``use_auxiliary`` is set.
            molecule: which of ``self.molecules`` each row is; None: the first.

        Raises:
            ValueError: the auxiliary is missing, or the positions have another number of atoms than the molecules.
        """
        if molecule is None:
            molecule = torch.zeros(len(positions), dtype=torch.long, device=positions.device)
        atoms = positions.shape[1]
        is_atom = self._is_atom[molecule]
        most = int(is_atom.sum(1).max())
        if not most <= atoms <= max(is_atom.shape[1], most):
            raise ValueError(f"the positions have {atoms} atoms, but the molecules of this batch have up to {most}")
        if self.uses_auxiliary and auxiliary is None:
            raise ValueError("this flow is conditioned on the auxiliary variable too; give encode its values")
        is_atom = is_atom[:, :atoms]
        mask = is_atom.unsqueeze(-1)
        centroid = (positions * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        local = (positions - centroid).masked_fill(~mask, 0)
        turn = None if self.config.frame == "laboratory" else plane_axes(local, self._frame[molecule][:, None])
        axes = None if turn is None else Axes(turn, positions)
        bonds = self._bonds[molecule][:, :atoms, :atoms]
        pairs = self.pair_map(local, is_atom, bonds)
        embedding = self.element(self._elements)
        if self.features is not None:
            embedding = embedding + self.features(self._features)
        inputs = [_into(axes, local) / self.config.length_unit_nm, embedding[molecule][:, :atoms]]
        if self.config.frame == "bonds" and turn is not None:
            own = plane_axes(local, self._corners[molecule][:, :atoms])
            sums, differences = (t[molecule][:, :atoms, :atoms] for t in (self._sums, self._differences))
            root = positions.gather(1, self._frame[molecule][:, :1, None].expand(-1, -1, 3))
            axes = Axes(own, root, sums, differences)
            relative = (turn.transpose(-1, -2) @ own).flatten(-2)
            inputs += [relative.masked_fill(~mask, 0), self._positions_into(positions, axes, mask)]
        if self.uses_auxiliary and auxiliary is not None:
            inputs.append(_into(axes, auxiliary.masked_fill(~mask, 0)))
        joined = torch.cat(inputs, -1)
        embedded = tuple(
            (c.scale.embed_condition(joined), c.shift.embed_condition(joined))
            for c in cast("list[Coupling]", list(self.couplings))
        )
        return CartesianCondition(positions, is_atom, axes, pairs, embedded)

    def sample(
        self, condition: CartesianCondition, n: int, generator: torch.Generator
    ) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with log q(x', v' | x) in nm^-1; gradients flow to the parameters."""
        positions = condition.positions
        latents = torch.randn(
            2, n, *positions.shape, generator=generator, device=positions.device, dtype=positions.dtype
        )
        return self.transform(latents[0], latents[1], condition)

    def transform(
        self,
        latent_position: Float[Tensor, "n batch atoms 3"],
        latent_auxiliary: Float[Tensor, "n batch atoms 3"],
        condition: CartesianCondition,
    ) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """From standard normal latents to candidates, with their log density: what :meth:`sample` draws through."""
        position, auxiliary, log_det = self._in_pieces(self._forwards, latent_position, latent_auxiliary, condition)
        axes, moved = condition.axes, position * self.config.length_unit_nm
        drawn = condition.positions + moved if axes is None else axes.positions_out(moved)
        drawn = torch.where(condition.is_atom.unsqueeze(-1), drawn, condition.positions)
        candidate = Candidate(drawn, auxiliary if axes is None else axes.vectors_out(auxiliary))
        return candidate, self._log_normal(latent_position, latent_auxiliary, condition) - log_det

    def latents(
        self, candidate: Candidate, condition: CartesianCondition
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Inverse of :meth:`transform`: the standard normal latents of candidates, and their log density."""
        mask = condition.is_atom.unsqueeze(-1)
        position = self._positions_into(candidate.positions, condition.axes or condition.positions, mask)
        auxiliary = _into(condition.axes, candidate.auxiliary.masked_fill(~mask, 0))
        position, auxiliary, log_det = self._in_pieces(self._backwards, position, auxiliary, condition)
        return position, auxiliary, self._log_normal(position, auxiliary, condition) + log_det

    def log_prob(self, candidate: Candidate, condition: CartesianCondition) -> Float[Tensor, "n batch"]:
        """log q(x', v' | x) with respect to dx' dv' of the real atoms."""
        return self.latents(candidate, condition)[2]

    def _positions_into(self, positions: Tensor, axes: Axes | Tensor, mask: Tensor) -> Tensor:
        """Positions in nm as the couplings see them: along axes, or as displacements from given positions."""
        moved = axes.positions_into(positions) if isinstance(axes, Axes) else positions - axes
        return moved.masked_fill(~mask, 0) / self.config.length_unit_nm

    def _forwards(self, position: Tensor, auxiliary: Tensor, condition: CartesianCondition, threads: int) -> Moved:
        """Standard normal latents through scales and couplings, with the log-determinant of the couplings."""
        mask, total = condition.is_atom.unsqueeze(-1), position.new_zeros(())
        position = (position * self.log_scale_position.exp()).masked_fill(~mask, 0)
        auxiliary = (auxiliary * self.log_scale_auxiliary.exp()).masked_fill(~mask, 0)
        for k, (coupling, embedded) in enumerate(zip(self.couplings, condition.embedded, strict=True)):
            if k % 2:
                position, log_det = coupling(position, auxiliary, condition, embedded, threads=threads)
            else:
                auxiliary, log_det = coupling(auxiliary, position, condition, embedded, threads=threads)
            total = total + log_det
        return position, auxiliary, total

    def _backwards(self, position: Tensor, auxiliary: Tensor, condition: CartesianCondition, threads: int) -> Moved:
        """Inverse of :meth:`_forwards`, with the log-determinant of the inverse couplings."""
        total = position.new_zeros(())
        for k in reversed(range(len(self.couplings))):
            coupling, embedded = self.couplings[k], condition.embedded[k]
            if k % 2:
                position, log_det = coupling(position, auxiliary, condition, embedded, inverse=True, threads=threads)
            else:
                auxiliary, log_det = coupling(auxiliary, position, condition, embedded, inverse=True, threads=threads)
            total = total + log_det
        return position * (-self.log_scale_position).exp(), auxiliary * (-self.log_scale_auxiliary).exp(), total

    def _in_pieces(
        self,
        work: Callable[[Tensor, Tensor, CartesianCondition, int], Moved],
        position: Float[Tensor, "n batch atoms 3"],
        auxiliary: Float[Tensor, "n batch atoms 3"],
        condition: CartesianCondition,
    ) -> Moved:
        """Take states through all couplings, a few at a time on each thread; all at once where gradients flow."""
        n, batch, atoms, _ = position.shape
        if torch.is_grad_enabled() or position.is_cuda:
            return work(position, auxiliary, condition, 1)
        states = n * batch
        if states < self.threads:  # too few to share: the two networks of a coupling are
            return work(position, auxiliary, condition, self.threads)
        count = math.ceil(states * atoms / transformer.tokens_at_once(max(self.config.feed_forward, self.config.width)))
        size = math.ceil(states / (math.ceil(count / self.threads) * self.threads))
        moved = torch.empty_like(position), torch.empty_like(auxiliary), position.new_empty(n, batch)

        def piece(samples: slice, rows: slice) -> None:
            part = condition if rows == slice(0, batch) else condition.select(rows)
            for out, value in zip(moved, work(position[samples, rows], auxiliary[samples, rows], part, 1), strict=True):
                out[samples, rows] = value

        # Several samples of one condition where there are many, else several conditions with all of theirs.
        grid = product(transformer.pieces(n, size), transformer.pieces(batch, max(1, size // n)))
        run_all([partial(piece, samples, rows) for samples, rows in grid], self.threads)
        return moved

    def _log_normal(self, position: Tensor, auxiliary: Tensor, condition: CartesianCondition) -> Tensor:
        """Log density in nm of the scaled latents, from the standard ones."""
        mask = condition.is_atom.unsqueeze(-1)
        squared = (position.square() + auxiliary.square()).masked_fill(~mask, 0).sum((-1, -2))
        n_atoms = condition.is_atom.sum(-1)
        log_unit = math.log(2 * math.pi * self.config.length_unit_nm)
        per_atom = self.log_scale_position + self.log_scale_auxiliary + log_unit
        return -0.5 * squared - 3 * n_atoms * per_atom


def _atom_transformer(config: CartesianFlowConfig) -> AtomTransformer:
    def mixing() -> nn.Module:
        if config.attention == "kernel":
            return KernelMixing(config.width, len(config.length_scales_nm), merged=config.merged_values)
        return QueryKeyMixing(config.width, config.n_heads)

    layers = [Layer(mixing(), config.width, config.feed_forward) for _ in range(config.n_layers)]
    return AtomTransformer(config.n_condition, layers, config.width, config.mlp_hidden, config.initial_scale)


def _into(axes: Axes | None, vectors: Tensor) -> Tensor:
    return vectors if axes is None else axes.vectors_into(vectors)
