"""Family C: the soft torsions given the stiff coordinates, by circular spline couplings over torsion tokens."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ... import native
from ...geometry import InternalTree
from ...settings import Settings, setting
from ...shapes import Bool, Float, Int
from ...state import Atoms
from ..chemistry import N_TORSION_FEATURES
from ..circular import waves
from ..density import soft_coordinates
from ..folding import after_norm, fold_network, real, whole
from ..molecule import MoleculeFlow, NativeFlow, Standardiser
from ..registry import register
from ..splines import circular_spline, n_circular_parameters
from ..tokens import N_ATOM_FEATURES, TokenGraph, TokenNetwork

HARMONICS = 3
"""An angle enters a network as the sines and cosines of its first multiples."""


@dataclass(frozen=True, kw_only=True)
class TorsionFlowConfig(Settings):
    """Size of the torsion flow."""

    n_couplings: int = setting(8, "coupling layers", least=1)
    bins: int = setting(12, "bins of each circular spline", least=1)
    width: int = setting(64, "size of a token", least=1)
    n_blocks: int = setting(1, "attention blocks in each coupling's conditioner", least=1)
    n_heads: int = setting(4, "attention heads", least=1)
    context_blocks: int = setting(
        2, "attention blocks over the atoms, which see the stiff coordinates; 0 leaves these unseen", least=0
    )


def coupling_mask(layer: int, n_tokens: int) -> Bool[Tensor, " tokens"]:
    """Which tokens a coupling layer transforms: those whose index has a given bit, then those that lack it.

    The bit moves on every two layers, so that any two tokens are parted by some layer.

    >>> coupling_mask(0, 3).tolist()
    [True, False, True]
    """
    bits = max(1, math.ceil(math.log2(max(n_tokens, 2))))
    return ((torch.arange(n_tokens) >> (layer // 2) % bits) & 1) == layer % 2


class TorsionCouplings(nn.Module):
    """Circular spline couplings over the torsion tokens of a molecule, from a uniform base."""

    def __init__(self, config: TorsionFlowConfig, n_context: int) -> None:
        super().__init__()
        self.config = config
        self.conditioners = nn.ModuleList(
            TokenNetwork(
                2 * HARMONICS + 1 + n_context,
                N_TORSION_FEATURES,
                n_circular_parameters(config.bins),
                width=config.width,
                n_blocks=config.n_blocks,
                n_heads=config.n_heads,
            )
            for _ in range(config.n_couplings)
        )

    def _couple(
        self, layer: int, angle: Tensor, context: Tensor | None, graph: TokenGraph, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        moves = coupling_mask(layer, angle.shape[-1]).to(angle.device)
        known = (~moves).to(angle)
        inputs = [waves(angle, HARMONICS) * known[..., None], known.expand_as(angle)[..., None]]
        if context is not None:
            inputs.append(context)
        parameters = self.conditioners[layer](torch.cat(inputs, -1), graph)
        image, log_slope = circular_spline(angle, parameters, inverse=inverse)
        return torch.where(moves, image, angle), (log_slope * moves).sum(-1)

    def log_prob(
        self,
        angle: Float[Tensor, "batch tokens"],
        context: Float[Tensor, "batch tokens width"] | None,
        graph: TokenGraph,
    ) -> Float[Tensor, " batch"]:
        """Log density of the torsions, with respect to d phi."""
        total = _uniform(angle)
        for layer in range(self.config.n_couplings):
            angle, log_slope = self._couple(layer, angle, context, graph, inverse=False)
            total = total + log_slope
        return total

    def sample(
        self,
        context: Float[Tensor, "batch tokens width"] | None,
        graph: TokenGraph,
        n_samples: int,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "batch tokens"], Float[Tensor, " batch"]]:
        """``n_samples`` torsions (the context's batch, if any), and their log density."""
        shape, dtype = (n_samples, len(graph.features)), graph.features.dtype
        uniform = torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)
        angle = math.pi * (2 * uniform - 1)
        total = _uniform(angle)
        for layer in reversed(range(self.config.n_couplings)):
            angle, log_slope = self._couple(layer, angle, context, graph, inverse=True)
            total = total - log_slope
        return angle, total


