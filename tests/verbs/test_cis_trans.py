"""Peptide bonds that may be cis as well as trans: starts, chains, what is said of them, and what is refused."""

import math

import pytest
import torch

import timewarp as tw
from timewarp.analysis import torsion_angles
from timewarp.commands import main
from timewarp.report.page import Provenance, _exactness
from timewarp.report.tables import cis_trans_table
from timewarp.restriction import Restriction, free_bonds
from timewarp.starts import set_torsions

MOLECULE = "Ace-AP-Nme"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("cis") / "run"
    settings = {"cis_trans": "proline", "samples": 640, "chains": 16, "warmup": 20, "no_flow": True}
    return tw.sample(MOLECULE, out=out, **settings)


def test_which_bonds_are_free():
    atoms = tw.System(MOLECULE).atoms
    names = [atoms.residue_names[row[2]] for row in atoms.peptide_bonds.tolist()]
    assert names == ["ALA", "PRO", "NME"]
    assert free_bonds(atoms, "fixed").tolist() == [False, False, False]
    assert free_bonds(atoms, "proline").tolist() == [False, True, False]
    assert free_bonds(atoms, "all").tolist() == [True, True, True]
    with pytest.raises(ValueError, match="cis_trans must be one of fixed, proline, all, got 'cis'"):
        free_bonds(atoms, "cis")


def test_a_free_bond_may_turn_and_the_others_may_not():
    system = tw.System(MOLECULE, cis_trans="proline")
    x = system.built.double()[None]
    turned = set_torsions(x, system.atoms, {"omega_1": 0.0}, system.restriction)
    assert Restriction(system.built, system.atoms).turned(turned).all()
    assert not system.restriction.turned(turned).any()
    everything = Restriction(system.built, system.atoms, "all")
    other = set_torsions(x, system.atoms, {"omega_2": 0.0}, everything)
    assert system.restriction.turned(other).all()
    assert not everything.turned(other).any()
    assert len(system.restriction.wells) == 2
    assert not everything.wells
    assert "1 of them free" in repr(system.restriction)


def test_starts_are_cis_and_trans():
    system = tw.System(MOLECULE, cis_trans="proline")
    x = system.starts(8, torch.Generator().manual_seed(1))
    cis = torch.as_tensor(torsion_angles(x, system.atoms, ["omega_1"])["omega_1"]).abs() < math.pi / 2
    assert 2 <= int(cis.sum()) <= 6
    fixed = tw.System(MOLECULE)
    x = fixed.starts(8, torch.Generator().manual_seed(1))
    assert not (torch.as_tensor(torsion_angles(x, fixed.atoms, ["omega_1"])["omega_1"]).abs() < math.pi / 2).any()


def test_a_run_says_what_is_free_and_how_often_it_is_cis(run):
    said = run.summary["cis_trans"]
    assert said["setting"] == "proline"
    assert said["kept"] == {"omega_0": "trans", "omega_2": "trans"}
    bond = said["free"]["omega_1"]
    counted = (abs(run.torsions["omega_1"]) < math.pi / 2).mean()
    assert bond["cis"] == pytest.approx(float(counted))
    assert 0.01 < bond["cis"] < 0.6
    assert bond["crossings"] > 5
    assert run.summary["cis_trans_flips"] == 0
    assert "omega_1 cis" in run.summary["rhat"]
    assert run.config["cis_trans"] == "proline"
    names = {check.name: check for check in run.verdict().checks}
    assert names["geometry"].status == "pass"  # cis is no fault here


def test_the_page_has_the_populations(run):
    analysis = {"cis_trans": {"setting": "proline", "bonds": run.summary["cis_trans"]["free"]}}
    table = cis_trans_table(analysis)
    assert "cis-trans-table" in table
    assert "omega_1" in table
    assert cis_trans_table({"cis_trans": {"setting": "fixed", "bonds": {}}}) == ""
    told = Provenance("molecule", "chain", {})
    assert "pattern of all peptide bonds but omega_1</em>" in _exactness(told, ["omega_1"])
    assert "that of X-Pro bonds included" in _exactness(told)


def test_a_run_keeps_its_setting(run, capsys):
    argv = ["sample", MOLECULE, "--out", str(run.path), "--no-flow", "-n", "640", "-c", "16", "--warmup", "20"]
    assert main([*argv, "--quiet"]) != 0
    assert "cis_trans" in capsys.readouterr().err
    assert main([*argv, "--quiet", "--cis-trans", "proline"]) == 0


def test_refusals(tmp_path, capsys):
    argv = ["sample", MOLECULE, "--out", str(tmp_path / "no"), "--start", "omega_1=0", "--quiet"]
    assert main(argv) != 0
    assert "allow it with --cis-trans proline or all" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    with pytest.raises(SystemExit):
        main([*argv, "--cis-trans", "trans"])
    assert "must be one of fixed, proline, all, got 'trans'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the system has cis_trans proline, not all"):
        tw.sample(tw.System(MOLECULE, cis_trans="proline"), cis_trans="all", out=tmp_path / "no")
