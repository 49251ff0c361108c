"""Saved parameters: a faithful round trip, and one clear line for every file that is not what it should be."""

import subprocess
import sys
from dataclasses import fields, replace

import pytest
import safetensors.torch
import torch
from energy_systems import peptide, shaken

from timewarp.energies import Parameters, Potential, compile_system


@pytest.fixture(scope="module")
def parameters():
    return compile_system(peptide("KG").system)


def tensors_of(p):
    return {f.name: getattr(p, f.name) for f in fields(p)}


def write(path, tensors, **metadata):
    good = {"format": "timewarp.energies.Parameters", "schema": "2"}
    safetensors.torch.save_file(tensors, path, {**good, **metadata})


def test_round_trip(parameters, tmp_path):
    path = tmp_path / "energy.safetensors"
    parameters.save(path)
    loaded = Parameters.load(path)
    for name, tensor in tensors_of(parameters).items():
        assert torch.equal(tensor, getattr(loaded, name)), name
    x = shaken(peptide("KG").start_positions, 2)
    assert torch.equal(Potential(loaded).energy(x), Potential(parameters).energy(x))


def test_loading_and_evaluating_needs_no_openmm(parameters, tmp_path):
    path = tmp_path / "energy.safetensors"
    parameters.save(path)
    code = (
        "import sys; sys.modules.update(openmm=None, pdbfixer=None)\n"
        "import torch\n"
        "from timewarp.energies import Parameters, Potential\n"
        f"p = Parameters.load({str(path)!r})\n"
        "x = torch.randn(3, p.n_atoms, 3)\n"
        "assert Potential(p).energy(x).shape == (3,)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no energy parameters at"):
        Parameters.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(parameters, tmp_path, keep):
    path = tmp_path / "energy.safetensors"
    parameters.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"energy\.safetensors is not a readable safetensors file"):
        Parameters.load(path)


def test_a_file_of_another_kind(parameters, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("once upon a time " * 100)
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        Parameters.load(path)
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="holds no energy parameters"):
        Parameters.load(path)
    write(path, tensors_of(parameters), schema="99")
    with pytest.raises(ValueError, match="schema '99', this version reads 1 and 2"):
        Parameters.load(path)


def test_missing_and_unknown_tensors(parameters, tmp_path):
    path = tmp_path / "energy.safetensors"
    tensors = tensors_of(parameters)
    write(path, {k: v for k, v in tensors.items() if k != "charge"})
    with pytest.raises(ValueError, match=r"\['charge'\] missing or unknown"):
        Parameters.load(path)
    write(path, {**tensors, "polarisability": torch.zeros(1)})
    with pytest.raises(ValueError, match="polarisability"):
        Parameters.load(path)
    write(path, tensors, schema="1")
    with pytest.raises(ValueError, match="missing or unknown"):
        Parameters.load(path)


BROKEN = {
    "charge": (lambda t: t.float(), "charge must be torch.float64, got torch.float32"),
    "bond_atoms": (lambda t: t + 1000, "bond_atoms must lie in 0 to"),
    "angle_atoms": (lambda t: t[:, :1].expand(-1, 3).contiguous(), "names an atom twice"),
    "torsion_atoms": (lambda t: t[:, :3].contiguous(), "torsion_atoms must have shape"),
    "torsion_periodicity": (lambda t: t - 9, "torsion_periodicity must lie in 0 to 8"),
    "angle_k": (lambda t: t[1:].contiguous(), "angle_k must have shape"),
    "bond_k": (lambda t: t * torch.nan, "bond_k holds an impossible number: nan"),
    "epsilon": (lambda t: -1 - t, "epsilon holds an impossible number"),
    "cutoff": (lambda t: -t, "cutoff holds an impossible number: -inf"),
    "gb_offset_radius": (lambda t: 0 * t, "gb_offset_radius holds an impossible number: 0.0"),
    "gb_engulfed": (lambda t: t + 7, "gb_engulfed must lie in 0 to 1"),
    "exception_atoms": (lambda t: t[:1].expand(len(t), 2).contiguous(), "names a pair twice"),
    "bond_length": (lambda t: t[None], "bond_length must have shape"),
    "gb_linear": (lambda t: t + 2, "gb_linear must lie in 0 to 1"),
    "lj_type": (lambda t: torch.zeros(3, dtype=t.dtype), "Lennard-Jones types for 3 of"),
    "lj_table_6": (lambda t: torch.tensor([[0.0, 1.0], [2.0, 0.0]]).to(t), "must have shape|must be symmetric"),
    "lj14_atoms": (lambda t: torch.tensor([[0, 20]]).to(t), "must have shape|no exception"),
    "gb_neck_type": (lambda t: torch.ones(1, dtype=t.dtype), "neck types for 1 of"),
    "gb_neck_reach": (lambda t: t - 1, "gb_neck_reach holds an impossible number"),
    "improper_k": (lambda t: torch.ones(1, dtype=t.dtype), "improper_k must have shape"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_impossible_contents(parameters, tmp_path, name):
    path = tmp_path / "energy.safetensors"
    change, message = BROKEN[name]
    tensors = tensors_of(parameters)
    write(path, {**tensors, name: change(tensors[name])})
    with pytest.raises(ValueError, match=message) as caught:
        Parameters.load(path)
    assert "\n" not in str(caught.value)
    assert "energy.safetensors" in str(caught.value)


def test_solvent_for_some_atoms_only(parameters):
    some = {
        f.name: getattr(parameters, f.name)[:5]
        for f in fields(parameters)
        if f.name in ("gb_charge", "gb_offset_radius", "gb_scaled_radius", "gb_radius")
    }
    with pytest.raises(ValueError, match=f"for 5 of {parameters.n_atoms} atoms"):
        replace(parameters, **some)


def test_repr_says_what_it_holds(parameters):
    assert f"{parameters.n_atoms} atoms" in repr(parameters)
    assert "generalised Born" in repr(parameters)
    assert "bonds + angles + torsions + nonbonded + solvent" in repr(Potential(parameters))
