"""Files that survive a crash: write to a temporary name, sync, rename. TOML and JSON as plain data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".part"
LOCK_FILE = ".lock"


class Locked(FileExistsError):
    """Another process is writing to a folder."""


def remove_temporaries(folder: Path) -> None:
    """Delete what a writer that was killed left behind, anywhere in a folder that no other process writes to."""
    for stale in folder.glob(f"**/*{TEMPORARY_SUFFIX}"):
        stale.unlink(missing_ok=True)


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new, whenever the process dies.

    Args:
        path: the file to write; its folder must exist.
        data: text (written as UTF-8) or bytes.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    payload = data.encode() if isinstance(data, str) else data
    try:
        with open(temporary, "wb") as handle:
            handle.write(payload)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for writing, by a lock on its ``.lock`` that says who holds it and ends with the process.

    Raises:
        Locked: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks
        yield
        return
    with open(folder / LOCK_FILE, "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            holder = " ".join(handle.read().split()) or "of this machine or another"
            raise Locked(f"another process is writing to {folder} ({holder}); stop it or wait for it") from None
        handle.truncate(0)
        handle.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable (a no-op where folders cannot be opened, as on Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path | str, data: Mapping[str, Any]) -> None:
    """Write strict JSON (NaN and infinities become null), atomically."""
    write_atomically(path, to_json(data) + "\n")


def to_json(data: Mapping[str, Any]) -> str:
    """Strict JSON: NaN and infinities become null."""
    return json.dumps(_finite(data), indent=2, allow_nan=False)


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a JSON object.
    """
    return _read_table(Path(path), json.loads, "JSON object")


def write_toml(path: Path | str, data: Mapping[str, Any]) -> None:
    """Write tables of strings, numbers, booleans and lists of them as TOML, atomically. ``None`` is left out."""
    write_atomically(path, to_toml(data))


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not TOML.
    """
    return _read_table(Path(path), tomllib.loads, "TOML table")


def to_toml(data: Mapping[str, Any]) -> str:
    """TOML text of nested tables of scalars and flat lists.

    >>> print(to_toml({"seed": 1, "md": {"timestep_fs": 2.0}}), end="")
    seed = 1
    <BLANKLINE>
    [md]
    timestep_fs = 2.0
    """
    return "\n".join(_toml_lines(data, ())).strip("\n") + "\n"


def _toml_lines(table: Mapping[str, Any], prefix: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None and not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            header = ".".join(_key(part) for part in (*prefix, key))
            lines += ["", f"[{header}]", *_toml_lines(value, (*prefix, key))]
    return lines


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return (
            repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else ("inf" if value > 0 else "-inf"))
        )
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Path):
        return _string(str(value))
    raise TypeError(f"cannot write {type(value).__name__} as TOML: {value!r}")


def _read_table(path: Path, parse: Any, what: str) -> dict[str, Any]:
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is not a {what}: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a {what}: it holds a {type(data).__name__}")
    return data


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
