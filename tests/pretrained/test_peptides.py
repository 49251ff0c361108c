"""The transferable network: complete, described, exact in what it says, and good on peptides that it has never seen."""

import json
from pathlib import Path

import pytest
import torch

from timewarp import pretrained
from timewarp.commands import main
from timewarp.energies import compile_system
from timewarp.files import sha256
from timewarp.molecules import build_molecule
from timewarp.trajectories import RunFolder
from timewarp.units import kT

UNSEEN = {"NS": 0.5, "AV": 0.5}
"""Validation dipeptides, and what the full redraw must accept."""


def test_files_and_card():
    described = pretrained.find("peptides")
    assert described.family == "C2"
    assert described.safetensors.stat().st_size < 16 * 2**20
    card = described.toml.with_suffix(".md").read_text()
    for must in ("licence", "chirality", described.sha256[:12], "timewarp simulate", "timewarp train", "RD", "KE"):
        assert must in card, must
    assert described.training["longest_peptide"] == 4
    assert len(described.training["known_residues"]) >= 22


def test_the_training_set_is_the_one_that_is_described():
    data = Path(__file__).parents[2] / "data"
    if not data.exists():
        pytest.skip("the source archive comes without it")
    digests = [sha256(data / f"{name}.safetensors") for name in ("peptides", "tetrapeptides")]
    assert pretrained.find("peptides").training["data_sha256"] == ", ".join(digests)
    for digest in digests:
        assert digest in (data / "README.md").read_text()


@pytest.mark.parametrize("name", ["AG", "AIVL", "Ace-K-Nme"])
def test_it_is_the_default_of_every_peptide(name):
    atoms = build_molecule(name, minimise=False).atoms
    assert pretrained.default_for(atoms) == "peptides"
    assert pretrained.outside(pretrained.find("peptides").training, atoms) == []
    assert pretrained.default_for(atoms, "B") is None


@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_unseen_peptides_accept_full_redraws(name, tmp_path):
    """Acceptance over a chain's own equilibrium states, and jumps as long as those between independent ones."""
    argv = ["sample", name, "--out", str(tmp_path / "run"), "--samples", "1920", "--chains", "32", "--quiet"]
    assert main([*argv, "--kernels", "flow,flow_subset,torsion,hmc", "--warmup", "60"]) == 0
    flow = json.loads((tmp_path / "run" / "summary.json").read_text())["kernels"]["flow"]
    assert flow["acceptance"] > UNSEEN[name]
    assert flow["jump"] > 0.6


def test_the_order_of_atoms_in_a_file_changes_nothing(tmp_path):
    """The same molecule from its sequence, and from a PDB file whose residues list their atoms backwards."""
    built = build_molecule("KE")
    records: dict[str, list[str]] = {}
    rest = []
    for line in built.pdb.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            records.setdefault(line[21:27], []).append(line)
        elif not line.startswith(("CONECT", "TER", "END")):
            rest.append(line)
    path = tmp_path / "ke.pdb"
    backwards = [line for residue in records.values() for line in reversed(residue)]
    path.write_text("\n".join([*rest, *backwards, "END", ""]))
    read = build_molecule(str(path))
    assert read.atoms.fingerprint == built.atoms.fingerprint
    x = built.start_positions[None].double()
    densities = []
    for molecule in (built, read):
        proposers = pretrained.load("peptides", molecule.atoms).proposers(compile_system(molecule.system), kT(310.0))
        generator = torch.Generator()
        densities.append(proposers["flow"].redraw(x, proposers["flow"].choose(generator), generator)[2])
    torch.testing.assert_close(*densities)


def test_samples_under_other_presets_and_lengths_say_what_they_are(tmp_path, capsys):
    argv = ["sample", "AGAGS", "--out", str(tmp_path / "run"), "--samples", "64", "--chains", "8", "--quiet"]
    assert main([*argv, "--preset", "amber14-vacuum", "--warmup", "8"]) == 0
    said = capsys.readouterr().err
    assert "peptides was trained under amber14-obc2" in said
    assert "AGAGS is outside what peptides has learnt: it has 5 residues" in said
    assert RunFolder.open(tmp_path / "run").config["model"] == "peptides"
