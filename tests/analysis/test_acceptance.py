import numpy as np
import pytest

from timewarp.analysis import acceptance, jump_fraction, jump_rate


def test_acceptance_over_all_chains_and_of_each():
    flow, hmc, idle = acceptance(
        {
            "flow": {"proposed": 40, "accepted": 32, "nonfinite": 2, "jump": 0.9, "acceptance_per_chain": [0.5, 0.9]},
            "hmc": {"proposed": 40, "accepted": 36, "nonfinite": 0, "acceptance_per_chain": [0.8, 1.0]},
            "torsion": {"proposed": 0, "accepted": 0, "nonfinite": 0, "jump": None, "acceptance_per_chain": [None]},
        }
    )
    assert (flow.acceptance, flow.per_chain, flow.nonfinite, flow.jump) == (0.8, (0.5, 0.9), 2, 0.9)
    assert (hmc.acceptance, hmc.per_chain, hmc.jump) == (0.9, (0.8, 1.0), None)
    assert np.isnan(idle.acceptance)
    assert idle.per_chain == ()


def test_jump_is_one_for_independent_moves_and_nothing_for_tiny_ones():
    rng = np.random.default_rng(0)
    states = np.deg2rad([[-70.0, 150.0], [-75.0, -20.0], [55.0, 40.0]])
    equilibrium = states[rng.integers(3, size=20_000)] + 0.1 * rng.normal(size=(20_000, 2))
    before, after = equilibrium[:10_000], equilibrium[10_000:]
    assert jump_fraction(before, after, equilibrium) == pytest.approx(1, abs=0.03)
    assert jump_fraction(before, before + 0.05, equilibrium) == 0
    half = np.where(rng.random((10_000, 1)) < 0.5, before, after)
    assert jump_fraction(before, half, equilibrium) == pytest.approx(0.5, abs=0.03)


def test_jumps_are_measured_around_the_circle():
    assert jump_rate(np.deg2rad([[175.0]]), np.deg2rad([[-175.0]])) == 0
    assert jump_rate(np.deg2rad([[0.0, 0.0]]), np.deg2rad([[10.0, 61.0]])) == 1


def test_no_moves_and_no_states_give_no_number():
    one = np.zeros((100, 2))
    assert np.isnan(jump_fraction(np.zeros((0, 2)), np.zeros((0, 2)), one))
    assert np.isnan(jump_fraction(one, one, one))
