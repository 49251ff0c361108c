"""A training set of many peptides in one small file: frames in 16-bit fixed point, with what their energies need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..energies import Parameters
from ..energies.parameters import DECLARED
from ..files import write_atomically
from ..schemas import CompactRow, check
from ..shapes import Float
from ..state import Atoms

FORMAT = "timewarp-compact-1"
RESOLUTION_NM = 1e-4
REACH_NM = 32767 * RESOLUTION_NM


@dataclass(frozen=True, eq=False)
class CompactMolecule:
    """Frames of one molecule.

    Attributes:
        name: its sequence.
        split: ``train`` or ``validation``.
        atoms: the molecule.
        frames: integers (frames, atoms, 3), positions about their centre in units of 1e-4 nm.
        parameters: its force field's tensors, as :class:`timewarp.energies.Parameters` names them.
        preset: force field and solvent.
        temperature_K: of the frames.
    """

    name: str
    split: str
    atoms: Atoms
    frames: Tensor
    parameters: Mapping[str, Tensor]
    preset: str
    temperature_K: float

    @property
    def positions(self) -> Float[Tensor, "frames atoms 3"]:
        """In nm."""
        return self.frames.float() * RESOLUTION_NM


def to_fixed_point(positions: Float[Tensor, "frames atoms 3"]) -> Tensor:
    """Positions about their centre as 16-bit integers.

    Raises:
        ValueError: an atom is more than 3.2 nm from the centre, or not finite.
    """
    centred = positions.double() - positions.double().mean(-2, keepdim=True)
    largest = float(centred.abs().max())
    if not largest < REACH_NM:
        raise ValueError(f"a compact set holds atoms up to {REACH_NM:.2f} nm from the centre, got {largest:g} nm")
    return (centred / RESOLUTION_NM).round().to(torch.int16)


def write_compact(path: Path | str, molecules: Sequence[CompactMolecule]) -> None:
    """Write molecules to one safetensors file, atomically.

    Raises:
        ValueError: two molecules have the same name.
    """
    write_atomically(path, compact_bytes(molecules))


def compact_bytes(molecules: Sequence[CompactMolecule]) -> bytes:
    """The content of a file of molecules.

    Raises:
        ValueError: two molecules have the same name.
    """
    if len({m.name for m in molecules}) != len(molecules):
        raise ValueError("a compact set holds each molecule once; pack each peptide from one run")
    tensors, table = {}, []
    for m in molecules:
        tensors[f"{m.name}/frames"] = m.frames.contiguous()
        for key, value in m.parameters.items():
            small = value.float() if value.is_floating_point() else value.to(torch.int16)
            tensors[f"{m.name}/parameters/{key}"] = small.contiguous()
        row = {"name": m.name, "split": m.split, "preset": m.preset, "temperature_K": m.temperature_K}
        table.append(row | {"atoms": m.atoms.to_json()})
    metadata = {"format": FORMAT, "molecules": json.dumps(table, separators=(",", ":"))}
    return safetensors.torch.save(tensors, metadata)


def peptides_in(path: Path) -> set[tuple[str, str]] | None:
    """Name and fingerprint of each molecule of a compact set; None where the file is not one."""
    try:
        return {(m.name, m.atoms.fingerprint) for m in read_compact(path)}
    except (OSError, ValueError):
        return None


def is_compact(path: Path) -> bool:
    """Whether a path looks like a compact set rather than a run folder."""
    return path.is_file() and path.suffix == ".safetensors"


def read_compact(path: Path | str) -> list[CompactMolecule]:
    """Read what :func:`write_compact` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a compact set, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no compact training set at {path}; make one with `timewarp pack`")
    molecules = []
    seen: set[str] = set()
    try:
        with safetensors.safe_open(str(path), framework="pt") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r}, expected {FORMAT!r}")
            keys: dict[str, list[str]] = {}
            for key in handle.keys():  # noqa: SIM118
                keys.setdefault(key.split("/")[0], []).append(key)
            for row in json.loads(metadata["molecules"]):
                check(CompactRow, row, "a molecule of its metadata")
                name = row["name"]
                atoms = Atoms.from_json(row["atoms"])
                frames = handle.get_tensor(f"{name}/frames")
                if name in seen:
                    raise ValueError(f"{name} is there twice")
                seen.add(name)
                if frames.dtype != torch.int16 or frames.shape[1:] != (atoms.n_atoms, 3) or not len(frames):
                    raise ValueError(f"frames of {name} are {frames.dtype} {tuple(frames.shape)}")
                parameters = {
                    key.split("/")[2]: _wide(handle.get_tensor(key)) for key in keys[name] if "/parameters/" in key
                }
                if set(parameters) != set(DECLARED):
                    wrong = sorted(set(parameters) ^ set(DECLARED))[0]
                    raise ValueError(f"parameters of {name}: {wrong!r} is missing or unknown")
                if Parameters(**parameters).n_atoms != atoms.n_atoms:
                    raise ValueError(f"parameters of {name} are of another number of atoms")
                molecules.append(
                    CompactMolecule(
                        name, row["split"], atoms, frames, parameters, row["preset"], float(row["temperature_K"])
                    )
                )
    except (safetensors.SafetensorError, KeyError, TypeError, IndexError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a compact training set ({error}); make one with `timewarp pack`") from None
    return molecules


def _wide(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor.long()
