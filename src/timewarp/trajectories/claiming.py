"""Whether a folder may become a run, or is the run that is to go on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import LOCK_FILE, is_temporary, read_json

_HOLDER = re.compile(r"pid \d+ on \S*\s*")


def strangers(path: Path, texts: Mapping[str, str]) -> list[str]:
    """Names in a folder without a run that are no remains of a creation that was interrupted.

    Args:
        path: the folder.
        texts: what a creation would write, by name; such a file counts as remains where the creation's lock is there,
            or where it holds just this.
    """
    lock = path / LOCK_FILE
    begun = lock.is_file() and (not lock.stat().st_size or bool(_HOLDER.fullmatch(_text(lock) or "")))
    return sorted(p.name for p in path.iterdir() if not _remains(p, texts, begun))


def _remains(path: Path, texts: Mapping[str, str], begun: bool) -> bool:
    if is_temporary(path):
        return True
    if path.name == "segments":
        return path.is_dir() and not any(not is_temporary(p) for p in path.iterdir())
    if path.name == LOCK_FILE:
        return begun
    return path.name in texts and path.is_file() and (begun or _text(path) == texts[path.name])


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def check_summary(path: Path) -> None:
    """Refuse to go on where ``summary.json`` is not that of a run, and would be replaced.

    Raises:
        FileExistsError: it is another's.
    """
    if path.exists() or path.is_symlink():
        try:
            if isinstance(read_json(path).get("schema"), int):
                return
        except (OSError, ValueError):
            pass
        raise FileExistsError(f"{path} is not the summary of a run, and would be replaced; move it away")


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_config(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], may_change: Sequence[str]) -> None:
    """Refuse another configuration than the stored one.

    Raises:
        FileExistsError: they differ; the message names the field.
    """
    old, new = dict(flatten(stored)), dict(flatten(wanted))
    if {"energy"} <= old.keys() | new.keys() and old.get("energy") != new.get("energy"):
        theirs, ours = old.get("preset"), new.get("preset")
        raise FileExistsError(
            f"{path} holds a run under another force field ({theirs}, not {ours}"
            f"{' with these numbers' * (theirs == ours)}); choose another folder, or give the files and the "
            "solvent that the run was made with"
        )
    for field in sorted(old.keys() | new.keys()):
        if old.get(field) != new.get(field) and field not in may_change:
            raise FileExistsError(
                f"{path} holds a run whose {field} is {_show(old.get(field))}, not "
                f"{_show(new.get(field))}; choose another folder, or the same {field} to go on with that run"
            )


def _show(value: Any) -> str:
    return "unset" if value is None else repr(value)
