"""Files that other programs write come back as they were: positions, order of atoms, energies of OpenMM."""

import warnings
from pathlib import Path

import foreign_files
import mdtraj
import numpy as np
import openmm
import pytest
import torch
from foreign_files import dialect, molecule, positions, within_residues, write
from openmm import app, unit

from timewarp.energies import OpenMMEvaluator
from timewarp.molecules import build_molecule
from timewarp.trajectories import FrameSet, RunFolder, Source, export, open_source, read_frames, read_positions

DATA = Path(__file__).parent / "data"
ROUNDING = {"dcd": 1e-6, "xtc": 5.1e-4, "trr": 0.0, "h5": 0.0, "nc": 1e-6, "pdb": 6e-5, "pdb.gz": 6e-5}
MOLECULES = ("AG", "Ace-P-Nme")


def openmm_energies(sequence: str, x: torch.Tensor) -> torch.Tensor:
    return OpenMMEvaluator(molecule(sequence).system).energy(x.double())


def same(frames: FrameSet, sequence: str, tolerance: float) -> None:
    assert frames.atoms == molecule(sequence).atoms
    assert np.abs(frames.positions[0].numpy() - positions(sequence)).max() <= tolerance
    assert torch.allclose(frames.energies[0], openmm_energies(sequence, frames.positions[0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sequence", MOLECULES)
@pytest.mark.parametrize("format", ROUNDING)
def test_every_format_in_another_order_and_dialect(tmp_path, format, sequence):
    order = within_residues(sequence)
    top = write(tmp_path / f"a.{format}", sequence, order, dialect(sequence))
    own = format in ("h5", "pdb", "pdb.gz")
    same(read_frames(tmp_path / f"a.{format}", None if own else top, chunk=3), sequence, ROUNDING[format])


@pytest.mark.parametrize("top", ["KVE.psf", "KVE.prmtop", "heavy.psf"])
def test_topologies_of_charmm_and_amber(tmp_path, top):
    """Also with repartitioned hydrogen masses, from which MDTraj takes the elements of a PSF."""
    theirs = DATA / top
    if top == "heavy.psf":
        theirs = tmp_path / top
        theirs.write_text((DATA / "KVE.psf").read_text().replace(" 1.0079", " 3.0240"))
        assert "H" not in {atom.element.symbol for atom in mdtraj.load_topology(str(theirs)).atoms}
    mdtraj.Trajectory(positions("KVE"), foreign_files.topology("KVE")).save(str(tmp_path / "a.dcd"))
    same(read_frames(tmp_path / "a.dcd", theirs), "KVE", 1e-6)


@pytest.mark.parametrize("sequence", MOLECULES)
@pytest.mark.parametrize("suffix", ["dcd", "xtc", "pdb"])
def test_reporters_of_openmm(tmp_path, sequence, suffix):
    m = molecule(sequence)
    reporter = {"dcd": app.DCDReporter, "xtc": app.XTCReporter, "pdb": app.PDBReporter}[suffix]
    file, top = tmp_path / f"a.{suffix}", tmp_path / "top.pdb"
    integrator = openmm.LangevinMiddleIntegrator(310 * unit.kelvin, 1 / unit.picosecond, 0.0005 * unit.picosecond)
    simulation = app.Simulation(m.topology, m.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(m.start_positions.numpy())
    simulation.reporters.append(reporter(str(file), 20))
    seen = []
    for _ in range(5):
        simulation.step(20)
        seen.append(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)
    simulation.reporters.clear()
    with open(top, "w") as handle:
        app.PDBFile.writeFile(m.topology, m.start_positions.numpy() * 10, handle)
    frames = read_frames(file, None if suffix == "pdb" else top)
    assert frames.atoms == m.atoms
    assert np.abs(frames.positions[0].numpy() - np.array(seen)).max() < ROUNDING[suffix]


@pytest.mark.parametrize("format", ["dcd", "trr", "ncdf"])
def test_writers_of_mdanalysis(tmp_path, format):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    top = write(tmp_path / "mine.dcd", "Ace-P-Nme")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe(str(top), str(tmp_path / "mine.dcd"))
        with MDAnalysis.Writer(str(tmp_path / f"theirs.{format}"), n_atoms=universe.atoms.n_atoms) as writer:
            for _ in universe.trajectory:
                writer.write(universe.atoms)
    same(read_frames(tmp_path / f"theirs.{format}", top), "Ace-P-Nme", 2e-6)


def test_frames_are_a_source_like_a_run(tmp_path):
    top = write(tmp_path / "a.xtc", "AG")
    frames = read_frames(tmp_path / "a.xtc", top, temperature_K=300, spacing_ps=2.0, stride=2, discard=1)
    assert (frames.name, frames.kind, frames.is_dynamics) == ("AG", "md", True)
    assert isinstance(frames, Source)
    assert frames.config["preset"] == "amber14-obc2"
    assert len(frames.config["sha256"][0]) == 64
    assert (frames.temperature_K, frames.summary()) == (300.0, None)
    frames.check_unbiased()
    t = frames.trajectory()
    assert (t.unit, t.frame_spacing, t.n_frames) == ("ps", 4.0, 3)
    assert np.abs(t.positions[0].numpy() - positions("AG")[1::2]).max() < 6e-4
    assert frames.trajectory(stride=2, discard=1).n_frames == 1
    assert frames.trajectory(stride=2).frame_spacing == 8.0
    assert any("0.001 nm" in note for note in frames.notes)
    assert not any("temperature" in note or "times" in note for note in frames.notes)
    assert "1 chain x 3 frames every 4 ps" in repr(frames)
    timeless = read_frames(tmp_path / "a.xtc", top)
    assert (timeless.kind, timeless.is_dynamics, timeless.temperature_K) == ("frames", False, 310.0)
    assert (timeless.trajectory().unit, timeless.trajectory().frame_spacing) == ("frame", 1.0)
    assert any("every 2 ps by its own times" in note for note in timeless.notes)
    assert any("310 K" in note for note in timeless.notes)


def test_several_files_are_several_chains(tmp_path):
    top = write(tmp_path / "a.dcd", "AG")
    mdtraj.Trajectory(positions("AG")[:4], foreign_files.topology("AG")).save(str(tmp_path / "b.nc"))
    frames = read_frames([tmp_path / "a.dcd", tmp_path / "b.nc"], top)
    assert frames.energies.shape == (2, 4)
    assert torch.equal(frames.positions[0], frames.positions[1])
    assert any("cut to the shortest, 4 frames (a.dcd 7, b.nc 4)" in note for note in frames.notes)


@pytest.mark.parametrize("spacing", [None, 2.0])
def test_saved_as_a_run_folder(tmp_path, spacing):
    top = write(tmp_path / "a.dcd", "AG")
    frames = read_frames([tmp_path / "a.dcd"] * 2, top, spacing_ps=spacing)
    frames.save(tmp_path / "run")
    run = open_source(tmp_path / "run")
    assert isinstance(run, RunFolder)
    assert (run.kind, run.is_dynamics, run.temperature_K) == (frames.kind, frames.is_dynamics, 310.0)
    mine, theirs = frames.trajectory(), run.trajectory()
    assert torch.equal(mine.positions, theirs.positions)
    assert torch.equal(mine.energies, theirs.energies)
    assert (mine.unit, mine.frame_spacing) == (theirs.unit, theirs.frame_spacing)
    assert run.parameters is not None
    assert torch.equal(run.parameters.charge, frames.parameters.charge)
    with pytest.raises(FileExistsError):
        frames.save(tmp_path / "run")


def test_matched_to_a_run_and_to_frames(tmp_path):
    top = write(tmp_path / "a.dcd", "AG", within_residues("AG"))
    first = read_frames(tmp_path / "a.dcd", top, preset="amber14-vacuum", temperature_K=321)
    run = first.save(tmp_path / "run")
    for known in (first, run):
        again = open_source(tmp_path / "a.dcd", top, molecule=known)
        assert again.config["preset"] == "amber14-vacuum"
        assert again.temperature_K == 321
        assert torch.equal(again.positions, first.positions)
        assert torch.equal(again.energies, first.energies)
    (run.path / "energy.safetensors").unlink()
    again = read_frames(tmp_path / "a.dcd", top, molecule=run)
    assert torch.allclose(again.energies, first.energies, atol=1e-9)
    with pytest.raises(ValueError, match="is under amber14-vacuum, not amber14-obc2"):
        read_frames(tmp_path / "a.dcd", top, molecule=run, preset="amber14-obc2")


def test_exported_frames_come_back(tmp_path):
    top = write(tmp_path / "a.dcd", "Ace-P-Nme")
    frames = read_frames(tmp_path / "a.dcd", top)
    files = export(frames, tmp_path / "out", superposed=False)
    assert torch.equal(read_frames(files[0], files[1]).energies, frames.energies)


def test_what_rounding_does_to_energies(tmp_path):
    """The sizes that `timewarp export --help` states: 2.1 kJ/mol for XTC at 22 atoms, next to nothing for DCD."""
    run = RunFolder.open(Path(__file__).parents[2] / "examples" / "ala2-md")
    off = {}
    for format in ("dcd", "xtc", "pdb"):
        files = export(run, tmp_path, format=format, stride=20, overwrite=True)
        chain = next(file for file in files if file.name.startswith("chain"))
        frames = read_frames(chain, tmp_path / "topology.pdb" if format != "pdb" else None, molecule=run)
        difference = frames.energies[0] - run.trajectory(stride=20).energies[0]
        off[format] = (float(difference.square().mean().sqrt()), float(difference.mean()))
    assert off["dcd"][0] < 0.002
    assert 1.7 < off["xtc"][0] < 2.6
    assert off["xtc"][1] > 0.3, "on average too high"
    assert 0.1 < off["pdb"][0] < 0.4


def test_a_d_residue_keeps_its_chirality_and_is_named(tmp_path):
    mirrored = mdtraj.Trajectory(positions("AG") * np.float32([1, 1, -1]), foreign_files.topology("AG"))
    mirrored.save(str(tmp_path / "a.pdb"))
    frames = read_frames(tmp_path / "a.pdb")
    assert any("inverted" in note for note in frames.notes)
    assert np.abs(frames.positions[0].numpy() - mirrored.xyz).max() < 6e-5


def test_a_tautomer_is_the_one_of_the_file(tmp_path):
    lines = build_molecule("AH").pdb.splitlines()
    (tmp_path / "hid.pdb").write_text(
        "\n".join(line.replace("HIS", "HID") for line in lines if " HE2 " not in line and "CONECT" not in line)
    )
    hid = build_molecule(tmp_path / "hid.pdb")
    (tmp_path / "a.pdb").write_text(hid.pdb)
    frames = read_frames(tmp_path / "a.pdb")
    assert frames.atoms == hid.atoms
    assert torch.allclose(frames.energies[0], OpenMMEvaluator(hid.system).energy(frames.positions[0].double()))
    with pytest.raises(ValueError, match=r"bonded otherwise.*tautomer"):
        read_frames(tmp_path / "a.pdb", molecule="AH")


@pytest.mark.parametrize("model", [1, 3])
def test_models_of_a_pdb_as_starts(tmp_path, model):
    m = molecule("Ace-P-Nme")
    write(tmp_path / "a.pdb", "Ace-P-Nme", within_residues("Ace-P-Nme"))
    all_of_them = read_positions(tmp_path / "a.pdb", m.atoms, start=m.start_positions)
    assert all_of_them.shape == (7, m.atoms.n_atoms, 3)
    assert all_of_them.dtype == torch.float64
    one = read_positions(tmp_path / "a.pdb", m.atoms, model)
    assert torch.equal(one[0], all_of_them[model - 1])
    assert np.abs(one[0].numpy() - positions("Ace-P-Nme")[model - 1]).max() < 6e-5
    for wrong in (0, 8):
        with pytest.raises(ValueError, match="models 1 to 7, not"):
            read_positions(tmp_path / "a.pdb", m.atoms, wrong)
    with pytest.raises(ValueError, match="expected ALA-GLY"):
        read_positions(tmp_path / "a.pdb", molecule("AG").atoms)
