"""The OpenMM side of a run: masses, platform, contexts."""

from __future__ import annotations

import numpy as np
import openmm

REFERENCE_MOST_ATOMS = 64
"""Above this the CPU platform beats Reference on one core (measured with native GB, OpenMM 8.6)."""


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
