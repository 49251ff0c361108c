"""Production runs: exact resume, extension, refusals, explosions; settings in whole steps."""

import json
import math
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import openmm
import pytest
import torch
from toy_molecule import ATOMS, toy_molecule

from timewarp.energies import compile_system
from timewarp.molecules import build_molecule
from timewarp.simulation import SimulationError, SimulationSettings, replica, replica_starts, simulate
from timewarp.simulation.system import choose_platform, with_masses
from timewarp.state import repartition_hydrogen_mass
from timewarp.trajectories import RunFolder

SHORT = {
    "length_ns": 0.02,
    "replicas": 2,
    "burn_in_ps": 1.0,
    "segment_ps": 2.0,
    "frame_spacing_ps": 0.5,
    "torsion_moves_per_ps": 2.0,
    "seed": 5,
    "engine": "openmm",
}


def settings(**changes):
    return SimulationSettings(**{**SHORT, **changes})


def run_toy(path, molecule=None, **changes):
    return simulate(molecule or toy_molecule(), path, settings(**changes), quiet=True, processes=1)


def assert_same_frames(a, b):
    ta, tb = a.trajectory(), b.trajectory()
    assert torch.equal(ta.positions, tb.positions)
    assert torch.equal(ta.energies, tb.energies)
    assert torch.equal(ta.steps, tb.steps)
    for stream in a.streams:
        one, other = a.last_state(stream), b.last_state(stream)
        assert all(torch.equal(one[key], other[key]) for key in one if key != "wall_s")


class Killed(BaseException):
    """Stands for a process that is gone."""


def run_with_kills(path, molecule, monkeypatch, after, **changes):
    """Run to the end, dying in the middle of every ``after``-th segment on the way; return the number of deaths."""
    deaths = 0
    original = replica.Replica._check_patterns

    def die(self, positions):  # called once per segment, when its frames are made but not closed
        nonlocal calls
        calls += 1
        if calls == after:
            raise Killed
        original(self, positions)

    monkeypatch.setattr(replica.Replica, "_check_patterns", die)
    while True:
        calls = 0
        try:
            simulate(molecule, path, settings(**changes), quiet=True, processes=1)
        except Killed:
            deaths += 1
            continue
        monkeypatch.undo()
        return deaths


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, monkeypatch):
    whole = run_toy(tmp_path / "whole")
    assert run_with_kills(tmp_path / "killed", toy_molecule(), monkeypatch, after=3) >= 5
    assert_same_frames(whole, RunFolder.open(tmp_path / "killed"))
    assert whole.summary()["complete"]
    assert whole.summary()["frames"] == 40


@pytest.mark.parametrize("preset", ["amber14-obc2", "amber14-obc1"])  # Reference with native GB; CPU with a custom one
def test_resume_is_exact_on_both_platforms(tmp_path, monkeypatch, preset):
    molecule = build_molecule("Ace-G-Nme", preset)
    changes = {"length_ns": 0.004, "replicas": 1, "burn_in_ps": 0.2, "segment_ps": 1.0, "platform": "auto"}
    whole = run_toy(tmp_path / "whole", molecule, **changes)
    assert whole.config["platform"] == ("CPU" if preset == "amber14-obc1" else "Reference")
    assert run_with_kills(tmp_path / "killed", molecule, monkeypatch, after=3, **changes) >= 1
    assert_same_frames(whole, RunFolder.open(tmp_path / "killed"))


def test_a_replica_whose_process_is_killed_is_begun_again(tmp_path):
    whole = run_toy(tmp_path / "whole")
    segments = tmp_path / "killed" / "segments"
    victims = []

    def kill():
        while not list(segments.glob("s*.safetensors")):
            time.sleep(0.005)
        victims.extend(multiprocessing.active_children())
        os.kill(victims[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run = simulate(toy_molecule(), tmp_path / "killed", settings(), quiet=True, processes=2)
    killer.join()
    assert victims[0].exitcode == -signal.SIGKILL
    assert_same_frames(whole, run)


def test_an_extended_run_is_the_longer_one(tmp_path):
    longer = run_toy(tmp_path / "longer", length_ns=0.02)
    run_toy(tmp_path / "short", length_ns=0.008)  # 4 ps per replica: two whole segments
    assert_same_frames(longer, run_toy(tmp_path / "short", length_ns=0.02))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "short" / "segments").iterdir())
    run_toy(tmp_path / "short", length_ns=0.02)  # complete: nothing to do
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "short" / "segments").iterdir())


