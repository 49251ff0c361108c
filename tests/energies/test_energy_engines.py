"""The compiled kernel beside the plain torch version: instruction sets, threads, padding, trajectories."""

import subprocess
import sys

import pytest
import torch
from energy_systems import peptide, shaken

from timewarp import native
from timewarp.energies import Potential, compile_system

needs_kernels = pytest.mark.skipif(not native.available(), reason=native.why_not() or "there")


@pytest.fixture(autouse=True)
def engine():
    """These tests choose their engines themselves."""


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instruction_set(request):
    before = native.instruction_set()
    try:
        native.core().choose_instruction_set(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    native.core().choose_instruction_set(before)


@needs_kernels
@pytest.mark.parametrize("preset", ["amber14-obc2", "amber14-obc1", "amber99sbildn-obc", "amber14-vacuum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_gives_the_torch_energies_and_forces(instruction_set, dtype, preset):
    molecule = peptide("KE", preset)
    parameters = compile_system(molecule.system)
    x = shaken(molecule.start_positions, 37)  # no multiple of any vector's width
    energy, forces = Potential(parameters, dtype, engine="native").energy_and_forces(x)
    expected, expected_forces = Potential(parameters, torch.float64, engine="torch").energy_and_forces(x)
    assert float((energy - expected).abs().max()) < (2.5e-3 if dtype == torch.float32 else 1e-9)
    assert float((forces - expected_forces).abs().max()) < (1e-5 if dtype == torch.float32 else 1e-12) * float(
        expected_forces.abs().max()
    )
    alone = Potential(parameters, dtype, engine="native").energy(x)
    assert float((alone - energy).abs().max()) < (1e-3 if dtype == torch.float32 else 1e-10)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_configuration_does_not_depend_on_its_batch_nor_on_threads(dtype):
    molecule = peptide("Ace-A-Nme")
    potential = Potential(compile_system(molecule.system), dtype, engine="native")
    x = shaken(molecule.start_positions, 203)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        energy, forces = potential.energy_and_forces(x)
        torch.set_num_threads(2)
        again, forces_again = potential.energy_and_forces(x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(energy, again)
    assert torch.equal(forces, forces_again)
    part, part_forces = potential.energy_and_forces(x[150:151])
    assert torch.equal(part, energy[150:151])
    assert torch.equal(part_forces, forces[150:151])


@needs_kernels
def test_single_precision_does_not_suffer_from_where_the_molecule_is():
    molecule = peptide("Ace-A-Nme")
    potential = Potential(compile_system(molecule.system), torch.float32, engine="native")
    x = shaken(molecule.start_positions, 5)
    assert float((potential.energy(x + 100.0) - potential.energy(x)).abs().max()) < 2.5e-3


@needs_kernels
def test_larger_molecules():
    molecule = peptide("AIVLKWYEDRNF")
    assert molecule.atoms.n_atoms > 200
    parameters = compile_system(molecule.system)
    # Thermal displacements: shaken() is ten times hotter, which costs digits of the sum.
    x = molecule.start_positions + 0.1 * (shaken(molecule.start_positions, 20) - molecule.start_positions)
    energy, forces = Potential(parameters, torch.float32, engine="native").energy_and_forces(x)
    expected, expected_forces = Potential(parameters, torch.float64, engine="torch").energy_and_forces(x)
    assert float((energy - expected).abs().max()) < 2.5e-3
    assert float((forces - expected_forces).norm() / expected_forces.norm()) < 1e-4


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_leapfrog_trajectory_is_the_torch_one(dtype):
    molecule = peptide("Ace-A-Nme")
    parameters = compile_system(molecule.system)
    generator = torch.Generator().manual_seed(1)
    x = shaken(molecule.start_positions, 19)
    masses = torch.tensor(molecule.atoms.masses, dtype=torch.float64)
    momenta = masses[:, None].sqrt() * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    step_ps = 1e-3 * (0.5 + torch.rand(19, generator=generator, dtype=torch.float64))
    ours = Potential(parameters, dtype, engine="native").leapfrog(x, momenta, masses, step_ps, 12)
    plain = Potential(parameters, torch.float64, engine="torch").leapfrog(x, momenta, masses, step_ps, 12)
    for got, expected in zip(ours, plain, strict=True):
        error = (got - expected).abs().max() / expected.abs().max()
        assert float(error) < (3e-5 if dtype == torch.float32 else 1e-10)
    assert float((ours[0] - x).abs().max()) > 1e-2  # they went somewhere


@needs_kernels
def test_the_arguments_of_a_trajectory_are_left_as_they_are():
    molecule = peptide("Ace-A-Nme")
    potential = Potential(compile_system(molecule.system), torch.float64, engine="native")
    x = shaken(molecule.start_positions, 4)
    momenta = torch.ones(3, 22, 4, dtype=torch.float64).permute(2, 1, 0)  # not contiguous
    before = x.clone(), momenta.clone()
    _, end = potential.leapfrog(x, momenta, torch.ones(22), torch.full((4,), 1e-3), 3)
    assert torch.equal(x, before[0])
    assert torch.equal(momenta, before[1])
    assert not torch.equal(end, momenta)


def test_engines_that_cannot_be_are_refused():
    parameters = compile_system(peptide("Ace-A-Nme").system)
    with pytest.raises(ValueError, match="no energy engine 'fast'; there are auto, native, torch, compiled"):
        Potential(parameters, engine="fast")
    with pytest.raises(ValueError, match="runs on the cpu"):
        Potential(parameters, device="meta", engine="native")


def test_without_the_kernels_torch_takes_over_and_says_so():
    code = (
        "from timewarp import native; from timewarp.molecules import build_molecule;"
        "from timewarp.energies import Potential, compile_system;"
        "p = Potential(compile_system(build_molecule('Ace-A-Nme').system));"
        "print(native.available(), p.engine, native.why_not(), repr(p))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"TIMEWARP_NATIVE": "0", "PATH": ""}
    ).stdout
    assert out.startswith("False torch TIMEWARP_NATIVE=0 switches the compiled kernels off")
    assert "torch engine" in out


def test_where_torch_compile_fails_plain_torch_takes_over(monkeypatch):
    def broken(*_, **__):
        def call(*_):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    molecule = peptide("Ace-A-Nme")
    parameters = compile_system(molecule.system)
    x = shaken(molecule.start_positions, 3)
    potential = Potential(parameters, torch.float64, engine="compiled")
    with pytest.warns(UserWarning, match="torch.compile failed"):
        energy = potential.energy(x)
    assert torch.equal(energy, Potential(parameters, torch.float64, engine="torch").energy(x))


@pytest.mark.slow
def test_torch_compile_gives_the_same_energies():
    # In a process of its own: what checks array shapes while the tests run is not for torch.compile.
    code = (
        "import torch; from timewarp.molecules import build_molecule;"
        "from timewarp.energies import Potential, compile_system;"
        "m = build_molecule('Ace-A-Nme', 'amber14-vacuum'); p = compile_system(m.system);"
        "x = m.start_positions + 0.01 * torch.randn(16, 22, 3, dtype=torch.float64);"
        "c = Potential(p, torch.float64, engine='compiled');"
        "print(float((c.energy(x) - Potential(p, torch.float64, engine='torch').energy(x)).abs().max()))"
    )
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-9
