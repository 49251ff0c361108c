"""Terms that OpenMM's readers of CHARMM, AMBER and GROMACS files write as custom forces.

An expression is compared character for character, but for blanks and numbers; nothing is approximated.
"""

from __future__ import annotations

import math
import re
from typing import Any

from .tables import square_table, type_numbers

_NUMBER = r"([-+0-9.eE]+)"
_WRAPPED = r"dtheta=abs\(theta-theta0\)"
_HARMONIC = (
    # CharmmPsfFile, which writes pi to six places, and charmm36_2024.xml; the reader of AMBER topologies; charmm36.xml.
    (re.compile(rf"k\*min\(dtheta,2\*pi-dtheta\)\^2;{_WRAPPED};pi={_NUMBER}"), 1.0),
    (re.compile(rf"k\*min\(dtheta,2\*{_NUMBER}-dtheta\)\^2;{_WRAPPED}"), 1.0),
    (re.compile(r"k\*\(theta-theta0\)\^2"), 1.0),
    # GromacsTopFile, type 2.
    (
        re.compile(
            re.escape(
                "0.5*k*(thetap-theta0)^2;thetap=step(-(theta-theta0+pi))*2*pi+theta+step(theta-theta0-pi)*(-2*pi);"
            )
            + rf"pi={_NUMBER}"
        ),
        0.5,
    ),
)
_SQUARED_TABLE = "(a/r6)^2-b/r6;r6=r^6;a=acoef(type1,type2);b=bcoef(type1,type2)"
_TABLE = "acoef(type1,type2)/r^12-bcoef(type1,type2)/r^6"
_GEOMETRIC = "A1*A2/r^12-C1*C2/r^6"
_NEAR = "-C/r^6+A/r^12"
_NEAR_EPSILON = re.compile(rf"{_NUMBER}\*epsilon\*\(\(sigma/r\)\^12-\(sigma/r\)\^6\)")


def read_impropers(force: Any) -> dict[str, list]:
    """Columns of a ``CustomTorsionForce`` of harmonic impropers.

    Raises:
        ValueError: another expression, or other parameters.
    """
    _plain(force)
    expression = _strip(force.getEnergyFunction())
    matches = [(pattern.fullmatch(expression), factor) for pattern, factor in _HARMONIC]
    found = [(match, factor) for match, factor in matches if match]
    if not found:
        raise ValueError(f"its energy is {expression!r}")
    match, factor = found[0]
    names = [force.getPerTorsionParameterName(i) for i in range(force.getNumPerTorsionParameters())]
    if sorted(names) != ["k", "theta0"]:
        raise ValueError(f"its parameters are {names}, expected k and theta0")
    period = 2 * float(match.group(1)) if match.groups() else math.inf
    terms = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    return {
        "improper_atoms": [t[:4] for t in terms],
        "improper_angle": [t[4][names.index("theta0")] for t in terms],
        "improper_k": [factor * t[4][names.index("k")] for t in terms],
        "improper_period": [period] * len(terms),
    }


def read_tables(force: Any) -> dict[str, list]:
    """Columns of a ``CustomNonbondedForce`` of Lennard-Jones tables (NBFIX) or of geometric mixing.

    Returns:
        columns of :class:`timewarp.energies.Parameters`, and ``lj_exclusions``, pairs without this force.

    Raises:
        ValueError: another expression, other parameters, or tables that depend on the order of two atoms.
    """
    _plain(force)
    for what, number in (
        ("computed values", force.getNumComputedValues()),
        ("interaction groups", force.getNumInteractionGroups()),
    ):
        if number:
            raise ValueError(f"it has {number} {what}, expected none")
    expression = _strip(force.getEnergyFunction())
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    atoms = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    exclusions = [force.getExclusionParticles(i) for i in range(force.getNumExclusions())]
    functions = {
        force.getTabulatedFunctionName(i): force.getTabulatedFunction(i)
        for i in range(force.getNumTabulatedFunctions())
    }
    if expression == _GEOMETRIC:
        _expect("parameters", sorted(names), ["A", "C"])
        kinds = sorted(set(atoms))
        columns = {name: [kind[names.index(name)] for kind in kinds] for name in "AC"}
        types = [kinds.index(a) for a in atoms]
        twelve, six = ([[a * b for b in columns[name]] for a in columns[name]] for name in "AC")
    elif expression in (_TABLE, _SQUARED_TABLE):
        _expect("parameters", names, ["type"])
        _expect("tabulated functions", sorted(functions), ["acoef", "bcoef"])
        twelve, six = (_symmetric(square_table(functions[name])) for name in ("acoef", "bcoef"))
        _expect("rows of bcoef", len(six), len(twelve))
        types = type_numbers([a[0] for a in atoms], len(twelve))
        if expression == _SQUARED_TABLE:
            twelve = [[a * a for a in row] for row in twelve]
    else:
        raise ValueError(f"its energy is {expression!r}")
    return {"lj_type": types, "lj_table_12": twelve, "lj_table_6": six, "lj_exclusions": exclusions}