def test_replicas_and_seeds_differ(tmp_path):
    first, second = run_toy(tmp_path / "a"), run_toy(tmp_path / "b", seed=6)
    x, y = first.trajectory(), second.trajectory()
    assert (x.positions[0, -1] - x.positions[1, -1]).abs().max() > 1e-3
    assert (x.positions[0, -1] - y.positions[0, -1]).abs().max() > 1e-3


def test_energies_are_openmms(tmp_path):
    molecule = toy_molecule()
    run = run_toy(tmp_path, molecule)
    state = run.last_state(1)
    context = openmm.Context(
        molecule.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(state["positions"].numpy())
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert float(run.trajectory().energies[1, -1]) == pytest.approx(energy, abs=1e-10)


def test_other_runs_are_not_written_over(tmp_path):
    run_toy(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for changes, field in [
        ({"seed": 6}, "seed"),
        ({"temperature_K": 300.0}, "temperature_K"),
        ({"replicas": 3}, "replicas"),
        ({"start": ("built", "psi_1=3")}, "starts"),
        ({"length_ns": 0.01}, "length_ns"),
    ]:
        with pytest.raises(FileExistsError, match=f"whose {field} is"):
            run_toy(tmp_path, **changes)
    with pytest.raises(FileExistsError, match="another molecule"):
        run_toy(tmp_path, build_molecule("Ace-G-Nme"))
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_an_explosion_is_one_clear_error(tmp_path):
    with pytest.raises(SimulationError, match=r"replica 0 exploded after .* --timestep.*2 of 2 replicas"):
        run_toy(tmp_path, timestep_fs=50.0, hydrogen_mass_Da=1.0, frame_spacing_ps=0.5)
    assert RunFolder.open(tmp_path).streams == []


def test_one_replica_failing_leaves_the_others(tmp_path, monkeypatch):
    original = replica.Replica._check

    def fail(self, energy, step):
        return original(self, math.nan if self.job.stream == 0 and self.step >= 2000 else energy, step)

    monkeypatch.setattr(replica.Replica, "_check", fail)
    with pytest.raises(SimulationError, match=r"not finite.*1 of 2 replicas stopped"):
        run_toy(tmp_path)
    run = RunFolder.open(tmp_path)
    assert (run.n_frames(0), run.n_frames(1)) == (8, 20)


def test_replicas_start_apart(tmp_path):
    molecule = build_molecule("Ace-A-Nme")
    parameters = compile_system(molecule.system)
    spread = replica_starts(molecule, settings(start=("spread",), replicas=4), 310.0, parameters)
    assert len(np.unique(spread.reshape(4, -1), axis=0)) == 4
    many = replica_starts(molecule, settings(start=("spread",), replicas=16), 310.0, parameters)
    assert np.array_equal(many[:8], many[8:]), "replicas of a superchain share their start"
    mixed = replica_starts(molecule, settings(start=("built", "phi_1=60"), replicas=3), 310.0, parameters)
    assert np.array_equal(mixed[0], mixed[2])
    assert np.array_equal(mixed[0], molecule.start_positions.numpy())
    with pytest.raises(ValueError, match="does not turn"):
        run_toy(tmp_path / "run", molecule, start=("omega_1=0",))
    assert not (tmp_path / "run").exists()


def test_starts_under_a_force_that_only_openmm_knows(tmp_path):
    molecule = toy_molecule()
    force = openmm.CustomBondForce("0.5*k*r^2")
    force.addPerBondParameter("k")
    force.addBond(0, 3, [1.0])
    molecule.system.addForce(force)
    run = run_toy(tmp_path, molecule, start=("spread",), length_ns=0.002)
    assert run.summary()["complete"]
    assert run.parameters is None, "there is no compiled energy to keep"
    assert run_toy(tmp_path / "known").parameters is not None


def test_masses_are_repartitioned():
    atoms = build_molecule("Ace-A-Nme").atoms
    masses = repartition_hydrogen_mass(atoms, 3.0).numpy()
    assert masses.sum() == pytest.approx(sum(atoms.masses))
    assert all(m == 3.0 for m, e in zip(masses, atoms.elements, strict=True) if e == "H")
    assert masses.min() == 3.0
    assert np.array_equal(repartition_hydrogen_mass(atoms, None).numpy(), atoms.masses)
    with pytest.raises(ValueError, match=r"leaves atom .* with"):
        repartition_hydrogen_mass(atoms, 6.0)


def test_systems_with_constraints_are_refused():
    system = toy_molecule().system
    system.addConstraint(0, 1, 0.15)
    with pytest.raises(ValueError, match="1 constraints"):
        with_masses(system, np.array(ATOMS.masses))


def test_unknown_platform():
    with pytest.raises(ValueError, match=r"no platform 'GPU' here; it has Reference"):
        choose_platform(toy_molecule().system, "GPU")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length_ns", 0.0),
        ("length_ns", math.nan),
        ("timestep_fs", -1.0),
        ("friction_per_ps", math.inf),
        ("temperature_K", -310.0),
        ("frame_spacing_ps", 0.0),
        ("burn_in_ps", -1.0),
        ("segment_ps", 0.0),
        ("hydrogen_mass_Da", 0.0),
        ("torsion_moves_per_ps", -1.0),
        ("replicas", 0),
        ("start", ()),
        ("seed", -1),
    ],
)
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        SimulationSettings(**{field: value})