def _uniform(angle: Float[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    """Log density of uniform angles."""
    return -math.log(2 * math.pi) * angle.new_full(angle.shape[:1], angle.shape[1])


class StiffContext(nn.Module):
    """Reads the stiff coordinates on atom tokens; gives each torsion token what its surroundings look like."""

    def __init__(self, config: TorsionFlowConfig) -> None:
        super().__init__()
        self.network = TokenNetwork(
            3,
            N_ATOM_FEATURES,
            config.width,
            width=config.width,
            n_blocks=config.context_blocks,
            n_heads=config.n_heads,
        )
        # The read-out must not start at zero here: the couplings' own does, and two in a row would never learn.
        nn.init.xavier_uniform_(self.network.read_out.weight)
        self.join = nn.Linear(4 * config.width, config.width)

    def forward(
        self, scaled: Float[Tensor, "batch atoms 3"], torsions: Int[Tensor, "tokens 4"], graph: TokenGraph
    ) -> Float[Tensor, "batch tokens width"]:
        """Context of each torsion token.

        Args:
            scaled: standardised stiff coordinates, zero elsewhere.
            torsions: the atoms of each torsion.
            graph: the atom tokens.
        """
        atoms = self.network(scaled, graph)
        index = torsions.flatten()[None, :, None].expand(len(atoms), -1, atoms.shape[-1])
        return self.join(atoms.gather(1, index).unflatten(1, torsions.shape).flatten(2))


@dataclass(frozen=True)
class TorsionCondition:
    """An encoded condition: the stiff coordinates themselves, and what the network made of them."""

    internal: Float[Tensor, "batch atoms 3"]
    context: Float[Tensor, "batch tokens width"] | None


@register
class TorsionFlow(MoleculeFlow):
    """Family C for one molecule: q(soft torsions | stiff coordinates).

    The Jacobian of internal coordinates depends on bond lengths and angles only, which are kept, so that it cancels
    from the Metropolis-Hastings ratio.

    Args:
        atoms: the molecule.
        config: the network's size.

    Raises:
        ValueError: the molecule has no rotatable bond, or an element that the network does not know.
    """

    kind: ClassVar[str] = "C"
    config_type: ClassVar[type] = TorsionFlowConfig
    preference: ClassVar[int] = 0
    has_compiled_form: ClassVar[bool] = True
    _corners: Tensor

    def __init__(self, atoms: Atoms, config: TorsionFlowConfig | None = None) -> None:
        super().__init__(atoms)
        self.redraws = soft_coordinates(atoms.tree)
        self.config = config or TorsionFlowConfig()
        self.context = StiffContext(self.config) if self.config.context_blocks else None
        self.couplings = TorsionCouplings(self.config, self.config.width if self.context else 0)
        self.register_buffer("_corners", atoms.tree.torsions, persistent=False)

    def compiled(self) -> NativeFlow:
        """The same proposals in the compiled kernels, with the weights as they are now."""
        flow = copy.deepcopy(self).cpu().double()
        context = None if flow.context is None else _context(flow.context, flow._atom_graph, flow.atoms.tree.torsions)
        return NativeFlow(self, fold_flow(flow, flow.couplings, context))

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> TorsionCondition:
        """Read the stiff coordinates; the soft torsions in ``internal`` have no influence."""
        context = None
        if self.context is not None:
            scaled = self.standardiser.scaled(internal)
            context = self.context(scaled, self._corners, self._atom_graph)
        return TorsionCondition(internal, context)

    def sample(
        self, condition: TorsionCondition, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Redraw all soft torsions, ``n`` times per condition; the stiff coordinates are copied."""
        batch = condition.internal.shape[0]
        context = condition.context if condition.context is None else condition.context.repeat(n, 1, 1)
        torsions, log_q = self.couplings.sample(context, self._torsion_graph, n * batch, generator)
        internal = condition.internal.repeat(n, 1, 1, 1)
        internal[:, :, self._rotatable, 2] = torsions.reshape(n, batch, -1).to(internal)
        return internal, log_q.reshape(n, batch)

    def log_prob(
        self, internal: Float[Tensor, "batch atoms 3"], condition: TorsionCondition
    ) -> Float[Tensor, " batch"]:
        """Log density of the soft torsions in ``internal`` given the condition."""
        return self.couplings.log_prob(internal[:, self._rotatable, 2], condition.context, self._torsion_graph)


@torch.no_grad()
def fold_flow(flow: MoleculeFlow, torsions: TorsionCouplings, context: Any) -> Any:
    """The compiled form of the torsion couplings of a flow, with the folded context network or None."""
    couplings = []
    for layer, conditioner in enumerate(torsions.conditioners):
        assert isinstance(conditioner, TokenNetwork)
        moves = coupling_mask(layer, len(flow.atoms.tree.rotatable))
        couplings.append(_coupling(conditioner, flow._torsion_graph, moves))
    tree = flow.atoms.tree
    return native.core().Flow(
        **_tree(tree, flow.standardiser),
        torsions=whole(tree.torsions),
        context=context,
        couplings=couplings,
        bins=torsions.config.bins,
    )


@torch.no_grad()
def _context(context: StiffContext, graph: TokenGraph, torsions: Int[Tensor, "torsions 4"]) -> Any:
    """The network over atoms, read out at the corners of torsions and joined."""
    network = context.network
    read, read_bias = after_norm(network.read_out, network.norm)
    parts = context.join.weight.unflatten(1, (4, -1))  # (width, corner, width)
    joined = torch.einsum("okm,mi->oki", parts, read).flatten(1)
    bias = context.join.bias + parts.sum(1) @ read_bias
    return fold_network(
        network,
        graph,
        constant=torch.zeros_like(graph.features[:, :0]),
        n_inputs=network.embed_inputs.in_features,
        active=torsions.unique(),
        read=(joined, bias),
    )


def _coupling(network: TokenNetwork, graph: TokenGraph, moves: Bool[Tensor, " torsions"]) -> Any:
    """A coupling's conditioner; its active tokens are those that move."""
    return fold_network(
        network,
        graph,
        constant=(~moves).to(graph.features)[:, None],
        n_inputs=2 * HARMONICS,
        active=moves.nonzero()[:, 0],
        read=after_norm(network.read_out, network.norm),
    )


def _tree(tree: InternalTree, standardiser: Standardiser) -> dict[str, np.ndarray]:
    third = tree.order[2]
    sibling = [-1 if first in (i, -1, third) else first for i, first in enumerate(tree.first_sibling)]
    places = standardiser.stiff.nonzero()
    return {
        "order": whole(torch.tensor(tree.order)),
        "references": whole(torch.tensor(tree.references)),
        "sibling": whole(torch.tensor(sibling)),
        "stiff": whole(torch.cat([places, standardiser.is_dihedral[:, None]], 1)),
        "standard": real(torch.stack([standardiser.mean, 1 / standardiser.scale], 1)),
    }
