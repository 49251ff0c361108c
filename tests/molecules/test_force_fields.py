"""The native GB force gives the energies and forces of the XML's; the systems are as the presets say."""

import dataclasses
from functools import cache

import numpy as np
import openmm
import pytest
from openmm import unit

from timewarp.molecules import PRESETS, Molecule, Preset, build_molecule, get_preset
from timewarp.molecules.force_fields import create_reference_system, create_system
from timewarp.molecules.molecule import describe_atoms
from timewarp.molecules.sequences import RESIDUES
from timewarp.settings import sampling as settings

RELATIVE_ENERGY = 1e-6
"""Native against XML: their Coulomb constants differ by 2e-7."""


def energy_and_forces(system: openmm.System, positions: np.ndarray) -> tuple[float, np.ndarray]:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return energy, state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


def only_gb(system: openmm.System) -> openmm.System:
    for index in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(index), openmm.CustomGBForce | openmm.GBSAOBCForce):
            system.removeForce(index)
    return system


@pytest.mark.parametrize("cutoff_nm", [None, 0.6])
@pytest.mark.parametrize("name", ["AG", "Ace-A-Nme", "RD", "CWHP", "Ace-KYM-Nme"])
def test_native_gb_agrees_with_the_xml(name, cutoff_nm):
    preset = dataclasses.replace(PRESETS["amber14-obc2"], cutoff_nm=cutoff_nm)
    molecule = build_molecule(name, preset, minimise=False)
    native = only_gb(create_system(molecule.topology, preset))
    custom = only_gb(create_reference_system(molecule.topology, preset))
    assert [type(force).__name__ for force in native.getForces()] == ["GBSAOBCForce"]
    assert [type(force).__name__ for force in custom.getForces()] == ["CustomGBForce"]
    noise = np.random.default_rng(0)
    for scale in (0.0, 0.005, 0.02):
        positions = molecule.start_positions.numpy() + scale * noise.standard_normal(molecule.start_positions.shape)
        energy, forces = energy_and_forces(native, positions)
        expected_energy, expected_forces = energy_and_forces(custom, positions)
        assert energy == pytest.approx(expected_energy, rel=RELATIVE_ENERGY)
        np.testing.assert_allclose(forces, expected_forces, rtol=0, atol=1e-6 * np.abs(expected_forces).max())


def test_a_wrong_offset_would_be_seen():
    molecule = build_molecule("AG", minimise=False)
    right, _ = energy_and_forces(molecule.system, molecule.start_positions.numpy())
    (gb,) = (force for force in molecule.system.getForces() if isinstance(force, openmm.GBSAOBCForce))
    charge, radius, scale = gb.getParticleParameters(0)
    gb.setParticleParameters(0, charge, radius - 0.009 * unit.nanometer, scale)
    wrong, _ = energy_and_forces(molecule.system, molecule.start_positions.numpy())
    assert wrong != pytest.approx(right, rel=100 * RELATIVE_ENERGY)


@pytest.mark.parametrize("name", PRESETS)
def test_systems_are_as_the_presets_say(name):
    preset = PRESETS[name]
    system = build_molecule("AG", name, minimise=False).system
    forces = {type(force).__name__: force for force in system.getForces()}
    custom, native = {"CustomGBForce"}, {"GBSAOBCForce"}
    gb = {"obc1": custom, "obc2": native, "gbn2": custom, "vacuum": set()}[preset.solvent]
    more = {"ff19SB-gbn2": {"CMAPTorsionForce"}}.get(name, set())
    if name == "charmm36-gbn2":
        more = {"CMAPTorsionForce", "CustomTorsionForce", "CustomNonbondedForce", "CustomBondForce"}
    valence = {"HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce"}
    assert forces.keys() == gb | more | valence
    assert system.getNumConstraints() == 0
    assert not system.usesPeriodicBoundaryConditions()
    nonbonded = forces["NonbondedForce"]
    methods = openmm.NonbondedForce
    assert nonbonded.getNonbondedMethod() == (
        methods.NoCutoff if preset.cutoff_nm is None else methods.CutoffNonPeriodic
    )
    if preset.cutoff_nm is not None:
        for force in (nonbonded, forces["CustomGBForce"]):
            assert force.getCutoffDistance().value_in_unit(unit.nanometer) == preset.cutoff_nm
        assert nonbonded.getReactionFieldDielectric() == 1.0


def test_presets_are_those_of_the_literature():
    temperatures = {name: preset.temperature_K for name, preset in PRESETS.items()}
    assert temperatures == dict.fromkeys(PRESETS, 310.0) | {"amber99sbildn-obc": 300.0}
    assert {name: preset.cutoff_nm for name, preset in PRESETS.items() if preset.cutoff_nm} == {"amber14-obc1": 2.0}
    assert tuple(PRESETS) == settings.PRESETS
    dielectrics = {}
    for name in ("amber14-obc2", "amber99sbildn-obc"):
        (gb,) = (f for f in build_molecule("AG", name, minimise=False).system.getForces() if "GBSA" in type(f).__name__)
        dielectrics[name] = (gb.getSolventDielectric(), gb.getSoluteDielectric())
    assert dielectrics == {"amber14-obc2": (78.5, 1.0), "amber99sbildn-obc": (78.3, 1.0)}


@cache
def built(sequence: str) -> Molecule:
    return build_molecule(sequence, "amber14-vacuum", minimise=False)


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        (letter, name)
        for letter in RESIDUES
        for name in PRESETS
        if name != "charmm36-gbn2" or letter in "GPHKE"  # its patches take a second for each peptide
    ],
)
def test_every_residue_is_covered_in_front_in_the_middle_behind_and_capped(letter, name):
    for sequence in (f"{letter}{letter}{letter}", f"Ace-{letter}-Nme", f"Ace-{letter}", f"{letter}-Nme"):
        molecule = built(sequence)
        atoms = describe_atoms(molecule.topology, create_system(molecule.topology, PRESETS[name]))
        charge = sum(atoms.charges)
        assert charge == pytest.approx(round(charge), abs=1e-4)
        ends = (not sequence.startswith("Ace")) - (not sequence.endswith("Nme"))
        assert round(charge) == sequence.count(letter) * {"D": -1, "E": -1, "K": 1, "R": 1}.get(letter, 0) + ends
        assert atoms.fingerprint == molecule.atoms.fingerprint


def test_presets_are_found_by_name_and_checked():
    assert get_preset("amber14-obc1").solvent == "obc1"
    assert get_preset(PRESETS["amber14-obc1"]) is PRESETS["amber14-obc1"]
    with pytest.raises(
        ValueError, match=r"no force-field preset is called 'amber'; choose one of amber14-obc2, .*vacuum"
    ):
        get_preset("amber")
    good = {"name": "mine", "description": "", "temperature_K": 300.0, "force_field": (), "solvent": "obc2"}
    for field, value in [
        ("temperature_K", -1.0),
        ("temperature_K", float("nan")),
        ("solvent", "tip3p"),
        ("cutoff_nm", 0.0),
    ]:
        with pytest.raises(ValueError, match="must be"):
            Preset(**(good | {field: value}))


def test_a_preset_that_mixes_up_its_gb_model_is_refused():
    muddled = dataclasses.replace(PRESETS["amber14-obc1"], solvent="obc2")
    with pytest.raises(ValueError, match="another GB model"):
        build_molecule("AG", muddled)
