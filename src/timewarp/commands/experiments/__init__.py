"""The experiments of ``timewarp experiment``, one function each, and what they share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...judging import check_comparable
from ..errors import UserError

if TYPE_CHECKING:
    from ...report import Plot
    from ...trajectories import RunFolder, Trajectory

FEWEST_FRAMES = 8


@dataclass(frozen=True)
class Source:
    """A run that has been read.

    Attributes:
        path: its folder.
        run: the folder, opened.
        trajectory: its frames.
        temperature_K: in K.
    """

    path: Path
    run: RunFolder
    trajectory: Trajectory
    temperature_K: float

    @property
    def label(self) -> str:
        """What figures and tables call it."""
        return "MD" if self.run.kind == "md" else self.path.name

    def seconds(self) -> float:
        """Wall-clock seconds that the run took.

        Raises:
            UserError: its summary does not say.
        """
        seconds = (self.run.summary() or {}).get("wall_s")
        if not isinstance(seconds, int | float) or not seconds > 0:
            raise UserError(
                f"{self.path} does not say how long it took (wall_s of summary.json); let the run end, then try again"
            )
        return float(seconds)


def read(path: Path, args: argparse.Namespace, *, like: Source | None = None, thinned: bool = True) -> Source:
    """Read a run for an experiment.

    Args:
        path: its folder.
        args: with ``discard``, ``stride`` and ``quiet``.
        like: a run of the same molecule, temperature and force field.
        thinned: whether ``discard`` and ``stride`` are meant for it.

    Raises:
        ValueError: it is biased, of another target than ``like``, or too short.
    """
    from ...trajectories import RunFolder

    run = RunFolder.open(path)
    run.check_unbiased()
    if like is not None:
        check_comparable(like.run, run)
    tell(args, f"reading {path}")
    trajectory = run.trajectory(stride=args.stride, discard=args.discard) if thinned else run.trajectory()
    if trajectory.n_frames < FEWEST_FRAMES:
        raise UserError(f"{path} has {trajectory.n_frames} frames per chain, at least {FEWEST_FRAMES} are needed")
    return Source(path, run, trajectory, run.temperature_K)


def read_pair(args: argparse.Namespace) -> tuple[Source, Source | None]:
    """The run, and its reference where one is given."""
    source = read(args.run, args)
    if args.reference is None:
        return source, None
    return source, read(args.reference, args, like=source, thinned=False)


def names_of(sources: Sequence[Source]) -> list[str]:
    """What to call runs in a figure: ``chain`` and ``MD`` where that tells them apart, else their folders."""
    names = ["MD" if s.run.kind == "md" else "chain" for s in sources]
    if len(set(names)) == len(names):
        return names
    folders = [s.path.resolve().name for s in sources]
    return folders if len(set(folders)) == len(folders) else [f"{f} ({n})" for n, f in enumerate(folders, 1)]


def need_dynamics(source: Source, what: str) -> None:
    """Refuse a run whose times mean nothing.

    Raises:
        UserError: it is a chain, or MD with torsion moves.
    """
    if not source.run.is_dynamics:
        kind = "MD with torsion moves" if source.run.kind == "md" else f"a {source.run.kind}"
        raise UserError(f"{what} needs plain MD, and {source.path} is {kind}; run `timewarp simulate` without moves")


def tell(args: argparse.Namespace, text: str) -> None:
    """Progress, on stderr."""
    if not args.quiet:
        print(text, file=sys.stderr, flush=True)


def write(args: argparse.Namespace, name: str, data: dict[str, Any], plots: Sequence[tuple[str, Plot | None]]) -> int:
    """Write ``NAME.json`` and the figures, and say where they are."""
    from ...files import write_json
    from ...report.experiments import save_plot

    out = args.out or args.run / "experiments"
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; give a folder to --out")
    out.mkdir(parents=True, exist_ok=True)
    for stem, plot in plots:
        if plot is not None:
            for path in save_plot(plot, out / stem, args.formats or ("png",)):
                print(f"figure     {path}")
    write_json(out / f"{name}.json", {"schema": 1, "experiment": name, **data})
    print(f"numbers    {out / f'{name}.json'}")
    return 0


Experiment = Callable[[argparse.Namespace], int]
