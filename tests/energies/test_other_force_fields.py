"""Terms beyond the presets' against OpenMM's Reference platform: solvents, impropers, mixing, tables of pairs."""

import itertools
import math
from functools import cache
from pathlib import Path

import openmm
import pytest
import torch
from energy_systems import (
    openmm_terms,
    peptide,
    potential_of,
    relative_errors,
    scattered,
    shaken,
    system_of,
)
from energy_tolerances import FINITE_DIFFERENCE, FLOAT32_ENERGY, FLOAT32_FORCE, REFERENCE_ENERGY, REFERENCE_FORCE
from foreign_topologies import N_ATOMS, amber_with_nbfix, charmm, gromacs
from openmm import app
from openmm.app.internal import customgbforces

from timewarp.energies import Parameters, Potential, compile_system
from timewarp.energies.customforces import ryckaert_bellemans

# All twenty residues and both caps; M and C have the negative scaled radius that GBn2 gives to sulphur.
PEPTIDES = ("Ace-ACDEF-Nme", "GHIKL", "Ace-MNPQR-Nme", "STVWY")
SOLVENTS = {
    "hct": customgbforces.GBSAHCTForce,
    "gbn": customgbforces.GBSAGBnForce,
    "gbn2": customgbforces.GBSAGBn2Force,
}
CUT = {"nonbondedMethod": app.CutoffNonPeriodic, "nonbondedCutoff": 0.4, "switchDistance": 0.3}
KVE = Path(__file__).parent / "data" / "KVE.prmtop"


def check(system, positions):
    energy_error, force_error = relative_errors(system, positions)
    assert energy_error < REFERENCE_ENERGY
    assert force_error < REFERENCE_FORCE


@cache
def solvated(name: str, solvent: str, surface: str | None = "ACE", cutoff_nm: float | None = None) -> openmm.System:
    """ff14SB with a solvent as the XML files of OpenMM add it."""
    molecule = peptide(name, "amber14-vacuum")
    system = openmm.XmlSerializer.clone(molecule.system)
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(1)
    force = SOLVENTS[solvent](SA=surface, cutoff=cutoff_nm)
    for i, p in enumerate(SOLVENTS[solvent].getStandardParameters(molecule.topology)):
        force.addParticle([nonbonded.getParticleParameters(i)[0]._value, *p])
    force.finalize()
    if cutoff_nm is not None:
        for f in (nonbonded, force):
            f.setNonbondedMethod(f.CutoffNonPeriodic)
            f.setCutoffDistance(cutoff_nm)
    system.addForce(force)
    return system


def difficult(positions: torch.Tensor, solvent: str = "gbn2") -> torch.Tensor:
    """Hot configurations, one squeezed until atoms lie inside each other, and one pulled apart beyond every neck.

    Squeezed as much, HCT has negative Born radii, and OpenMM no energy.
    """
    x = shaken(positions, 4)
    return torch.cat([x[:2], (0.8 if solvent == "hct" else 0.5) * x[2:3], 3.0 * x[3:]])


@pytest.mark.parametrize("name", PEPTIDES)
@pytest.mark.parametrize("solvent", SOLVENTS)
def test_every_residue_in_every_solvent(solvent, name):
    check(solvated(name, solvent), difficult(peptide(name, "amber14-vacuum").start_positions, solvent))


@pytest.mark.parametrize("surface", ["ACE", None])
@pytest.mark.parametrize("cutoff_nm", [None, 0.6])
@pytest.mark.parametrize("solvent", SOLVENTS)
def test_solvents_with_and_without_surface_and_cutoff(solvent, cutoff_nm, surface):
    name = "Ace-MNPQR-Nme"
    system = solvated(name, solvent, surface, cutoff_nm)
    check(system, difficult(peptide(name, "amber14-vacuum").start_positions, solvent))
    assert math.isfinite(float(compile_system(system).gb_cutoff)) == (cutoff_nm is not None)


def test_each_solvent_has_an_energy_of_its_own():
    """A negative control: models that were taken for each other would agree."""
    x = peptide("Ace-MNPQR-Nme", "amber14-vacuum").start_positions[None]
    energies = [float(potential_of(solvated("Ace-MNPQR-Nme", s)).energy_terms(x)["solvent"]) for s in SOLVENTS]
    assert min(abs(a - b) for a, b in itertools.combinations(energies, 2)) > 1.0


