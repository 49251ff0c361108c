"""Chains that do not move, and one chain alone, are never called converged."""

import numpy as np
import pytest
import torch

from synthetic_runs import FakeTrajectory, alanine, alanine_run
from timewarp.analysis import analyse, judge
from timewarp.analysis.convergence import circular_ess, circular_rhat


def frozen(spread: float, chains: int = 8, frames: int = 200) -> FakeTrajectory:
    rng = np.random.default_rng(1)
    start = alanine().start_positions.numpy()
    positions = start + rng.normal(scale=spread, size=(chains, frames, *start.shape))
    energies = torch.from_numpy(-60 + rng.normal(scale=1e-3, size=(chains, frames)))
    return FakeTrajectory(alanine().atoms, torch.from_numpy(positions).float(), energies, starts=8)


def test_frozen_chains_have_no_figures():
    angles = 1.0 + 1e-9 * np.random.default_rng(0).normal(size=(8, 500))
    assert np.isnan(circular_rhat(angles))
    assert np.isnan(circular_ess(angles))
    moving = 1.0 + 1e-2 * np.random.default_rng(0).normal(size=(8, 500))
    assert circular_rhat(moving) < 1.01
    assert circular_ess(moving) > 1000


@pytest.mark.parametrize("spread", [0.0, 1e-9, 1e-7])
def test_a_run_that_stands_still_is_rejected(spread):
    run = frozen(spread)
    verdict = judge(analyse(run, temperature_K=310.0))
    assert verdict.level == "reject"
    texts = " ".join(check.text for check in verdict.checks)
    assert "8 of 8 chains never moved" in texts
    assert "did not vary" in texts


def test_one_chain_alone_is_never_trusted():
    several = judge(analyse(alanine_run(chains=8, frames=500), temperature_K=310.0))
    one = judge(analyse(alanine_run(chains=1, frames=4000), temperature_K=310.0))
    assert "one chain alone" in " ".join(check.text for check in one.checks)
    assert one.level != "trust"
    assert "one chain alone" not in " ".join(check.text for check in several.checks)
