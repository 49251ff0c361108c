"""Measured values: reading them, laying them beside a run, reweighting to them, and saying where that fits noise."""

import numpy as np
import pytest

from timewarp.observables import Measured, Series, average, chi_squared, compare_measured, read_experiment, reweight


def two_states(seed: int, n: int = 12, share: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Series]]:
    """Frames of two states and observables that tell them apart: labels, values in either state, series."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((8, 250)) < share).astype(float)
    one, other = rng.normal(size=n), rng.normal(size=n)
    series = [Series(f"q{k}", "own", "", labels * one[k] + (1 - labels) * other[k]) for k in range(n)]
    return labels, one, other, series


def test_reweighting_recovers_a_known_population():
    labels, one, other, series = two_states(0)
    rng = np.random.default_rng(5)
    truth = 0.65
    measured = [
        Measured(f"q{k}", float(truth * a + (1 - truth) * b + 0.05 * rng.normal()), 0.05)
        for k, (a, b) in enumerate(zip(one, other, strict=True))
    ]
    found = reweight(series, measured)
    assert found.chi_squared[0] > 10
    assert found.chi_squared[1] < 2
    assert float((found.weights * labels).sum()) == pytest.approx(truth, abs=0.03)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.warning == ""
    # Of two states with the populations p and q: exp(-(q log(q/p) + (1-q) log((1-q)/(1-p)))).
    p, q = labels.mean(), float((found.weights * labels).sum())
    assert found.kept == pytest.approx(np.exp(-(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)))), rel=1e-3)


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_reweighting_to_noise_says_so(factor):
    """Errors that are given too small look like disagreement: no fit of half of the values helps the other half."""
    said = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        frames = rng.normal(size=(16, 8, 250))
        series = [Series(f"q{k}", "own", "", x) for k, x in enumerate(frames)]
        measured = [Measured(s.name, float(s.values.mean() + 0.3 * factor * rng.normal()), 0.3) for s in series]
        found = reweight(series, measured)
        said += "noise" in found.warning
    assert said == 6


def test_weights_solve_the_equations_of_maximum_entropy():
    """At the optimum log w is linear in the observables, each multiplier its deviation over theta (Cesari 2018)."""
    _, _, _, series = two_states(3, n=3)
    rng = np.random.default_rng(0)
    series = [Series(s.name, s.kind, "", s.values + 0.3 * rng.normal(size=s.values.shape)) for s in series]
    measured = [Measured(s.name, float(s.values.mean()) + 0.2, 0.1) for s in series]
    theta = 2.0
    found = reweight(series, measured, theta=theta)
    assert found.theta == theta
    x = np.stack([s.values.ravel() / 0.1 for s in series], 1)
    target = np.array([m.value / 0.1 for m in measured])
    multipliers = (found.weights.ravel() @ x - target) / theta
    expected = np.exp(-(x - target) @ multipliers)
    np.testing.assert_allclose(found.weights.ravel(), expected / expected.sum(), rtol=1e-6)


def test_bounds_act_on_one_side_alone():
    _, _, _, series = two_states(1, n=1)
    value = float(series[0].values.mean())
    inside = reweight(series, [Measured("q0", value + 1.0, 0.1, "upper")], theta=1.0)
    np.testing.assert_allclose(inside.weights, 1 / inside.weights.size)
    outside = reweight(series, [Measured("q0", value - 0.3, 0.1, "upper")], theta=1.0)
    assert outside.computed["q0"] < value
    below = reweight(series, [Measured("q0", value - 1.0, 0.1, "lower")], theta=1.0)
    np.testing.assert_allclose(below.weights, 1 / below.weights.size)


def test_an_upper_bound_of_an_noe_is_a_lower_bound_of_its_average():
    rng = np.random.default_rng(2)
    r = 0.3 + 0.2 * rng.random((8, 200))
    noe = Series("noe=1:H,2:H", "noe", "nm", r**-6.0, power=-1 / 6)
    now = noe.observable(noe.values.mean())
    free = reweight([noe], [Measured(noe.name, now + 0.05, 0.01, "upper")], theta=1.0)
    np.testing.assert_allclose(free.weights, 1 / free.weights.size)
    drawn = reweight([noe], [Measured(noe.name, now - 0.02, 0.005, "upper")], theta=0.1)
    assert drawn.computed[noe.name] < now - 0.01


def test_beside_an_experiment():
    rng = np.random.default_rng(0)
    series = [
        Series("3J(HN,HA) 2", "coupling", "Hz", rng.normal(6.0, 1.0, (8, 100)), model_error=0.9),
        Series("rg", "size", "nm", rng.normal(0.5, 0.01, (8, 100))),
    ]
    observed = [average(s) for s in series]
    rows = compare_measured(observed, [Measured("3J(HN,HA) 2", 7.0, 0.1), Measured("rg", 0.6, 0.05, "upper")])
    assert rows[0].sigma == pytest.approx(np.hypot(0.9, 0.1))
    assert rows[0].deviation == pytest.approx((observed[0].value - 7.0) / rows[0].sigma)
    assert rows[1].deviation == 0.0
    assert chi_squared(rows)["3J(HN,HA)"] == pytest.approx(rows[0].deviation ** 2)
    with pytest.raises(ValueError, match="no observable 'nothing'; it has 3J"):
        compare_measured(observed, [Measured("nothing", 1.0, 0.1)])
    with pytest.raises(ValueError, match="rg has no error"):
        compare_measured(observed, [Measured("rg", 0.5, 0.0)])


def test_reading_a_table(tmp_path):
    path = tmp_path / "nmr.csv"
    path.write_text(
        '\ufeff# Graf 2007\nobservable, value, error, bound\n"3J(HN,HA) 2", 5.68, 0.11,\n\nrg,0.5,0.1,Upper\n'
    )
    assert read_experiment(path) == [Measured("3J(HN,HA) 2", 5.68, 0.11), Measured("rg", 0.5, 0.1, "upper")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("observable,value\n", "no values"),
        ("name,value\nrg,1\n", "no column 'observable'"),
        ("observable,value\nrg,abc\n", "line 2: could not convert"),
        ("observable,value,error\n# a comment\nrg,1,-1\n", "line 3: the error of rg must be"),
        ("observable,value,error,bound\nrg,1,1,near\n", "line 2: the bound of rg"),
        ("observable,value\nrg,1\nrg,2\n", "line 3: rg is there twice"),
        ("observable,value\nrg,inf\n", "line 2: the value of rg"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "nmr.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_experiment(path)
