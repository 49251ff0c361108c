"""A candidate and its log-ratio: what Metropolis-Hastings needs to know of a density over internal coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import InternalTree, log_volume
from ..shapes import Float
from .density import InternalDensity


@torch.no_grad()
def propose(
    density: InternalDensity,
    internal: Float[Tensor, "batch atoms 3"],
    tree: InternalTree,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
    r"""Draw one candidate per state, with log [q(x | x') / q(x' | x)] in Cartesian measure.

    With V the volume element of internal coordinates, a Cartesian density is q_x = q / V (times the uniform density of
    the rigid motion, which is kept), so that the log-ratio is

    .. math:: [\log q(x | x') - \log V(x)] - [\log q(x' | x) - \log V(x')].

    Family C keeps bond lengths and angles, so V cancels; family B needs it.
    """
    condition = density.encode(internal)
    drawn, log_q_forward = density.sample(condition, 1, generator)
    candidate, log_q_forward = drawn[0], log_q_forward[0]
    back = condition if density.condition_is_invariant else density.encode(candidate)
    log_q_backward = density.log_prob(internal, back)
    volumes = log_volume(candidate, tree) - log_volume(internal, tree)
    return candidate, log_q_backward - log_q_forward + volumes
