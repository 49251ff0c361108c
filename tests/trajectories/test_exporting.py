"""What is exported opens in MDTraj and MDAnalysis and says what the run says."""

import importlib.util
import warnings

import mdtraj
import numpy as np
import pytest
import torch

from timewarp.geometry import superpose
from timewarp.molecules import build_molecule
from timewarp.trajectories import RunFolder, export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    molecule = build_molecule("Ace-A-Nme")
    run = RunFolder.create(
        tmp_path_factory.mktemp("run"),
        kind="md",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config={"timestep_fs": 2.0},
    )
    g = torch.Generator().manual_seed(1)
    for stream in range(2):
        x = molecule.start_positions + 0.01 * torch.randn(12, 1, 22, 3, generator=g, dtype=torch.float64)
        run.append(stream, x, torch.zeros(12, 1), 100 * torch.arange(1, 13), {})
    return run


@pytest.mark.parametrize(("format", "tolerance"), [("dcd", 1e-6), ("xtc", 6e-4), ("h5", 1e-6), ("pdb", 6e-5)])
def test_mdtraj_opens_it(run, tmp_path, format, tolerance):
    if format == "h5":
        pytest.importorskip("tables")
    files = export(run, tmp_path, format=format, stride=3)
    chains = [f for f in files if f.suffix == f".{format}" and f.name != "topology.pdb"]
    assert [f.name for f in chains] == [f"chain-00{c}.{format}" for c in range(2)]
    expected = run.trajectory(stride=3)
    for chain, file in enumerate(chains):
        options = {"top": str(tmp_path / "topology.pdb")} if format in ("dcd", "xtc") else {}
        got = mdtraj.load(str(file), **options)
        wanted = superpose(expected.positions[chain], expected.positions[0, 0])
        assert got.n_frames == 4
        assert np.abs(got.xyz - wanted.numpy()).max() < tolerance
        assert [a.element.symbol for a in got.topology.atoms] == list(run.atoms.elements)
        if format in ("xtc", "h5"):
            assert np.allclose(got.time, [0, 0.6, 1.2, 1.8], atol=1e-5)


@pytest.mark.parametrize("format", ["dcd", "xtc"])
def test_mdanalysis_opens_it(run, tmp_path, format):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    export(run, tmp_path, format=format, superposed=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe(str(tmp_path / "topology.pdb"), str(tmp_path / f"chain-001.{format}"))
        got = np.stack([frame.positions.copy() for frame in universe.trajectory]) / 10
    assert np.abs(got - run.trajectory().positions[1].numpy()).max() < 6e-4
    assert list(universe.atoms.names) == list(run.atoms.names)
    assert len(universe.bonds) == len(run.atoms.bonds)


def test_nothing_is_written_over(run, tmp_path):
    export(run, tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match="overwrite"):
        export(run, tmp_path, stride=2)
    assert before == {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    export(run, tmp_path, stride=2, overwrite=True)
    assert before != {f.name: f.read_bytes() for f in tmp_path.iterdir()}


def test_one_chain_into_one_file(run, tmp_path):
    one = run.trajectory(streams=[1])
    assert export(one, tmp_path / "a.pdb", format="pdb", topology_pdb=run.topology_pdb) == [tmp_path / "a.pdb"]
    with pytest.raises(ValueError, match="2 chains"):
        export(run, tmp_path / "b.pdb", format="pdb")
    with pytest.raises(ValueError, match="topology_pdb"):
        export(one, tmp_path / "c")
    with pytest.raises(ValueError, match="unknown format"):
        export(run, tmp_path / "d", format="gro")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        export(run, tmp_path / "file")


def test_hdf5_without_pytables_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install tables"):
        export(run, tmp_path, format="h5")
