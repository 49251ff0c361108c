"""Named tolerances of the energy tests, and why each has its size."""

REFERENCE_ENERGY = 1e-9
"""float64 against OpenMM's Reference platform, relative to the sum of the terms' magnitudes: the order of sums."""

REFERENCE_FORCE = 1e-9
"""Likewise, relative to the largest force component."""

FLOAT32_ENERGY = 2.5e-3
"""kJ/mol, 1e-3 kT at 300 K: float32 against float64 for the same float32 positions of a dipeptide."""

FLOAT32_FORCE = 1e-5
"""float32 against float64, relative to the largest force component."""

FINITE_DIFFERENCE = 1e-6
"""Central differences of the energy in float64, relative to the largest force component."""

SAME_ARITHMETIC = 1e-12
"""The same sums in another order (a batch against a loop, padding, renumbering), relative, in float64."""

MOTION = 1e-9
"""kJ/mol: a rigid motion of about 1 nm in float64."""
