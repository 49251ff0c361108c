"""Runs of the batched engine from Python: lost replicas, resume, extension, defaults."""

import numpy as np
import pytest
import torch
from toy_molecule import toy_molecule

from timewarp import native
from timewarp.molecules import build_molecule
from timewarp.restriction import Restriction
from timewarp.simulation import SimulationError, SimulationSettings, batched, choose_engine, simulate
from timewarp.trajectories import RunFolder

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

SHORT = {"length_ns": 0.2, "replicas": 5, "burn_in_ps": 2.0, "segment_ps": 5.0, "frame_spacing_ps": 0.5, "seed": 5}


def run_toy(path, **changes):
    settings = SimulationSettings(**{**SHORT, "torsion_moves_per_ps": 2.0, **changes})
    return simulate(toy_molecule(), path, settings, quiet=True, processes=1)


def test_replicas_do_not_depend_on_their_number(tmp_path):
    few = run_toy(tmp_path / "few", replicas=2, length_ns=0.08).trajectory()
    many = run_toy(tmp_path / "many").trajectory()
    assert torch.equal(few.positions, many.positions[:2])
    assert not torch.equal(few.positions[0], few.positions[1])


def test_frames_far_apart_are_interrupted_in_between(tmp_path, monkeypatch):
    """Calls of the kernel are short, and how a run is cut into segments changes nothing."""
    calls = []
    advance = batched.BatchedLangevin.advance

    def counted(self, replicas, n_frames, frame_steps, *, burn_in=False):
        calls.append(n_frames * frame_steps)
        return advance(self, replicas, n_frames, frame_steps, burn_in=burn_in)

    monkeypatch.setattr(batched.BatchedLangevin, "advance", counted)
    far = run_toy(tmp_path / "far", frame_spacing_ps=12.4, burn_in_ps=0.0, segment_ps=20.0, length_ns=0.248)
    assert (far.n_frames(0), far.n_segments(0), calls) == (4, 2, [5000, 1200] * 4)
    whole = run_toy(tmp_path / "whole", frame_spacing_ps=12.4, burn_in_ps=0.0, segment_ps=50.0, length_ns=0.248)
    assert torch.equal(far.trajectory().positions, whole.trajectory().positions)


def explode(monkeypatch, replica, after_ps, energy):
    """From some time on, one replica has an energy that none should have."""
    advance = batched.BatchedLangevin.advance

    def exploding(self, replicas, n_frames, frame_steps, *, burn_in=False):
        first = replicas.step
        frames = advance(self, replicas, n_frames, frame_steps, burn_in=burn_in)
        late = (first + frame_steps * np.arange(1, n_frames + 1)) * 0.002 > after_ps
        frames.energies[np.ix_(late, replicas.ids == replica)] = energy
        return frames

    monkeypatch.setattr(batched.BatchedLangevin, "advance", exploding)


@pytest.mark.parametrize("energy", [np.nan, np.inf, 1e9])
def test_a_lost_replica_stops_alone(tmp_path, monkeypatch, energy):
    whole = run_toy(tmp_path / "whole")
    explode(monkeypatch, 3, 17.2, energy)
    with pytest.raises(
        SimulationError, match=r"replica 3 exploded within 17\.5 ps.*--timestep.*1 of 5 replicas stopped"
    ):
        run_toy(tmp_path / "lost")
    run = RunFolder.open(tmp_path / "lost")
    kept = [0, 1, 2, 4]
    assert run.going_chains(0) == kept
    found = run.trajectory()
    assert torch.equal(found.positions, whole.trajectory().positions[kept])
    assert torch.equal(found.energies, whole.trajectory().energies[kept])
    summary = run.summary()
    assert summary["stopped"] == [{"replica": 3, "ps": 17.5, "why": "exploded"}]
    assert summary["frames"] == 4 * 80
    assert not summary["complete"]
    monkeypatch.undo()
    with pytest.raises(SimulationError, match="replica 3 exploded"):  # extended, it stays stopped
        run_toy(tmp_path / "lost", length_ns=0.25)
    longer = run_toy(tmp_path / "whole", length_ns=0.25)
    assert torch.equal(RunFolder.open(tmp_path / "lost").trajectory().positions, longer.trajectory().positions[kept])


def test_a_replica_that_leaves_its_pattern_stops(tmp_path, monkeypatch):
    turned_bonds = Restriction.turned_bonds

    def crossing(restriction, positions):
        found = turned_bonds(restriction, positions)
        if positions.ndim == 4 and positions.shape[1] == 5:  # frames of all five, where a peptide bond turns over
            found[-1, 2, -1] ^= True
        return found

    monkeypatch.setattr(Restriction, "turned_bonds", crossing)
    settings = SimulationSettings(**{**SHORT, "length_ns": 0.02})
    with pytest.raises(SimulationError, match=r"replica 2 changed a stereocentre.*1 of 5 replicas stopped"):
        simulate(build_molecule("Ace-A-Nme"), tmp_path, settings, quiet=True, processes=1)
    run = RunFolder.open(tmp_path)
    assert run.going_chains(0) == [0, 1, 3, 4]
    assert "pattern" in run.summary()["stopped"][0]["why"]


def test_all_lost_is_one_error(tmp_path):
    with pytest.raises(SimulationError, match=r"exploded within the burn-in.*5 of 5"):
        run_toy(tmp_path, timestep_fs=50.0, hydrogen_mass_Da=1.0)
    assert RunFolder.open(tmp_path).streams == []


def test_float64_is_another_run(tmp_path):
    run = run_toy(tmp_path, precision="float64")
    assert run.last_state(0)["positions"].dtype == torch.float64
    with pytest.raises(FileExistsError, match="whose precision is 'float64'"):
        run_toy(tmp_path)


def test_defaults(tmp_path):
    molecule = build_molecule("Ace-A-Nme")

    def chosen(**changes):
        return choose_engine(molecule, SimulationSettings(**changes), tmp_path).settings

    assert [chosen(length_ns=x).replicas for x in (0.1, 1, 2, 5, 10, 1000)] == [1, 4, 8, 16, 32, 32]
    assert chosen(length_ns=10, replicas=7).replicas == 7
    assert chosen(engine="openmm").replicas == 1
    assert chosen(platform="CPU").engine == "openmm"
    assert chosen().engine == "batched"
    for spacing in (0.1, 1.0, 50.0, 5000.0):  # a segment is some seconds, and fits the memory
        s = chosen(length_ns=1000, frame_spacing_ps=spacing)
        assert s.segment_frames(22) == max(1, round(min(1000 / spacing, 2**24 / (66 * 32))))
