"""Recognising OpenMM's own OBC1 and OBC2 ``CustomGBForce`` by its expressions, character for character."""

from __future__ import annotations

import re
from typing import Any

# As openmm.app.internal.customgbforces writes them (Onufriev, Bashford and Case 2004, models I and II).
_DESCREENING = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_BORN_RADIUS = {
    "1/(1/or-tanh(0.8*psi+2.909125*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": (0.8, 0.0, 2.909125),
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": (1.0, 0.8, 4.85),
}
_NUMBER = r"([-+0-9.eE]+)"
_CONSTANTS = (
    rf";solventDielectric={_NUMBER};soluteDielectric={_NUMBER};kappa={_NUMBER};offset={_NUMBER}(?:;cutoff={_NUMBER})?"
)
_SELF = re.compile(re.escape("-0.5*138.935485*(1/soluteDielectric-1/solventDielectric)*charge^2/B") + _CONSTANTS)
_SURFACE = re.compile(re.escape("28.3919551*(radius+0.14)^2*(radius/B)^6;radius=or+offset") + _CONSTANTS)
_PAIR = re.compile(
    re.escape("-138.935485*(1/soluteDielectric-1/solventDielectric)*charge1*charge2")
    + rf"(?:/f|\*\(1/f-{_NUMBER}\))"
    + re.escape(";f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))")
    + _CONSTANTS
)
COULOMB_CONSTANT = 138.935485
"""The value in those expressions; the native forces use one with more digits."""
SURFACE = 28.3919551
OFFSET = 0.009


def read_customgb(force: Any) -> dict[str, list]:
    """Generalised Born parameters of an ``openmm.CustomGBForce`` that is OpenMM's OBC1 or OBC2.

    Returns:
        columns named as in :class:`timewarp.energies.Parameters`, without the cutoff.

    Raises:
        ValueError: anything about the force differs; the message says what.
    """
    _same("global parameters", force.getNumGlobalParameters(), 0)
    _same("exclusions", force.getNumExclusions(), 0)
    _same("tabulated functions", force.getNumTabulatedFunctions(), 0)
    _same("energy parameter derivatives", force.getNumEnergyParameterDerivatives(), 0)
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    _same("per-particle parameters", names, ["charge", "or", "sr"])
    values = [_strip(force.getComputedValueParameters(i)) for i in range(force.getNumComputedValues())]
    kinds = (type(force).ParticlePairNoExclusions, type(force).SingleParticle)
    _same("computed values", [(name, kind) for name, _, kind in values], [("I", kinds[0]), ("B", kinds[1])])
    _same("the expression of I", values[0][1], _DESCREENING)
    if values[1][1] not in _BORN_RADIUS:
        raise ValueError(f"the expression of B is {values[1][1]!r}")
    terms = [_strip(("", *force.getEnergyTermParameters(i))) for i in range(force.getNumEnergyTerms())]
    patterns = [(_SELF, kinds[1]), (_SURFACE, kinds[1]), (_PAIR, kinds[0])]
    if len(terms) == 2:
        del patterns[1]
    _same("energy terms", [kind for _, _, kind in terms], [kind for _, kind in patterns])
    constants = set()
    for (_, expression, _), (pattern, _) in zip(terms, patterns, strict=True):
        match = pattern.fullmatch(expression)
        if match is None:
            raise ValueError(f"an energy term is {expression!r}")
        *shift, solvent, solute, kappa, offset, cutoff = match.groups()
        constants.add((solvent, solute, kappa, offset, cutoff))
        if pattern is _PAIR:
            _check_shift(force, shift[0], cutoff)
    _same("sets of constants", len(constants), 1)
    solvent_dielectric, solute_dielectric, kappa, offset = (float(v) for v in constants.pop()[:4])
    _same("kappa", kappa, 0.0)
    _same("offset", offset, OFFSET)
    atoms = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    return {
        "gb_charge": [charge for charge, _, _ in atoms],
        "gb_radius": [radius + OFFSET for _, radius, _ in atoms],
        "gb_offset_radius": [radius for _, radius, _ in atoms],
        "gb_scaled_radius": [scaled for _, _, scaled in atoms],
        "gb_tanh": list(_BORN_RADIUS[values[1][1]]),
        "gb_prefactor": [-COULOMB_CONSTANT * (1.0 / solute_dielectric - 1.0 / solvent_dielectric)],
        "gb_surface": [SURFACE if len(terms) == 3 else 0.0],
    }


def _check_shift(force: Any, shift: str | None, cutoff: str | None) -> None:
    """The shift 1/cutoff in the pair energy must be that of the force's own cutoff."""
    uses_cutoff = force.getNonbondedMethod() != type(force).NoCutoff
    if not uses_cutoff:
        _same("the pair energy's cutoff", (shift, cutoff), (None, None))
        return
    from openmm import unit

    distance = force.getCutoffDistance().value_in_unit(unit.nanometer)
    if shift is None or abs(float(shift) * distance - 1.0) > 1e-12:
        raise ValueError(f"its pair energy is shifted by {shift}, expected 1/{distance} for its cutoff")


def _strip(parameters: Any) -> tuple[str, str, int]:
    name, expression, kind = parameters
    return name, "".join(expression.split()), kind


def _same(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise ValueError(f"{what}: {got}, expected {expected}")
