"""Laws that hold whatever the force field: forces, motions, renumbering, batches, precision, bad positions."""

import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch
from energy_systems import PRESET_NAMES, peptide, potential_of, scattered, seeded, shaken, system_of
from energy_tolerances import FINITE_DIFFERENCE, FLOAT32_ENERGY, FLOAT32_FORCE, MOTION, SAME_ARITHMETIC
from hypothesis import given, settings
from hypothesis import strategies as st

import timewarp.energies.eager as eager_module
from timewarp.energies import OpenMMEvaluator, Parameters, Potential, compile_system

MOLECULES = [("Ace-A-Nme", "amber14-obc2"), ("Ace-A-Nme", "amber14-obc1"), ("KG", "amber14-obc2")]


def close(got, expected, tolerance):
    scale = expected.abs().max().clamp_min(1.0)
    assert float((got - expected).abs().max() / scale) < tolerance


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "preset"), MOLECULES)
def test_forces_are_minus_the_gradient_of_the_energy(name, preset):
    molecule = peptide(name, preset)
    potential = potential_of(molecule.system)
    x = shaken(molecule.start_positions, 1)
    step = 1e-5
    shifts = step * torch.eye(x[0].numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    slope = (potential.energy(x + shifts) - potential.energy(x - shifts)) / (2 * step)
    close(potential.forces(x)[0], -slope.view_as(x[0]), FINITE_DIFFERENCE)


def test_autograd_gives_the_analytic_forces_weighted_by_the_incoming_gradient(threads):
    molecule = peptide("Ace-A-Nme")
    potential = potential_of(molecule.system)
    x = shaken(molecule.start_positions, 3).requires_grad_()
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * potential.energy(x)).sum(), x)
    assert torch.equal(gradient, -weights[:, None, None] * potential.forces(x))


def test_a_second_derivative_is_refused():
    molecule = peptide("Ace-A-Nme")
    x = shaken(molecule.start_positions, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(potential_of(molecule.system).energy(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(gradient.sum() + x.sum(), x)


@pytest.mark.parametrize(("name", "preset"), MOLECULES)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**31 - 1))
def test_rigid_motions_leave_the_energy_and_turn_the_forces(name, preset, seed):
    molecule = peptide(name, preset)
    potential = potential_of(molecule.system)
    generator = seeded(seed)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation).sign()
    x = shaken(molecule.start_positions, 2, seed=seed)
    moved = x @ rotation.T + torch.randn(3, generator=generator, dtype=torch.float64)
    energy, forces = potential.energy_and_forces(x)
    moved_energy, moved_forces = potential.energy_and_forces(moved)
    assert float((energy - moved_energy).abs().max()) < MOTION
    close(moved_forces, forces @ rotation.T, 1e-10)
    torch.testing.assert_close(forces.sum(1), torch.zeros(2, 3, dtype=torch.float64), rtol=0.0, atol=1e-8)


def renumbered(p: Parameters, order: torch.Tensor) -> Parameters:
    """Parameters of the same molecule with new atom k = old atom order[k]."""
    new = torch.argsort(order)
    changes = {}
    for field in fields(p):
        value = getattr(p, field.name)
        if field.name.endswith("_atoms"):
            changes[field.name] = new[value]
        elif (
            value.ndim == 1
            and len(value) == p.n_atoms
            and field.name.split("_")[0] in ("charge", "sigma", "epsilon", "gb")
        ):
            changes[field.name] = value[order]
    return replace(p, **changes)


@pytest.mark.parametrize(("name", "preset"), MOLECULES)
def test_renumbering_the_atoms(name, preset):
    molecule = peptide(name, preset)
    p = compile_system(molecule.system)
    order = torch.randperm(p.n_atoms, generator=seeded(2))
    x = shaken(molecule.start_positions, 2)
    energy, forces = Potential(p, torch.float64).energy_and_forces(x)
    other_energy, other_forces = Potential(renumbered(p, order), torch.float64).energy_and_forces(x[:, order])
    close(other_energy, energy, SAME_ARITHMETIC)
    close(other_forces, forces[:, order], SAME_ARITHMETIC)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_batch_equals_a_loop(n, monkeypatch, threads):
    monkeypatch.setattr(eager_module, "CPU_CHUNK_NUMBERS", 1)  # sixteen configurations at a time
    monkeypatch.setattr(eager_module, "SMALLEST_CPU_CHUNK_NUMBERS", 1)
    molecule = peptide("Ace-A-Nme")
    potential = potential_of(molecule.system)
    x = shaken(molecule.start_positions, 8 * n)
    energy, forces = potential.energy_and_forces(x)
    assert energy.shape == (8 * n,)
    for b in range(8 * n):
        e, f = potential.energy_and_forces(x[b : b + 1])
        close(energy[b], e[0], SAME_ARITHMETIC)
        close(forces[b], f[0], SAME_ARITHMETIC)


