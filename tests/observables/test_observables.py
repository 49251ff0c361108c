"""Each observable against MDTraj or a closed form on the same frames; what is asked for wrongly is refused."""

import itertools

import mdtraj
import numpy as np
import pytest
import torch

from timewarp.geometry import dihedrals
from timewarp.molecules import build_molecule
from timewarp.observables import SETS, parse, relation_of
from timewarp.observables.library import Frames, own_series, series_of
from timewarp.observables.requests import find_atoms
from timewarp.trajectories.exporting import structure


@pytest.fixture(scope="module")
def frames() -> Frames:
    """AFG, and its mirror image in half of the chains' place: two chains of 40 distorted frames."""
    molecule = build_molecule("AFG")
    generator = torch.Generator().manual_seed(4)
    start = molecule.start_positions
    noise = 0.02 * torch.randn(2, 40, *start.shape, generator=generator, dtype=start.dtype)
    positions = (start + noise).float().numpy()
    return Frames(molecule.atoms, positions, structure(molecule.pdb, molecule.atoms.n_atoms).topology)


def one(frames: Frames, request: str) -> np.ndarray:
    (found,) = series_of(frames, parse(request))
    return found.values


def test_couplings_of_phi_are_mdtrajs(frames):
    ours = {s.name: s.values for s in series_of(frames, parse("couplings"), "bax2007")}
    for compute, coupling in (
        (mdtraj.compute_J3_HN_HA, "3J(HN,HA)"),
        (mdtraj.compute_J3_HN_C, "3J(HN,C)"),
        (mdtraj.compute_J3_HN_CB, "3J(HN,CB)"),
    ):
        indices, theirs = compute(frames.mdtraj, model="Bax2007")
        for column, row in enumerate(indices):
            number = frames.atoms.residue_numbers[int(row[2])]
            if number == 3 and "HA" in coupling:
                continue  # glycine: the mean over both protons, which MDTraj does not make
            if number == 3 and "CB" in coupling:
                assert f"{coupling} 3" not in ours
                continue
            np.testing.assert_allclose(ours[f"{coupling} {number}"].ravel(), theirs[:, column], atol=2e-3)


def test_couplings_of_glycine_are_the_mean_over_its_two_protons(frames):
    ours = {s.name: s.values for s in series_of(frames, parse("couplings"))}
    phi = frames.torsions["phi_3"].astype(float)
    both = [7.09 * np.cos(phi + d) ** 2 - 1.42 * np.cos(phi + d) + 1.55 for d in np.deg2rad([-60, 60])]
    np.testing.assert_allclose(ours["3J(HN,HA) 3"], np.mean(both, 0))


@pytest.mark.parametrize("karplus", SETS)
def test_the_mirror_image_has_the_same_couplings(frames, karplus):
    mirrored = Frames(frames.atoms, frames.positions * np.array([1, 1, -1], dtype=np.float32), frames.topology)
    ours, theirs = ({s.name: s.values for s in series_of(f, parse("couplings"), karplus)} for f in (frames, mirrored))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)


@pytest.mark.parametrize(
    ("coupling", "phi", "psi", "hertz"),
    [
        # The relations at a helix and a strand, worked out by hand.
        ("3J(HN,HA)", -60.0, None, 7.09 * 0.25 - 1.42 * -0.5 + 1.55),
        ("3J(HN,HA)", -120.0, None, 7.09 + 1.42 + 1.55),
        ("3J(HA,C)", -120.0, None, 3.72 - 2.18 + 1.28),
        ("3J(HN,CB)", -60.0, None, 3.06 - 0.74 + 0.13),
        ("3J(HN,C)", 180.0, None, 4.29 - 1.01),
        ("1J(N,CA)", None, 180.0, 1.70 + 0.98 + 9.51),
        ("2J(N,CA)", None, 180.0, -0.66 + 1.52 + 7.85),
    ],
)
def test_relations_at_known_angles(coupling, phi, psi, hertz):
    relation = relation_of(coupling)
    angles = {t: np.deg2rad(np.array([phi if t == "phi" else psi], dtype=float)) for t in relation.torsions}
    np.testing.assert_allclose(relation(angles), hertz, atol=1e-12)


def test_the_coupling_that_depends_on_two_torsions():
    # At phi = psi = 0 only the cosines and the constant are left.
    value = relation_of("3J(HN,CA)")({"phi": np.zeros(1), "psi-1": np.zeros(1)})
    np.testing.assert_allclose(value, -0.23 - 0.20 + 0.07 + 0.54)


def test_distances_and_noes(frames):
    names = {(frames.atoms.residue_numbers[i], frames.atoms.names[i]): i for i in range(frames.atoms.n_atoms)}
    pairs = [(names[1, f"HB{k}"], names[3, "H"]) for k in (1, 2, 3)]
    r = mdtraj.compute_distances(frames.mdtraj, pairs, periodic=False).astype(float)
    (noe,) = series_of(frames, parse("noe=1:HB*,3:HN"))
    np.testing.assert_allclose(noe.observable(noe.values.mean()), (r**-6.0).mean() ** (-1 / 6), rtol=1e-5)
    (noe3,) = series_of(frames, parse("noe3=1:HB#,3:H"))
    np.testing.assert_allclose(noe3.observable(noe3.values.mean()), (r**-3.0).mean() ** (-1 / 3), rtol=1e-5)
    alone = mdtraj.compute_distances(frames.mdtraj, [(names[1, "CA"], names[3, "CA"])], periodic=False)
    np.testing.assert_allclose(one(frames, "distance=1:CA,3:CA").ravel(), alone[:, 0], atol=1e-5)
    np.testing.assert_allclose(one(frames, "end-to-end").ravel(), alone[:, 0], atol=1e-5)


