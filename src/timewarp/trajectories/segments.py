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
            frames, chains, atoms, _ = handle.get_slice("positions").get_shape()
            return SegmentHeader(
                path=path,
                stream=int(metadata["stream"]),
                index=int(metadata["index"]),
                n_frames=frames,
                n_chains=chains,
                n_atoms=atoms,
                last_step=int(metadata["last_step"]),
                molecule=metadata["molecule"],
                stopped=tuple(map(int, metadata.get("stopped", "").split())),
            )
    except (SafetensorError, KeyError, OSError) as error:
        raise _unreadable(path, error) from None


def read_frames(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (frames, chains, atoms, 3), energies (frames, chains) and steps (frames,) of a segment.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            return handle.get_tensor("positions"), handle.get_tensor("energies"), handle.get_tensor("steps")
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from None


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
