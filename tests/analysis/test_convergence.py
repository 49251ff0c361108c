import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import rankdata

from timewarp.analysis import (
    RHAT_LIMIT,
    autocorrelation,
    circular_ess,
    circular_rhat,
    ess,
    integrated_time,
    rhat,
)
from timewarp.analysis.autocorrelation import split
from timewarp.analysis.convergence import rhat_by_chance


def autoregressive(rng, rho, chains, frames):
    """AR(1) with unit variance; its integrated autocorrelation time is (1 + rho) / (1 - rho)."""
    x = rng.normal(size=(chains, frames))
    for t in range(1, frames):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * x[:, t]
    return x


def arviz_numbers(x):
    """Split R-hat and ESS of ArviZ, whose releases differ."""
    try:
        from arviz_stats.base import array_stats
    except ImportError:
        import arviz

        return float(arviz.rhat(x, method="rank")), float(arviz.ess(x, method="mean"))
    axes = {"chain_axis": 0, "draw_axis": 1}
    return float(array_stats.rhat(x, method="rank", **axes)), float(array_stats.ess(x, method="mean", **axes))


def plain_nested_rhat(x, labels):
    """Nested R-hat by the sums of its definition, with SciPy's ranks."""

    def of(draws):
        z = ndtri((rankdata(draws, method="average").reshape(draws.shape) - 0.375) / (draws.size + 0.25))
        superchain_means, spreads = [], []
        for k in sorted(set(labels)):
            chains = [z[c].tolist() for c in range(len(z)) if labels[c] == k]
            means = [sum(c) / len(c) for c in chains]
            centre = sum(means) / len(means)
            between = sum((m - centre) ** 2 for m in means) / (len(means) - 1) if len(means) > 1 else 0.0
            inside = [
                sum((v - m) ** 2 for v in c) / (len(c) - 1) if len(c) > 1 else 0.0
                for c, m in zip(chains, means, strict=True)
            ]
            superchain_means.append(centre)
            spreads.append(between + sum(inside) / len(inside))
        grand = sum(superchain_means) / len(superchain_means)
        b = sum((m - grand) ** 2 for m in superchain_means) / (len(superchain_means) - 1)
        return (1 + b / (sum(spreads) / len(spreads))) ** 0.5

    return max(of(x), of(np.abs(x - np.median(x))))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_ar1_process(rho):
    x = autoregressive(np.random.default_rng(1), rho, 8, 6_000)
    exact = (1 + rho) / (1 - rho)
    assert integrated_time(x) == pytest.approx(exact, rel=0.15)
    assert ess(x) == pytest.approx(x.size / exact, rel=0.15)
    np.testing.assert_allclose(autocorrelation(x, 8), rho ** np.arange(9), atol=0.06)


@given(st.integers(1, 6), st.integers(40, 300), st.floats(-0.5, 0.8), st.integers(0, 10**6))
def test_ess_is_that_of_arviz_and_r_hat_too_but_for_a_term_of_one_over_the_frames(chains, frames, rho, seed):
    x = autoregressive(np.random.default_rng(seed), rho, max(chains, 2), frames)
    theirs, size = arviz_numbers(x)
    assert ess(x) == pytest.approx(size, rel=1e-9)
    halves = split(x)
    assert rhat(halves) ** 2 - 1 / halves.shape[1] == pytest.approx(theirs**2, rel=1e-9)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.integers(1, 40), st.integers(0, 10**6))
def test_nested_r_hat_is_that_of_its_definition(labels, frames, seed):
    """Superchains of different sizes, of one chain, and chains of one frame."""
    if len(set(labels)) < 2 or (frames == 1 and len(set(labels)) == len(labels)):
        return
    x = np.random.default_rng(seed).normal(size=(len(labels), frames)) + 0.3 * np.array(labels)[:, None]
    assert rhat(x, labels) == pytest.approx(plain_nested_rhat(x, labels), rel=1e-9)


