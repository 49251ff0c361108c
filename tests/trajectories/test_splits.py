"""Lagged pairs, splits: laws over chains, blocks and lags."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from timewarp.state import Atoms
from timewarp.trajectories import FrameBlocks, Trajectory, split_frames, time_lagged_pairs, whole


def trajectory(n_chains=2, n_frames=30, n_atoms=4, spacing=0.2):
    """Positions encode their chain and frame: x = (chain, frame, atom)."""
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (n_chains, n_frames, n_atoms)), indexing="ij")
    atoms = Atoms(
        elements=("C",) * n_atoms,
        names=tuple(f"C{i}" for i in range(n_atoms)),
        residue_names=("X",) * n_atoms,
        residue_numbers=(1,) * n_atoms,
        masses=(12.0,) * n_atoms,
        charges=(0.0,) * n_atoms,
        bonds=tuple((i, i + 1) for i in range(n_atoms - 1)),
    )
    return Trajectory(
        atoms=atoms,
        positions=torch.stack(grid, -1),
        energies=torch.zeros(n_chains, n_frames, dtype=torch.float64),
        steps=100 * torch.arange(1, n_frames + 1),
        frame_spacing=spacing,
        unit="ps",
        kind="md",
        name="chain",
    )


@given(chains=st.integers(1, 3), frames=st.integers(2, 40), lag=st.integers(1, 12), stride=st.integers(1, 4))
def test_pairs_are_all_those_a_lag_apart(chains, frames, lag, stride):
    assume(lag < frames)
    t = trajectory(chains, frames)
    pairs = time_lagged_pairs(t, lag * 0.2, stride=stride)
    assert len(pairs) == chains * len(range(0, frames - lag, stride))
    early, late = pairs.frames(torch.arange(len(pairs)))
    assert torch.equal(early[:, 0, 0], late[:, 0, 0])  # same chain
    assert torch.equal(late[:, 0, 1] - early[:, 0, 1], torch.full((len(pairs),), float(lag)))
    assert len(set(map(tuple, pairs.starts.tolist()))) == len(pairs)


def test_pairs_stay_within_blocks():
    blocks = FrameBlocks(torch.tensor([(0, 0, 5), (0, 5, 10), (1, 20, 22)]))
    pairs = time_lagged_pairs(trajectory(), 0.6, within=blocks)
    assert pairs.starts.tolist() == [[0, 0], [0, 1], [0, 5], [0, 6]]


def test_impossible_lags():
    t = trajectory()
    for lag in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="positive number of ps"):
            time_lagged_pairs(t, lag)
    with pytest.raises(ValueError, match=r"multiple of the frame spacing, 0\.2 ps; got 0\.3"):
        time_lagged_pairs(t, 0.3)
    with pytest.raises(ValueError, match="no two frames are 6 ps apart: the longest stretch is 30"):
        time_lagged_pairs(t, 6.0)


@given(
    chains=st.integers(1, 3),
    frames=st.integers(30, 90),
    n_blocks=st.integers(3, 10),
    seed=st.integers(0, 5),
)
def test_splits_are_disjoint(chains, frames, n_blocks, seed):
    t = trajectory(chains, frames)
    parts = split_frames(t, (0.6, 0.2, 0.2), n_blocks=n_blocks, seed=seed)
    seen = [set(map(tuple, part.index.tolist())) for part in parts]
    assert [len(s) for s in seen] == [len(part) for part in parts]
    assert min(len(s) for s in seen) > 0
    assert len(set().union(*seen)) == sum(map(len, seen)) == chains * frames
    again = split_frames(t, (0.6, 0.2, 0.2), n_blocks=n_blocks, seed=seed)
    assert all(torch.equal(x.blocks, y.blocks) for x, y in zip(parts, again, strict=True))
    for part in parts:  # each chain takes part in each part
        assert set(part.blocks[:, 0].tolist()) == set(range(chains))


def test_bad_splits():
    t = trajectory()
    for fractions in ((), (0.9, 0.2), (1.0, -0.1)):
        with pytest.raises(ValueError, match="fractions"):
            split_frames(t, fractions)
    with pytest.raises(ValueError, match="too few"):
        split_frames(trajectory(n_frames=1), (0.5, 0.5))


def test_whole_is_everything():
    t = trajectory()
    assert torch.equal(t.frames(whole(t).index), t.positions.flatten(0, 1))
