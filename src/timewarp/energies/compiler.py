"""From an ``openmm.System`` to :class:`Parameters`: each force becomes one term, and what is not known raises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..units import COULOMB_CONSTANT
from .customforces import read_impropers, read_near_pairs, read_tables, ryckaert_bellemans
from .customgb import MODEL_NAMES, read_customgb
from .parameters import DECLARED, HIGHEST_PERIODICITY, Parameters

FALL_BACK = "use timewarp.energies.OpenMMEvaluator(system) in place of the compiled energy"
OBC2_TANH = (1.0, 0.8, 4.85)
DIELECTRIC_OFFSET_NM = 0.009


class UnknownForceError(NotImplementedError):
    """The system holds a force, or a setting of one, that the compiler has no term for."""


def compile_system(system: Any) -> Parameters:
    """Compile a system's forces to plain tensors.

    Args:
        system: an ``openmm.System`` of harmonic bonds (Urey-Bradley terms among them) and angles, periodic and
            Ryckaert-Bellemans torsions, harmonic impropers, CMAP, a ``NonbondedForce`` (no cutoff, or a non-periodic
            one with its reaction field and switching function), beside it Lennard-Jones tables or geometric mixing,
            and generalised Born solvent (``GBSAOBCForce``, or a ``CustomGBForce`` that is exactly one of OpenMM's
            HCT, OBC1, OBC2, GBn and GBn2). Custom forces are those that OpenMM's readers of CHARMM, AMBER and GROMACS
            files and its XML force fields write, recognised by their expressions.

    Raises:
        UnknownForceError: (a NotImplementedError) a force, or a setting of a force, has no term here. The message
            names it; :class:`OpenMMEvaluator` evaluates any system.
    """
    _refuse_special_particles(system)
    n_atoms = system.getNumParticles()
    columns: dict[str, list] = {}
    for force in system.getForces():
        name = type(force).__name__
        if name == "CMMotionRemover":
            continue
        if name not in _READERS:
            raise UnknownForceError(f"no term for {name} (force {force.getName()!r}); {FALL_BACK}")
        if force.usesPeriodicBoundaryConditions():
            raise UnknownForceError(f"{name} uses periodic boundary conditions, which have no term; {FALL_BACK}")
        for key, values in _READERS[name](force, n_atoms).items():
            if key in columns and key in _ONCE:
                raise UnknownForceError(f"a second {name} (or two of one kind) has no term; {FALL_BACK}")
            if key == "cmap_map":
                values = [k + len(columns.get("cmap_grids", [])) for k in values]
            columns[key] = [*columns[key], *values] if key in columns else values
    if len({len(grid) for grid in columns.get("cmap_grids", [])}) > 1:
        raise UnknownForceError(f"CMAPTorsionForce has maps of different sizes, which have no term; {FALL_BACK}")
    _check_lennard_jones(columns)
    return _pack(columns, n_atoms)


def _refuse_special_particles(system: Any) -> None:
    if system.getNumParticles() == 0:
        raise UnknownForceError("the system holds no particles")
    if system.getNumConstraints():
        raise UnknownForceError(
            f"the system has {system.getNumConstraints()} constraints, and the compiled energy has none: "
            "create it with constraints=None, rigidWater=False"
        )
    sites = [i for i in range(system.getNumParticles()) if system.isVirtualSite(i)]
    if sites:
        raise UnknownForceError(f"particle {sites[0]} is a virtual site, which has no term; {FALL_BACK}")


def _value(quantity: Any) -> float:
    """A number in OpenMM's unit system (nm, ps, kJ/mol, e, rad)."""
    if hasattr(quantity, "value_in_unit_system"):
        from openmm import unit

        quantity = quantity.value_in_unit_system(unit.md_unit_system)
    return float(quantity)


def _bonds(force: Any, n_atoms: int) -> dict[str, list]:
    terms = [force.getBondParameters(i) for i in range(force.getNumBonds())]
    return {
        "bond_atoms": [t[:2] for t in terms],
        "bond_length": [_value(t[2]) for t in terms],
        "bond_k": [_value(t[3]) for t in terms],
    }


def _angles(force: Any, n_atoms: int) -> dict[str, list]:
    terms = [force.getAngleParameters(i) for i in range(force.getNumAngles())]
    return {
        "angle_atoms": [t[:3] for t in terms],
        "angle_theta": [_value(t[3]) for t in terms],
        "angle_k": [_value(t[4]) for t in terms],
    }


