import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthetic_runs import FakeTrajectory, alanine, alanine_run
from timewarp.analysis import analyse, compare, diagnose, judge
from timewarp.files import write_json


def statuses(verdict):
    return {check.name: check.status for check in verdict.checks}


def judged(run, reference=None, **summary):
    analysis = analyse(run, temperature_K=310.0, start=alanine().start_positions, summary=summary)
    comparison = None if reference is None else compare(run, reference, temperature_K=310.0)
    return judge(analysis, comparison)


@pytest.fixture(scope="module")
def reference():
    return alanine_run(seed=11, frames=800, unit="ps")


def test_a_sound_run_is_trusted(reference):
    verdict = judged(alanine_run(seed=3, frames=600), reference)
    assert verdict.level == "trust", verdict


def test_chains_stuck_in_different_basins_are_rejected():
    run = alanine_run(seed=3, stuck=True)
    found = diagnose(run)
    assert found["rhat"]["phi_1"] > 1.01
    verdict = judged(run)
    assert verdict.level == "reject"
    assert statuses(verdict)["nested R-hat"] == "fail"


def test_all_chains_in_one_basin_are_told_by_the_reference_and_the_unvisited_side(reference):
    run = alanine_run(seed=4, chains=8, frames=600, stuck=True)
    run.positions, run.energies = run.positions[:4], run.energies[:4]  # the chains that never see phi > 0
    verdict = judged(run, reference)
    assert statuses(verdict)["basin of phi_1"] == "warn"
    assert statuses(verdict)["torsions vs reference"] == "fail"
    assert verdict.level == "reject"


def test_a_flipped_stereocentre_is_rejected():
    run = alanine_run(seed=3)
    run.positions[0, 7] *= torch.tensor([1.0, 1.0, -1.0])
    verdict = judged(run)
    assert statuses(verdict)["Chirality"] == "fail"
    assert "ALA1:CA" in next(c.text for c in verdict.checks if c.name == "Chirality")


def test_a_wrong_temperature_is_seen_in_the_energy(reference):
    run = alanine_run(seed=5, frames=600)
    run.energies = -60 + 1.3 * (run.energies + 60)
    assert statuses(judged(run, reference))["energies vs reference"] == "fail"


def test_bonds_that_are_frozen_are_seen(reference):
    run = alanine_run(seed=6, frames=600)
    noise = run.positions - alanine_run(seed=6, frames=600).positions.mean((0, 1), keepdim=True)
    run.positions = run.positions + 0.3e-3 * torch.randn(noise.shape, generator=torch.Generator().manual_seed(0))
    assert statuses(judged(run, reference))["bonds and angles vs reference"] == "fail"


def test_a_chain_that_never_moved_is_rejected():
    run = alanine_run(seed=3)
    run.positions[2] = run.positions[2, :1]
    run.energies[2] = run.energies[2, 0]
    assert statuses(judged(run))["movement"] == "fail"


def test_a_run_that_never_moved_at_all_is_not_converged():
    run = alanine_run(seed=3, frames=20)
    frozen = FakeTrajectory(run.atoms, run.positions[:, :1].expand(4, 20, -1, -1), run.energies[:, :1].expand(4, 20))
    same = replace(
        frozen, positions=frozen.positions[:1].expand(4, -1, -1, -1), energies=frozen.energies[:1].expand(4, 20)
    )
    for dead in (frozen, same):
        assert judged(dead).level == "reject"
    assert statuses(judged(same))["variation"] == "fail"


def test_non_finite_frames_are_rejected_without_a_crash():
    run = alanine_run(seed=3, frames=50)
    run.positions[1, 3, 5] = float("nan")
    run.energies[1, 3] = float("nan")
    verdict = judged(run)
    assert statuses(verdict)["Non-finite values"] == "fail"


def test_short_jumps_are_noted(reference):
    kernels = {"flow": {"proposed": 100, "accepted": 90, "jump": 0.2}}
    assert statuses(judged(alanine_run(seed=3, frames=600), kernels=kernels))["jump"] == "warn"


def test_an_unconverged_reference_does_not_condemn_the_run():
    stuck = alanine_run(seed=12, frames=600, stuck=True, unit="ps")
    verdict = judged(alanine_run(seed=3, frames=600), stuck)
    assert statuses(verdict)["reference"] == "note"
    assert verdict.level != "reject"


def test_another_molecule_is_refused_as_reference():
    run = alanine_run(frames=10)
    other = FakeTrajectory(replace(run.atoms, names=("X1", *run.atoms.names[1:])), run.positions, run.energies)
    with pytest.raises(ValueError, match="another molecule"):
        compare(run, other, temperature_K=310.0)


def test_results_are_plain_data(tmp_path, reference):
    run = alanine_run(seed=3, frames=50)
    analysis = analyse(run, temperature_K=310.0)
    comparison = compare(run, reference, temperature_K=310.0)
    data = {**analysis, "comparison": comparison, "verdict": judge(analysis, comparison).to_json()}
    write_json(tmp_path / "analysis.json", data)
    read = json.loads((tmp_path / "analysis.json").read_text())
    assert read["n_samples"] == 200
    assert set(read["torsions"]) == {"omega_0", "phi_1", "psi_1", "omega_1"}
    assert read["comparison"]["jsd"]["phi_1"]["value"] < 1
    assert judge(read, read["comparison"]).level == judge(analysis, comparison).level  # null is read as no number


def test_one_chain_and_one_frame_do_not_crash():
    run = alanine_run(chains=1, frames=12)
    assert np.isfinite(diagnose(run)["rhat"]["phi_1"])
    tiny = FakeTrajectory(run.atoms, run.positions[:, :2], run.energies[:, :2])
    assert judged(tiny).level == "reject"


@pytest.mark.parametrize(
    ("proposed", "accepted", "warned"),
    [(2, 1, False), (40, 3, False), (40, 15, True), (5, 0, False), (40, 0, True)],
)
def test_a_chain_that_accepts_nothing_is_reported_where_that_is_no_accident(proposed, accepted, warned):
    rates = [0.0, *[accepted / proposed] * 3]
    kernels = {"rare": {"proposed": 4 * proposed, "accepted": 3 * accepted, "acceptance_per_chain": rates}}
    assert ("acceptance of rare" in statuses(judged(alanine_run(seed=3), kernels=kernels))) is warned


def test_many_short_chains_of_a_sound_kernel_are_not_reported():
    """128 chains of 64 steps, 5 % accepted: some five of them accept nothing, by chance."""
    rates = np.random.default_rng(1).binomial(64, 0.05, 128) / 64
    assert (rates == 0).any()
    kernels = {"flow": {"proposed": 128 * 64, "accepted": round(64 * rates.sum()), "acceptance_per_chain": [*rates]}}
    assert "acceptance of flow" not in statuses(judged(alanine_run(seed=3), kernels=kernels))


def test_it_is_superchains_that_must_accept():
    """16 chains from 8 starts, two of which rest; they are of one superchain, or each has a fellow that moves."""
    run = alanine_run(chains=16, seed=3, starts=8)
    for resting, found in (({3, 11}, "1 of 8 superchains never accepted a flow move."), ({3, 4}, None)):
        rates = [0.0 if c in resting else 0.5 for c in range(16)]
        kernels = {"flow": {"proposed": 1600, "accepted": 700, "acceptance_per_chain": rates}}
        texts = {c.name: c.text for c in judged(run, kernels=kernels).checks}
        assert texts.get("acceptance of flow") == found
