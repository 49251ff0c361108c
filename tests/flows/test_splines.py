import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from timewarp.flows.splines import circular_spline, linear_spline, n_circular_parameters, n_linear_parameters
from timewarp.geometry import wrap

BOUND = 3.0
BINS = 6


def spline(kind: str, value: torch.Tensor, parameters: torch.Tensor, inverse: bool = False):
    if kind == "circular":
        return circular_spline(value, parameters, inverse=inverse)
    return linear_spline(value, parameters, bound=BOUND, inverse=inverse)


def parameters(kind: str, n: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    size = n_circular_parameters(BINS) if kind == "circular" else n_linear_parameters(BINS)
    return scale * torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(n: int, seed: int) -> torch.Tensor:
    uniform = torch.rand(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return math.pi * (2 * uniform - 1)


@pytest.mark.parametrize("kind", ["circular", "linear"])
@given(seed=st.integers(0, 10_000))
def test_inverse_undoes_forward(kind, seed):
    p, x = parameters(kind, 64, seed), values(64, seed)
    y, forward = spline(kind, x, p)
    back, backward = spline(kind, y, p, inverse=True)
    assert wrap(back - x).abs().max() < 1e-7
    assert (forward + backward).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["circular", "linear"])
@given(seed=st.integers(0, 10_000))
def test_log_slope_is_autograds(kind, seed):
    p, x = parameters(kind, 32, seed), values(32, seed).requires_grad_()
    y, log_slope = spline(kind, x, p)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, gradient.log(), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("kind", ["circular", "linear"])
def test_zero_parameters_are_the_identity(kind):
    x = values(50, 0)
    y, log_slope = spline(kind, x, 0 * parameters(kind, 50, 0))
    assert (y - x).abs().max() < 1e-12
    assert log_slope.abs().max() < 1e-12


@given(seed=st.integers(0, 10_000))
def test_circular_density_is_periodic_and_normalised(seed):
    p = parameters("circular", 1, seed, scale=1.0)
    grid = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)[:-1]
    _, log_slope = circular_spline(grid, p.expand(len(grid), -1))
    density = log_slope.exp() / (2 * math.pi)
    assert density.mean() * 2 * math.pi == pytest.approx(1.0, abs=1e-3)
    _, ends = circular_spline(torch.tensor([-math.pi, math.pi - 1e-12], dtype=torch.float64), p.expand(2, -1))
    assert ends[0] == pytest.approx(float(ends[1]), abs=1e-6)


def test_linear_spline_is_the_identity_outside():
    x = torch.tensor([-7.0, -BOUND, BOUND, 4.0]).double()
    y, log_slope = linear_spline(x, parameters("linear", 4, 3), bound=BOUND)
    assert torch.equal(x, y)
    assert torch.equal(log_slope, torch.zeros(4).double())
