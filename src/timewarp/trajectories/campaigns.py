"""Folders that hold one run for each of many peptides."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..files import TEMPORARY_SUFFIX, read_toml, to_toml, write_toml

CAMPAIGN_FILE = "campaign.toml"


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
        longer = isinstance(stored.get(may_grow), (int, float)) and wanted[may_grow] >= stored[may_grow]
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
