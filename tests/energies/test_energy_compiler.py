"""What the compiler has no term for raises, and says which force and what to do."""

import openmm
import pytest
from energy_systems import peptide, system_of
from openmm import app
from openmm.app.internal import customgbforces

from timewarp.energies import UnknownForceError, compile_system


def refuses(system, *words):
    with pytest.raises(UnknownForceError) as caught:
        compile_system(system)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize(
    "force",
    [
        openmm.CustomBondForce("r"),
        openmm.CustomNonbondedForce("r"),
        openmm.CustomTorsionForce("theta"),
        openmm.LCPOForce(),
        openmm.MonteCarloBarostat(1.0, 300.0),
        openmm.AndersenThermostat(300.0, 1.0),
        openmm.CustomExternalForce("x"),
    ],
    ids=lambda f: type(f).__name__,
)
def test_an_unknown_force_is_named_with_the_way_out(force):
    refuses(system_of(2, force), type(force).__name__, "OpenMMEvaluator")


def test_centre_of_mass_removal_is_no_energy():
    assert compile_system(system_of(2, openmm.CMMotionRemover())).n_atoms == 2


def test_constraints_and_virtual_sites():
    constrained = system_of(2)
    constrained.addConstraint(0, 1, 0.1)
    refuses(constrained, "1 constraints", "constraints=None")
    with_site = system_of(3)
    with_site.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    refuses(with_site, "particle 2", "virtual site")
    refuses(openmm.System(), "no particles")


@pytest.mark.parametrize("method", ["CutoffPeriodic", "Ewald", "PME", "LJPME"])
def test_periodic_methods(method):
    force = openmm.NonbondedForce()
    force.addParticle(0.0, 0.1, 0.1)
    force.setNonbondedMethod(getattr(openmm.NonbondedForce, method))
    refuses(system_of(1, force), "NonbondedForce", "periodic")


def test_periodic_bonds():
    force = openmm.HarmonicBondForce()
    force.setUsesPeriodicBoundaryConditions(True)
    refuses(system_of(1, force), "HarmonicBondForce", "periodic")


def test_parameter_offsets():
    force = openmm.NonbondedForce()
    force.addParticle(0.0, 0.1, 0.1)
    force.addGlobalParameter("scale", 1.0)
    force.addParticleParameterOffset("scale", 0, 1.0, 0.0, 0.0)
    refuses(system_of(1, force), "NonbondedForce", "1 parameter offsets")


def test_two_of_a_kind_that_there_can_be_only_one_of():
    def make():
        force = openmm.NonbondedForce()
        force.addParticle(0.0, 0.1, 0.1)
        return force

    refuses(system_of(1, make(), make()), "second NonbondedForce")


def test_two_bond_forces_are_one_term():
    forces = [openmm.HarmonicBondForce(), openmm.HarmonicBondForce()]
    for k, force in enumerate(forces):
        force.addBond(k, k + 1, 0.1, 1e5)
    assert compile_system(system_of(3, *forces)).bond_atoms.tolist() == [[0, 1], [1, 2]]


def test_a_periodicity_beyond_the_highest():
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 9, 0.0, 1.0)
    refuses(system_of(4, force), "PeriodicTorsionForce", "9")


def test_maps_of_different_sizes():
    force = openmm.CMAPTorsionForce()
    force.addMap(4, [0.0] * 16)
    force.addMap(6, [0.0] * 36)
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    refuses(system_of(5, force), "CMAPTorsionForce", "different sizes")


def custom(model="GBSAOBC2Force", **arguments):
    force = getattr(customgbforces, model)(**arguments)
    if model.startswith("GBSAGBn"):
        for parameters in ([0.1, 0.15, 0.8], [0.1, 0.12, 0.8]):
            force.addParticle([*parameters, 1.0, 0.8, 4.85] if model == "GBSAGBn2Force" else parameters)
    else:
        for charge in (0.1, -0.1):
            force.addParticle([charge, 0.15, 0.8])
    force.finalize()
    return force


MODELS = ("GBSAHCTForce", "GBSAOBC1Force", "GBSAOBC2Force", "GBSAGBnForce", "GBSAGBn2Force")


