"""Options that several verbs share, with units and defaults in their help, and checked number types."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..trajectories import FrameSet, RunFolder

PRESETS = ("amber14-obc2", "amber14-obc1", "amber99sbildn-obc", "amber14-vacuum")
"""Names of the force-field presets, spelt out here so that ``--help`` need not load OpenMM."""


def number(
    what: str, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> Callable[[str], float]:
    """An argparse type: a finite number within bounds.

    >>> number("temperature", above=0)("310")
    310.0
    """

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{what} must be a number, got {text!r}") from None
        _check(value, what, above, least, most)
        return value

    return convert


def integer(what: str, *, least: int | None = None, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds.

    >>> integer("chains", least=1)("64")
    64
    """

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{what} must be a whole number, got {text!r}") from None
        _check(value, what, None, least, most)
        return value

    return convert


def _check(value: float, what: str, above: float | None, least: float | None, most: float | None) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{what} must be a finite number, got {value}")
    if above is not None and value <= above:
        raise argparse.ArgumentTypeError(f"{what} must be above {above:g}, got {value:g}")
    if least is not None and value < least:
        raise argparse.ArgumentTypeError(f"{what} must be at least {least:g}, got {value:g}")
    if most is not None and value > most:
        raise argparse.ArgumentTypeError(f"{what} must be at most {most:g}, got {value:g}")


Parser = argparse.ArgumentParser | argparse._ArgumentGroup


def add_whole(parser: Parser, flag: str, default: int, least: int, what: str) -> None:
    """An option that is a whole number."""
    kind = integer("the value", least=least, most=10**9)
    parser.add_argument(flag, type=kind, default=default, metavar="N", help=f"{what} (default {default})")


def teller(args: argparse.Namespace, doing: str) -> Callable[[str], None]:
    """What prints the parts of a piece of work on stderr as they begin, unless it is to be quiet."""

    def tell(part: str) -> None:
        if not args.quiet:
            print(f"{doing} {part}", file=sys.stderr, flush=True)

    return tell


def add_lag(parser: Parser) -> None:
    """``--lag`` of TICA."""
    parser.add_argument(
        "--lag",
        type=number("the lag", above=0),
        default=20.0,
        metavar="PS",
        help="lag of TICA in ps (default 20; a fifth of a replica at most; of chains of a sampler one stored frame)",
    )


def add_seed(parser: Parser, default: int | None = 0) -> None:
    """``--seed``."""
    parser.add_argument(
        "--seed",
        type=integer("the seed", least=0, most=2**32 - 1),
        default=default,
        metavar="N",
        help="seed of all random numbers; the same seed gives the same result on the same machine"
        + (f" (default {default})" if default is not None else ""),
    )


def add_device(parser: Parser) -> None:
    """``--device``."""
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="torch device: cpu, cuda, cuda:1, mps (default cpu)"
    )


def add_threads(parser: Parser, what: str = "threads of torch", default: int | None = None) -> None:
    """``--threads``."""
    shown = f"all cores, here {available_cores()}" if default is None else str(default)
    parser.add_argument(
        "--threads",
        type=integer("the number of threads", least=1, most=1024),
        default=default,
        metavar="N",
        help=f"{what} (default: {shown})",
    )


def add_preset(parser: Parser, default: str | None = "amber14-obc2") -> None:
    """``--preset``."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=default,
        help="force field and solvent" + (f" (default {default})" if default else " (default: the model's)"),
    )


def add_temperature(parser: Parser) -> None:
    """``--temperature``."""
    parser.add_argument(
        "--temperature",
        type=number("the temperature", least=1, most=10_000),
        default=None,
        metavar="K",
        help="in K (default: the preset's; 310 for amber14 presets, 300 for amber99sbildn-obc)",
    )


def add_out(parser: Parser, default: str | None = None, what: str = "output folder") -> None:
    """``--out``; required where there is no default."""
    parser.add_argument(
        "--out",
        type=Path,
        default=None if default is None else Path(default),
        required=default is None,
        metavar="FOLDER",
        help=what + (f" (default {default})" if default is not None else ""),
    )


def add_foreign(parser: Parser, of: str) -> None:
    """``--top`` and ``--spacing``: what trajectory files of other programs do not say."""
    parser.add_argument(
        "--top",
        type=Path,
        default=None,
        metavar="FILE",
        help=f"topology of {of} that is a trajectory file of another program (PDB, PSF, prmtop, GRO); PDB and HDF5 "
        "trajectories have their own",
    )
    parser.add_argument(
        "--spacing",
        type=number("the spacing", above=0),
        default=None,
        metavar="PS",
        help="time between the frames of such a file in ps, where they are of dynamics (default: frames have no time)",
    )


def open_source(path: Path, args: argparse.Namespace, **options: Any) -> RunFolder | FrameSet:
    """A run folder, or the frames of a file with ``--top`` and ``--spacing``; says what was taken for granted."""
    from ..trajectories import FrameSet, open_source

    source = open_source(path, args.top, spacing_ps=args.spacing, **options)
    if isinstance(source, FrameSet) and not args.quiet:
        for note in source.notes:
            print(f"timewarp: {path}: {note}", file=sys.stderr)
    return source


def add_quiet(parser: Parser) -> None:
    """``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def set_threads(threads: int | None) -> int:
    """Tell torch how many threads to use; return the number."""
    import torch

    count = available_cores() if threads is None else threads
    torch.set_num_threads(count)
    return count


def set_sampling_threads(threads: int | None, device: str) -> int:
    """Threads for chains: the compiled kernels take them (all cores by default), and torch gets one.

    Batches of a few hundred chains are many small operations to torch: measured, a second thread makes them slower.
    Without the kernels one thread is the default.
    """
    import torch

    from .. import native

    if not native.available() or device != "cpu":
        return set_threads(1 if threads is None else threads)
    count = available_cores() if threads is None else threads
    native.set_threads(count)
    torch.set_num_threads(1)
    return count


def resolve_device(name: str) -> str:
    """Check that torch has this device.

    Raises:
        ValueError: no such device on this machine; the message lists those that there are.
    """
    import torch

    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name not in available:
        raise ValueError(f"no device {name!r} on this machine; it has {', '.join(available)}")
    return name