def test_a_frame_of_each_chain_is_enough_where_superchains_have_several():
    rng = np.random.default_rng(0)
    labels = np.arange(512) % 8
    assert rhat(rng.normal(size=(512, 1)), labels) < 1.02
    assert rhat(rng.normal(size=(512, 1)) + 0.5 * labels[:, None], labels) > 1.2
    assert np.isnan(rhat(rng.normal(size=(8, 1))))  # nothing to compare with


def test_the_number_of_chains_does_not_matter_only_what_they_are_worth():
    """32,768 frames with an autocorrelation time of 19, as 8, 32 and 128 chains of 8 superchains."""
    rho, repeats = 0.9, 60
    rng = np.random.default_rng(11)
    excess = {}
    for chains in (8, 32, 128):
        runs = [autoregressive(rng, rho, chains, 32_768 // chains) for _ in range(repeats)]
        excess[chains] = np.array([rhat(x, np.arange(chains) % 8) ** 2 - 1 for x in runs])
        # K / ESS, with the larger of bulk and folded a little above
        assert excess[chains].mean() == pytest.approx(8 / (32_768 * 0.1 / 1.9), rel=0.35)
        assert (np.sqrt(1 + excess[chains]) < RHAT_LIMIT).all()
    middle = np.mean([e.mean() for e in excess.values()])
    for e in excess.values():
        assert e.mean() == pytest.approx(middle, abs=4 * e.std() / np.sqrt(repeats))
    # Each chain as a superchain of its own: R-hat then measures how long one chain is, and condemns the same run.
    lonely = autoregressive(rng, rho, 128, 256)
    assert rhat(lonely) > 1.03
    assert ess(lonely) > 1200


def test_the_limit_is_an_ess_of_four_hundred():
    """With an ESS of 1,200 most sound runs pass, with 130 hardly any does."""
    rng = np.random.default_rng(5)
    labels = np.arange(64) % 8
    passed = {n: np.mean([rhat(rng.normal(size=(64, n)), labels) < RHAT_LIMIT for _ in range(100)]) for n in (2, 19)}
    assert passed[19] > 0.95
    assert passed[2] < 0.1


@pytest.mark.parametrize("chains", [16, 128])
def test_superchains_that_remember_their_starts_are_found_out(chains):
    rng = np.random.default_rng(2)
    labels = np.arange(chains) % 8
    x = autoregressive(rng, 0.9, chains, 65_536 // chains)
    assert rhat(x, labels) < RHAT_LIMIT
    assert rhat(x + 0.3 * rng.normal(size=8)[labels][:, None], labels) > RHAT_LIMIT


@pytest.mark.parametrize("labels", [None, np.arange(128) % 8, np.zeros(128, int)])
def test_chains_that_stand_still_never_agree(labels):
    """However many: the means of 128 frozen chains would agree within 1 %."""
    places = np.random.default_rng(3).normal(size=128)
    assert np.isnan(rhat(np.repeat(places[:, None], 50, axis=1), labels))
    one_moves = np.repeat((np.arange(128) % 8.0)[:, None], 50, axis=1)  # each where its superchain began
    one_moves[5] += np.random.default_rng(4).normal(size=50)
    assert rhat(one_moves, labels) > 1.5


def test_chains_of_one_start_count_each_for_itself():
    x = np.random.default_rng(1).normal(size=(4, 300))
    assert rhat(x, [7, 7, 7, 7]) == rhat(x)


def test_a_label_for_each_chain_is_wanted():
    with pytest.raises(ValueError, match="one superchain for each of 4 chains, got 3"):
        rhat(np.zeros((4, 10)), [0, 1, 2])


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


def test_what_chance_gives_is_what_sound_chains_show():
    """Independent draws: one R-hat in a thousand is larger; a shift of one superchain by a width is."""
    rng = np.random.default_rng(4)
    superchains = np.arange(16) % 8
    limit = rhat_by_chance(8, 16 * 50)
    sound = [rhat(rng.standard_normal((16, 50)), superchains) for _ in range(400)]
    assert sum(value > limit for value in sound) <= 4  # the larger of bulk and folded, so up to two in a thousand
    assert sum(value > 1.01 for value in sound) > 10  # which 1.01 alone would refuse
    biased = rng.standard_normal((16, 50)) + (superchains == 3)[:, None]
    assert rhat(biased, superchains) > limit