def test_a_forked_process_has_threads_of_its_own():
    code = """
import os, sys, torch
from functools import partial
from timewarp.energies.threads import run_all
torch.set_num_threads(2)
done = []
run_all([partial(done.append, k) for k in range(2)], 2)
child = os.fork()
run_all([partial(done.append, k) for k in range(2, 4)], 2)
assert len(done) == 4
if child:
    sys.exit(os.waitpid(child, 0)[1])
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_terms_add_up():
    molecule = peptide("KG", "amber14-obc1")
    potential = potential_of(molecule.system)
    x = shaken(molecule.start_positions, 4)
    close(sum(potential.energy_terms(x).values()), potential.energy(x), SAME_ARITHMETIC)


@pytest.mark.parametrize("preset", PRESET_NAMES)
@pytest.mark.parametrize("name", ["Ace-A-Nme", "WY", "KG", "MD"])
def test_single_precision(name, preset):
    molecule = peptide(name, preset)
    p = compile_system(molecule.system)
    x = shaken(molecule.start_positions, 32, 0.003).float()
    energy, forces = Potential(p).energy_and_forces(x)
    expected, expected_forces = Potential(p, torch.float64).energy_and_forces(x.double())
    assert energy.dtype == forces.dtype == torch.float32
    assert float((energy - expected).abs().max()) < FLOAT32_ENERGY
    close(forces.double(), expected_forces, FLOAT32_FORCE)


def test_results_come_in_the_dtype_of_the_positions():
    molecule = peptide("Ace-A-Nme")
    potential = Potential(compile_system(molecule.system), torch.float32)
    x = shaken(molecule.start_positions, 2)
    assert potential.energy(x).dtype == torch.float64
    assert potential_of(molecule.system).energy(x.float()).dtype == torch.float32


@pytest.mark.parametrize("preset", PRESET_NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_impossible_positions_spoil_their_own_configuration_alone(preset, dtype):
    molecule = peptide("Ace-A-Nme", preset)
    potential = Potential(compile_system(molecule.system), dtype)
    good = shaken(molecule.start_positions, 6).to(dtype)
    bad = good.clone()
    bad[1, 3] = bad[1, 19]  # two atoms in one place
    bad[2, 0] = torch.nan
    bad[3] = 0.0
    bad[4, 5, 1] = torch.inf
    energy, forces = potential.energy_and_forces(bad)
    expected, expected_forces = potential.energy_and_forces(good)
    for b in (1, 2, 3, 4):
        assert not torch.isfinite(energy[b]) or energy[b] > 1e6
    for b in (0, 5):
        assert torch.equal(energy[b], expected[b])
        assert torch.equal(forces[b], expected_forces[b])
    assert torch.isfinite(expected).all()


def test_a_squeezed_molecule_has_a_huge_energy_and_no_nan():
    molecule = peptide("Ace-A-Nme")
    x = (0.2 * molecule.start_positions)[None].float()
    energy = Potential(compile_system(molecule.system)).energy(x)
    assert energy > 1e6


def test_positions_of_the_wrong_shape_say_what_was_expected():
    molecule = peptide("Ace-A-Nme")
    p = compile_system(molecule.system)
    with pytest.raises(ValueError, match=r"\(batch, 22, 3\), got \(4, 21, 3\)"):
        Potential(p).energy(torch.zeros(4, 21, 3))
    with pytest.raises(ValueError, match="float32 or float64"):
        Potential(p, torch.float16)


def test_the_oracle_has_the_same_interface():
    molecule = peptide("Ace-A-Nme")
    oracle, potential = OpenMMEvaluator(molecule.system), potential_of(molecule.system)
    x = shaken(molecule.start_positions, 3)
    x[1, 0] = torch.nan
    x.requires_grad_()
    energy = oracle.energy(x)
    assert torch.isnan(energy[1])
    (gradient,) = torch.autograd.grad(energy[[0, 2]].sum(), x)
    close(gradient[[0, 2]], -potential.forces(x.detach())[[0, 2]], 1e-9)
    with pytest.raises(ValueError, match=r"\(batch, 22, 3\), got \(1, 4, 3\)"):
        oracle.energy(torch.zeros(1, 4, 3))


def test_a_system_without_interactions_has_no_energy():
    potential = potential_of(system_of(2))
    energy, forces = potential.energy_and_forces(scattered(3, 2))
    assert (energy == 0).all()
    assert (forces == 0).all()


def test_a_single_atom():
    import openmm

    force = openmm.GBSAOBCForce()
    force.addParticle(1.0, 0.15, 0.8)
    system = system_of(1, force)
    x = torch.zeros(1, 1, 3, dtype=torch.float64)
    close(potential_of(system).energy(x), OpenMMEvaluator(system).energy(x), SAME_ARITHMETIC)
