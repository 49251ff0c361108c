import mdtraj
import numpy as np
import pytest
import torch

from synthetic_runs import alanine, with_torsions
from timewarp.analysis import backbone, named_torsions, torsion_angles
from timewarp.molecules import build_molecule

# All 20 residues in as few molecules as their length allows.
SEQUENCES = ("ARNDCQE", "GHILKMF", "PSTWYVA", "Ace-AP-Nme")


def as_mdtraj(molecule):
    from io import StringIO

    from openmm.app import PDBFile

    pdb = PDBFile(StringIO(molecule.pdb))
    return mdtraj.Trajectory(molecule.start_positions.numpy()[None], mdtraj.Topology.from_openmm(pdb.topology))


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_torsions_are_those_of_mdtraj(sequence):
    molecule = build_molecule(sequence, minimise=False)
    atoms = molecule.atoms
    known = named_torsions(atoms)
    frames = as_mdtraj(molecule)
    ours = torsion_angles(molecule.start_positions[None], atoms)
    capped = sequence.startswith("Ace")
    expected = {}
    for kind in ("phi", "psi", "chi1", "chi2", "chi3", "chi4", "chi5"):
        rows, angles = getattr(mdtraj, f"compute_{kind}")(frames)
        for row, angle in zip(rows, angles[0], strict=True):
            owner = atoms.residue_numbers[row[1]] if kind != "psi" else atoms.residue_numbers[row[0]]
            expected[f"{kind}_{owner}"] = (tuple(int(i) for i in row), angle)
    rows, angles = mdtraj.compute_omega(frames)  # MDTraj, too, names it by the residue in front; it skips caps
    for row, angle in zip(rows, angles[0], strict=True):
        expected[f"omega_{atoms.residue_numbers[row[0]]}"] = (tuple(int(i) for i in row), angle)
    for name, (row, angle) in expected.items():
        assert known[name] == row, name
        assert abs(np.angle(np.exp(1j * (ours[name][0] - angle)))) < 1e-4, name
    extra = set(known) - set(expected)
    assert extra == ({"omega_0", "omega_2"} if capped else set())


def test_alanine_dipeptide_has_phi_and_psi_through_its_caps():
    known = named_torsions(alanine().atoms)
    names = alanine().atoms.names
    assert list(known) == ["omega_0", "phi_1", "psi_1", "omega_1"]
    assert [names[i] for i in known["phi_1"]] == ["C", "N", "CA", "C"]
    assert [names[i] for i in known["psi_1"]] == ["N", "CA", "C", "N"]


def test_angles_that_were_set_are_found():
    molecule = alanine()
    phi = torch.deg2rad(torch.tensor([[-60.0, 70.0], [179.0, 0.5]], dtype=torch.float64))
    positions = with_torsions(molecule.start_positions, molecule.atoms, {"phi_1": phi, "psi_1": phi / 2})
    found = torsion_angles(positions, molecule.atoms)
    assert found["phi_1"].shape == (2, 2)
    np.testing.assert_allclose(found["phi_1"], phi, atol=1e-6)
    np.testing.assert_allclose(found["psi_1"], phi / 2, atol=1e-6)


def test_bad_requests_say_what_there_is():
    molecule = alanine()
    with pytest.raises(ValueError, match="no torsion chi1_1; it has omega_0, phi_1"):
        torsion_angles(molecule.start_positions[None], molecule.atoms, ["chi1_1"])
    with pytest.raises(ValueError, match="expected positions"):
        torsion_angles(torch.zeros(1, 3, 5, 3), molecule.atoms)
    with pytest.raises(ValueError, match="need the molecule"):
        torsion_angles(torch.zeros(1, 3, 5, 3))


def test_pairs_need_both_angles():
    assert backbone(["psi_1", "phi_2", "psi_2", "phi_3"]) == [("phi_2", "psi_2")]
