"""Slow coordinates, metastable states, speed and transport, on processes whose answers are known."""

import math

import numpy as np
import pytest

from synthetic_runs import alanine, hopping, hopping_alanine
from timewarp.analysis import ess
from timewarp.analysis.distributions import plane_wasserstein, torsion_wasserstein
from timewarp.analysis.speed import middle_of, paper_ess, speed_of, speed_up
from timewarp.analysis.tica import fit_slow_coordinates, missed_states, tica_features


def autoregressive(rho: float, chains: int = 8, frames: int = 20_000, seed: int = 0) -> np.ndarray:
    """x(t + 1) = rho x(t) + noise: integrated autocorrelation time (1 + rho) / (1 - rho)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(chains, frames)) * math.sqrt(1 - rho**2)
    x = np.empty((chains, frames))
    x[:, 0] = rng.normal(size=chains)
    for t in range(1, frames):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return x


@pytest.fixture(scope="module")
def fitted():
    state = hopping()
    x = hopping_alanine(state)
    return state, x, fit_slow_coordinates(x, alanine().atoms, 5)


def test_the_slowest_coordinate_is_the_one_that_hops(fitted):
    state, x, slow = fitted
    y = slow.project(x, alanine().atoms)
    assert y.shape == (*state.shape, 2)
    assert abs(np.corrcoef(y[..., 0].ravel(), state.ravel())[0, 1]) > 0.97
    # The two-state process relaxes at -ln(1 - 3 rate).
    assert slow.timescales[0] == pytest.approx(-1 / math.log(1 - 3 * 0.02), rel=0.15)
    assert slow.n_states == 2


def test_metastable_states_have_the_populations_of_the_process(fitted):
    state, x, slow = fitted
    found = slow.states(slow.project(x, alanine().atoms))
    assert (found == 0).mean() == pytest.approx((state == 0).mean(), abs=0.01)  # the most populated is the first
    assert (found == state).mean() > 0.98
    assert missed_states(found, found, slow.n_states) == {}


def test_implied_time_scales_are_those_of_the_process_at_every_lag(fitted):
    _, x, slow = fitted
    times = slow.implied_timescales(slow.project(x, alanine().atoms), [1, 4, 12, 10**6])
    assert times.shape == (4, 3)
    assert times[:3, 0] == pytest.approx(-1 / math.log(1 - 3 * 0.02), rel=0.2)
    assert (times[:3, 1] < (1, 4, 12)).all()  # psi forgets at once: below the lag
    assert np.isnan(times[3]).all()  # longer than the chains


def test_long_runs_are_thinned_and_no_chain_is_left_out(fitted):
    state, x, slow = fitted
    thin = fit_slow_coordinates(x, alanine().atoms, 6, most_frames=state.size // 3)
    assert thin.lag_frames == 6
    assert thin.timescales[0] == pytest.approx(slow.timescales[0], rel=0.2)  # in frames as given
    assert thin.n_states == 2


@pytest.mark.parametrize("frames", [60, 400])
def test_what_never_moves_is_refused(frames):
    x = hopping_alanine(np.zeros((5, 1), int), seed=3).expand(5, frames, -1, -1)
    with pytest.raises(ValueError, match="too little moves"):
        fit_slow_coordinates(x, alanine().atoms, 5)


def test_a_chain_that_stays_away_from_a_state_misses_it(fitted):
    state, x, slow = fitted
    found = slow.states(slow.project(x, alanine().atoms))
    stuck = slow.states(slow.project(hopping_alanine(np.zeros((2, 500), int), seed=9), alanine().atoms))
    assert missed_states(found, stuck, slow.n_states) == {1: pytest.approx((state == 1).mean(), abs=0.01)}
    assert missed_states(found, stuck, slow.n_states, rare=0.9) == {}


def test_features_have_distances_without_oxygen_and_the_backbone():
    m = alanine()
    features = tica_features(m.start_positions.float()[None, None], m.atoms)
    heavy = sum(element in "CNS" for element in m.atoms.elements)
    assert features.shape == (1, 1, heavy * (heavy - 1) // 2 + 2 * 4)  # phi, psi, omega_0, omega_1


def test_a_lag_longer_than_the_chains_is_refused():
    x = hopping_alanine(hopping(frames=20))
    with pytest.raises(ValueError, match="needs chains of more than 40"):
        fit_slow_coordinates(x, alanine().atoms, 20)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_paper_era_ess_of_an_autoregressive_process(rho):
    x = autoregressive(rho)
    exact = x.size * (1 - rho) / (1 + rho)
    assert paper_ess(x) == pytest.approx(exact, rel=0.15)
    assert ess(x) == pytest.approx(exact, rel=0.1)
    assert math.isnan(paper_ess(np.ones((2, 100))))


def test_speed_is_effective_samples_over_seconds():
    x = autoregressive(0.8)
    found = speed_of(x, 4.0, 0.0)
    assert not found.bound
    assert found.per_second == pytest.approx(ess(x) / 4.0)
    ratio, sign = speed_up(found, speed_of(x, 40.0, 0.0))
    assert (ratio, sign) == (pytest.approx(10.0), "=")


def test_without_crossings_there_is_a_bound_and_no_ratio():
    """Chains that rattle on one side each look fast; as many effective samples as crossings is all that is known."""
    still = autoregressive(0.1, chains=4, frames=500) * 0.1 + np.array([1.0, 1.0, -1.0, 1.0])[:, None]
    found = speed_of(still, 2.0, 0.0)
    assert found.bound
    assert found.crossings == 0
    assert found.per_second <= 0.5
    fast = speed_of(autoregressive(0.1), 1.0, 0.0)
    assert speed_up(fast, found)[1] == ">"
    assert speed_up(found, fast)[1] == "<"
    assert speed_up(found, found)[1] == "?"


def test_the_middle_lies_between_two_sides():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-3, 0.2, 9_000), rng.normal(2, 0.2, 1_000)])
    assert -2.0 < middle_of(values) < 1.2


def test_transport_of_shifted_gaussians_is_the_shift():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3000, 2))
    assert plane_wasserstein(a, a + np.array([3.0, 4.0])) == pytest.approx(5.0, rel=0.03)
    assert plane_wasserstein(a, rng.normal(size=(4000, 2))) < 0.4
    with pytest.raises(ValueError, match="two non-empty sets"):
        plane_wasserstein(a, np.zeros((0, 2)))


def test_transport_of_torsions_goes_the_short_way_round():
    """From 170 to -170 degrees is 20, not 340."""
    a, b = (np.full((200, 3), np.deg2rad(v)) for v in (170.0, -170.0))
    assert torsion_wasserstein(a, b) == pytest.approx(np.deg2rad(20) * math.sqrt(3))
