"""Leapfrog integration of many configurations at once, in torch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..shapes import Float


def leapfrog(
    forces: Callable[[Tensor], Tensor],
    positions: Float[Tensor, "batch atoms 3"],
    momenta: Float[Tensor, "batch atoms 3"],
    masses: Float[Tensor, " atoms"],
    step_ps: Float[Tensor, " batch"],
    n_steps: int,
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, "batch atoms 3"]]:
    """The end of a position-first leapfrog trajectory: half a drift, kick and drift in turn, half a drift.

    Args:
        forces: of positions, in kJ/(mol nm).
        positions: where it starts, in nm.
        momenta: in Da nm/ps.
        masses: in Da.
        step_ps: step size of each configuration, in ps.
        n_steps: forces in the trajectory.

    Returns:
        Positions and momenta at the end.
    """
    kick = step_ps.to(positions)[:, None, None]
    drift = kick / masses.to(positions)[:, None]
    x, p = positions + 0.5 * drift * momenta, momenta
    for step in range(n_steps):
        p = p + kick * forces(x)
        x = x + (drift if step < n_steps - 1 else 0.5 * drift) * p
    return x, p