def _torsions(force: Any, n_atoms: int) -> dict[str, list]:
    terms = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    if terms and (most := max(t[4] for t in terms)) > HIGHEST_PERIODICITY:
        raise UnknownForceError(
            f"PeriodicTorsionForce has a periodicity of {most}, the highest with a term is {HIGHEST_PERIODICITY}; "
            f"{FALL_BACK}"
        )
    return {
        "torsion_atoms": [t[:4] for t in terms],
        "torsion_periodicity": [t[4] for t in terms],
        "torsion_phase": [_value(t[5]) for t in terms],
        "torsion_k": [_value(t[6]) for t in terms],
    }


def _rb_torsions(force: Any, n_atoms: int) -> dict[str, list]:
    terms = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    waves = [(t[:4], n, k) for t in terms for n, k in ryckaert_bellemans([_value(c) for c in t[4:]]) if k]
    return {
        "torsion_atoms": [atoms for atoms, _, _ in waves],
        "torsion_periodicity": [n for _, n, _ in waves],
        "torsion_phase": [0.0] * len(waves),
        "torsion_k": [k for _, _, k in waves],
    }


def _impropers(force: Any, n_atoms: int) -> dict[str, list]:
    return _recognised(force, read_impropers, "a harmonic improper as OpenMM's readers write it")


def _near_pairs(force: Any, n_atoms: int) -> dict[str, list]:
    return _recognised(force, read_near_pairs, "Lennard-Jones of 1-4 pairs as OpenMM's readers write it")


def _tables(force: Any, n_atoms: int) -> dict[str, list]:
    columns = _recognised(force, read_tables, "a Lennard-Jones table or geometric mixing as OpenMM's readers write it")
    return {**columns, **_lennard_jones_cutoff(force, "lj_")}


def _recognised(force: Any, read: Callable[[Any], dict[str, list]], what: str) -> dict[str, list]:
    try:
        return read(force)
    except ValueError as error:
        name = f"{type(force).__name__} ({force.getName()!r})"
        raise UnknownForceError(f"{name} is not {what}: {error}; {FALL_BACK}") from None


def _lennard_jones_cutoff(force: Any, prefix: str = "") -> dict[str, list]:
    cutoff = _cutoff(type(force).__name__, force)
    switched = math.isfinite(cutoff) and force.getUseSwitchingFunction()
    return {
        f"{prefix}cutoff": [cutoff],
        f"{prefix}switching_distance": [_value(force.getSwitchingDistance()) if switched else math.inf],
    }


def _check_lennard_jones(columns: dict[str, list]) -> None:
    """Tables and 1-4 pairs must be in step with the ``NonbondedForce``, whose exceptions and cutoff serve for all."""
    exceptions = {tuple(sorted(pair)) for pair in columns.get("exception_atoms", [])}
    for pair in columns.get("lj14_atoms", []):
        if tuple(sorted(pair)) not in exceptions:
            raise UnknownForceError(
                f"the Lennard-Jones of a CustomBondForce joins atoms {pair[0]} and {pair[1]}, which are no exception "
                f"of the NonbondedForce: that has no term; {FALL_BACK}"
            )
    if "lj_type" not in columns:
        return
    if "charge" not in columns:
        raise UnknownForceError(f"CustomNonbondedForce without a NonbondedForce has no term; {FALL_BACK}")
    excluded = {tuple(sorted(pair)) for pair in columns["lj_exclusions"]}
    if difference := sorted(excluded ^ exceptions):
        raise UnknownForceError(
            f"the exclusions of the CustomNonbondedForce differ from the exceptions of the NonbondedForce "
            f"(atoms {difference[0][0]} and {difference[0][1]}): that has no term; {FALL_BACK}"
        )
    if not any(columns["epsilon"]):
        columns["switching_distance"] = columns["lj_switching_distance"]
    for key, what in (("cutoff", "cutoffs"), ("switching_distance", "switching distances")):
        if columns[key] != columns[f"lj_{key}"]:
            raise UnknownForceError(
                f"CustomNonbondedForce and NonbondedForce have different {what} ({columns[f'lj_{key}'][0]:g} and "
                f"{columns[key][0]:g} nm), which have no term; {FALL_BACK}"
            )


def _cmaps(force: Any, n_atoms: int) -> dict[str, list]:
    terms = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    if not terms:
        return {}
    maps = [force.getMapParameters(i) for i in range(force.getNumMaps())]
    return {
        "cmap_atoms": [t[1:] for t in terms],
        "cmap_map": [t[0] for t in terms],
        # OpenMM's energy[i + size * j] belongs to the i-th value of the first angle and the j-th of the second.
        "cmap_grids": [
            [[_value(energy[i + size * j]) for j in range(size)] for i in range(size)] for size, energy in maps
        ],
    }


