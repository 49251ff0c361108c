import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from timewarp.analysis import (
    circular_histogram,
    fluctuation,
    free_energy,
    halves,
    jensen_shannon,
    jsd_plane,
    jsd_torsion,
    mean,
    noise_floor,
    phi_basin,
    ramachandran,
    wasserstein,
)

COUNTS = hnp.arrays(np.float64, 12, elements=st.floats(0.0, 100.0)).filter(lambda h: h.sum() > 1e-3)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_jsd_in_closed_form(p):
    # P = (p, 1-p) against Q = (1, 0): H(M) - H(P)/2 with M = ((1+p)/2, (1-p)/2), in bits.
    def entropy(x):
        return -sum(v * np.log2(v) for v in (x, 1 - x) if v > 0)

    expected = entropy((1 + p) / 2) - entropy(p) / 2
    assert jensen_shannon(np.array([p, 1 - p]), np.array([1.0, 0.0])) == pytest.approx(expected, abs=1e-12)


@given(COUNTS, COUNTS)
def test_jsd_laws(p, q):
    value = jensen_shannon(p, q)
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert value == pytest.approx(jensen_shannon(3 * p, q), abs=1e-9)
    assert jensen_shannon(p, p) == pytest.approx(0, abs=1e-12)


def test_jsd_of_torsions_is_one_for_disjoint_and_small_for_equal_samples():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, -1, 5000), rng.uniform(1, 3, 5000)
    assert jsd_torsion(a, b) == pytest.approx(1)
    assert jsd_plane((a, a), (b, b)) == pytest.approx(1)
    assert jsd_torsion(a[:2500], a[2500:]) < 0.01


def test_jsd_uses_100_and_50_by_50_bins():
    angles = np.linspace(-np.pi, np.pi, 10_001)
    assert circular_histogram(angles).shape == (100,)
    assert ramachandran(angles, angles).shape == (50, 50)
    assert ramachandran(angles, np.zeros_like(angles))[:, 25].sum() == len(angles)  # phi is the first axis


def test_empty_histograms_are_refused():
    with pytest.raises(ValueError, match="non-empty"):
        jensen_shannon(np.zeros(3), np.ones(3))


def test_wasserstein_of_gaussians_in_closed_form():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 200_000), rng.normal(3, 2, 100_000)
    assert wasserstein(a, b, order=2) == pytest.approx(np.sqrt(3**2 + 1), rel=0.01)
    assert wasserstein(a, a + 0.7, order=1) == pytest.approx(0.7, rel=1e-6)


@pytest.mark.parametrize("chains", [1, 2, 3, 4])
def test_halves_are_disjoint_and_equal_in_size(chains):
    x = np.arange(chains * 10.0).reshape(chains, 10)
    first, second = halves(x)
    assert first.size == second.size == chains * 5
    assert not set(first.ravel()) & set(second.ravel())


def test_noise_floor_sees_halves_that_differ():
    rng = np.random.default_rng(2)
    same = rng.normal(size=(4, 4000))
    apart = same.copy()
    apart[1::2] += 1.5
    assert noise_floor(jsd_torsion, same) < 0.01
    assert noise_floor(jsd_torsion, apart) > 0.1


def von_mises(rng, chains, frames, kappa=2.0):
    return rng.vonmises(0.0, kappa, size=(chains, frames))


@pytest.mark.parametrize("chains", [4, 32])
def test_free_energy_of_a_von_mises_density(chains):
    # -ln p = kappa (1 - cos x): whole chains are resampled with 32 chains, blocks with 4.
    profile = free_energy(von_mises(np.random.default_rng(0), chains, 64_000 // chains), bins=36)
    exact = 2.0 * (1 - np.cos(profile.centres))
    z = (profile.free_energy - exact - np.mean(profile.free_energy - exact)) / profile.error
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.45)
    assert profile.n_blocks >= 32


def test_error_bars_grow_with_autocorrelation():
    rng = np.random.default_rng(0)
    independent = von_mises(rng, 4, 4000)
    repeated = np.repeat(von_mises(rng, 4, 200), 20, axis=1)  # as many frames, a twentieth of the information
    ratio = np.nanmedian(free_energy(repeated, 24).error) / np.nanmedian(free_energy(independent, 24).error)
    assert ratio == pytest.approx(np.sqrt(20), rel=0.35)


def test_free_energy_where_nothing_was_seen():
    profile = free_energy(np.random.default_rng(0).uniform(-2, -1, size=(20, 50)), bins=36)
    unseen = profile.centres > 0
    assert np.isinf(profile.free_energy[unseen]).all()
    assert np.isnan(profile.error[unseen]).all()


def test_delta_f_between_the_basins():
    rng = np.random.default_rng(0)
    phi = np.where(rng.random((8, 5000)) < 0.05, 1.0, -1.0) + 0.1 * rng.normal(size=(8, 5000))
    basin = phi_basin(phi)
    exact = -np.log(0.05 / 0.95)
    assert abs(basin.delta_F - exact) < 4 * basin.error
    assert basin.error == pytest.approx(1 / np.sqrt(0.05 * 0.95 * 40_000), rel=0.1)
    assert basin.crossings > 1000
    assert basin.visited


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_basin_that_was_never_visited_has_no_free_energy(side):
    basin = phi_basin(np.full((4, 100), side))
    assert not basin.visited
    assert np.isnan([basin.delta_F, basin.error, basin.ess]).all()
    assert basin.crossings == 0


def test_mean_and_fluctuation_have_honest_errors():
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(40):
        x = rng.normal(5.0, 2.0, size=(4, 200))
        m, s = mean(x), fluctuation(x)
        scores.append([(m.value - 5) / m.error, (s.value - 2) / s.error])
    assert np.sqrt(np.mean(np.square(scores), axis=0)) == pytest.approx([1, 1], abs=0.35)
