"""The causal transformer that corrects the physics prior of each torsion of a growing molecule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...settings import Settings, setting
from ...shapes import Bool, Float
from ..circular import grid, waves
from .plan import N_RELATION, N_SITE, N_STATIC
from .profiles import ANGLES, COARSE, N_SPATIAL, Features, interpolation
from .twist import TwistHead

HARMONICS_IN = 3
N_INPUT = 2 * ANGLES + 2 * COARSE + 2 + N_STATIC


@dataclass(frozen=True, kw_only=True)
class GrowthConfig(Settings):
    """Size of the network."""

    width: int = setting(128, "size of a token", least=1)
    n_blocks: int = setting(4, "attention blocks", least=1)
    n_heads: int = setting(8, "attention heads; divides width", least=1)
    expansion: int = setting(3, "of the feed-forward layers", least=1)
    harmonics: int = setting(8, "of the correction, a Fourier series in the torsion", least=1, most=ANGLES // 2 - 1)
    physics: bool = setting(
        True,
        "start from the physics prior; without it (a baseline) from a uniform density, and no energies are seen",
    )

    omega: bool = setting(False, "draw the torsions of peptide bonds in the growth, as all others")
    twists: bool = setting(False, "draw the torsions of peptide bonds first, from what is rigid about them")
    chirality: bool = setting(
        False, "see each step in the mirror in which its residue is L, and be told where others are not"
    )

    @property
    def told(self) -> dict[str, bool]:
        """What a plan must hold for this network, as arguments of :func:`.plan.build_plan`."""
        return {"omega": self.omega, "chirality": self.chirality}

    @property
    def n_static(self) -> int:
        """Numbers of a step that no configuration changes."""
        return N_STATIC if self.omega else N_STATIC - 1

    @property
    def n_spatial(self) -> int:
        """Numbers of where a fragment is."""
        return N_SPATIAL if self.chirality else N_SPATIAL - 1

    @property
    def n_pair(self) -> int:
        """Numbers of a step and a fragment."""
        return self.n_spatial + N_RELATION

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.omega and self.twists:
            raise ValueError("peptide bonds are drawn first (twists) or in the growth (omega), not twice")
        if self.width % self.n_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of n_heads ({self.n_heads})")


@dataclass(frozen=True, eq=False)
class Static:
    """Features that no configuration changes, of one molecule or a padded batch of them.

    Attributes:
        steps: (batch or 1, steps, features) of each torsion.
        sites: (batch or 1, steps + 1, features) of each fragment.
        relations: (batch or 1, steps, steps + 1, features).
        is_step: True for real torsions.
        twisting: (batch or 1, steps), True for peptide bonds.
    """

    steps: Tensor
    sites: Tensor
    relations: Tensor
    is_step: Bool[Tensor, "batch steps"]
    twisting: Bool[Tensor, "batch steps"]


def step_inputs(f: Features, static: Tensor, config: GrowthConfig) -> Tensor:
    """Numbers of one step (batch, ...) or of several (batch, steps, ...), as the network takes them."""
    profile = f.profile.clamp(min=-12.0)
    density = torch.softmax(f.profile, -1) * ANGLES
    electric, crowd = f.ahead.unbind(-2)
    parts = [profile / 4, density.clamp(max=16) / 4, torch.tanh(electric / 4), torch.tanh(crowd / 2), f.bends]
    if not config.physics:
        parts = [torch.zeros_like(p) for p in parts[:4]] + parts[4:]
    static = static[..., : config.n_static]
    return torch.cat([*parts, static.expand(*parts[0].shape[:-1], static.shape[-1])], -1)


class GrowthBlock(nn.Module):
    """Attention over fragments, then a feed-forward layer.

    A step reads earlier torsions (what they made of themselves, and their angles), and all other fragments by their
    chemistry; to both, where they are relative to it.
    """

    def __init__(self, config: GrowthConfig) -> None:
        super().__init__()
        width, self.n_heads = config.width, config.n_heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.known = nn.Linear(width, 2 * width)
        self.angle = nn.Linear(2 * HARMONICS_IN, 2 * width)
        self.fragment = nn.Linear(N_SITE, 2 * width)
        self.bias = nn.Linear(config.n_pair, config.n_heads)
        self.where = nn.Linear(config.n_heads * config.n_pair, width, bias=False)
        self.project = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.expansion * width)
        self.narrow = nn.Linear(config.expansion * width, width)

    def memory(self, token: Tensor, angle: Tensor) -> Tensor:
        """Keys and values (..., 2 width) of steps whose torsion is drawn."""
        return self.known(self.norm(token)) + self.angle(waves(angle, HARMONICS_IN))

    def forward(
        self, token: Tensor, memory: Tensor, sites: Tensor, pairs: Tensor, past: Tensor, real: Tensor
    ) -> Tensor:
        """One block.

        Args:
            token: (batch, steps, width), the steps that are asked for.
            memory: (batch, sites, 2 width), of drawn torsions; anything elsewhere.
            sites: (batch or 1, sites, 2 width), keys and values of fragments by their chemistry.
            pairs: (batch, steps, sites, n_pair).
            past: (steps, sites), which torsions each step may read.
            real: (batch or 1, sites), False for padding.
        """
        heads = (self.n_heads, -1)
        query = self.query(self.norm(token)).unflatten(-1, heads).transpose(1, 2)
        key_m, value_m = (m.unflatten(-1, heads).transpose(1, 2) for m in memory.chunk(2, -1))
        key_s, value_s = (m.unflatten(-1, heads).transpose(1, 2) for m in sites.chunk(2, -1))
        scale = query.shape[-1] ** -0.5
        logits = torch.where(past, query @ key_m.transpose(-1, -2), query @ key_s.transpose(-1, -2)) * scale
        logits = logits + self.bias(pairs).permute(0, 3, 1, 2)
        weights = torch.softmax(logits.masked_fill(~real[:, None, None, :], -1e4), -1)
        mixed = (weights * past) @ value_m + (weights * ~past) @ value_s
        places = weights.transpose(1, 2) @ pairs  # (batch, steps, heads, n_pair)
        token = token + self.project(mixed.transpose(1, 2).flatten(2)) + self.where(places.flatten(2))
        return token + self.narrow(F.silu(self.widen(self.norm_feed(token))))


class GrowthNetwork(nn.Module):
    """From features of the steps to the logarithm of each torsion's density on the grid.

    The read-out starts at zero: an untrained network is the physics prior.
    """

    waves: Tensor
    fine: Tensor
    fine_twisting: Tensor

    def __init__(self, config: GrowthConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(N_INPUT - N_STATIC + config.n_static, config.width)
        self.blocks = nn.ModuleList(GrowthBlock(config) for _ in range(config.n_blocks))
        if config.twists:
            self.twist = TwistHead()
        self.norm = nn.LayerNorm(config.width)
        self.read_out = nn.Linear(config.width, 2 * config.harmonics + 3)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)
        angle = grid(ANGLES, torch.zeros(1, dtype=torch.float64))
        multiples = torch.arange(1, config.harmonics + 1, dtype=torch.float64)[:, None] * angle
        self.register_buffer("waves", torch.cat([multiples.cos(), multiples.sin()]).float(), persistent=False)
        self.register_buffer("fine", interpolation(False).float(), persistent=False)
        self.register_buffer("fine_twisting", interpolation(True).float(), persistent=False)

    @property
    def layers(self) -> list[GrowthBlock]:
        """The blocks, by their type."""
        return cast("list[GrowthBlock]", list(self.blocks))

    @torch.no_grad()
    def adopt(self, other: GrowthNetwork) -> None:
        """Take over the weights of a network that is told less: what it has no numbers for begins at zero.

        Raises:
            ValueError: it differs in more than ``omega`` and ``chirality``.
        """
        mine, theirs = self.config, other.config
        told = {**mine.told, "twists": mine.twists}
        if replace(theirs, **told) != mine or any(getattr(theirs, key) > told[key] for key in told):
            raise ValueError(
                f"{mine} cannot begin with the weights of {theirs}: only omega, twists and chirality may be added"
            )
        own = {name: rows for name, rows in self.state_dict().items() if name.startswith("twist.")}
        there = {**own, **other.state_dict()}

        def widened(rows: Tensor) -> Tensor:
            """Numbers of pairs (..., n_pair): handedness comes behind the rest of where a fragment is."""
            spatial = rows[..., : theirs.n_spatial]
            more = F.pad(spatial, (0, mine.n_spatial - theirs.n_spatial))
            return torch.cat([more, rows[..., theirs.n_spatial :]], -1)

        for name, rows in there.items():
            if name == "embed.weight":
                there[name] = F.pad(rows, (0, mine.n_static - theirs.n_static))
            elif name.endswith(".bias.weight"):
                there[name] = widened(rows)
            elif name.endswith(".where.weight"):
                there[name] = widened(rows.unflatten(1, (theirs.n_heads, -1))).flatten(1)
        self.load_state_dict(there)

    def site_memories(self, sites: Tensor) -> list[Tensor]:
        """Keys and values of fragments in each block, from their chemistry."""
        return [block.fragment(sites) for block in self.layers]

    def logits(self, token: Tensor, f: Features, twisting: Tensor) -> Tensor:
        """Log density (not normalised) on the grid."""
        out = self.read_out(self.norm(token))
        correction = out[..., : self.waves.shape[0]] @ self.waves.to(out)
        if not self.config.physics:
            return correction
        mixing = out[..., -3:]
        ahead = torch.tanh(f.ahead / 8) * 8
        outlook = ahead @ self.fine.to(out)
        if self.config.omega:
            outlook = torch.where(twisting[..., None, None], ahead @ self.fine_twisting.to(out), outlook)
        return (1 + mixing[..., :1]) * f.profile + correction + (mixing[..., None, 1:] @ outlook)[..., 0, :]

    def forward(
        self, f: Features, static: Static, memories: list[Tensor] | None = None
    ) -> Float[Tensor, "batch steps angles"]:
        """All steps at once, of complete configurations (teacher forcing).

        ``memories`` is filled with the keys and values of each block, (batch, steps + 1, 2 width), the root's empty.
        """
        steps = f.angle.shape[1]
        token = self.embed(step_inputs(f, static.steps, self.config))
        where = f.spatial[..., : self.config.n_spatial]
        pairs = torch.cat([where, static.relations.expand(len(token), -1, -1, -1)], -1)
        index = torch.arange(steps, device=token.device)
        past = index[None, :] < index[:, None]
        past = F.pad(past, (1, 0))
        real = F.pad(static.is_step, (1, 0), value=True)
        for block, sites in zip(self.layers, self.site_memories(static.sites), strict=True):
            memory = F.pad(block.memory(token, f.angle), (0, 0, 1, 0))
            if memories is not None:
                memories.append(memory)
            token = block(token, memory, sites, pairs, past, real)
        return self.logits(token, f, static.twisting)


class Growing:
    """The network step by step, for drawing: what earlier torsions left behind is kept.

    Args:
        network: the network.
        static: of one molecule.
        memories: of each block, from :meth:`GrowthNetwork.forward`; written over.
        first: the step to begin with; earlier ones are as they are in ``memories``.
    """

    def __init__(self, network: GrowthNetwork, static: Static, memories: list[Tensor], first: int = 0) -> None:
        self.network, self.static, self.memories = network, static, memories
        self.next = first
        self.sites = network.site_memories(static.sites)
        self._tokens: list[Tensor] = []
        self._index = torch.arange(static.sites.shape[1], device=static.sites.device)
        self._real = torch.ones(1, len(self._index), dtype=torch.bool, device=static.sites.device)

    def step(self, f: Features) -> Float[Tensor, "batch angles"]:
        """Logits of the next torsion; :meth:`drawn` must follow."""
        network, k = self.network, self.next
        token = network.embed(step_inputs(f, self.static.steps[:, k], network.config))[:, None]
        relations = self.static.relations[:, k : k + 1].expand(len(token), -1, -1, -1)
        pairs = torch.cat([f.spatial[:, None, :, : network.config.n_spatial], relations], -1)
        past = ((self._index >= 1) & (self._index <= k))[None]
        self._tokens = []
        for block, sites, memory in zip(network.layers, self.sites, self.memories, strict=True):
            self._tokens.append(token[:, 0])
            token = block(token, memory, sites, pairs, past, self._real)
        return network.logits(token[:, 0], f, self.static.twisting[:, k])

    def drawn(self, angle: Float[Tensor, " batch"]) -> None:
        """Say which angle the last torsion got."""
        self.next += 1
        for block, memory, token in zip(self.network.layers, self.memories, self._tokens, strict=True):
            memory[:, self.next] = block.memory(token, angle)