def _nonbonded(force: Any, n_atoms: int) -> dict[str, list]:
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    if offsets:
        raise UnknownForceError(f"NonbondedForce has {offsets} parameter offsets, which have no term; {FALL_BACK}")
    atoms = [force.getParticleParameters(i) for i in range(n_atoms)]
    exceptions = [force.getExceptionParameters(i) for i in range(force.getNumExceptions())]
    return {
        "charge": [_value(a[0]) for a in atoms],
        "sigma": [_value(a[1]) for a in atoms],
        "epsilon": [_value(a[2]) for a in atoms],
        "exception_atoms": [e[:2] for e in exceptions],
        "exception_charge_product": [_value(e[2]) for e in exceptions],
        "exception_sigma": [_value(e[3]) for e in exceptions],
        "exception_epsilon": [_value(e[4]) for e in exceptions],
        **_lennard_jones_cutoff(force),
        "reaction_field_dielectric": [_value(force.getReactionFieldDielectric())],
    }


def _obc(force: Any, n_atoms: int) -> dict[str, list]:
    atoms = [[_value(v) for v in force.getParticleParameters(i)] for i in range(n_atoms)]
    dielectric = 1.0 / _value(force.getSoluteDielectric()) - 1.0 / _value(force.getSolventDielectric())
    return {
        "gb_charge": [charge for charge, _, _ in atoms],
        "gb_radius": [radius for _, radius, _ in atoms],
        "gb_offset_radius": [radius - DIELECTRIC_OFFSET_NM for _, radius, _ in atoms],
        "gb_scaled_radius": [(radius - DIELECTRIC_OFFSET_NM) * scale for _, radius, scale in atoms],
        "gb_tanh": list(OBC2_TANH),
        "gb_prefactor": [-COULOMB_CONSTANT * dielectric],
        "gb_surface": [4 * math.pi * _value(force.getSurfaceAreaEnergy())],
        "gb_engulfed": [1],
        "gb_cutoff": [_cutoff("GBSAOBCForce", force)],
    }


def _customgb(force: Any, n_atoms: int) -> dict[str, list]:
    columns = _recognised(force, read_customgb, f"one of OpenMM's models {', '.join(MODEL_NAMES)}")
    return {**columns, "gb_engulfed": [0], "gb_cutoff": [_cutoff("CustomGBForce", force)]}


def _cutoff(name: str, force: Any) -> float:
    """The cutoff in nm of a force with OpenMM's usual nonbonded methods, infinite for none."""
    method = force.getNonbondedMethod()
    if method == type(force).NoCutoff:
        return math.inf
    if method == type(force).CutoffNonPeriodic:
        return _value(force.getCutoffDistance())
    raise UnknownForceError(
        f"{name} uses nonbonded method {method} (periodic or Ewald), which has no term; {FALL_BACK}"
    )


_READERS: dict[str, Callable[[Any, int], dict[str, list]]] = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "PeriodicTorsionForce": _torsions,
    "RBTorsionForce": _rb_torsions,
    "CustomTorsionForce": _impropers,
    "CMAPTorsionForce": _cmaps,
    "NonbondedForce": _nonbonded,
    "CustomNonbondedForce": _tables,
    "CustomBondForce": _near_pairs,
    "GBSAOBCForce": _obc,
    "CustomGBForce": _customgb,
}
_ONCE = {"charge", "gb_charge", "lj_type"}


_DEFAULTS: dict[str, list] = {
    "cutoff": [math.inf],
    "switching_distance": [math.inf],
    "reaction_field_dielectric": [1.0],
    "gb_tanh": list(OBC2_TANH),
    "gb_prefactor": [0.0],
    "gb_surface": [0.0],
    "gb_engulfed": [0],
    "gb_cutoff": [math.inf],
    "gb_linear": [0],
    "gb_neck_reach": [0.0],
}


def _pack(columns: dict[str, list], n_atoms: int) -> Parameters:
    tensors = {}
    for name, (dtype, shape) in DECLARED.items():
        usual = [0.0] * n_atoms if shape == ("atoms",) else _DEFAULTS.get(name, [])
        if values := columns.get(name, usual):
            tensor = torch.tensor(values, dtype=dtype)
            tensors[name] = tensor if shape else tensor[0]
        else:
            tensors[name] = torch.zeros([size if isinstance(size, int) else 0 for size in shape], dtype=dtype)
    return Parameters(**tensors)
