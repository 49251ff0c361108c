"""Move start positions to a local energy minimum, the same one each time."""

from __future__ import annotations

import copy

import numpy as np
import openmm
import torch
from openmm import unit

from ..restriction import Restriction
from ..state import Atoms
from .force_fields import use_native_gb

TOLERANCE = 1.0
"""Root mean square force at the end, in kJ/(mol nm)."""
CUSTOM_GB_TOLERANCE = 10.0
"""The same where the GB force is slow: OpenMM's own default."""


def minimise_positions(system: openmm.System, positions: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Positions (atoms, 3) in nm of a nearby minimum, on OpenMM's Reference platform (double precision).

    A ``CustomGBForce`` is slow there, so the way down is first followed with the native GB force, and only its
    end with the system's own.

    Args:
        system: the forces.
        positions: in nm, (atoms, 3).
        atoms: their stereocentres and cis/trans peptide bonds must be kept.

    Raises:
        ValueError: the energy is not finite, or the way down inverts a stereocentre or turns a peptide bond over
            (all mean bad positions).
    """
    start = positions
    if any(isinstance(force, openmm.CustomGBForce) for force in system.getForces()):
        fast = copy.deepcopy(system)
        use_native_gb(fast)
        positions = _descend(fast, positions, CUSTOM_GB_TOLERANCE)
        positions = _descend(system, positions, CUSTOM_GB_TOLERANCE)
    else:
        positions = _descend(system, positions, TOLERANCE)
    if bool(Restriction(torch.from_numpy(start), atoms).crossed(torch.from_numpy(positions))):
        raise ValueError(
            "energy minimisation inverted a stereocentre or turned a peptide bond over: the given positions are "
            "too distorted; repair them"
        )
    return positions


def _descend(system: openmm.System, positions: np.ndarray, tolerance: float) -> np.ndarray:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    energy = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    if not np.isfinite(energy):
        raise ValueError(
            f"the energy of the start positions is {energy}: atoms overlap or lie on a line; repair the positions"
        )
    openmm.LocalEnergyMinimizer.minimize(context, tolerance)
    state = context.getState(getPositions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
