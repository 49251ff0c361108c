"""The flip of proline's ring: its own inverse, of unit volume, and accepted."""

import pytest
import torch

from timewarp.commands import main
from timewarp.energies import Potential, compile_system
from timewarp.files import read_json
from timewarp.geometry import dihedrals
from timewarp.molecules import build_molecule
from timewarp.sampling import HMC, PuckerMove, Restriction, Target, proline_rings, repartition_hydrogen_mass
from timewarp.sampling.pucker import flip


@pytest.fixture(scope="module")
def molecule():
    return build_molecule("APP")


def jacobian(map_, x):
    n = x.numel()
    return torch.autograd.functional.jacobian(lambda v: map_(v.view(1, -1, 3)).reshape(n), x.reshape(n))


def test_it_is_its_own_inverse_and_preserves_volume(molecule):
    rings = proline_rings(molecule.atoms)
    assert [molecule.atoms.names[i] for i in rings[1].atoms] == ["N", "CA", "CB", "CG", "CD"]
    generator = torch.Generator().manual_seed(2)
    for ring in rings:
        x = molecule.start_positions[None] + 0.02 * torch.randn(
            1, molecule.atoms.n_atoms, 3, generator=generator, dtype=torch.float64
        )
        torch.testing.assert_close(flip(flip(x, ring), ring), x, atol=1e-12, rtol=0)
        assert (flip(x, ring) - x).abs().max() > 0.05
        _, log_volume = torch.linalg.slogdet(jacobian(lambda v, ring=ring: flip(v, ring), x))
        assert abs(float(log_volume)) < 1e-10


def test_a_plane_that_moves_with_the_ring_is_caught(molecule):
    """Negative control: the plane through CG itself is neither its own inverse's nor volume preserving."""
    ring = proline_rings(molecule.atoms)[0]
    _, ca, cb, cg, cd = ring.atoms

    def wrong(x):
        normal = torch.linalg.cross(x[:, cd] - x[:, cb], x[:, cg] - x[:, ca])
        normal = normal / normal.norm(dim=-1, keepdim=True)
        out = x.clone()
        out[:, cg] = x[:, cg] - 2 * ((x[:, cg] - x[:, cb]) * normal).sum(-1, keepdim=True) * normal
        return out

    x = molecule.start_positions[None].clone()
    _, log_volume = torch.linalg.slogdet(jacobian(wrong, x))
    assert abs(float(log_volume)) > 1e-3


def test_rings_flip_and_sides_keep_their_names(molecule, generator):
    atoms = molecule.atoms
    restriction = Restriction(molecule.start_positions.float(), atoms)
    target = Target(Potential(compile_system(molecule.system), torch.float32), 310.0, restriction)
    kernel = PuckerMove(target, atoms)
    hmc = HMC(target, repartition_hydrogen_mass(atoms), n_steps=30, step_fs=1.5, adaptive=False)
    state = kernel.init(molecule.start_positions.float().repeat(64, 1, 1))
    for _ in range(30):
        state, _ = hmc.step(state, generator)
    ring = kernel.rings[1]
    n, ca, cb, cg, cd = ring.atoms
    chi = torch.tensor([[n, ca, cb, cg]])
    chirality = torch.tensor([[cg, cb, cd, ring.hydrogens[1][0]], [cb, ca, cg, ring.hydrogens[0][0]]])

    def side(x):
        centre, a, b, h = (x[:, chirality[:, k]] for k in range(4))
        return torch.linalg.det(torch.stack([a - centre, b - centre, h - centre], -1)).sign()

    signs, accepted = side(state.positions)[0], 0
    flipped = torch.zeros(64, dtype=torch.bool)
    for _ in range(20):
        before = dihedrals(state.positions, chi)[:, 0]
        state, info = kernel.step(state, generator)
        after = dihedrals(state.positions, chi)[:, 0]
        flipped |= (before * after < 0) & (before.abs() > 0.2)
        accepted += int(info["pucker"].accepted.sum())
        state, _ = hmc.step(state, generator)
        assert (side(state.positions) == signs).all()
    assert accepted > 0.02 * 20 * 64
    assert flipped.double().mean() > 0.2


def test_sample_takes_it_where_there_is_proline(tmp_path, capsys):
    options = ["--samples", "128", "--chains", "8", "--warmup", "10", "--quiet", "--no-flow"]
    assert main(["sample", "AP", *options, "--out", str(tmp_path / "ap")]) == 0
    assert set(read_json(tmp_path / "ap" / "summary.json")["kernels"]) == {"torsion", "pucker", "hmc"}
    capsys.readouterr()
    assert main(["sample", "AG", *options, "--kernels", "pucker,hmc", "--out", str(tmp_path / "ag")]) == 2
    assert "pucker is for molecules with proline, and AG has none" in capsys.readouterr().err
    other = build_molecule("AG", minimise=False)
    target = Target(Potential(compile_system(other.system)), 310.0)
    with pytest.raises(ValueError, match="has no proline"):
        PuckerMove(target, other.atoms)
