"""Physical constants; the only place with a conversion factor.

Units everywhere are OpenMM's: nm, ps, kJ/mol, Da, K and elementary charges.
"""

from __future__ import annotations

import math

GAS_CONSTANT = 8.31446261815324e-3
"""Molar gas constant in kJ/(mol K) (CODATA 2018, exact)."""

COULOMB_CONSTANT = 138.93545764438198
"""1/(4 pi eps0) in kJ nm/(mol e^2), with OpenMM's value (SimTKOpenMMRealType.h, ONE_4PI_EPS0)."""

FEMTOSECONDS_PER_PICOSECOND = 1000.0
PICOSECONDS_PER_NANOSECOND = 1000.0
SECONDS_PER_DAY = 86400.0


def kT(temperature_K: float) -> float:
    """Thermal energy in kJ/mol.

    Args:
        temperature_K: temperature in K, positive and finite.

    Raises:
        ValueError: the temperature is not a positive finite number.

    >>> round(kT(310.0), 4)
    2.5775
    """
    if not (math.isfinite(temperature_K) and temperature_K > 0):
        raise ValueError(f"temperature must be a positive number of kelvin, got {temperature_K!r}; try 310")
    return GAS_CONSTANT * temperature_K
