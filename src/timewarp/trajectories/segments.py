"""One closed segment of a stream: a safetensors file with frames and everything needed to go on from its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import write_atomically

FORMAT = "timewarp-segment"
SCHEMA = "1"
STATE_PREFIX = "state."


@dataclass(frozen=True)
class SegmentHeader:
    """What is known of a segment file without reading its frames.

    Attributes:
        path: the file.
        stream: which writer it belongs to.
        index: its place in the stream, from 0.
        n_frames: frames in this segment.
        n_chains: chains side by side.
        n_atoms: atoms per configuration.
        last_step: MD or MH step of the last frame.
        molecule: fingerprint of the atoms.
        stopped: chains that could not go on, in this segment or an earlier one; their frames stand still from there.
    """

    path: Path
    stream: int
    index: int
    n_frames: int
    n_chains: int
    n_atoms: int
    last_step: int
    molecule: str
    stopped: tuple[int, ...] = ()


def segment_name(stream: int, index: int) -> str:
    """File name of a segment.

    >>> segment_name(0, 12)
    's000-000012.safetensors'
    """
    return f"s{stream:03d}-{index:06d}.safetensors"


def write_segment(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    molecule: str,
    stream: int,
    index: int,
    stopped: Sequence[int] = (),
) -> None:
    """Write a segment atomically: a temporary file, synced, renamed."""
    metadata = {
        "format": FORMAT,
        "schema": SCHEMA,
        "molecule": molecule,
        "stream": str(stream),
        "index": str(index),
        "last_step": str(int(tensors["steps"][-1])),
    }
    if stopped:
        metadata["stopped"] = " ".join(map(str, stopped))
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, metadata))


def read_header(path: Path) -> SegmentHeader:
    """Header of a segment file.

    Raises:
        ValueError: the file is truncated, or is not a segment of a timewarp run.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("schema") != SCHEMA:
                raise ValueError(f"{path} is not a trajectory segment of this program; move it out of the run folder")
            slices = {name: handle.get_slice(name) for name in ("positions", "energies", "steps")}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            header = SegmentHeader(
                path=path,
                stream=whole_number(metadata["stream"], "stream", 999),
                index=whole_number(metadata["index"], "index", 999_999),
                n_frames=shapes["steps"][0] if shapes["steps"] else 0,
                n_chains=shapes["energies"][-1] if shapes["energies"] else 0,
                n_atoms=shapes["positions"][2] if len(shapes["positions"]) == 4 else 0,
                last_step=whole_number(metadata["last_step"], "last_step", 2**62),
                molecule=metadata["molecule"],
                stopped=tuple(whole_number(part, "stopped", 10**9) for part in metadata.get("stopped", "").split()),
            )
    except (SafetensorError, KeyError, OSError) as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    frames, chains, atoms = header.n_frames, header.n_chains, header.n_atoms
    if kinds != {"positions": "F32", "energies": "F64", "steps": "I64"}:
        raise _unreadable(path, ValueError(f"its tensors are of types {kinds}"))
    if 0 in (frames, chains, atoms) or shapes != {
        "positions": (frames, chains, atoms, 3),
        "energies": (frames, chains),
        "steps": (frames,),
    }:
        raise _unreadable(path, ValueError(f"its tensors have shapes {shapes}"))
    if any(chain >= chains for chain in header.stopped):
        raise _unreadable(path, ValueError(f"it stops chain {max(header.stopped)} of {chains}"))
    return header


def whole_number(text: str, name: str, most: int) -> int:
    """A number of the metadata.

    Raises:
        ValueError: it is not a whole number from 0 to ``most``.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > most:
        raise ValueError(f"{name} must be a whole number of at most {most}, got {text[:40]!r}; the file is damaged")
    return int(text)


def read_frames(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (frames, chains, atoms, 3), energies (frames, chains) and steps (frames,) of a segment.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = handle.get_tensor("positions"), handle.get_tensor("energies"), handle.get_tensor("steps")
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None
    positions, energies, steps = tensors
    if not bool(torch.isfinite(positions).all() and torch.isfinite(energies).all()):
        raise _unreadable(path, ValueError("positions or energies are not finite"))
    if int(steps[0]) < 0 or bool((steps.diff() <= 0).any()) or str(int(steps[-1])) != metadata.get("last_step"):
        raise _unreadable(path, ValueError("the steps of its frames do not increase to its last step"))
    return tensors


def read_state(path: Path) -> dict[str, Tensor]:
    """The ``state.*`` tensors of a segment, without the prefix.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            names = [name for name in handle.keys() if name.startswith(STATE_PREFIX)]  # noqa: SIM118
            return {name.removeprefix(STATE_PREFIX): handle.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


Like = Mapping[str, tuple[torch.dtype | None, tuple[int, ...]]]
"""Type (None: any of floating point) and shape of each tensor of a state."""


def check_state(state: Mapping[str, Tensor], expected: Like, source: str, also: str = "") -> None:
    """Compare a state from a file with what it should be.

    Args:
        state: from :func:`read_state`.
        expected: type and shape of each tensor.
        source: the file, for messages.
        also: tensors whose names begin so may be there, too.

    Raises:
        ValueError: a tensor is missing, unknown, of another type or shape, or not finite.
    """
    how = "the checkpoint in {} is damaged: {}; move that segment and later ones away"
    if missing := sorted(expected.keys() - state.keys()):
        raise ValueError(how.format(source, f"it lacks {missing[0]!r}"))
    extra = sorted(k for k in state.keys() - expected.keys() if not (also and k.startswith(tuple(also.split()))))
    if extra:
        raise ValueError(how.format(source, f"it has an unknown {extra[0]!r}"))
    for name, tensor in state.items():
        dtype, shape = expected.get(name, (tensor.dtype, tuple(tensor.shape)))
        good = tensor.is_floating_point() if dtype is None else tensor.dtype == dtype
        if not good or tuple(tensor.shape) != shape:
            kind = "floating point" if dtype is None else str(dtype)
            raise ValueError(
                how.format(source, f"{name!r} is {tensor.dtype} {tuple(tensor.shape)}, expected {kind} {shape}")
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(how.format(source, f"{name!r} holds numbers that are not finite"))


def check_frames(positions: Tensor, energies: Tensor, steps: Tensor, n_atoms: int) -> None:
    """Check the frames that are about to be written.

    Raises:
        ValueError: shapes do not agree, there are no frames, or a position or energy is not finite.
    """
    expected = (len(steps), energies.shape[-1], n_atoms, 3)
    if tuple(positions.shape) != expected or tuple(energies.shape) != expected[:2]:
        raise ValueError(
            f"a segment needs positions (frames, chains, atoms, 3) and energies (frames, chains); expected {expected}, "
            f"got {tuple(positions.shape)} and {tuple(energies.shape)}"
        )
    if 0 in expected:
        raise ValueError(f"a segment needs at least one frame of one chain, got shape {expected}")
    if not bool(torch.isfinite(positions).all() and torch.isfinite(energies).all()):
        raise ValueError("positions or energies to be stored are not finite")
    if bool((steps.diff() <= 0).any()):
        raise ValueError("the steps of the frames to be stored must increase")


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read ({error}); it is truncated or foreign: move it and later ones away")
