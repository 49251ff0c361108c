import builtins
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewarp.analysis import (
    autocorrelation,
    circular_ess,
    circular_rhat,
    convergence,
    ess,
    geyer_ess,
    integrated_time,
    rhat,
)
from timewarp.analysis.autocorrelation import split, split_rhat


def autoregressive(rng, rho, chains, frames):
    """AR(1) with unit variance; its integrated autocorrelation time is (1 + rho) / (1 - rho)."""
    x = rng.normal(size=(chains, frames))
    for t in range(1, frames):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_ar1_process(rho):
    x = autoregressive(np.random.default_rng(1), rho, 8, 6_000)
    exact = (1 + rho) / (1 - rho)
    assert integrated_time(x) == pytest.approx(exact, rel=0.15)
    assert ess(x) == pytest.approx(x.size / exact, rel=0.15)
    np.testing.assert_allclose(autocorrelation(x, 8), rho ** np.arange(9), atol=0.06)


@given(st.integers(1, 6), st.integers(40, 300), st.floats(-0.5, 0.8), st.integers(0, 10**6))
def test_our_estimators_are_those_of_arviz(chains, frames, rho, seed):
    x = split(autoregressive(np.random.default_rng(seed), rho, chains, frames))
    assert convergence.backend()[0].startswith("arviz")
    assert rhat(x) == pytest.approx(split_rhat(x), rel=1e-9)
    assert ess(x) == pytest.approx(geyer_ess(split(x)), rel=1e-9)


def test_without_arviz_our_estimators_take_over(monkeypatch):
    x = autoregressive(np.random.default_rng(0), 0.4, 4, 500)
    with_arviz = rhat(x), ess(x)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("arviz"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    convergence.backend.cache_clear()
    try:
        assert convergence.backend()[0] == "timewarp"
        assert (rhat(x), ess(x)) == pytest.approx(with_arviz, rel=1e-6)
    finally:
        monkeypatch.undo()
        convergence.backend.cache_clear()


def test_the_new_arviz_is_used_where_it_is_installed(monkeypatch):
    """ArviZ 1.x needs Python 3.12; here a stand-in with its call signature shows that it is preferred."""

    class ArrayStats:
        def rhat(self, ary, chain_axis=-2, draw_axis=-1, method="rank"):
            assert (chain_axis, draw_axis, method) == (0, 1, "rank")
            return np.float64(1.5)

        def ess(self, ary, chain_axis=-2, draw_axis=-1, method="bulk", relative=False, prob=None):
            assert (chain_axis, draw_axis, method) == (0, 1, "mean")
            return np.float64(42)

    module = type(sys)("arviz_stats.base")
    module.array_stats = ArrayStats()
    monkeypatch.setitem(sys.modules, "arviz_stats", type(sys)("arviz_stats"))
    monkeypatch.setitem(sys.modules, "arviz_stats.base", module)
    convergence.backend.cache_clear()
    try:
        x = np.random.default_rng(0).normal(size=(2, 50))
        assert (convergence.backend()[0], rhat(x), ess(x)) == ("arviz_stats", 1.5, 42.0)
    finally:
        monkeypatch.undo()
        convergence.backend.cache_clear()


def test_chains_in_different_places_have_not_converged():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 500)) + np.array([0, 0, 0, 4])[:, None]
    assert rhat(x) > 1.2
    assert ess(x) < 50
    assert autocorrelation(x, 200)[200] > 0.5


@pytest.mark.parametrize("shape", [(1, 100), (4, 100), (4, 2), (1, 3)])
def test_a_constant_is_neither_converged_nor_an_error(shape):
    constant = np.full(shape, 2.5)
    assert np.isnan([rhat(constant), ess(constant), circular_rhat(constant), circular_ess(constant)]).all()


def test_non_finite_values_give_no_number():
    x = np.random.default_rng(0).normal(size=(2, 100))
    x[0, 3] = np.nan
    assert np.isnan([rhat(x), ess(x)]).all()


def test_a_single_chain_is_compared_with_itself():
    drifting = np.linspace(0, 5, 400)[None] + np.random.default_rng(0).normal(size=(1, 400))
    assert rhat(drifting) > 1.2
    assert rhat(np.random.default_rng(0).normal(size=(1, 400))) < 1.05


def test_circular_quantities_do_not_care_where_the_cut_is():
    rng = np.random.default_rng(5)
    angles = np.pi + 0.3 * rng.normal(size=(4, 1000))  # straddles +-pi, where the angle itself looks bimodal
    wrapped = np.angle(np.exp(1j * angles))
    assert circular_rhat(wrapped) == pytest.approx(circular_rhat(angles), rel=1e-6)
    assert circular_ess(wrapped) == pytest.approx(circular_ess(angles), rel=1e-6)
    assert circular_ess(angles) > 2000


def test_the_worse_of_sine_and_cosine_counts():
    rng = np.random.default_rng(7)
    side = np.repeat([[1.0], [-1.0]], 1000, axis=1)  # one chain at +phi, one at -phi: equal cosines, opposite sines
    angles = side * (0.8 + 0.1 * rng.normal(size=(2, 1000)))
    assert rhat(np.cos(angles)) < 1.02
    assert circular_rhat(angles) > 1.5
