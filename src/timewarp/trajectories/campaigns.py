"""Folders that hold one run for each of many peptides."""

from __future__ import annotations

import contextlib
import socket
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..files import Locked, exclusive, make_folder, read_toml, to_toml, write_toml
from .claiming import check_summary, strangers

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


@contextlib.contextmanager
def open_campaign(out: Path, config: dict[str, Any], may_grow: str) -> Iterator[None]:
    """Check that a folder is new or of this campaign, hold it, and write its ``campaign.toml``.

    Args:
        out: the folder.
        config: what all of its runs share.
        may_grow: the entry of ``config`` that says how long the runs are: it may grow.

    Raises:
        NotADirectoryError: ``out`` is a file.
        FileExistsError: the folder holds something else or another campaign, or another process is writing to it.
    """
    wanted = tomllib.loads(to_toml(config))
    _check_campaign(out, wanted, may_grow)
    make_folder(out)
    with exclusive(out):
        if _check_campaign(out, wanted, may_grow) != wanted:
            write_toml(out / CAMPAIGN_FILE, wanted)
        yield


def _check_campaign(out: Path, wanted: dict[str, Any], may_grow: str) -> dict[str, Any] | None:
    """What ``campaign.toml`` holds; None in a new folder."""
    path = out / CAMPAIGN_FILE
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
        check_summary(out / "summary.json")
        return stored
    if out.exists() and (found := strangers(out, {})):
        raise FileExistsError(f"{out} is not a campaign and not empty (it holds {found[0]}); choose another folder")
    return None


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
