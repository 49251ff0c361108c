"""Make the OpenMM System of a topology under a preset, with the native GB force wherever the physics is the same."""

from __future__ import annotations

import re
from functools import lru_cache

import openmm
from openmm import unit
from openmm.app import CutoffNonPeriodic, ForceField, NoCutoff, Topology

from .presets import Preset

OBC_OFFSET_NM = 0.009
"""Dielectric offset of the OBC models; OpenMM's native force has it built in."""
SURFACE_AREA_ENERGY = 2.25936
"""Of the ACE surface term in kJ/(mol nm^2); ``CustomGBForce`` writes 4 pi times it, 28.3919551."""


@lru_cache(maxsize=8)
def load_force_field(files: tuple[str, ...]) -> ForceField:
    """OpenMM's force field from its XML files, parsed once per process."""
    return ForceField(*files)


def create_system(topology: Topology, preset: Preset) -> openmm.System:
    """System without constraints and without a centre-of-mass motion remover.

    OBC2 becomes the native ``GBSAOBCForce``: the same energy as the XML's ``CustomGBForce``, about 25 times
    faster on a CPU. OBC1 has no native form and stays a ``CustomGBForce``.

    Raises:
        ValueError: the force field has no parameters for the molecule.
    """
    system = create_reference_system(topology, preset)
    if preset.solvent == "obc2":
        if any(isinstance(force, openmm.CustomGBForce) and not _is_obc2(force) for force in system.getForces()):
            raise ValueError(
                f"preset {preset.name!r} says solvent 'obc2', but {preset.force_field} is another GB model"
            )
        use_native_gb(system)
    return system


def create_reference_system(topology: Topology, preset: Preset) -> openmm.System:
    """The System exactly as the force field's XML files make it (the reference of the native one)."""
    arguments = {"nonbondedMethod": NoCutoff}
    if preset.cutoff_nm is not None:
        arguments = {"nonbondedMethod": CutoffNonPeriodic, "nonbondedCutoff": preset.cutoff_nm * unit.nanometer}
    force_field = load_force_field(preset.force_field)
    try:
        return force_field.createSystem(topology, constraints=None, rigidWater=False, removeCMMotion=False, **arguments)
    except ValueError as error:
        reason = " ".join(str(error).split("For more information")[0].split()).rstrip(".")
        raise ValueError(
            f"the force field of preset {preset.name!r} does not cover this molecule: {reason}; "
            "correct the residue's atoms and protonation, or choose another preset"
        ) from None


def use_native_gb(system: openmm.System) -> None:
    """Replace a ``CustomGBForce`` of an OBC model by the native OBC2 force, in place; a native one stays."""
    custom = [i for i, force in enumerate(system.getForces()) if isinstance(force, openmm.CustomGBForce)]
    for index in reversed(custom):
        native = native_obc2(system.getForce(index))
        system.removeForce(index)
        system.addForce(native)


def native_obc2(custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    """The ``GBSAOBCForce`` with the parameters of the ``CustomGBForce`` that ``implicit/obc2.xml`` makes.

    The custom force stores the offset radius and its product with the scale factor; the native one wants the radius
    and the scale factor themselves. Its Coulomb constant differs by 2e-7, relative; all else is the same. With a
    cutoff, both shift the pair term by 1/cutoff. Of another model it is a stand-in, to begin a descent with.
    """
    native = openmm.GBSAOBCForce()
    native.setSolventDielectric(_constant(custom, "solventDielectric"))
    native.setSoluteDielectric(_constant(custom, "soluteDielectric"))
    native.setSurfaceAreaEnergy(SURFACE_AREA_ENERGY)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled_radius = custom.getParticleParameters(i)[:3]  # GBn has more
        native.addParticle(charge, offset_radius + OBC_OFFSET_NM, scaled_radius / offset_radius)
    if custom.getNonbondedMethod() == openmm.CustomGBForce.CutoffNonPeriodic:
        native.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
        native.setCutoffDistance(custom.getCutoffDistance())
    return native


def _is_obc2(custom: openmm.CustomGBForce) -> bool:
    values = {custom.getComputedValueParameters(i)[1].replace(" ", "") for i in range(custom.getNumComputedValues())}
    return any("tanh(psi-0.8*psi^2+4.85*psi^3)" in value for value in values)


def _constant(custom: openmm.CustomGBForce, name: str) -> float:
    """A constant that OpenMM writes into the energy expressions (``name=value``)."""
    found = re.search(rf"\b{name}=([-+.\deE]+)", custom.getEnergyTermParameters(0)[0])
    if found is None:
        raise ValueError(
            f"the force field's CustomGBForce does not say its {name}; this OpenMM version is not supported"
        )
    return float(found.group(1))