def test_an_average_of_powers_has_the_error_of_the_distance():
    from timewarp.observables import Series, average

    rng = np.random.default_rng(1)
    r = 0.3 + 0.03 * rng.random((200, 8, 200))
    errors = [average(Series("noe", "noe", "nm", x**-6.0, power=-1 / 6)) for x in r]
    spread = np.std([row.value for row in errors], ddof=1)
    assert np.mean([row.error for row in errors]) == pytest.approx(spread, rel=0.15)


def test_sizes_are_mdtrajs(frames):
    masses = np.array(frames.atoms.masses)
    x = frames.positions.astype(float)
    x = x - mdtraj.compute_center_of_mass(frames.mdtraj).reshape(*frames.shape, 1, 3)
    by_hand = np.sqrt((masses * (x**2).sum(-1)).sum(-1) / masses.sum())
    np.testing.assert_allclose(one(frames, "rg"), by_hand, rtol=1e-4)
    np.testing.assert_allclose(one(frames, "sasa").ravel(), mdtraj.shrake_rupley(frames.mdtraj).sum(1), rtol=1e-6)


def test_a_dihedral_of_any_four_atoms(frames):
    quadruple = [find_atoms(frames.atoms, name)[0] for name in ("1:N", "1:CA", "1:C", "2:N")]
    angle = dihedrals(torch.as_tensor(frames.positions).double(), torch.tensor([quadruple]))[..., 0].numpy()
    cosine, sine = series_of(frames, parse("dihedral=1:N,1:CA,1:C,2:N"))
    np.testing.assert_allclose(cosine.values, np.cos(angle), atol=1e-5)
    np.testing.assert_allclose(sine.values, np.sin(angle), atol=1e-5)


def test_hydrogen_bonds_and_contacts_are_mdtrajs(frames):
    # Bring the end of the chain near its beginning, in half of the frames.
    x = frames.positions.copy()
    atoms = frames.atoms
    h, o = find_atoms(atoms, "3:H")[0], find_atoms(atoms, "1:O")[0]
    n = find_atoms(atoms, "3:N")[0]
    along = x[0, :, h] - x[0, :, n]
    x[0, :, o] = x[0, :, h] + 0.19 * along / np.linalg.norm(along, axis=-1, keepdims=True)
    near = Frames(atoms, x, frames.topology)
    found = {s.name: s for s in series_of(near, parse("hbonds"))}
    bond = found["hbond 3:H ... 1:O"]
    assert bond.values[0].all()
    assert not bond.values[1].any()
    for s in found.values():
        assert s.values.mean() >= 0.01
    (contact,) = series_of(near, parse("contacts"))
    heavy = [
        [i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == k and atoms.elements[i] != "H"] for k in (1, 3)
    ]
    pairs = list(itertools.product(*heavy))
    least = mdtraj.compute_distances(near.mdtraj, pairs, periodic=False).min(1)
    np.testing.assert_array_equal(contact.values.ravel(), least < 0.45)


def test_rmsd_to_a_structure(frames, tmp_path):
    molecule = build_molecule("AFG")
    (tmp_path / "start.pdb").write_text(molecule.pdb)
    values = one(frames, f"rmsd={tmp_path / 'start.pdb'}")
    still = Frames(frames.atoms, molecule.start_positions[None, None].float().numpy(), frames.topology)
    assert one(still, f"rmsd={tmp_path / 'start.pdb'}").max() < 1e-3
    assert 0.01 < values.min() < values.max() < 0.06  # of the noise, 0.02 nm on each axis, less what the fit takes


def test_functions_of_ones_own(frames):
    (found,) = own_series(frames, {"height": lambda t: t.xyz[:, :, 2].max(1)})
    np.testing.assert_allclose(found.values, frames.positions[..., 2].max(-1))
    with pytest.raises(ValueError, match="one number for each of 80 frames, got shape"):
        own_series(frames, {"bad": lambda t: np.zeros(3)})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("distance=1:CA", "cannot understand the observable"),
        ("nonsense", "cannot understand the observable"),
        ("distance=1:CA,9:CA", "residues are numbered 1 to 3"),
        ("distance=1:CX,2:CA", r"residue 1 \(ALA\) has N, "),
        ("distance=CA,2:CA", "RESIDUE:NAME"),
        ("distance=1:HB*,2:CA", "names several atoms"),
        ("noe=1:CA,1:CA", "one atom with itself"),
        ("dihedral=1:HB*,1:CA,1:C,2:N", "names several atoms"),
    ],
)
def test_refusals(frames, request_, message):
    with pytest.raises(ValueError, match=message):
        series_of(frames, parse(request_))
