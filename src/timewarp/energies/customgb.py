"""Recognising OpenMM's own generalised Born models in a ``CustomGBForce`` by its expressions, character for character.

The models are those of :mod:`openmm.app.internal.customgbforces`, which its XML files and its reader of AMBER
topologies use: HCT (Hawkins, Cramer and Truhlar 1996; igb 1), OBC1 and OBC2 (Onufriev, Bashford and Case 2004; igb 2
and 5), GBn (Mongan et al. 2007; igb 7) and GBn2 (Nguyen, Roe and Simmerling 2013; igb 8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .tables import square_table, type_numbers

_DESCREENING = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_NECK = (
    "Ivdw+neckScale*Ineck;"
    "Ineck=step(radius1+radius2+neckCut-r)*getm0(radindex1,radindex2)/(1+100*(r-getd0(radindex1,radindex2))^2+"
    "0.3*1000000*(r-getd0(radindex1,radindex2))^6);Ivdw=" + _DESCREENING + ";"
    "radius1=or1+offset;radius2=or2+offset;neckScale={scale};neckCut=0.68;offset={offset}"
)
_OBC = "1/(1/or-tanh({polynomial})/radius);psi=I*or;radius=or+offset;offset={offset}"


@dataclass(frozen=True)
class _Model:
    """A model by its expressions; ``tanh`` is None where it has no hyperbolic tangent, or one for each atom."""

    name: str
    integral: str
    born_radius: str
    offset: float = 0.009
    tanh: tuple[float, float, float] | None = None
    neck_scale: float | None = None
    names: tuple[str, ...] = ("charge", "or", "sr")


_ATOM_TANH = ("alpha", "beta", "gamma")
_MODELS = (
    _Model("HCT", _DESCREENING, "1/(1/or-I)"),
    _Model(
        "OBC1",
        _DESCREENING,
        _OBC.format(polynomial="0.8*psi+2.909125*psi^3", offset="0.009"),
        tanh=(0.8, 0.0, 2.909125),
    ),
    _Model(
        "OBC2",
        _DESCREENING,
        _OBC.format(polynomial="psi-0.8*psi^2+4.85*psi^3", offset="0.009"),
        tanh=(1.0, 0.8, 4.85),
    ),
    _Model(
        "GBn",
        _NECK.format(scale="0.361825", offset="0.009"),
        _OBC.format(polynomial="1.09511284*psi-1.907992938*psi^2+2.50798245*psi^3", offset="0.009"),
        tanh=(1.09511284, 1.907992938, 2.50798245),
        neck_scale=0.361825,
        names=("charge", "or", "sr", "radindex"),
    ),
    _Model(
        "GBn2",
        _NECK.format(scale="0.826836", offset="0.0195141"),
        _OBC.format(polynomial="alpha*psi-beta*psi^2+gamma*psi^3", offset="0.0195141"),
        offset=0.0195141,
        neck_scale=0.826836,
        names=("charge", "or", "sr", *_ATOM_TANH, "radindex"),
    ),
)
NECK_REACH_NM = 0.68
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
_SALT = "exp(-kappa*"
COULOMB_CONSTANT = 138.935485
"""The value in those expressions; the native forces use one with more digits."""
SURFACE = 28.3919551
MODEL_NAMES = tuple(model.name for model in _MODELS)


def read_customgb(force: Any) -> dict[str, list]:
    """Generalised Born parameters of an ``openmm.CustomGBForce`` that is one of OpenMM's own models.

    Returns:
        columns named as in :class:`timewarp.energies.Parameters`, without the cutoff.

    Raises:
        ValueError: anything about the force differs; the message says what.
    """
    _same("global parameters", force.getNumGlobalParameters(), 0)
    _same("exclusions", force.getNumExclusions(), 0)
    _same("energy parameter derivatives", force.getNumEnergyParameterDerivatives(), 0)
    values = [_strip(force.getComputedValueParameters(i)) for i in range(force.getNumComputedValues())]
    kinds = (type(force).ParticlePairNoExclusions, type(force).SingleParticle)
    _same("computed values", [(name, kind) for name, _, kind in values], [("I", kinds[0]), ("B", kinds[1])])
    model = _model(values[0][1], values[1][1])
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    _same("per-particle parameters", names, list(model.names))
    solute, solvent, has_surface = _read_terms(force, model, kinds)
    atoms = [dict(zip(names, force.getParticleParameters(i), strict=True)) for i in range(force.getNumParticles())]
    columns: dict[str, list] = {
        "gb_charge": [a["charge"] for a in atoms],
        "gb_radius": [a["or"] + model.offset for a in atoms],
        "gb_offset_radius": [a["or"] for a in atoms],
        "gb_scaled_radius": [a["sr"] for a in atoms],
        "gb_prefactor": [-COULOMB_CONSTANT * (1.0 / solute - 1.0 / solvent)],
        "gb_surface": [SURFACE if has_surface else 0.0],
    }
    if model.tanh is not None:
        columns["gb_tanh"] = list(model.tanh)
    elif set(_ATOM_TANH) <= set(names):
        columns["gb_atom_tanh"] = [[a[name] for name in _ATOM_TANH] for a in atoms]
    else:
        columns["gb_linear"] = [1]
    return columns | _necks(force, model, atoms)


def _model(integral: str, born_radius: str) -> _Model:
    known = [m for m in _MODELS if m.born_radius == born_radius]
    if not known:
        raise ValueError(f"the expression of B is {born_radius!r}")
    _same("the expression of I", integral, known[0].integral)
    return known[0]


def _read_terms(force: Any, model: _Model, kinds: tuple[int, int]) -> tuple[float, float, bool]:
    """Dielectric constants of solute and solvent, and whether there is a surface term."""
    terms = [_strip(("", *force.getEnergyTermParameters(i))) for i in range(force.getNumEnergyTerms())]
    patterns = [(_SELF, kinds[1]), (_SURFACE, kinds[1]), (_PAIR, kinds[0])]
    if len(terms) == 2:
        del patterns[1]
    _same("energy terms", [kind for _, _, kind in terms], [kind for _, kind in patterns])
    constants = set()
    for (_, expression, _), (pattern, _) in zip(terms, patterns, strict=True):
        match = pattern.fullmatch(expression)
        if match is None:
            salt = " (salt: the screening by kappa has no term; set kappa to zero)" if _SALT in expression else ""
            raise ValueError(f"an energy term is {expression!r}{salt}")
        *shift, solvent, solute, kappa, offset, cutoff = match.groups()
        constants.add((solvent, solute, kappa, offset, cutoff))
        if pattern is _PAIR:
            _check_shift(force, shift[0], cutoff)
    _same("sets of constants", len(constants), 1)
    solvent_dielectric, solute_dielectric, kappa, offset = (float(v) for v in constants.pop()[:4])
    _same("kappa", kappa, 0.0)
    _same("offset", offset, model.offset)
    return solute_dielectric, solvent_dielectric, len(terms) == 3


def _necks(force: Any, model: _Model, atoms: list[dict[str, float]]) -> dict[str, list]:
    functions = {force.getTabulatedFunctionName(i): i for i in range(force.getNumTabulatedFunctions())}
    _same("tabulated functions", sorted(functions), ["getd0", "getm0"] if model.neck_scale else [])
    if model.neck_scale is None:
        return {}
    distance, height = (square_table(force.getTabulatedFunction(functions[name])) for name in ("getd0", "getm0"))
    _same("rows of getm0", len(height), len(distance))
    return {
        "gb_neck_type": type_numbers([a["radindex"] for a in atoms], len(distance)),
        "gb_neck_distance": distance,
        "gb_neck_height": [[model.neck_scale * value for value in row] for row in height],
        "gb_neck_reach": [NECK_REACH_NM],
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
