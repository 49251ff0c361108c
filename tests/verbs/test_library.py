"""The library as it is meant to be used: samples, a kernel of one's own, data of one's own; on two molecules."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

import timewarp as tw
from timewarp.progress import Report

SMALL = {"samples": 96, "chains": 8, "warmup": 10, "threads": 1}
NETWORK = {"n_couplings": 2, "width": 16, "context_blocks": 1}

molecules = pytest.mark.parametrize("molecule", ["AG", "Ace-P-Nme"])


@molecules
def test_samples(molecule, tmp_path, capfd):
    run = tw.sample(molecule, out=tmp_path / "run", **SMALL)
    assert run.kind == "chain"
    assert run.energies.shape == (8, 12)
    assert all(angle.shape == (8, 12) for angle in run.torsions.values())
    assert run.verdict().level in ("trust", "caution", "reject")
    again = tw.sample(molecule, out=tmp_path / "run", **{**SMALL, "samples": 160})
    assert np.array_equal(again.energies[:, :12], run.energies)
    assert capfd.readouterr() == ("", "")  # verbs print nothing


@molecules
def test_one_floor_down(molecule, generator):
    system = tw.System(molecule)
    for kernel in (tw.default_kernel(system), tw.Cycle([tw.Flow(system, "peptides"), tw.HMC(system)])):
        state = kernel.init(system.starts(16, generator))
        state, info = kernel.step(state, generator)
        assert int(info["hmc"].proposed.sum()) == 16
        torch.testing.assert_close(system.energy(state.positions), state.energy, atol=1e-2, rtol=1e-4)


class Mirror(tw.Move):
    """Every atom at the other side of the origin: symmetric, and refused wherever there is a stereocentre."""

    name = "mirror"

    def propose(self, state, generator):
        return tw.Proposal(-state.positions)


class Nudge(tw.Move):
    """Every atom a little away."""

    name = "nudge"

    def propose(self, state, generator):
        noise = torch.randn(state.positions.shape, generator=generator)
        return tw.Proposal(state.positions + 5e-4 * noise)


@molecules
def test_a_kernel_of_ones_own(molecule, tmp_path):
    def kernel(system):
        return tw.Cycle([Mirror(system), Nudge(system), tw.HMC(system)])

    run = tw.sample(molecule, kernel=kernel, out=tmp_path / "run", **SMALL)
    kernels = run.summary["kernels"]
    assert kernels.keys() == {"mirror", "nudge", "hmc"}
    assert kernels["mirror"]["proposed"] == 96
    assert kernels["mirror"]["restricted"] == 96  # all have a stereocentre
    assert 0 < kernels["nudge"]["acceptance"] < 1
    assert kernels["nudge"]["jump"] == 0 or kernels["nudge"]["jump"] is None
    assert run.config["kernels"] == ["mirror", "nudge", "hmc"]
    with pytest.raises(ValueError, match="another target"):
        tw.sample(molecule, kernel=lambda system: tw.HMC(tw.System(molecule)), out=tmp_path / "other", **SMALL)


@molecules
def test_data_of_ones_own(molecule, tmp_path):
    made = tw.simulate(molecule, length_ns=0.24, burn_in_ps=1, torsion_moves_per_ps=10, out=tmp_path / "md")
    made.to_mdtraj().save_dcd(str(tmp_path / "mine.dcd"))
    md = tw.read_frames(tmp_path / "mine.dcd", top=made.path / "topology.pdb", temperature_K=310)
    assert md.energies.shape == (1, 240)
    np.testing.assert_allclose(md.energies.ravel(), made.energies.ravel(), atol=0.05)
    model = tw.train(md, out=tmp_path / "model", steps=20, validation_every=10, batch_size=32, flow=NETWORK)
    run = tw.sample(md.system, model=model, out=tmp_path / "samples", **SMALL)
    assert run.config["model"] == model.name
    assert run.summary["weights_sha256"] == model.sha256
    assert run.judge(reference=md).comparison is not None


@molecules
def test_an_energy_of_ones_own(molecule, tmp_path):
    """Energy alone: forces are derived, and hmc samples it. Here: the force field at twice the temperature."""
    force_field = tw.System(molecule).potential
    system = tw.System(molecule, energy=lambda positions: 0.5 * force_field.energy(positions))
    kernel = {"kernel": lambda system: tw.Cycle([tw.TorsionMove(system), tw.HMC(system)])}
    run = tw.sample(system, out=tmp_path / "own", **kernel, **SMALL)
    plain = tw.sample(molecule, out=tmp_path / "plain", **kernel, **SMALL)
    assert 2 * run.energies.mean() > plain.energies.mean()  # twice as hot
    assert not (tmp_path / "own" / "energy.safetensors").exists()
    with pytest.raises(ValueError, match=r"energy\.safetensors"):
        _ = run.system
    with pytest.raises(ValueError, match=r"under amber14-obc2 and .* under own energy: not comparable"):
        run.judge(reference=plain)
    with pytest.raises(ValueError, match=r"cannot serve an energy of one's own: .*no_flow"):
        tw.default_kernel(system, "peptides")


def test_a_system_and_its_settings_must_agree(tmp_path):
    system = tw.System("AG", temperature_K=320)
    for settings, message in (
        ({"temperature_K": 310}, "the system is at 320 K, not 310 K"),
        ({"preset": "amber14-vacuum"}, "the system is under amber14-obc2, not amber14-vacuum"),
    ):
        with pytest.raises(ValueError, match=message):
            tw.sample(system, out=tmp_path / "run", **settings, **SMALL)
    assert not (tmp_path / "run").exists()


def test_progress_is_told_to_a_function(tmp_path):
    told: list[Report] = []
    tw.sample("AG", out=tmp_path / "run", progress=told.append, **SMALL)
    assert {report.task for report in told} == {"warm-up", "sampling"}
    assert (told[-1].done, told[-1].total) == (96, 96)
    assert told[-1].rate > 0


def test_what_there_is_to_say_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="timewarp"):
        tw.sample("AG", preset="amber14-vacuum", out=tmp_path / "run", **SMALL)
    assert "trained under amber14-obc2" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample": 3}, "no setting 'sample'; the settings are model, family"),
        ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"samples": 1.5}, "samples must be a whole number"),
        ({"samples": True}, "samples must be a whole number"),
        ({"temperature_K": float("nan")}, "temperature_K must be a number of at least 1 and at most 10,000 K"),
        ({"precision": "float16"}, "precision must be one of float32, float64, got 'float16'"),
        ({"model": "nowhere"}, "no model 'nowhere'; the shipped ones are"),
        ({"start": "psi_9=3"}, "no torsion 'psi_9'"),
        ({"kernels": "flip"}, "no kernel 'flip'; the kernels are"),
    ],
)
def test_bad_settings_write_nothing(settings, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tw.sample("AG", out=tmp_path / "run", **{"chains": 8, **settings})
    assert not (tmp_path / "run").exists()


def test_names_are_those_that_exist():
    for name in tw.__all__:
        assert getattr(tw, name) is not None
    assert set(tw.__all__) <= set(dir(tw))
    with pytest.raises(AttributeError, match="no attribute 'sampel'; it has HMC"):
        _ = tw.sampel
