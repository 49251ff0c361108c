"""States in torsion space: what counts as one, and in which order they are met."""

from __future__ import annotations

import numpy as np
import pytest

from timewarp.analysis import find_states
from timewarp.analysis.states import circular_distance, farthest_first


def test_leaders_against_a_plain_loop():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi, np.pi, (400, 2))
    leaders, labels = [], []
    for row in angles:
        near = [k for k, other in enumerate(leaders) if circular_distance(row[None], other)[0] <= np.deg2rad(60)]
        if not near:
            leaders.append(row)
            near = [len(leaders) - 1]
        labels.append(near[0])
    states = find_states(angles)
    assert states.labels.tolist() == labels
    assert len(states) == len(leaders) > 4
    assert (angles[states.first] == np.array(leaders)).all()
    assert (np.diff(states.first) > 0).all()
    assert states.visits().sum() == 400


def test_a_state_that_was_met_stays_met():
    angles = np.random.default_rng(1).uniform(-np.pi, np.pi, (200, 3))
    some, all_ = find_states(angles[:80]), find_states(angles)
    assert (all_.first[: len(some)] == some.first).all()


def test_farthest_first_spreads():
    line = np.deg2rad(np.array([[0.0], [10.0], [170.0], [90.0], [-80.0]]))
    assert farthest_first(line, 4).tolist() == [0, 2, 3, 4]
    assert sorted(farthest_first(line, 99).tolist()) == [0, 1, 2, 3, 4]
    assert farthest_first(np.zeros((3, 1)), 3).tolist() == [0, 1, 2]  # equal rows: none twice


@pytest.mark.parametrize(
    ("angles", "radius", "message"),
    [(np.zeros((3, 0)), 60, "torsions"), (np.zeros((3, 1)), 0, "positive"), (np.full((3, 1), np.nan), 60, "finite")],
)
def test_what_has_no_states_says_so(angles, radius, message):
    with pytest.raises(ValueError, match=message):
        find_states(angles, radius)
