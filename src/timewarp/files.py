"""Files that survive a crash: write to a temporary name, sync, rename. TOML and JSON as plain data."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LOCK_FILE = ".lock"
LARGEST_TABLE = 64 * 2**20
"""Bytes of a JSON or TOML file that is read."""
LARGEST_INTEGER = 2**63 - 1
TEMPORARY_SUFFIX = ".timewarp-part"
_TEMPORARY = re.compile(r".+\.\d+" + re.escape(TEMPORARY_SUFFIX))
# Version 0.1 called them NAME.PID.part, which may be anybody's: only where NAME is that of a file of the program.
_OLD_TEMPORARY = re.compile(
    r"(s\d{3}-\d{6}\.safetensors|(energy|starts|checkpoint|model)\.safetensors|(topology\.pdb|(config|model|campaign)"
    r"\.toml|(atoms|summary|curves|verdict|analysis)\.json))\.\d+\.part"
)
_REASONS = {
    errno.ENOSPC: "no space is left on the disk; make room, and run the same command again",
    errno.EDQUOT: "the quota is used up; make room, and run the same command again",
    errno.EFBIG: "it would be larger than is allowed here; raise the limit (ulimit -f), or choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "permission is denied; choose another place, or change its permissions",
    errno.EPERM: "this is not permitted; choose another place, or change its permissions",
    errno.EISDIR: "it is a folder; move it away, or choose another place",
    errno.ENOTDIR: "part of the path is a file; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "its folder is gone, or is a link to nowhere; choose another place",
    errno.ELOOP: "its links lead in a circle; choose another place",
}
"""What a failure to write means, and what to do."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


held: list[Path] = []
"""Locks that this process holds: while there is one, a signal must not end it at once."""


class Locked(FileExistsError):
    """Another process is writing to a folder."""


class NotWritten(OSError):
    """A file or folder could not be written; the message says which, why, and what to do."""


def not_written(path: Path | str, error: OSError) -> NotWritten:
    """An error of the system in the words of the program."""
    why = _REASONS.get(error.errno or 0) or f"{error.strerror or error}; choose another place, or try again"
    return NotWritten(f"{path} cannot be written: {why} (what was there before is unchanged)")


def reason(error: OSError) -> str | None:
    """What to do about a disk that is full or read-only; None for another error of the system."""
    return _REASONS[error.errno] if error.errno in DISK_ERRORS else None


def is_temporary(path: Path) -> bool:
    """Whether a file is what a writer of this program that was killed has left behind, by its name."""
    return bool(_TEMPORARY.fullmatch(path.name) or _OLD_TEMPORARY.fullmatch(path.name))


def remove_temporaries(folder: Path) -> None:
    """Delete what a writer that was killed left behind, anywhere in a folder that no other process writes to."""
    for stale in folder.glob("**/*part"):
        if is_temporary(stale) and not stale.is_dir():
            stale.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        NotADirectoryError: a file, or a link to nowhere, is in the way.
        NotWritten: it cannot be made.
    """
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from None


def check_folder(path: Path) -> None:
    """Refuse a path at which there is no folder and none can be made.

    Raises:
        NotADirectoryError: a file, or a link to nowhere, is in the way.
    """
    for part in (path, *path.parents):
        if part.is_symlink() and not part.exists():
            raise NotADirectoryError(f"{part} is a link to nowhere; remove it, or choose another folder")
        if part.exists():
            if not part.is_dir():
                raise NotADirectoryError(f"{part} is a file; give a folder")
            return


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new, whenever the process dies.

    Args:
        path: the file to write; its folder must exist.
        data: text (written as UTF-8) or bytes.

    Raises:
        NotWritten: the disk is full, read-only, ...; the file is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    payload = data.encode() if isinstance(data, str) else data
    try:
        try:
            with open(temporary, "wb") as handle:
                handle.write(payload)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from None
    sync_folder(path.parent)


@contextlib.contextmanager
def exclusive(folder: Path, name: str = LOCK_FILE, *, remove: bool = False) -> Iterator[None]:
    """Hold a folder for writing, by a lock on a file in it that says who holds it and ends with the process.

    Args:
        folder: it must exist.
        name: of the lock's file.
        remove: delete the file afterwards, where the folder is not the program's alone.

    Raises:
        Locked: another process holds it.
        NotWritten: the file of the lock cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks
        yield
        return
    path = folder / name
    while True:
        try:
            handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise not_written(path, error) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise OSError(f"{path} cannot be locked ({error.strerror}); use a file system that can") from None
                handle.seek(0)
                holder = " ".join(handle.read().split()) or "of this machine or another"
                raise Locked(f"another process is writing to {folder} ({holder}); stop it or wait for it") from None
            if not _is_open_at(handle.fileno(), path):  # its last holder has removed it meanwhile
                continue
            try:
                handle.truncate(0)
                handle.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
                handle.flush()
            except OSError as error:
                raise not_written(path, error) from None
            held.append(path)
            try:
                yield
            finally:
                held.remove(path)
                if remove:
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
            return


def _is_open_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that has this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


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
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a {what}: it is no file")
    if path.exists() and path.stat().st_size > LARGEST_TABLE:
        raise ValueError(f"{path} is not a {what}: it is larger than {LARGEST_TABLE // 2**20} MiB")
    try:
        data = parse(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"it holds a {type(data).__name__}")
        _check_numbers(data, "")
    except RecursionError:
        raise ValueError(f"{path} is not a {what}: it is nested too deeply") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is not a {what}: {error}") from None
    return data


def _check_numbers(value: Any, name: str) -> None:
    """Refuse whole numbers that no machine number holds, anywhere in a table."""
    if isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ValueError(f"{name} is a number beyond 64 bits")
    if isinstance(value, dict):
        for key, part in value.items():
            _check_numbers(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for part in value:
            _check_numbers(part, name)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
