"""What a verb is given to read: a run, its folder, frames of another program, or the path of either."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..progress import Listener, Progress
from ..run import Run
from ..trajectories import FrameSet, RunFolder, Source, open_source, run_folders

logger = logging.getLogger("timewarp")
Given = Run | Source | Path | str


def source_of(given: Given, **options: Any) -> Source:
    """The frames that were given, opened; what was taken for granted of a file of another program is logged.

    Args:
        given: a run, a source, or a path.
        options: of :func:`timewarp.trajectories.open_source`, for files.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it cannot be read, or has no frames.
    """
    if isinstance(given, Run):
        return given.folder
    if isinstance(given, Path | str):
        found = open_source(given, **options)
        for note in getattr(found, "notes", ()):
            logger.info(f"{given}: {note}")
        return found
    if not isinstance(given, RunFolder | FrameSet):
        raise ValueError(f"frames are needed, got {given!r}; simulate or sample a system, and give the run")
    return given


def sources_of(given: Given | Sequence[Given], **options: Any) -> Iterator[Source]:
    """As :func:`source_of`, for one or several; a folder of runs stands for the runs in it."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for each in several:
        if isinstance(each, Path | str) and Path(each).is_dir():
            yield from (source_of(folder) for folder in run_folders(Path(each)))
        else:
            yield source_of(each, **options)


def teller(progress: bool | Listener, task: str) -> Callable[[str], None] | None:
    """A function that says which part of a task comes next, on standard error or to a listener."""
    if progress is False:
        return None
    if progress is True:
        return lambda part: logger.info(f"{task} {part}")
    bar = Progress(task, 0, quiet=True)

    def tell(part: str) -> None:
        progress(bar.report(part))

    return tell
