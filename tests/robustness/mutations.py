"""Seeded mutations of the files that the program reads: bytes, tables and tensors."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from timewarp.files import to_toml

HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.5, -1.5, 1e308, float("nan"), float("inf"), "",
    "x", "../../x", "=1+1", "\x00", "ü" * 50, "9" * 400, [], [1], ["a", None], {}, {"a": 1}, [[[]]],
)  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double or insert bytes."""
    if not data:
        return b"\x00"
    kind = rng.randrange(5)
    place = rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 2:
        end = min(len(data), place + rng.randrange(1, 200))
        return data[:end] + data[place:end] + data[end:]
    if kind == 3:
        return data[:place] + rng.randbytes(rng.randrange(1, 20)) + data[place:]
    return data[:place] + data[min(len(data), place + rng.randrange(1, 200)) :]


def places(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of nested tables and lists."""
    items = table.items() if isinstance(table, dict) else enumerate(table[:6]) if isinstance(table, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def mutate_table(table: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], str]:
    """Replace, drop or rename one value, or change the length of a list; what was done, in words."""
    changed = copy.deepcopy(table)
    *way, last = rng.choice(places(changed))
    inner: Any = changed
    for key in way:
        inner = inner[key]
    kind = rng.randrange(4)
    named = ".".join(map(str, (*way, last)))
    if kind == 0 and isinstance(inner, dict):
        del inner[last]
        return changed, f"{named} dropped"
    if kind == 1 and isinstance(inner, dict):
        inner[f"{last}x"] = inner.pop(last)
        return changed, f"{named} renamed"
    if kind == 2 and isinstance(inner[last], list) and inner[last]:
        inner[last] = inner[last][:-1] if rng.random() < 0.5 else inner[last] * 2
        return changed, f"{named} of another length"
    inner[last] = copy.deepcopy(rng.choice(HOSTILE))
    return changed, f"{named} = {str(inner[last])[:30]!r}"


def mutate_json(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """One value of a JSON file; now and then its bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(data, rng), "bytes"
    changed, what = mutate_table(json.loads(data), rng)
    return json.dumps(changed).encode(), what


def mutate_toml(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """One value of a TOML file; now and then its bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(data, rng), "bytes"
    for _ in range(20):
        changed, what = mutate_table(tomllib.loads(data.decode()), rng)
        try:
            return to_toml(changed).encode(), what
        except TypeError:  # a list of tables
            continue
    return mutate_bytes(data, rng), "bytes"


def mutate_safetensors(path: Path, rng: random.Random) -> tuple[bytes, str]:
    """One tensor: renamed, dropped, of another shape or type, with impossible values; or metadata; or bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(path.read_bytes(), rng), "bytes"
    with safe_open(path, framework="pt") as handle:
        metadata = dict(handle.metadata() or {})
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    if metadata and rng.random() < 0.25:
        key = rng.choice(sorted(metadata))
        try:
            inner = json.loads(metadata[key])
        except ValueError:
            inner = None
        if isinstance(inner, list) and inner:
            inner = {"rows": inner}
        if isinstance(inner, dict) and inner:
            changed, what = mutate_table(inner, rng)
            metadata[key] = json.dumps(changed.get("rows", changed) if "rows" in inner else changed)
            what = f"{key}.{what}"
        else:
            metadata[key] = str(rng.choice(HOSTILE))
            what = f"{key} = {metadata[key][:30]!r}"
        return save(tensors, metadata), f"metadata {what}"
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    kinds: list[tuple[str, Callable[[], None]]] = [
        ("dropped", lambda: tensors.__delitem__(name)),
        ("renamed", lambda: tensors.update({f"{name}x": tensors.pop(name)})),
        ("empty", lambda: tensors.update({name: torch.zeros(0, dtype=tensor.dtype)})),
        ("of another type", lambda: tensors.update({name: _retyped(tensor, rng)})),
        ("flat", lambda: tensors.update({name: tensor.reshape(-1).contiguous()})),
        ("doubled", lambda: tensors.update({name: torch.cat([tensor.reshape(-1)] * 2)})),
        ("one axis more", lambda: tensors.update({name: tensor[None].contiguous()})),
        ("shorter", lambda: tensors.update({name: tensor[:-1].contiguous() if tensor.ndim else tensor})),
        ("longer", lambda: tensors.update({name: torch.cat([tensor, tensor]) if tensor.ndim else tensor})),
        ("hostile", lambda: tensors.update({name: _hostile(tensor, rng)})),
    ]
    what, change = rng.choice(kinds)
    with contextlib.suppress(RuntimeError):  # such as the change of an empty tensor
        change()
    return save(tensors, metadata), f"{name} {what}"


def _retyped(tensor: torch.Tensor, rng: random.Random) -> torch.Tensor:
    kinds = [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float16]
    return tensor.to(rng.choice([kind for kind in kinds if kind != tensor.dtype]))


def _hostile(tensor: torch.Tensor, rng: random.Random) -> torch.Tensor:
    changed = tensor.clone().reshape(-1)
    if changed.numel() == 0:
        return torch.ones(3, dtype=tensor.dtype)
    place = rng.randrange(changed.numel())
    if changed.is_floating_point():
        changed[place] = rng.choice((float("nan"), float("inf"), -1e30, 1e30, 0.0, -1.0))
    elif changed.dtype == torch.int64:
        changed[place] = rng.choice((-1, 2**31, 2**62, -(2**62), 0, 10**9))
    else:
        changed[place] = rng.choice((0, 1))
    return changed.reshape(tensor.shape)


def mutate_text(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A text file of columns: a field, a line, or bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(data, rng), "bytes"
    lines = data.decode(errors="replace").splitlines()
    place = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[place]
        return ("\n".join(lines) + "\n").encode(), f"line {place} dropped"
    if kind == 1:
        lines.insert(place, lines[rng.randrange(len(lines))])
        return ("\n".join(lines) + "\n").encode(), f"line {place} doubled"
    line = lines[place]
    start = rng.randrange(max(1, len(line)))
    text = str(rng.choice(HOSTILE))[:8].replace("\n", " ")
    lines[place] = line[:start] + text + line[start + len(text) :]
    return ("\n".join(lines) + "\n").encode(), f"line {place} column {start} = {text!r}"
