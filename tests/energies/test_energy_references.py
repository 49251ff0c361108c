"""Each term, and every residue under every preset, against OpenMM's Reference platform in double precision."""

import math

import openmm
import openmm.app as app
import pytest
import torch
from energy_systems import (
    PRESET_NAMES,
    RESIDUES,
    openmm_terms,
    peptide,
    potential_of,
    relative_errors,
    scattered,
    shaken,
    system_of,
)
from energy_tolerances import REFERENCE_ENERGY, REFERENCE_FORCE
from openmm.app.internal.customgbforces import GBSAOBC1Force, GBSAOBC2Force

from timewarp.energies import OpenMMEvaluator, Potential, compile_system


def check(system, positions):
    energy_error, force_error = relative_errors(system, positions)
    assert energy_error < REFERENCE_ENERGY
    assert force_error < REFERENCE_FORCE


@pytest.mark.parametrize("preset", PRESET_NAMES)
@pytest.mark.parametrize("residue", RESIDUES)
def test_every_residue_under_every_preset(residue, preset):
    molecule = peptide(f"Ace-{residue}-Nme", preset)
    check(molecule.system, shaken(molecule.start_positions, 2))


@pytest.mark.parametrize("residue", RESIDUES)
def test_single_precision_of_every_residue_against_reference(residue):
    molecule = peptide(f"{residue}{residue}")
    x = shaken(molecule.start_positions, 20).float()
    energy, forces = Potential(compile_system(molecule.system), torch.float32).energy_and_forces(x)
    expected, expected_forces = OpenMMEvaluator(molecule.system).energy_and_forces(x.double())
    assert float((energy - expected).abs().max()) < 1e-3 * 2.577  # kT at 310 K
    error = (forces - expected_forces).norm(dim=(1, 2)) / expected_forces.norm(dim=(1, 2))
    assert float(error.max()) < 1e-4


@pytest.mark.parametrize("name", ["NQ", "KG", "AIVL"])
@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_zwitterions(name, preset):
    molecule = peptide(name, preset)
    check(molecule.system, shaken(molecule.start_positions, 2))


@pytest.mark.parametrize("name", ["Ace-A-Nme", "KG"])
def test_each_term_equals_openmms_force_of_the_same_kind(name):
    molecule = peptide(name)
    x = shaken(molecule.start_positions, 3)
    ours = potential_of(molecule.system).energy_terms(x)
    theirs = openmm_terms(molecule.system, x)
    names = {
        "bonds": "HarmonicBondForce",
        "angles": "HarmonicAngleForce",
        "torsions": "PeriodicTorsionForce",
        "nonbonded": "NonbondedForce",
        "solvent": "GBSAOBCForce",
    }
    assert set(ours) == set(names)
    for key, openmm_name in names.items():
        torch.testing.assert_close(ours[key], theirs[openmm_name], rtol=1e-10, atol=1e-9)


def test_bonds():
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.15, 2e5)
    force.addBond(3, 1, 0.11, 3e5)
    force.addBond(2, 3, 0.0, 1e3)
    check(system_of(4, force), scattered(5, 4))


def test_angles():
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.9, 400.0)
    force.addAngle(3, 1, 0, math.pi, 300.0)
    force.addAngle(2, 3, 0, 0.3, 500.0)
    check(system_of(4, force), scattered(20, 4))


def test_a_nearly_straight_angle_keeps_its_precision():
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.9, 400.0)
    system = system_of(3, force)
    x = torch.tensor([[[-0.1, 1e-4, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]], dtype=torch.float64)
    check(system, x)
    single = Potential(compile_system(system)).energy(x.float())
    torch.testing.assert_close(single.double(), potential_of(system).energy(x.float().double()), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("phases", [(0.0, math.pi), (0.4, -1.3, 2.9)])
def test_torsions_of_any_periodicity_and_phase(phases):
    force = openmm.PeriodicTorsionForce()
    for k, phase in enumerate(phases):
        for n in range(1, 9):
            force.addTorsion(k, k + 1, k + 2, k + 3, n, phase, 3.0 + n)
        force.addTorsion(k + 3, k, k + 2, k + 1, 2, phase, -4.0)
    check(system_of(6, force), scattered(20, 6))


def test_a_force_field_with_correction_maps_as_a_whole():
    molecule = peptide("AIVL")
    system = app.ForceField("amber19-all.xml").createSystem(molecule.topology)
    assert any(isinstance(f, openmm.CMAPTorsionForce) and f.getNumTorsions() for f in system.getForces())
    check(system, shaken(molecule.start_positions, 3))
    assert "cmap" in potential_of(system).energy_terms(molecule.start_positions[None])


def test_correction_map_without_symmetry_around_every_patch():
    size = 6
    force = openmm.CMAPTorsionForce()
    generator = torch.Generator().manual_seed(3)
    force.addMap(size, torch.randn(size * size, generator=generator).tolist())
    force.addMap(size, torch.randn(size * size, generator=generator).tolist())
    force.addTorsion(1, 0, 1, 2, 3, 1, 2, 3, 4)
    force.addTorsion(0, 4, 3, 2, 1, 0, 2, 1, 3)
    check(system_of(5, force), scattered(60, 5))


def nonbonded(n_atoms: int = 6) -> openmm.NonbondedForce:
    force = openmm.NonbondedForce()
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_atoms):
        charge, sigma, epsilon = torch.rand(3, generator=generator).tolist()
        force.addParticle(2 * charge - 1, 0.1 + 0.1 * sigma, epsilon)
    force.setParticleParameters(2, 0.4, 1.0, 0.0)  # a hydrogen as Amber writes it
    force.addException(0, 1, 0.0, 1.0, 0.0)
    force.addException(3, 1, 0.25, 0.2, 0.7)
    force.addException(4, 5, -0.3, 0.15, 0.0)
    return force


def test_lennard_jones_and_coulomb_with_exceptions():
    check(system_of(6, nonbonded()), scattered(10, 6))


@pytest.mark.parametrize("dielectric", [1.0, 78.3])
@pytest.mark.parametrize("switched", [False, True])
def test_cutoff_with_reaction_field_and_switch(dielectric, switched):
    force = nonbonded()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.5)
    force.setReactionFieldDielectric(dielectric)
    force.setUseSwitchingFunction(switched)
    force.setSwitchingDistance(0.3)
    x = scattered(20, 6)
    beyond = torch.stack([torch.pdist(c) for c in x]) > 0.5
    assert beyond.any()
    assert not beyond.all()
    check(system_of(6, force), x)


