"""Family A: the conditional RealNVP over all Cartesian coordinates (Klein et al., NeurIPS 2023, arXiv 2302.01170)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..shapes import Bool, Float, Int
from ..state import Atoms
from .attention import KernelMixing, KernelWeights, PairMask, QueryKeyMixing
from .chemistry import N_FEATURES, MoleculeTable
from .conditional import Candidate
from .tokens import ELEMENTS
from .transformer import AtomTransformer, Layer

ATTENTIONS = ("kernel", "dense", "local")
FRAMES = ("laboratory", "molecule")


@dataclass(frozen=True)
class CartesianFlowConfig:
    """Size and kind of the Cartesian flow. The defaults are ours; ``configs/paper-*.toml`` are the paper's.

    Attributes:
        n_couplings: coupling layers, alternating between positions and auxiliary; even.
        n_layers: transformer layers in each of a coupling's two networks.
        width: size of an atom's token.
        feed_forward: hidden layer of the transformer layers' feed-forward networks.
        mlp_hidden: hidden layer of the token MLPs at both ends.
        embedding: size of an atom's embedding h.
        attention: ``kernel``, ``dense`` or ``local`` (:mod:`timewarp.flows.attention`).
        length_scales_nm: of kernel attention, one head each.
        learn_length_scales: train them, from these values on.
        merged_values: kernel attention learns one matrix per head in place of value and output projection.
        n_heads: heads of dense and local attention; divides ``width``.
        radius_nm: of local attention.
        use_auxiliary: condition on the auxiliary variable v of the current state too.
        rich_features: tell atoms apart by charge, chemistry and residue, and pairs by the bonds between them (as an
            attention bias); False: by the five elements alone, as in the paper.
        frame: ``molecule`` expresses displacement and auxiliary in a frame that turns with the conditioning molecule
            (three bonded atoms at its centre), so that q is equivariant under rotation; ``laboratory`` does not, as in
            the paper, and rotations must be learned from augmented data.
        length_unit_nm: the networks see lengths in this unit; 1 nm in the paper.
    """

    n_couplings: int = 12
    n_layers: int = 2
    width: int = 64
    feed_forward: int = 256
    mlp_hidden: int = 128
    embedding: int = 32
    attention: str = "kernel"
    length_scales_nm: Sequence[float] = (0.1, 0.15, 0.25, 0.4, 0.7, 1.2)
    learn_length_scales: bool = True
    merged_values: bool = True
    n_heads: int = 8
    radius_nm: float = 0.5
    use_auxiliary: bool = False
    rich_features: bool = True
    frame: str = "molecule"
    length_unit_nm: float = 0.1

    def __post_init__(self) -> None:
        # A list from a TOML file is as good as a tuple.
        object.__setattr__(self, "length_scales_nm", tuple(float(v) for v in self.length_scales_nm))
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "str": str}
        for field in fields(self):
            value = getattr(self, field.name)
            kind = kinds.get(str(field.type), tuple)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{field.name} must be of type {field.type}, got {value!r}")
            if kind not in (bool, str, tuple) and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} must be positive, got {value!r}")
        if self.n_couplings % 2:
            raise ValueError(f"n_couplings must be even, so that both variables move equally, got {self.n_couplings}")
        if self.attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {self.attention!r}; expected one of {', '.join(ATTENTIONS)}")
        if self.frame not in FRAMES:
            raise ValueError(f"unknown frame {self.frame!r}; expected one of {', '.join(FRAMES)}")
        if not self.length_scales_nm or not all(math.isfinite(v) and v > 0 for v in self.length_scales_nm):
            raise ValueError(f"length_scales_nm must be positive lengths, got {list(self.length_scales_nm)}")
        if self.attention != "kernel" and self.width % self.n_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of n_heads ({self.n_heads})")

    @property
    def n_condition(self) -> int:
        """Numbers that a token carries of the condition: position, embedding and, if asked for, the auxiliary."""
        return 3 + self.embedding + (3 if self.use_auxiliary else 0)


@dataclass(frozen=True)
class CartesianCondition:
    """Everything of the condition that the flow needs, computed once.

    Attributes:
        positions: x in nm.
        is_atom: True for real atoms.
        frame: rotation whose columns are the axes of the frame that the flow works in.
        pairs: what the attention made of x.
        embedded: of each coupling's two networks, the condition's share of the first layer, (batch, atoms, hidden).
    """

    positions: Float[Tensor, "batch atoms 3"]
    is_atom: Bool[Tensor, "batch atoms"]
    frame: Float[Tensor, "batch 3 3"] | None
    pairs: Tensor
    embedded: tuple[tuple[Tensor, Tensor], ...]

    def __len__(self) -> int:
        return self.positions.shape[0]

    def select(self, rows: Tensor | slice) -> CartesianCondition:
        """The condition of some rows of the batch."""
        return CartesianCondition(
            self.positions[rows],
            self.is_atom[rows],
            None if self.frame is None else self.frame[rows],
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
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """The moved variable, and the log-determinant of the map taken; nothing happens where there is no atom."""
        is_atom = condition.is_atom.unsqueeze(-1)
        log_scale = self.scale(other, embedded[0], condition.pairs).masked_fill(~is_atom, 0)
        shift = self.shift(other, embedded[1], condition.pairs).masked_fill(~is_atom, 0)
        log_det = log_scale.sum((-1, -2))
        if inverse:
            return (moved - shift) * (-log_scale).exp(), -log_det
        return torch.addcmul(shift, moved, log_scale.exp()), log_det


class CartesianFlow(nn.Module):
    """q(x', v' | x): RealNVP over displacement and auxiliary, with atom transformers for s and t.

    Latents z^p ~ N(0, e^(2 s_p)) and z^v ~ N(0, e^(2 s_v)) pass through couplings that move the auxiliary given the
    displacement, then the displacement given the auxiliary, and so on; x' = x + displacement. The conditioning x is
    centred on its centroid, so that q is invariant under translation. Nothing depends on which molecule it is: the
    same weights serve any molecule of known elements, and padding changes nothing.

    Implements :class:`timewarp.flows.conditional.CartesianDensity`.

    Args:
        molecules: those that the rows of a batch can be.
        config: size and kind.

    Raises:
        ValueError: a molecule has an element that the networks do not know.
    """

    family: ClassVar[str] = "A"
    _elements: Tensor
    _features: Tensor
    _bonds: Tensor
    _is_atom: Tensor
    _frame: Tensor

    def __init__(self, molecules: Atoms | Sequence[Atoms], config: CartesianFlowConfig | None = None) -> None:
        super().__init__()
        config = config or CartesianFlowConfig()
        self.config = config
        self.uses_auxiliary = config.use_auxiliary
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
    def atoms(self) -> Atoms:
        """The first molecule."""
        return self.molecules[0]

    @property
    def residues(self) -> str:
        """Residue names of the molecule, or how many molecules there are."""
        return self.atoms.residues if len(self.molecules) == 1 else f"{len(self.molecules)} molecules"

    @torch.no_grad()
    def fit_prior(self, displacement: Tensor, auxiliary: Tensor | None = None) -> None:
        """Start the latents' scales from data: root mean squares of displacements (nm) and auxiliaries."""
        unit = self.config.length_unit_nm
        self.log_scale_position.copy_((displacement.square().mean().sqrt() / unit).log())
        if auxiliary is not None:
            self.log_scale_auxiliary.copy_(auxiliary.square().mean().sqrt().log())

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
        frame = _frame(local, self._frame[molecule]) if self.config.frame == "molecule" else None
        bonds = self._bonds[molecule][:, :atoms, :atoms]
        pairs = self.pair_map(local, is_atom, bonds)
        embedding = self.element(self._elements)
        if self.features is not None:
            embedding = embedding + self.features(self._features)
        inputs = [_turn(local, frame) / self.config.length_unit_nm, embedding[molecule][:, :atoms]]
        if self.uses_auxiliary and auxiliary is not None:
            inputs.append(_turn(auxiliary.masked_fill(~mask, 0), frame))
        joined = torch.cat(inputs, -1)
        embedded = tuple(
            (c.scale.embed_condition(joined), c.shift.embed_condition(joined)) for c in self._typed_couplings()
        )
        return CartesianCondition(positions, is_atom, frame, pairs, embedded)

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
        mask = condition.is_atom.unsqueeze(-1)
        log_q = self._log_normal(latent_position, latent_auxiliary, condition)
        position = (latent_position * self.log_scale_position.exp()).masked_fill(~mask, 0)
        auxiliary = (latent_auxiliary * self.log_scale_auxiliary.exp()).masked_fill(~mask, 0)
        for k, coupling in enumerate(self.couplings):
            if k % 2:
                position, log_det = coupling(position, auxiliary, condition, condition.embedded[k])
            else:
                auxiliary, log_det = coupling(auxiliary, position, condition, condition.embedded[k])
            log_q = log_q - log_det
        displacement = _turn_back(position, condition.frame) * self.config.length_unit_nm
        candidate = Candidate(condition.positions + displacement, _turn_back(auxiliary, condition.frame))
        return candidate, log_q

    def latents(
        self, candidate: Candidate, condition: CartesianCondition
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Inverse of :meth:`transform`: the standard normal latents of candidates, and their log density."""
        mask = condition.is_atom.unsqueeze(-1)
        displacement = (candidate.positions - condition.positions).masked_fill(~mask, 0)
        position = _turn(displacement, condition.frame) / self.config.length_unit_nm
        auxiliary = _turn(candidate.auxiliary.masked_fill(~mask, 0), condition.frame)
        total: Tensor | float = 0.0
        for k in reversed(range(len(self.couplings))):
            coupling, embedded = self.couplings[k], condition.embedded[k]
            if k % 2:
                position, log_det = coupling(position, auxiliary, condition, embedded, inverse=True)
            else:
                auxiliary, log_det = coupling(auxiliary, position, condition, embedded, inverse=True)
            total = total + log_det
        position = position * (-self.log_scale_position).exp()
        auxiliary = auxiliary * (-self.log_scale_auxiliary).exp()
        return position, auxiliary, self._log_normal(position, auxiliary, condition) + total

    def log_prob(self, candidate: Candidate, condition: CartesianCondition) -> Float[Tensor, "n batch"]:
        """log q(x', v' | x) with respect to dx' dv' of the real atoms."""
        return self.latents(candidate, condition)[2]

    def _log_normal(self, position: Tensor, auxiliary: Tensor, condition: CartesianCondition) -> Tensor:
        """Log density in nm of the scaled latents, from the standard ones."""
        mask = condition.is_atom.unsqueeze(-1)
        squared = (position.square() + auxiliary.square()).masked_fill(~mask, 0).sum((-1, -2))
        n_atoms = condition.is_atom.sum(-1)
        log_unit = math.log(2 * math.pi * self.config.length_unit_nm)
        per_atom = self.log_scale_position + self.log_scale_auxiliary + log_unit
        return -0.5 * squared - 3 * n_atoms * per_atom

    def _typed_couplings(self) -> list[Coupling]:
        return list(self.couplings)  # type: ignore[arg-type]


def _atom_transformer(config: CartesianFlowConfig) -> AtomTransformer:
    def mixing() -> nn.Module:
        if config.attention == "kernel":
            return KernelMixing(config.width, len(config.length_scales_nm), merged=config.merged_values)
        return QueryKeyMixing(config.width, config.n_heads)

    layers = [Layer(mixing(), config.width, config.feed_forward) for _ in range(config.n_layers)]
    return AtomTransformer(config.n_condition, layers, config.width, config.mlp_hidden)


def _frame(positions: Float[Tensor, "batch atoms 3"], corners: Int[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Right-handed axes (columns) of the plane through three atoms."""
    a, b, c = positions.gather(1, corners.unsqueeze(-1).expand(-1, -1, 3)).unbind(1)
    first = nn.functional.normalize(b - a, dim=-1)
    third = nn.functional.normalize(torch.linalg.cross(first, c - a), dim=-1)
    return torch.stack([first, torch.linalg.cross(third, first), third], -1)


def _turn(vectors: Tensor, frame: Tensor | None) -> Tensor:
    """Components of vectors (..., batch, atoms, 3) along the axes of each row's frame."""
    return vectors if frame is None else vectors @ frame


def _turn_back(vectors: Tensor, frame: Tensor | None) -> Tensor:
    return vectors if frame is None else vectors @ frame.transpose(-1, -2)