def read_near_pairs(force: Any) -> dict[str, list]:
    """Columns of a ``CustomBondForce`` of Lennard-Jones between atoms three bonds apart.

    Raises:
        ValueError: another expression, or other parameters.
    """
    _plain(force)
    expression = _strip(force.getEnergyFunction())
    names = [force.getPerBondParameterName(i) for i in range(force.getNumPerBondParameters())]
    bonds = [force.getBondParameters(i) for i in range(force.getNumBonds())]
    values = [dict(zip(names, b[2], strict=True)) for b in bonds]
    if expression == _NEAR:
        _expect("parameters", sorted(names), ["A", "C"])
        twelve, six = [v["A"] for v in values], [v["C"] for v in values]
    elif match := _NEAR_EPSILON.fullmatch(expression):
        _expect("parameters", sorted(names), ["epsilon", "sigma"])
        depth = [float(match.group(1)) * v["epsilon"] for v in values]
        twelve = [d * v["sigma"] ** 12 for d, v in zip(depth, values, strict=True)]
        six = [d * v["sigma"] ** 6 for d, v in zip(depth, values, strict=True)]
    else:
        raise ValueError(f"its energy is {expression!r}")
    return {"lj14_atoms": [b[:2] for b in bonds], "lj14_12": twelve, "lj14_6": six}


def ryckaert_bellemans(coefficients: list[float]) -> list[tuple[int, float]]:
    """The same torsion energy as terms k (1 + cos(n phi)) of periodicity n: (n, k), exactly.

    Args:
        coefficients: C of sum C_m cos^m(phi - pi), m = 0 ... 5 (Ryckaert and Bellemans 1978), in kJ/mol.
    """
    # cos^m in multiples of the angle, Abramowitz and Stegun 4.3.31 ff.: 2^-m times binomial coefficients.
    waves = [0.0] * len(coefficients)
    for m, c in enumerate(coefficients):
        for j in range(m + 1):
            waves[abs(m - 2 * j)] += c * math.comb(m, j) / 2**m
    k = [w * (-1) ** n for n, w in enumerate(waves)]
    # What the terms 1 + cos add to the constant is taken from the term of periodicity 0, which is 2 k.
    return [(0, 0.5 * (k[0] - sum(k[1:]))), *((n, k[n]) for n in range(1, len(k)))]


def _symmetric(table: list[list[float]]) -> list[list[float]]:
    largest = max((abs(v) for row in table for v in row), default=0.0)
    n = len(table)
    for a in range(n):
        for b in range(a):
            if abs(table[a][b] - table[b][a]) > 1e-12 * largest:
                raise ValueError(f"its table differs for types {a}, {b} and {b}, {a}")
    return [[table[min(a, b)][max(a, b)] for b in range(n)] for a in range(n)]


def _plain(force: Any) -> None:
    """No global parameters, which could change under the compiled energy."""
    for what, number in (
        ("global parameters", force.getNumGlobalParameters()),
        ("energy parameter derivatives", force.getNumEnergyParameterDerivatives()),
    ):
        if number:
            raise ValueError(f"it has {number} {what}, expected none")


def _strip(expression: str) -> str:
    return "".join(expression.split()).rstrip(";")


def _expect(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise ValueError(f"its {what} are {got}, expected {expected}")
