"""Trajectory lengths: judged by what an independent sample costs, planned, frozen, recorded, replayed."""

import pytest
import torch
from analytic_targets import TEMPERATURE_K, Gaussian

from timewarp.sampling import HMC, LengthTrial, Target
from timewarp.sampling.length import autocorrelation_times
from timewarp.state import State

TORSION = torch.tensor([[0, 1, 2, 3]])


def autoregressive(rho, n_steps=400, n_chains=200, seed=0):
    """x' = rho x + noise: its integrated time is (1 + rho)/(1 - rho)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_chains, 1, generator=generator)
    series = []
    for _ in range(n_steps):
        x = rho * x + (1 - rho**2) ** 0.5 * torch.randn(n_chains, 1, generator=generator)
        series.append(x)
    return torch.stack(series)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_autocorrelation_times_of_an_autoregressive_process(rho):
    time = float(autocorrelation_times(autoregressive(rho)))
    assert time == pytest.approx((1 + rho) / (1 - rho), rel=0.1)


def test_what_never_changes_takes_one_step():
    assert float(autocorrelation_times(torch.ones(20, 5, 1))) == 1.0


def configurations(angles):
    """Four atoms with a given dihedral, in each chain."""
    zero = torch.zeros_like(angles)
    one = torch.ones_like(angles)
    atoms = [
        torch.stack([one, zero, zero], -1),
        torch.stack([zero, zero, zero], -1),
        torch.stack([zero, zero, one], -1),
        torch.stack([angles.cos(), angles.sin(), one], -1),
    ]
    return torch.stack(atoms, 1)


def run(trial, rho_of_length, warmup=400, n_chains=300, seed=0):
    """A fake warm-up in which a trajectory's length sets how fast the torsion is forgotten."""
    generator = torch.Generator().manual_seed(seed)
    trial.begin(warmup)
    length, lengths = 20, []
    z = torch.randn(n_chains, generator=generator)
    for _ in range(warmup):
        rho = rho_of_length(length)
        z = rho * z + (1 - rho**2) ** 0.5 * torch.randn(n_chains, generator=generator)
        lengths.append(length)
        length = trial.observe(State(configurations(0.5 * z), torch.zeros(n_chains)), length)
    return length, lengths


def memory(length):
    return 0.9 ** (length / 10)  # times of about 19, 9.5, 4.8, 2.6 for 10, 20, 40, 80 steps


def test_long_trajectories_win_where_the_rest_of_the_cycle_is_expensive():
    chosen, _ = run(LengthTrial((10, 20, 40, 80), TORSION, overhead=1000.0), memory)
    assert chosen == 80


def test_short_trajectories_win_where_length_does_not_help():
    chosen, lengths = run(LengthTrial((10, 20, 40, 80), TORSION, overhead=5.0), lambda length: 0.5)
    assert chosen == 10
    assert set(lengths) == {10, 20, 40, 80}


def test_a_short_warm_up_leaves_the_length_alone():
    trial = LengthTrial((10, 20, 40, 80), TORSION, overhead=5.0)
    chosen, lengths = run(trial, lambda length: 0.5, warmup=90)
    assert (chosen, set(lengths), trial.costs) == (20, {20}, {})


def test_nothing_to_try_is_refused():
    with pytest.raises(ValueError, match="positive numbers of leapfrog steps"):
        LengthTrial((), TORSION, 1.0)
    with pytest.raises(ValueError, match="there are none"):
        LengthTrial((10,), TORSION[:0], 1.0)


def kernel(trial):
    target = Target(Gaussian(), TEMPERATURE_K, invariant=False)
    return HMC(target, torch.ones(2), n_steps=20, trial=trial)


def test_the_length_is_recorded_and_replayed():
    tuned = kernel(LengthTrial((10, 20), TORSION, 1.0))
    assert tuned.tuning["hmc"]["n_steps"] == 20
    tuned.retune({"hmc": {"step_fs": 1.5, "n_steps": 10.0}})
    assert (tuned.n_steps, tuned.tuning) == (10, {"hmc": {"step_fs": 1.5, "n_steps": 10.0}})
    tuned.begin_warmup(400)
    for _ in range(400):
        tuned.adapt({}, State(torch.zeros(2, 4, 3), torch.zeros(2)))
    assert tuned.n_steps == 10


@pytest.mark.parametrize("bad", [0.0, 2.5, float("nan"), 1e9])
def test_an_impossible_length_is_refused(bad):
    with pytest.raises(ValueError, match="needs n_steps"):
        kernel(LengthTrial((10, 20), TORSION, 1.0)).retune({"hmc": {"step_fs": 1.5, "n_steps": bad}})


def test_a_fixed_length_is_no_tuning():
    assert "n_steps" not in kernel(None).tuning["hmc"]
