"""Units, files, progress and the description of atoms."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handmade import ALANINE_DIPEPTIDE
from timewarp.files import read_json, read_toml, sha256, to_toml, write_atomically, write_json, write_toml
from timewarp.progress import Progress
from timewarp.state import Atoms
from timewarp.units import kT

scalars = st.one_of(st.integers(-(2**60), 2**60), st.booleans(), st.text(max_size=20), st.floats(allow_nan=False))
tables = st.recursive(
    st.dictionaries(st.text(max_size=8), st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=8), st.one_of(scalars, inner), max_size=3),
    max_leaves=10,
)


@given(table=tables)
def test_toml_reads_back_what_was_written(table):
    assert tomllib.loads(to_toml(table)) == table


def test_toml_leaves_none_out_and_refuses_objects():
    assert to_toml({"a": None, "b": 1}) == "b = 1\n"
    with pytest.raises(TypeError, match="cannot write object"):
        to_toml({"a": object()})


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [float("inf"), 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [None, 1.5]}


@pytest.mark.parametrize(("read", "text"), [(read_json, "{"), (read_json, "[1]"), (read_toml, "= 3")])
def test_damaged_tables_are_named(read, text, tmp_path):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match="file is not a"):
        read(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "a.toml"
    write_toml(path, {"a": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "a = 2")
    assert path.read_text() == "a = 1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.toml"]


def test_sha256_of_nothing(tmp_path):
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc")


@pytest.mark.parametrize("bad", [0.0, -300.0, float("nan"), float("inf")])
def test_impossible_temperatures(bad):
    with pytest.raises(ValueError, match="positive number of kelvin"):
        kT(bad)


def test_progress_prints_a_rate_and_the_time_left(capsys):
    with Progress("MD", 10, unit="ns", interval_s=0.0) as bar:
        bar.advance(5, note="fine")
    err = capsys.readouterr().err
    assert "MD: 50 %" in err
    assert "ns/s" in err
    assert "left" in err


def test_quiet_progress_prints_nothing(capsys):
    with Progress("MD", 10, quiet=True, interval_s=0.0) as bar:
        bar.advance(5)
    assert capsys.readouterr().err == ""


def test_atoms_survive_json():
    assert Atoms.from_json(json.loads(json.dumps(ALANINE_DIPEPTIDE.to_json()))) == ALANINE_DIPEPTIDE
    assert ALANINE_DIPEPTIDE.formula == "C6H12N2O2"
    assert ALANINE_DIPEPTIDE.residues == "ACE-ALA-NME"


def test_fingerprint_sees_names_and_bonds_and_not_charges():
    atoms = ALANINE_DIPEPTIDE
    assert replace(atoms, charges=(0.0,) * 22).fingerprint == atoms.fingerprint
    assert replace(atoms, bonds=tuple(reversed(atoms.bonds))).fingerprint == atoms.fingerprint
    assert replace(atoms, names=("X", *atoms.names[1:])).fingerprint != atoms.fingerprint


@pytest.mark.parametrize("change", [{"masses": (1.0,)}, {"bonds": ((0, 99),)}])
def test_inconsistent_atoms_are_refused(change):
    with pytest.raises(ValueError, match=r"one entry per atom|does not join"):
        replace(ALANINE_DIPEPTIDE, **change)


def test_atoms_from_foreign_json():
    with pytest.raises(ValueError, match="a description of atoms"):
        Atoms.from_json({"schema": 1})


def test_shapes_mean_nothing_without_jaxtyping():
    """Training runs where only torch, numpy, safetensors and lightning-fabric are installed."""
    code = (
        "import sys\n"
        "for name in ('jaxtyping','openmm','pdbfixer','mdtraj','arviz','matplotlib','rich'): sys.modules[name] = None\n"
        "import timewarp.training, timewarp.flows, timewarp.energies, timewarp.trajectories, timewarp.sampling\n"
        "import timewarp.verbs.train\n"
        "import timewarp.commands; timewarp.commands.main(['train', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: timewarp train" in done.stdout