def test_frame_spacing_is_whole_steps():
    with pytest.raises(ValueError, match=r"got 0\.7005 ps; try 0\.7 ps"):
        SimulationSettings(frame_spacing_ps=0.7005)
    assert SimulationSettings(frame_spacing_ps=0.2).frame_steps == 100


@pytest.mark.parametrize("spacing", [0.002, 0.2, 0.4, 0.5, 1.0, 1.4, 2.0, 10.0, 1.002])
def test_torsion_rounds_fit_the_frames(spacing):
    s = SimulationSettings(frame_spacing_ps=spacing, torsion_moves_per_ps=10)
    interval, frame = s.torsion_interval_steps, s.frame_steps
    assert interval % frame == 0 or frame % interval == 0
    assert 250 <= interval <= 1000
    assert s.torsion_moves_per_round == round(10 * interval * 0.002)


def test_length_is_shared_and_rounded_up():
    s = SimulationSettings(length_ns=100, replicas=2, frame_spacing_ps=0.2)
    assert s.frames_per_replica == 250000
    assert SimulationSettings(length_ns=1.0, replicas=3).frames_per_replica == 334
    assert SimulationSettings().segment_frames(22) == 100
    assert SimulationSettings().segment_frames(220) == 1
    assert SimulationSettings(timestep_fs=1.0).resolved_hydrogen_mass_Da is None
    assert SimulationSettings().resolved_hydrogen_mass_Da == 3.0


def test_summary_is_strict_json(tmp_path):
    summary = json.loads((run_toy(tmp_path, torsion_moves_per_ps=0.0).path / "summary.json").read_text())
    assert summary["schema"] == 1
    assert {
        "molecule",
        "preset",
        "temperature_K",
        "timestep_fs",
        "friction_per_ps",
        "hydrogen_mass_Da",
    } <= summary.keys()
    assert {"wall_s", "ns_per_day", "steps_per_second", "seed", "versions", "platform", "frames"} <= summary.keys()
    assert summary["done_ns"] == pytest.approx(0.02)
    assert "torsion_moves" not in summary
    assert summary["versions"].keys() >= {"openmm", "torch", "numpy"}