@pytest.mark.parametrize("solvent", SOLVENTS)
def test_solvents_in_every_branch_of_the_overlap(solvent):
    """Atoms apart, cutting each other, one wholly inside the other, and a negative scaled radius, either way round."""
    force = SOLVENTS[solvent](SA="ACE")
    shape = [1.1, 0.9, 0.5] if solvent == "gbn2" else []
    for charge, radius, scale in (
        [0.5, 0.11, 0.9],
        [-0.4, 0.19, 0.95],
        [0.3, 0.15, -0.7 if solvent == "gbn2" else 0.4],
    ):
        force.addParticle([charge, radius, scale, *shape])
    force.finalize()
    generator = torch.Generator().manual_seed(9)
    distances = torch.cat([torch.linspace(0.004, 0.06, 15), torch.linspace(0.07, 1.5, 25)]).double()
    directions = torch.nn.functional.normalize(torch.randn(len(distances), 3, generator=generator).double(), dim=1)
    x = torch.zeros(len(distances), 3, 3, dtype=torch.float64)
    x[:, 1] = distances[:, None] * directions
    x[:, 2] = x[:, 1] + distances.flip(0)[:, None] * directions.roll(1, 0)
    check(system_of(3, force), x)


@pytest.mark.parametrize(
    "files",
    [
        ("amber14-all.xml", "implicit/gbn2.xml"),
        ("amber19/protein.ff19SB.xml", "implicit/gbn2.xml"),
        ("amber96.xml", "amber96_obc.xml"),
    ],
    ids="+".join,
)
def test_force_fields_of_openmm(files):
    molecule = peptide("MAK")
    check(app.ForceField(*files).createSystem(molecule.topology), shaken(molecule.start_positions, 3))


@pytest.mark.parametrize("release", ["charmm36.xml", "charmm36_2024.xml"])
def test_charmm36_as_openmm_ships_it(release):
    """Urey-Bradley terms, harmonic impropers, correction maps, tables of pairs and their 1-4 terms, and GBn2."""
    field = app.ForceField(release, "implicit/gbn2.xml")
    for name in ("ACDEF", "GHIKL", "MNPQR", "STVWY"):
        molecule = peptide(name, "amber14-vacuum")
        system = field.createSystem(molecule.topology)
        names = {type(f).__name__ for f in system.getForces()}
        assert {"CustomNonbondedForce", "CustomBondForce", "CMAPTorsionForce", "CustomTorsionForce"} <= names
        check(system, difficult(molecule.start_positions))
    cut = field.createSystem(molecule.topology, removeCMMotion=False)
    assert compile_system(cut).has_necks


@pytest.mark.parametrize("cut", [{}, CUT], ids=["no cutoff", "cutoff"])
@pytest.mark.parametrize("nbfix", [False, True], ids=["mixing", "nbfix"])
@pytest.mark.parametrize("rule", [1, 2, 3])
def test_gromacs_topologies_of_every_mixing_rule(tmp_path, rule, nbfix, cut):
    if rule == 1 and nbfix:
        pytest.skip("OpenMM reads the pairs of this rule otherwise than GROMACS")
    system = gromacs(tmp_path, rule, nbfix, **cut)
    names = {type(f).__name__ for f in system.getForces()}
    assert {"RBTorsionForce", "CustomTorsionForce", "PeriodicTorsionForce"} <= names
    assert ("CustomNonbondedForce" in names) == (nbfix or rule != 2)
    check(system, scattered(20, N_ATOMS))