@pytest.mark.parametrize("model", MODELS)
def test_salt_is_refused_in_every_model(model):
    assert compile_system(system_of(2, custom(model, SA="ACE", kappa=0.0))).has_solvent
    refuses(system_of(2, custom(model, SA="ACE", kappa=0.7)), "CustomGBForce", "salt", "OpenMMEvaluator")


def changed(how, model="GBSAOBC2Force"):
    force = custom(model, SA="ACE")
    how(force)
    return force


CHANGES = {
    "another expression of I": lambda f: f.setComputedValueParameters(0, "I", "r", f.ParticlePairNoExclusions),
    "another kind of sum": lambda f: f.setComputedValueParameters(
        0, "I", f.getComputedValueParameters(0)[1], f.ParticlePair
    ),
    "another constant": lambda f: f.setComputedValueParameters(
        1, "B", f.getComputedValueParameters(1)[1].replace("4.85", "4.86"), f.SingleParticle
    ),
    "another energy": lambda f: f.setEnergyTermParameters(
        1, f.getEnergyTermParameters(1)[0].replace("0.14", "0.15"), f.SingleParticle
    ),
    "constants that differ between terms": lambda f: f.setEnergyTermParameters(
        0, f.getEnergyTermParameters(0)[0].replace("78.5", "80"), f.SingleParticle
    ),
    "another term": lambda f: f.addEnergyTerm("charge^2", f.SingleParticle),
    "a global parameter": lambda f: f.addGlobalParameter("lambda", 1.0),
    "an exclusion": lambda f: f.addExclusion(0, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_solvent_that_is_almost_obc2(change):
    assert compile_system(system_of(2, custom(SA="ACE"))).has_solvent
    refuses(system_of(2, changed(CHANGES[change])), "CustomGBForce", "not one of OpenMM's models HCT, OBC1, OBC2")


def swap(old, new):
    def change(f):
        name, expression, kind = f.getComputedValueParameters(0)
        f.setComputedValueParameters(0, name, expression.replace(old, new), kind)

    return change


NECK_CHANGES = {
    "another reach": swap("neckCut=0.68", "neckCut=0.67"),
    "another scale": swap("neckScale=0.826836", "neckScale=0.361825"),
    "another power": swap("^6", "^4"),
    "another function": lambda f: f.addTabulatedFunction("more", openmm.Discrete2DFunction(1, 1, [0.0])),
    "another kind of function": lambda f: f.getTabulatedFunction(0).setFunctionParameters(1, 2, [0.0, 0.0]),
    "a type beyond the table": lambda f: f.setParticleParameters(0, [*f.getParticleParameters(0)[:-1], 7.0]),
}


@pytest.mark.parametrize("change", NECK_CHANGES)
def test_a_solvent_that_is_almost_gbn2(change):
    assert compile_system(system_of(2, custom("GBSAGBn2Force", SA="ACE"))).has_necks
    refuses(system_of(2, changed(NECK_CHANGES[change], "GBSAGBn2Force")), "CustomGBForce", "GBn2")


def torsion(expression, *names):
    force = openmm.CustomTorsionForce(expression)
    for name in names:
        force.addPerTorsionParameter(name)
    force.addTorsion(0, 1, 2, 3, [1.0] * len(names))
    return force


def test_impropers_that_are_almost_harmonic():
    wrapped = "k*min(dtheta, 2*pi-dtheta)^2; dtheta = abs(theta-theta0); pi = 3.14159"
    assert compile_system(system_of(4, torsion(wrapped, "k", "theta0"))).improper_k.tolist() == [1.0]
    for expression in ("k*abs(theta-theta0)", wrapped.replace("^2", "^4"), wrapped + "+0"):
        refuses(system_of(4, torsion(expression, "k", "theta0")), "CustomTorsionForce", "harmonic improper")
    refuses(system_of(4, torsion("k*(theta-theta0)^2", "k", "theta0", "more")), "its parameters are")
    with_global = torsion("k*(theta-theta0)^2", "k", "theta0")
    with_global.addGlobalParameter("lambda", 1.0)
    refuses(system_of(4, with_global), "1 global parameters")


def tabulated(acoef=(1.0, 2.0, 2.0, 3.0), exclusion=(0, 1), cutoff=None, expression=None):
    """A NonbondedForce without Lennard-Jones of its own, and tables for it."""
    plain = openmm.NonbondedForce()
    table = openmm.CustomNonbondedForce(expression or "acoef(type1, type2)/r^12 - bcoef(type1, type2)/r^6;")
    table.addPerParticleParameter("type")
    for name in ("acoef", "bcoef"):
        table.addTabulatedFunction(name, openmm.Discrete2DFunction(2, 2, acoef))
    for k in range(3):
        plain.addParticle(0.1, 1.0, 0.0)
        table.addParticle([k % 2])
    plain.addException(0, 1, 0.0, 1.0, 0.0)
    table.addExclusion(*exclusion)
    if cutoff is not None:
        table.setNonbondedMethod(table.CutoffNonPeriodic)
        table.setCutoffDistance(cutoff)
    return plain, table


def test_tables_that_have_no_term():
    parameters = compile_system(system_of(3, *tabulated()))
    assert parameters.lj_type.tolist() == [0, 1, 0]
    assert parameters.lj_table_12.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    refuses(system_of(3, *tabulated(acoef=(1.0, 2.0, 2.5, 3.0))), "CustomNonbondedForce", "types 1, 0 and 0, 1")
    refuses(system_of(3, *tabulated(exclusion=(1, 2))), "exclusions", "exceptions", "atoms 0 and 1")
    refuses(system_of(3, *tabulated(cutoff=1.0)), "different cutoffs")
    refuses(system_of(3, *tabulated(expression="acoef(type1, type2)/r^12 - bcoef(type1, type2)/r^4")), "its energy is")
    refuses(system_of(3, tabulated()[1]), "without a NonbondedForce")
    refuses(system_of(3, *tabulated(), tabulated()[1]), "a second CustomNonbondedForce")
    grouped = tabulated()
    grouped[1].addInteractionGroup([0], [1, 2])
    refuses(system_of(3, *grouped), "1 interaction groups")


def test_lennard_jones_of_a_bond_that_is_no_exception():
    force = openmm.CustomBondForce("-C/r^6+A/r^12")
    for name in ("C", "A"):
        force.addPerBondParameter(name)
    force.addBond(1, 0, [1.0, 2.0])
    parameters = compile_system(system_of(3, *tabulated(), force))
    assert (parameters.lj14_12.tolist(), parameters.lj14_6.tolist()) == ([2.0], [1.0])
    force.addBond(1, 2, [1.0, 2.0])
    refuses(system_of(3, *tabulated(), force), "atoms 1 and 2", "no exception")


def test_two_forces_of_correction_maps_are_one_term():
    forces = [openmm.CMAPTorsionForce(), openmm.CMAPTorsionForce()]
    for k, force in enumerate(forces):
        force.addMap(4, [float(k)] * 16)
        force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    parameters = compile_system(system_of(5, *forces))
    assert parameters.cmap_map.tolist() == [0, 1]
    assert parameters.cmap_grids[:, 0, 0].tolist() == [0.0, 1.0]


def test_a_shift_that_is_not_that_of_the_cutoff():
    force = custom(SA="ACE", cutoff=1.5)
    force.setNonbondedMethod(openmm.CustomGBForce.CutoffNonPeriodic)
    force.setCutoffDistance(1.5)
    assert float(compile_system(system_of(2, force)).gb_cutoff) == 1.5
    force.setCutoffDistance(1.6)
    refuses(system_of(2, force), "shifted", "1.6")
    force.setNonbondedMethod(openmm.CustomGBForce.NoCutoff)
    refuses(system_of(2, force), "cutoff")


def test_the_xml_solvent_with_salt_is_refused():
    molecule = peptide("Ace-A-Nme")
    field = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    assert compile_system(field.createSystem(molecule.topology)).has_solvent
    refuses(field.createSystem(molecule.topology, implicitSolventKappa=0.5), "CustomGBForce", "energy term", "salt")
