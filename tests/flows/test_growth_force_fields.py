"""The prior of family C2 under force fields beyond the presets': it is the energy, and the same in both engines."""

import functools

import openmm
import pytest
import torch
from openmm.app.internal import customgbforces

from timewarp import native
from timewarp.energies import Potential, compile_system
from timewarp.flows.circular import grid
from timewarp.flows.growth import GrowthConfig, GrowthFlow, Regrowth, build_plan
from timewarp.flows.growth.compiled_features import features_of
from timewarp.flows.growth.profiles import features, turn_to
from timewarp.molecules import build_molecule
from timewarp.units import kT

THERMAL = kT(310.0)
SOLVENTS = {
    "hct": customgbforces.GBSAHCTForce,
    "gbn": customgbforces.GBSAGBnForce,
    "gbn2": customgbforces.GBSAGBn2Force,
}
MOLECULE = "Ace-M-Nme"
"""With sulphur, whose scaled radius is negative under GBn2."""


def solvated(kind: str) -> openmm.System:
    molecule = build_molecule(MOLECULE, "amber14-vacuum")
    system = openmm.XmlSerializer.clone(molecule.system)
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    force = SOLVENTS[kind](SA="ACE")
    for i, p in enumerate(SOLVENTS[kind].getStandardParameters(molecule.topology)):
        force.addParticle([nonbonded.getParticleParameters(i)[0]._value, *p])
    force.finalize()
    system.addForce(force)
    return system


def with_other_terms() -> openmm.System:
    """Ryckaert-Bellemans torsions in place of periodic ones about each bond, and geometric mixing of Lennard-Jones."""
    system = solvated("gbn2")
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    periodic = next(f for f in system.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    rb = openmm.RBTorsionForce()
    for i in range(periodic.getNumTorsions()):
        rb.addTorsion(*periodic.getTorsionParameters(i)[:4], 1.3, 4.0, -2.0, -3.0, 1.0, 0.5)
    mixing = openmm.CustomNonbondedForce("A1*A2/r^12-C1*C2/r^6")
    for name in ("C", "A"):
        mixing.addPerParticleParameter(name)
    for i in range(nonbonded.getNumParticles()):
        charge, sigma, epsilon = (v._value for v in nonbonded.getParticleParameters(i))
        mixing.addParticle([(4 * epsilon * sigma**6) ** 0.5, (4 * epsilon * sigma**12) ** 0.5])
        nonbonded.setParticleParameters(i, charge, 1.0, 0.0)
    near = openmm.CustomBondForce("-C/r^6+A/r^12")
    for name in ("C", "A"):
        near.addPerBondParameter(name)
    for i in range(nonbonded.getNumExceptions()):
        first, second, product, sigma, epsilon = nonbonded.getExceptionParameters(i)
        mixing.addExclusion(first, second)
        if epsilon._value:
            sixth = sigma._value**6
            near.addBond(first, second, [4 * epsilon._value * sixth, 4 * epsilon._value * sixth**2])
            nonbonded.setExceptionParameters(i, first, second, product, 1.0, 0.0)
    for force in (rb, mixing, near):
        system.addForce(force)
    return system


CASES = {**{kind: functools.partial(solvated, kind) for kind in SOLVENTS}, "other terms": with_other_terms}


class Case:
    def __init__(self, kind: str) -> None:
        molecule = build_molecule(MOLECULE, "amber14-vacuum")
        self.atoms, self.parameters = molecule.atoms, compile_system(CASES[kind]())
        self.plan = build_plan(self.atoms, self.parameters, THERMAL)
        noise = torch.randn(9, self.atoms.n_atoms, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.x = molecule.start_positions + 0.003 * noise


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def energy_profile(case: Case) -> torch.Tensor:
    """Along the last torsion: everything is placed, and the prior is the whole energy."""
    potential, step = Potential(case.parameters, torch.float64), case.plan.steps[-1]
    now = features(case.plan, case.x).angle[:, -1]
    angles = grid(48, case.x).tolist()
    energy = torch.stack([potential.energy(turn_to(step, case.x, torch.full_like(now, a), now)) for a in angles], 1)
    return (energy.amin(1, keepdim=True) - energy) / THERMAL


def test_last_profile_is_the_energy(case: Case) -> None:
    found, expected = features(case.plan, case.x).profile[:, -1], energy_profile(case)
    near = expected > -8
    # The solvent is interpolated between 16 angles, and pairs of old atoms are linear in their Born radii.
    assert float((found - expected)[near].abs().max()) < 0.02
    assert float((found - expected)[near].abs().mean()) < 0.003


def test_profiles_of_another_solvent_are_not_the_energy() -> None:
    """A negative control: the solvents differ along a torsion by more than the test above allows."""
    expected = energy_profile(Case("gbn2"))
    for other in (Case("hct"), Case("gbn")):
        gap = features(other.plan, other.x).profile[:, -1] - expected
        assert float(gap[expected > -8].abs().mean()) > 0.02


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_compiled_features_are_torchs(case: Case) -> None:
    before, found = native.instruction_set(), 0
    expected = features(case.plan, case.x)
    for name in ("baseline", "avx2", "avx512"):
        try:
            native.core().choose_instruction_set(name)
            got = features_of(case.plan, case.x)
        except ValueError:
            continue  # this processor does not have it
        finally:
            native.core().choose_instruction_set(before)
        # Single precision, on steep walls: the profile is in kT and cut off at 25.
        torch.testing.assert_close(got.profile.double(), expected.profile, atol=0.01, rtol=0)
        found += 1
    assert found


@torch.no_grad()
@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_compiled_densities_are_torchs(case: Case) -> None:
    torch.manual_seed(3)
    flow = GrowthFlow(case.atoms, GrowthConfig(width=16, n_blocks=1, n_heads=2))
    way = Regrowth(case.plan)
    _, forward, backward = flow.with_engine("native").redraw(case.x, way, torch.Generator().manual_seed(2))
    _, q_there, q_here = flow.double().redraw(case.x, way, torch.Generator().manual_seed(2))
    torch.testing.assert_close(backward, q_here, atol=2e-3, rtol=0)
    assert float((forward - q_there).abs().median()) < 2e-3