def test_exceptions_are_not_cut_off():
    force = openmm.NonbondedForce()
    for charge in (1.0, -1.0):
        force.addParticle(charge, 0.3, 0.5)
    force.addException(0, 1, -0.5, 0.3, 0.5)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.5)
    system = system_of(2, force)
    x = torch.tensor([[[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]]], dtype=torch.float64)
    check(system, x)
    assert abs(float(potential_of(system).energy(x))) > 1.0


def solvent(kind: str, n_atoms: int = 5, cutoff_nm: float | None = None) -> openmm.Force:
    generator = torch.Generator().manual_seed(5)
    atoms = torch.rand(n_atoms, 3, generator=generator, dtype=torch.float64)
    atoms = (atoms * torch.tensor([2.0, 0.06, 0.3]) + torch.tensor([-1.0, 0.12, 0.7])).tolist()
    if kind == "native":
        force = openmm.GBSAOBCForce()
        force.setSolventDielectric(78.5)
        for atom in atoms:
            force.addParticle(*atom)
    else:
        model = {"obc1": GBSAOBC1Force, "obc2": GBSAOBC2Force}[kind.removesuffix("-no-surface")]
        force = model(SA=None if kind.endswith("no-surface") else "ACE", cutoff=cutoff_nm)
        for atom in atoms:
            force.addParticle(atom)
        force.finalize()
    if cutoff_nm is not None:
        force.setNonbondedMethod(force.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff_nm)
    return force


SOLVENTS = ("native", "obc1", "obc2", "obc1-no-surface", "obc2-no-surface")


@pytest.mark.parametrize("kind", SOLVENTS)
@pytest.mark.parametrize("cutoff_nm", [None, 0.4])
def test_generalised_born(kind, cutoff_nm):
    check(system_of(5, solvent(kind, cutoff_nm=cutoff_nm)), scattered(20, 5))


def test_surface_term_without_charges():
    force = openmm.GBSAOBCForce()
    for radius in (0.12, 0.15, 0.17):
        force.addParticle(0.0, radius, 0.8)
    force.setSurfaceAreaEnergy(3.3)
    system = system_of(3, force)
    check(system, scattered(5, 3))
    assert (potential_of(system).energy(scattered(5, 3)) > 0.1).all()


@pytest.mark.parametrize("kind", ["native", "obc1", "obc2"])
def test_generalised_born_in_every_branch_of_the_overlap(kind):
    """Atoms apart, cutting each other, and one wholly inside the other, either way round."""
    generator = torch.Generator().manual_seed(9)
    if kind == "native":
        force = openmm.GBSAOBCForce()
    else:
        force = {"obc1": GBSAOBC1Force, "obc2": GBSAOBC2Force}[kind](SA="ACE")
    for atom in ([0.5, 0.06, 0.9], [-0.4, 0.2, 0.95], [0.3, 0.12, 0.4]):
        force.addParticle(*atom) if kind == "native" else force.addParticle(atom)
    if kind != "native":
        force.finalize()
    distances = torch.cat([torch.linspace(0.004, 0.06, 15), torch.linspace(0.07, 0.5, 10)]).double()
    directions = torch.nn.functional.normalize(torch.randn(len(distances), 3, generator=generator).double(), dim=1)
    x = torch.zeros(len(distances), 3, 3, dtype=torch.float64)
    x[:, 1] = distances[:, None] * directions
    x[:, 2] = x[:, 1] + distances.flip(0)[:, None] * directions.roll(1, 0)
    system = system_of(3, force)
    check(system, x)
    beside_nan = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    assert torch.equal(potential_of(system).energy(beside_nan)[:-1], potential_of(system).energy(x))


def test_native_and_custom_solvent_agree_where_no_atom_is_inside_another():
    """The conversion that the molecules room makes: same physics to the digits of the Coulomb constant."""
    x = scattered(10, 5)
    native = potential_of(system_of(5, solvent("native"))).energy(x)
    custom = potential_of(system_of(5, solvent("obc2"))).energy(x)
    torch.testing.assert_close(native, custom, rtol=1e-6, atol=1e-5)
    assert not torch.equal(native, custom)
