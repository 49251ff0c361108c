"""Folders that hold one run for each of many peptides."""

from __future__ import annotations

import socket
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import TEMPORARY_SUFFIX, Locked, read_toml, to_toml, write_toml

CAMPAIGN_FILE = "campaign.toml"
LOCK_PATIENCE_S = 120.0
"""How long a peptide waits for the process that had it before: a lock on a network file system outlives its holder by
a lease of some 90 s."""


def run_folders(path: Path) -> list[Path]:
    """A run folder that is named, or those that lie in a folder that is named.

    Raises:
        ValueError: it is no run, and holds none.
    """
    if (path / "config.toml").is_file() and (path / "topology.pdb").is_file():
        return [path]
    found = sorted(folder for folder in path.glob("*/") if (folder / "topology.pdb").is_file())
    if not found:
        raise ValueError(f"{path} is neither a run folder nor one that holds run folders")
    return found


def open_campaign(out: Path, config: dict[str, Any], may_grow: str) -> None:
    """Check that a folder is new or of this campaign, and write its ``campaign.toml``.

    Args:
        out: the folder.
        config: what all of its runs share.
        may_grow: the entry of ``config`` that says how long the runs are: it may grow.

    Raises:
        NotADirectoryError: ``out`` is a file.
        FileExistsError: the folder holds something else or another campaign.
    """
    path = out / CAMPAIGN_FILE
    wanted = tomllib.loads(to_toml(config))
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; give a folder for the campaign")
    if path.exists():
        stored = read_toml(path)
        old, new = stored.get(may_grow), wanted.get(may_grow)
        longer = isinstance(old, int | float) and isinstance(new, int | float) and new >= old
        for field in sorted(stored.keys() | wanted.keys()):
            if stored.get(field) != wanted.get(field) and not (field == may_grow and longer):
                how = "it can be extended, not shortened" if field == may_grow else "choose another folder"
                raise FileExistsError(
                    f"{out} holds a campaign whose {field} is {stored.get(field)!r}, not {wanted.get(field)!r}; {how}"
                )
        if stored == wanted:
            return
    elif out.exists() and (strangers := sorted(p.name for p in out.iterdir() if p.suffix != TEMPORARY_SUFFIX)):
        raise FileExistsError(f"{out} is not a campaign and not empty (it holds {strangers[0]}); choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_toml(path, wanted)


def run_in_campaign(
    work: Callable[..., None], sequence: str, folder: Path, settings: Any, *, heartbeat: Callable[[], None]
) -> None:
    """Run one peptide's task in a worker; wait while the worker that had its run folder before is just ending.

    Raises:
        FileNotFoundError: this machine does not see the campaign's folder.
        Locked: the run folder stays in use.
    """
    if not (folder.parent / CAMPAIGN_FILE).exists():
        raise FileNotFoundError(
            f"{socket.gethostname()} does not see {folder.parent}; workers need a file system shared with the campaign"
        )
    patience = time.monotonic() + LOCK_PATIENCE_S
    while True:
        heartbeat()
        try:
            work(sequence, folder, settings, heartbeat=heartbeat)
            return
        except Locked:
            if time.monotonic() > patience:
                raise
            time.sleep(1.0)