@pytest.mark.parametrize("cut", [{}, CUT], ids=["no cutoff", "cutoff"])
@pytest.mark.parametrize("nbfix", [False, True], ids=["mixing", "nbfix"])
def test_charmm_topologies(tmp_path, nbfix, cut):
    system = charmm(tmp_path, nbfix, **cut)
    parameters = compile_system(system)
    assert len(parameters.bond_atoms) == 5 + 2  # Urey-Bradley
    assert len(parameters.improper_atoms) == 2
    assert bool(len(parameters.lj_type)) == nbfix
    x = scattered(20, N_ATOMS)
    check(system, x)
    theirs = openmm_terms(system, x)["CustomTorsionForce"]
    torch.testing.assert_close(potential_of(system).energy_terms(x)["impropers"], theirs, rtol=1e-10, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Non-optimal GB parameters")
@pytest.mark.parametrize("solvent", [None, app.HCT, app.OBC1, app.OBC2, app.GBn, app.GBn2], ids=str)
def test_amber_topologies_with_changed_pairs_in_every_solvent(tmp_path, solvent):
    x = shaken(peptide("KVE").start_positions, 2)
    plain = app.AmberPrmtopFile(str(KVE)).createSystem(removeCMMotion=False, implicitSolvent=solvent)
    check(plain, x)
    changed = amber_with_nbfix(KVE, tmp_path, implicitSolvent=solvent)
    check(changed, x)
    assert len(compile_system(changed).lj_type) == x.shape[1]
    assert ((potential_of(changed).energy(x) - potential_of(plain).energy(x)).abs() > 1e-3).all()


def test_ryckaert_bellemans_is_a_sum_of_cosines():
    c = [9.28, 12.16, -13.12, -3.06, 26.24, -31.5]
    phi = torch.linspace(-math.pi, math.pi, 101, dtype=torch.float64)
    expected = sum(c[m] * torch.cos(phi - math.pi) ** m for m in range(6))
    found = sum(k * (1 + torch.cos(n * phi)) for n, k in ryckaert_bellemans(c))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.8, 3.1, math.pi, 4.0])
def test_impropers_wrap_as_their_expression_says(angle):
    """Around the far side of the angle, where the three ways to write it differ from each other."""
    pi = math.pi
    for energy in (
        f"k*min(dtheta, 2*pi-dtheta)^2; dtheta = abs(theta-theta0);pi = {pi:f};",
        f"k*min(dtheta, 2*{pi}-dtheta)^2; dtheta = abs(theta-theta0)",
        "k*(theta-theta0)^2",
        "0.5*k*(thetap-theta0)^2; thetap = step(-(theta-theta0+pi))*2*pi+theta+step(theta-theta0-pi)*(-2*pi); "
        f"pi = {pi:.15g}",
    ):
        force = openmm.CustomTorsionForce(energy)
        for name in ("theta0", "k"):
            force.addPerTorsionParameter(name)
        force.addTorsion(0, 1, 2, 3, [angle, 50.0])
        force.addTorsion(3, 0, 2, 1, [-angle, 20.0])
        check(system_of(4, force), scattered(60, 4))


@pytest.mark.parametrize("solvent", SOLVENTS)
def test_forces_are_minus_the_gradient_and_single_precision_is_near(solvent):
    name = "Ace-MNPQR-Nme"
    system, x = solvated(name, solvent), shaken(peptide(name, "amber14-vacuum").start_positions, 2, 0.003)
    potential, step = potential_of(system), 3e-6
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    slope = (potential.energy(x + step * direction) - potential.energy(x - step * direction)) / (2 * step)
    forces = potential.forces(x)
    work = -(forces * direction).sum((1, 2))
    assert float(((slope - work) / forces.abs().amax((1, 2))).abs().max()) < FINITE_DIFFERENCE
    single, single_forces = Potential(compile_system(system)).energy_and_forces(x.float())
    expected, expected_forces = potential.energy_and_forces(x.float().double())
    assert float((single - expected).abs().max()) < 2 * FLOAT32_ENERGY  # of five residues, not two
    assert float((single_forces - expected_forces).abs().max() / forces.abs().max()) < FLOAT32_FORCE


def test_files_of_both_schemas(tmp_path):
    """A molecule of version 0.1 keeps its file, byte by byte what it was; others say that they are of schema 2."""
    from safetensors import safe_open

    for system, schema in ((peptide("KG").system, "1"), (solvated("GHIKL", "gbn2"), "2"), (charmm(tmp_path), "2")):
        parameters, path = compile_system(system), tmp_path / "energy.safetensors"
        parameters.save(path)
        with safe_open(str(path), framework="pt") as handle:
            assert handle.metadata()["schema"] == schema
            assert ("gb_neck_type" in handle.keys()) == (schema == "2")  # noqa: SIM118
        x = scattered(3, parameters.n_atoms, 0.5, 0.01)
        energy = Potential(Parameters.load(path), torch.float64).energy(x)
        assert torch.equal(energy, Potential(parameters, torch.float64).energy(x))
