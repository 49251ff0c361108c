"""The OpenMM side of a run: masses, platform, contexts."""

from __future__ import annotations

import numpy as np
import openmm

from ..state import Atoms

REFERENCE_MOST_ATOMS = 64
"""Above this the CPU platform beats Reference on one core (measured with native GB, OpenMM 8.6)."""


def repartitioned_masses(atoms: Atoms, hydrogen_mass_Da: float | None) -> np.ndarray:
    """Masses (atoms,) in Da with hydrogens brought to a mass taken from the atoms they are bonded to.

    Raises:
        ValueError: a heavy atom would be left with less mass than its hydrogens have.
    """
    masses = np.array(atoms.masses, dtype=np.float64)
    if hydrogen_mass_Da is None:
        return masses
    for i, j in atoms.bonds:
        for hydrogen, heavy in ((i, j), (j, i)):
            if atoms.elements[hydrogen] == "H" and atoms.elements[heavy] != "H":
                masses[heavy] -= hydrogen_mass_Da - masses[hydrogen]
                masses[hydrogen] = hydrogen_mass_Da
    if (lightest := masses.min()) < min(1.0, hydrogen_mass_Da):
        raise ValueError(f"hydrogen_mass_Da = {hydrogen_mass_Da:g} leaves a heavy atom with {lightest:.3g} Da; try 3")
    return masses


def with_masses(system: openmm.System, masses: np.ndarray) -> openmm.System:
    """A copy of a system with other masses (Da), without removal of centre-of-mass motion.

    Raises:
        ValueError: the system has constraints, which this program does not use.
    """
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    if copy.getNumConstraints():
        raise ValueError(f"the system has {copy.getNumConstraints()} constraints; build it without any")
    for i, mass in enumerate(masses):
        copy.setParticleMass(i, float(mass))
    for k in reversed(range(copy.getNumForces())):
        if isinstance(copy.getForce(k), openmm.CMMotionRemover):
            copy.removeForce(k)
    return copy


def choose_platform(system: openmm.System, name: str = "auto") -> str:
    """Name of the OpenMM platform to use, on one thread per replica.

    Raises:
        ValueError: OpenMM has no such platform here; the message lists those that it has.
    """
    available = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    if name == "auto":
        custom = any(isinstance(force, openmm.CustomGBForce) for force in system.getForces())
        name = "CPU" if custom or system.getNumParticles() > REFERENCE_MOST_ATOMS else "Reference"
    if name not in available:
        raise ValueError(f"OpenMM has no platform {name!r} here; it has {', '.join(available)}")
    return name


def make_context(system: openmm.System, integrator: openmm.Integrator, platform: str) -> openmm.Context:
    """A context on one thread, reproducible where the platform can be."""
    properties = {
        "CPU": {"Threads": "1", "DeterministicForces": "true"},
        "CUDA": {"DeterministicForces": "true", "Precision": "mixed"},
        "OpenCL": {"Precision": "mixed"},
    }.get(platform, {})
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
