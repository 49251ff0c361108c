"""What a force field says about one molecule, as plain tensors that are saved and loaded without OpenMM."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..files import write_atomically
from ..shapes import Float, Int

FORMAT = "timewarp.energies.Parameters"
SCHEMAS = ("1", "2")
"""Of files: those of version 0.1, and those of molecules that need a field with a default."""

_MAY_BE_INFINITE = {"cutoff", "switching_distance", "gb_cutoff", "improper_period"}
_POSITIVE = {"cutoff", "switching_distance", "reaction_field_dielectric", "gb_offset_radius", "gb_radius", "gb_cutoff"}
_POSITIVE |= {"improper_period"}
_NOT_NEGATIVE = {"sigma", "epsilon", "exception_sigma", "exception_epsilon", "bond_length", "gb_neck_reach"}
HIGHEST_PERIODICITY = 8


def _none(*shape: int, dtype: torch.dtype = torch.float64) -> Callable[[], Tensor]:
    """Makes the default of a term that a molecule does not have."""
    return lambda: torch.zeros(shape, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Parameters:
    """Every number of one molecule's potential energy, in OpenMM's units (nm, kJ/mol, e, rad).

    Attributes:
        bond_atoms, bond_length, bond_k: 0.5 k (r - length)^2.
        angle_atoms, angle_theta, angle_k: 0.5 k (angle - theta)^2.
        torsion_atoms, torsion_periodicity, torsion_phase, torsion_k: k (1 + cos(n phi - phase)).
        cmap_atoms, cmap_map, cmap_grids: pairs of torsions, the map that each uses, and the maps' energies:
            ``cmap_grids[m, i, j]`` belongs to the angles (2 pi i / grid, 2 pi j / grid).
        charge, sigma, epsilon: Coulomb and Lennard-Jones per atom, Lorentz-Berthelot mixing.
        exception_atoms, ...: pairs that use their own values instead (zero for excluded pairs); never cut off.
        cutoff: non-periodic cutoff of Coulomb and Lennard-Jones, infinite for none.
        switching_distance: where Lennard-Jones starts to be switched off, infinite for never.
        reaction_field_dielectric: of the reaction field, used with a cutoff.
        gb_charge, gb_offset_radius, gb_scaled_radius, gb_radius: generalised Born per atom; empty for no solvent.
        gb_tanh: alpha, beta and gamma of tanh(alpha psi - beta psi^2 + gamma psi^3).
        gb_prefactor: -(1/(4 pi eps0)) (1/solute - 1/solvent), kJ nm/(mol e^2).
        gb_surface: 4 pi times the surface energy, kJ/(mol nm^2); 0 for no surface term.
        gb_engulfed: 1 for the correction of an atom wholly inside another (OpenMM's native force has it, its
            CustomGBForce has not).
        gb_cutoff: cutoff of the generalised Born sums, infinite for none.
        improper_atoms, improper_angle, improper_k, improper_period: k min(d, period - d)^2 with
            d = |dihedral - angle|; the period is infinite where the difference is not wrapped.
        lj_type, lj_table_12, lj_table_6: table_12[a, b] / r^12 - table_6[a, b] / r^6 for atoms of types a and b, added
            to what sigma and epsilon give, for pairs that are no exceptions; both tables are symmetric.
        lj14_atoms, lj14_12, lj14_6: likewise for single pairs, all of which are exceptions.
        gb_atom_tanh: alpha, beta, gamma of each atom, in place of ``gb_tanh``; empty where one triple serves all.
        gb_linear: 1 for the Born radius 1 / (1 / offset radius - integral) of Hawkins, Cramer and Truhlar, which has
            no hyperbolic tangent.
        gb_neck_type, gb_neck_distance, gb_neck_height, gb_neck_reach: correction of the Born integral for the neck
            between two atoms, height / (1 + 100 x^2 + 3e5 x^6) with x = r - distance (nm), for r up to both radii and
            the reach; tables [a, b] are of the atom of type a beside that of type b, and need not be symmetric.
    """

    bond_atoms: Int[Tensor, "bonds 2"]
    bond_length: Float[Tensor, " bonds"]
    bond_k: Float[Tensor, " bonds"]
    angle_atoms: Int[Tensor, "angles 3"]
    angle_theta: Float[Tensor, " angles"]
    angle_k: Float[Tensor, " angles"]
    torsion_atoms: Int[Tensor, "torsions 4"]
    torsion_periodicity: Int[Tensor, " torsions"]
    torsion_phase: Float[Tensor, " torsions"]
    torsion_k: Float[Tensor, " torsions"]
    cmap_atoms: Int[Tensor, "cmaps 8"]
    cmap_map: Int[Tensor, " cmaps"]
    cmap_grids: Float[Tensor, "maps grid grid"]
    charge: Float[Tensor, " atoms"]
    sigma: Float[Tensor, " atoms"]
    epsilon: Float[Tensor, " atoms"]
    exception_atoms: Int[Tensor, "exceptions 2"]
    exception_charge_product: Float[Tensor, " exceptions"]
    exception_sigma: Float[Tensor, " exceptions"]
    exception_epsilon: Float[Tensor, " exceptions"]
    cutoff: Float[Tensor, ""]
    switching_distance: Float[Tensor, ""]
    reaction_field_dielectric: Float[Tensor, ""]
    gb_charge: Float[Tensor, " gb_atoms"]
    gb_offset_radius: Float[Tensor, " gb_atoms"]
    gb_scaled_radius: Float[Tensor, " gb_atoms"]
    gb_radius: Float[Tensor, " gb_atoms"]
    gb_tanh: Float[Tensor, "3"]
    gb_prefactor: Float[Tensor, ""]
    gb_surface: Float[Tensor, ""]
    gb_engulfed: Int[Tensor, ""]
    gb_cutoff: Float[Tensor, ""]
    improper_atoms: Int[Tensor, "impropers 4"] = field(default_factory=_none(0, 4, dtype=torch.int64))
    improper_angle: Float[Tensor, " impropers"] = field(default_factory=_none(0))
    improper_k: Float[Tensor, " impropers"] = field(default_factory=_none(0))
    improper_period: Float[Tensor, " impropers"] = field(default_factory=_none(0))
    lj_type: Int[Tensor, " lj_atoms"] = field(default_factory=_none(0, dtype=torch.int64))
    lj_table_12: Float[Tensor, "lj_types lj_types"] = field(default_factory=_none(0, 0))
    lj_table_6: Float[Tensor, "lj_types lj_types"] = field(default_factory=_none(0, 0))
    lj14_atoms: Int[Tensor, "lj14 2"] = field(default_factory=_none(0, 2, dtype=torch.int64))
    lj14_12: Float[Tensor, " lj14"] = field(default_factory=_none(0))
    lj14_6: Float[Tensor, " lj14"] = field(default_factory=_none(0))
    gb_atom_tanh: Float[Tensor, "tanh_atoms 3"] = field(default_factory=_none(0, 3))
    gb_linear: Int[Tensor, ""] = field(default_factory=_none(dtype=torch.int64))
    gb_neck_type: Int[Tensor, " neck_atoms"] = field(default_factory=_none(0, dtype=torch.int64))
    gb_neck_distance: Float[Tensor, "necks necks"] = field(default_factory=_none(0, 0))
    gb_neck_height: Float[Tensor, "necks necks"] = field(default_factory=_none(0, 0))
    gb_neck_reach: Float[Tensor, ""] = field(default_factory=_none())

    def __post_init__(self) -> None:
        _validate({f.name: getattr(self, f.name) for f in fields(self)})

    def __repr__(self) -> str:
        solvent = "generalised Born" if self.has_solvent else "vacuum"
        counts = ", ".join(
            f"{len(getattr(self, f'{kind}_atoms'))} {kind}s" for kind in ("bond", "angle", "torsion", "cmap")
        )
        return f"Parameters({self.n_atoms} atoms, {counts}, {solvent}, cutoff {float(self.cutoff):g} nm)"

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.charge)

    @property
    def has_solvent(self) -> bool:
        """Whether there is a generalised Born term."""
        return len(self.gb_charge) > 0

    @property
    def has_necks(self) -> bool:
        """Whether the Born integrals have the correction for necks between atoms."""
        return len(self.gb_neck_type) > 0

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, atomically.

        A molecule that needs none of the fields with a default has the file that version 0.1 wrote, byte for byte.
        """
        tensors = {f.name: getattr(self, f.name).contiguous() for f in fields(self)}
        old = not any(tensors[name].numel() and tensors[name].any() for name in WITH_DEFAULT)
        if old:
            tensors = {name: tensor for name, tensor in tensors.items() if name not in WITH_DEFAULT}
        data = safetensors.torch.save(tensors, metadata={"format": FORMAT, "schema": SCHEMAS[0 if old else 1]})
        write_atomically(path, data)

    @classmethod
    def load(cls, path: Path | str) -> Parameters:
        """Read what :meth:`save` wrote; needs no OpenMM.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is truncated, foreign or of another schema, or holds impossible numbers.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no energy parameters at {path}: write them with Parameters.save")
        try:
            with safetensors.safe_open(str(path), framework="pt") as handle:
                metadata = handle.metadata() or {}
                tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError, RuntimeError, TypeError) as error:
            raise ValueError(f"{path} is not a readable safetensors file ({error}); write it again") from None
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path} holds no energy parameters (format {metadata.get('format')!r}, not {FORMAT!r})")
        schema = metadata.get("schema")
        if schema not in SCHEMAS:
            raise ValueError(f"{path} has schema {schema!r}, this version reads {' and '.join(SCHEMAS)}")
        expected = set(DECLARED) - set(WITH_DEFAULT) if schema == SCHEMAS[0] else set(DECLARED)
        if difference := set(tensors) ^ expected:
            raise ValueError(f"{path} is not as Parameters.save writes it: {sorted(difference)} missing or unknown")
        tensors = {name: make() for name, make in WITH_DEFAULT.items()} | tensors
        try:
            _validate(tensors)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return cls(**tensors)


def _declared() -> dict[str, tuple[torch.dtype, tuple[str | int, ...]]]:
    """Type and shape of each field, as its annotation says; sizes of one name are the same."""
    declared = {}
    for f in fields(Parameters):
        kind, sizes = re.fullmatch(r"(Int|Float)\[Tensor, '(.*)'\]", str(f.type)).groups()  # type: ignore[union-attr]
        shape = tuple(int(size) if size.isdigit() else size for size in sizes.split())
        declared[f.name] = (torch.int64 if kind == "Int" else torch.float64, shape)
    return declared


DECLARED = _declared()
WITH_DEFAULT: dict[str, Callable[[], Tensor]] = {
    f.name: f.default_factory for f in fields(Parameters) if f.default_factory is not MISSING
}
"""Fields that version 0.1 did not have."""


_PER_ATOM = {
    "gb_atoms": "generalised Born parameters",
    "tanh_atoms": "parameters of Born radii",
    "neck_atoms": "neck types",
    "lj_atoms": "Lennard-Jones types",
}


def _validate(tensors: dict[str, Any]) -> None:
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in DECLARED.items():
        tensor = tensors[name]
        if tensor.dtype != dtype:
            raise ValueError(f"{name} must be {dtype}, got {tensor.dtype}")
        expected = tuple(
            sizes.setdefault(size, tensor.shape[axis] if axis < tensor.ndim else -1) if isinstance(size, str) else size
            for axis, size in enumerate(shape)
        )
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{name} must have shape {expected} ({shape}), got {tuple(tensor.shape)}")
        if dtype == torch.float64:
            good = torch.isfinite(tensor) | ((tensor == torch.inf) & (name in _MAY_BE_INFINITE))
            if name in _POSITIVE:
                good &= tensor > 0
            if name in _NOT_NEGATIVE:
                good &= tensor >= 0
            if not good.all():
                raise ValueError(f"{name} holds an impossible number: {tensor[~good].flatten()[0].item()!r}")
    for size, what in _PER_ATOM.items():
        if sizes[size] not in (0, sizes["atoms"]):
            raise ValueError(f"{what} for {sizes[size]} of {sizes['atoms']} atoms")
    if not sizes["gb_atoms"] and (sizes["tanh_atoms"] or sizes["neck_atoms"]):
        raise ValueError("parameters of a generalised Born model without generalised Born atoms")
    for name in DECLARED:
        if name.endswith("_atoms") and len(index := tensors[name]):
            _check_range(name, index, 0, sizes["atoms"] - 1)
            groups = index.reshape(-1, 4) if name == "cmap_atoms" else index
            ordered = groups.sort(1).values
            if (ordered[:, 1:] == ordered[:, :-1]).any():
                raise ValueError(f"{name} names an atom twice in one term")
    pairs = tensors["exception_atoms"].sort(1).values
    if len(pairs.unique(dim=0)) != len(pairs):
        raise ValueError("exception_atoms names a pair twice")
    given = {tuple(pair) for pair in pairs.tolist()}
    if lost := [pair for pair in tensors["lj14_atoms"].sort(1).values.tolist() if tuple(pair) not in given]:
        raise ValueError(f"lj14_atoms names the pair {lost[0]}, which is no exception")
    for name in ("lj_table_12", "lj_table_6"):
        if not torch.equal(tensors[name], tensors[name].T):
            raise ValueError(f"{name} must be symmetric")
    _check_range("lj_type", tensors["lj_type"], 0, sizes["lj_types"] - 1)
    _check_range("gb_neck_type", tensors["gb_neck_type"], 0, sizes["necks"] - 1)
    _check_range("gb_linear", tensors["gb_linear"], 0, 1)
    _check_range("cmap_map", tensors["cmap_map"], 0, sizes["maps"] - 1)
    _check_range("torsion_periodicity", tensors["torsion_periodicity"], 0, HIGHEST_PERIODICITY)
    _check_range("gb_engulfed", tensors["gb_engulfed"], 0, 1)


def _check_range(name: str, values: Tensor, low: int, high: int) -> None:
    if values.numel() and not (low <= int(values.min()) and int(values.max()) <= high):
        raise ValueError(f"{name} must lie in {low} to {high}, got {int(values.min())} to {int(values.max())}")
