"""Exploration takes what it should, marks what it makes, and hands its distinct states on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analytic_targets import TEMPERATURE_K, TOY, ExactTorsions, ToyMolecule
from cartesian_densities import Lopsided
from test_augmented import Killed, Shrinking

from timewarp.flows import AuxiliaryProposer, Candidate, InternalProposer, Proposal
from timewarp.geometry import dihedrals
from timewarp.sampling import (
    ChainSettings,
    Cycle,
    ExplorationKernel,
    Restriction,
    Target,
    TorsionMove,
    distinct_states,
    run_chains,
    summarise_exploration,
)
from timewarp.trajectories import RunFolder, Trajectory

SETTINGS = ChainSettings(n_chains=6, n_samples=6 * 12, thin=2, warmup=0, seed=3, frames_per_segment=5)


class Given:
    """Proposes what it is told to, and declares nothing."""

    def __init__(self, candidates):
        self.candidates = candidates

    def propose(self, x, generator):
        return Proposal(self.candidates, is_centred=True)


def explorer(threshold=300.0, density=Shrinking, **kwargs):
    toy = ToyMolecule(achiral=True)
    start = toy.draw(1, torch.Generator().manual_seed(1))[0]
    target = Target(toy, TEMPERATURE_K, Restriction(start, TOY))
    target.watched = TOY.tree.torsions
    return start, ExplorationKernel(target, AuxiliaryProposer(density()), threshold_kJ_mol=threshold, **kwargs)


def test_what_is_taken_and_what_is_refused(generator):
    """Against the rule written out, on candidates of all kinds: up, down, flipped, not finite."""
    toy = ToyMolecule(achiral=True)
    start = toy.draw(1, generator)[0]
    start = start - start.mean(0)
    target = Target(toy, TEMPERATURE_K, Restriction(start, TOY))
    candidates = start + 0.03 * torch.randn(600, 8, 3, generator=generator, dtype=torch.float64)
    candidates[::50] = torch.nan
    kernel = ExplorationKernel(target, Given(candidates), threshold_kJ_mol=60.0)
    state = kernel.init(start.repeat(600, 1, 1))
    start = state.positions[0]
    new, info = kernel.step(state, generator)
    rise = toy.energy(candidates) - toy.energy(start[None])
    flipped = target.flipped(candidates) & rise.isfinite()
    taken = (rise <= 60.0) & ~flipped  # NaN compares as False
    outcome = info["explore"]
    assert torch.equal(outcome.accepted.bool(), taken)
    assert torch.equal(outcome.flipped.bool(), flipped)
    assert torch.equal(outcome.nonfinite.bool(), ~rise.isfinite())
    assert torch.equal(new.positions[taken], candidates[taken])
    assert torch.equal(new.positions[~taken], start.repeat(600, 1, 1)[~taken])
    torch.testing.assert_close(new.energy, toy.energy(new.positions))
    for some in (taken, flipped, ~rise.isfinite(), rise > 60.0):
        assert 5 < int(some.sum()) < 595
    assert int((taken & (rise > 0)).sum()) > 5, "what rises a little is taken: there is no Boltzmann factor"


def test_chirality_holds_and_no_move_rises_too_far(generator):
    start, kernel = explorer(threshold=30.0)
    kernel.proposer.density.WIDTH = 0.02
    state = kernel.init(start.repeat(200, 1, 1))
    refused = 0
    for _ in range(20):
        new, info = kernel.step(state, generator)
        assert float((new.energy - state.energy).max()) <= 30.0
        assert not kernel.target.flipped(new.positions).any()
        refused += int((info["explore"].proposed - info["explore"].accepted).sum())
        state = new
    assert 0 < refused < 4000


def test_it_cannot_pass_for_a_kernel_of_the_target(tmp_path):
    start, kernel = explorer()
    with pytest.raises(ValueError, match="does not leave the target invariant"):
        Cycle([kernel])
    for kind, maker in (("chain", kernel), ("exploration", TorsionMove(kernel.target, TOY.tree))):
        folder = RunFolder.create(tmp_path / kind, kind=kind, name="toy", atoms=TOY, topology_pdb="END\n", config={})
        with pytest.raises(ValueError, match="makes a run of kind"):
            run_chains(maker, lambda g: start.repeat(6, 1, 1), folder, SETTINGS, quiet=True)


def test_wrong_thresholds_say_so():
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            explorer(threshold=wrong)


@pytest.mark.parametrize("kind", ["A", "C"])
def test_any_family_can_explore(kind, generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    target.watched = TOY.tree.torsions
    exact = InternalProposer(ExactTorsions(toy), toy.tree)
    kernel = ExplorationKernel(target, AuxiliaryProposer(Shrinking()) if kind == "A" else exact)
    _, info = kernel.step(kernel.init(toy.draw(50, generator)), generator)
    assert int(info["explore"].accepted.sum()) == 50
    assert (int(info["explore"].jumped.sum()) > 0) == (kind == "C")


class Hearing(Lopsided):
    """Conditioned on v as well."""

    uses_auxiliary = True

    def encode(self, positions, auxiliary=None, molecule=None):
        return positions + 0 * auxiliary

    def sample(self, condition, n, generator):
        candidate, log_q = super().sample(condition, n, generator)
        return Candidate(candidate.positions, candidate.auxiliary), log_q


def test_a_density_that_hears_v_can_explore(generator):
    from analytic_targets import DoubleWell

    kernel = ExplorationKernel(Target(DoubleWell(), TEMPERATURE_K, invariant=False), AuxiliaryProposer(Hearing()))
    _, info = kernel.step(kernel.init(torch.ones(20, 1, 3, dtype=torch.float64)), generator)
    assert int(info["explore"].accepted.sum()) == 20


# --- in a run folder ------------------------------------------------------------------------------------------------


class DyingExplorer(ExplorationKernel):
    left = 10**9

    def step(self, state, generator):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().step(state, generator)


def explore(path, last_step=10**9):
    start, kernel = explorer()
    kernel = DyingExplorer(kernel.target, InternalProposer(ExactTorsions(ToyMolecule()), TOY.tree))
    kernel.left = last_step
    folder = RunFolder.create(path, kind="exploration", name="toy", atoms=TOY, topology_pdb="END\n", config={"seed": 3})
    record = run_chains(kernel, lambda g: start.repeat(6, 1, 1).float(), folder, SETTINGS, quiet=True)
    return record, folder, kernel.target.restriction


@pytest.mark.parametrize("steps", [7, 22])
def test_killed_anywhere_the_exploration_is_the_same(steps, tmp_path):
    record, whole, _ = explore(tmp_path / "whole")
    with pytest.raises(Killed):
        explore(tmp_path / "broken", steps)
    again, broken, _ = explore(tmp_path / "broken")
    assert torch.equal(whole.trajectory().positions, broken.trajectory().positions)
    assert again.energy_evaluations == record.energy_evaluations == 6 * 25
    for key, value in record.tally["explore"].tensors().items():
        assert torch.equal(value, again.tally["explore"].tensors()[key])


def test_the_summary_says_what_was_found_when_and_that_it_is_biased(tmp_path):
    record, folder, restriction = explore(tmp_path / "run")
    summary = summarise_exploration(folder.trajectory(), record, restriction)
    assert summary["biased"] is True
    assert "--start-from" in summary["warning"]
    assert not {"rhat", "ess"} & summary.keys()
    states = summary["states"]
    found = [row["found"] for row in states["against_time"]]
    assert found == sorted(found)
    assert found[-1] == states["found"] == len(states["listed"]) > 3
    assert states["against_time"][0]["step"] == 2
    assert sum(row["frames"] for row in states["listed"]) == 72
    assert summary["moves"]["proposed"] == summary["moves"]["taken"] == 6 * 24
    assert folder.trajectory().kind == "exploration"


def toy_frames(n_chains=4, n_frames=10):
    toy = ToyMolecule(achiral=True)
    generator = torch.Generator().manual_seed(2)
    x = toy.draw(n_chains * n_frames, generator)
    energies = toy.energy(x).reshape(n_chains, n_frames)
    x = x.reshape(n_chains, n_frames, 8, 3).float()
    return Trajectory(TOY, x, energies, torch.arange(1, n_frames + 1), 1.0, "step", "exploration", "toy")


def test_distinct_states_are_distinct_low_and_inside_the_restriction():
    trajectory = toy_frames()
    frames = trajectory.positions.flatten(0, 1)
    inside = Restriction(frames[0], TOY)
    found = distinct_states(trajectory, 6, inside)
    assert 2 <= len(found) <= 6
    assert not inside.flipped(found).any()
    energies = trajectory.energies.flatten()
    index = [int((frames == x).all(-1).all(-1).nonzero()[0, 0]) for x in found]
    allowed = ~inside.flipped(frames)
    assert index[0] == int(torch.where(allowed, energies, torch.inf).argmin()), "the lowest of all comes first"
    everything = distinct_states(trajectory, 1000, inside)
    assert len(found) < len(everything) < 40
    angles = dihedrals(found, TOY.tree.torsions)
    apart = (angles[:, None] - angles[None] + np.pi) % (2 * np.pi) - np.pi
    apart = apart.abs().amax(-1) + 10 * torch.eye(len(found))
    assert float(apart.min()) > np.deg2rad(60), "of many states, those far apart are taken"


def test_an_exploration_of_the_mirror_image_says_so():
    trajectory = toy_frames(1, 1)
    other = Restriction(trajectory.positions[0, 0] * torch.tensor([-1.0, 1.0, 1.0]), TOY)
    with pytest.raises(ValueError, match="another chirality"):
        distinct_states(trajectory, 3, other)
