import numpy as np
import pytest
import torch

from synthetic_runs import alanine, alanine_run, with_torsions
from timewarp.analysis import bonded_statistics, check_geometry, compare_bonded
from timewarp.analysis.geometry import far_pairs, pdb_positions


def test_a_sound_run_has_nothing_wrong():
    run = alanine_run()
    check = check_geometry(run.positions, run.atoms, alanine().start_positions, run.energies)
    assert check.sound
    assert check.frames == 800


def test_a_flipped_stereocentre_is_flagged_and_named():
    run = alanine_run(chains=2, frames=10)
    run.positions[1, 4] *= torch.tensor([1.0, 1.0, -1.0])  # the mirror image: D-alanine
    check = check_geometry(run.positions, run.atoms)
    assert (check.chirality_flips, check.cis_trans_flips, check.broken_bonds) == (1, 0, 0)
    assert check.flipped_centres == ("ALA1:CA",)
    assert not check.sound


def test_a_cis_peptide_bond_is_flagged_and_named():
    run = alanine_run(chains=1, frames=6)
    run.positions[0, 2] = with_torsions(
        alanine().start_positions, run.atoms, {"omega_1": torch.tensor(0.2, dtype=torch.float64)}
    ).float()
    check = check_geometry(run.positions, run.atoms)
    assert (check.cis_trans_flips, check.chirality_flips) == (1, 0)
    assert check.flipped_peptide_bonds == ("omega_1",)


def test_broken_bonds_clashes_and_nan_are_counted():
    run = alanine_run(chains=2, frames=5)
    atoms = run.atoms
    hydrogen = atoms.names.index("HB1")
    run.positions[0, 1, hydrogen] += 0.2
    run.positions[0, 2, 0] = float("nan")
    i, j = far_pairs(atoms)[0].tolist()
    run.positions[1, 3, j] = run.positions[1, 3, i] + 0.01
    run.energies[1, 1] = float("inf")
    check = check_geometry(run.positions, atoms, alanine().start_positions, run.energies)
    assert check.nonfinite == 1
    assert check.broken_bonds == 2  # the hydrogen pulled away, and the atom moved onto another
    assert check.clashes >= 1


def test_far_pairs_are_at_least_four_bonds_apart():
    atoms = alanine().atoms
    graph = atoms.adjacency.double()
    reach = torch.eye(atoms.n_atoms).double()
    for _ in range(3):
        reach = ((reach + reach @ graph) > 0).double()
    pairs = far_pairs(atoms)
    assert len(pairs) > 0
    assert (reach[pairs[:, 0], pairs[:, 1]] == 0).all()


def test_a_reference_of_another_molecule_is_refused():
    run = alanine_run(chains=1, frames=2)
    with pytest.raises(ValueError, match="reference frame must be 22 finite positions"):
        check_geometry(run.positions, run.atoms, torch.zeros(5, 3))


def test_start_positions_are_read_from_the_pdb():
    molecule = alanine()
    read = pdb_positions(molecule.pdb, 22)
    np.testing.assert_allclose(read, molecule.start_positions, atol=1e-4)
    assert pdb_positions(molecule.pdb, 23) is None


def test_bond_statistics_find_what_was_put_in():
    run = alanine_run(chains=4, frames=400)
    rows = {row.name: row for row in bonded_statistics(run.positions, run.atoms)}
    assert rows["C(sp2)-O"].count == 2
    assert rows["C(sp3)-H"].count == 10
    # isotropic noise of 1e-3 nm on both ends gives a bond length a spread of sqrt(2) 1e-3
    assert rows["N-H"].sd.value == pytest.approx(np.sqrt(2) * 1e-3, rel=0.1)
    assert rows["C(sp2)-O"].mean.value == pytest.approx(0.123, abs=0.003)


def test_bonded_comparison_sees_what_differs_and_only_that():
    a, b = alanine_run(seed=1, frames=400), alanine_run(seed=2, frames=400)
    same = compare_bonded(a.positions, b.positions, a.atoms)
    assert max(abs(row.z_mean) for row in same) < 5
    longer = b.positions * 1.004
    apart = {row.name: row for row in compare_bonded(a.positions, longer, a.atoms)}
    assert abs(apart["C(sp2)-O"].z_mean) > 8
    assert apart["C(sp2)-O"].wasserstein == pytest.approx(0.004 * 0.123, rel=0.3)
    assert abs(apart["C(sp2)-N-H"].z_mean) < 5  # angles do not scale
