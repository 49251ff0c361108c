"""The command line: one file per verb, each with ``add_parser(subparsers)`` and ``run(args) -> int``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from .errors import USER_ERRORS, one_line

__all__ = ["main", "parser"]

VERBS = (
    "simulate",
    "train",
    "explore",
    "sample",
    "analyse",
    "report",
    "evaluate",
    "conditional",
    "models",
    "export",
    "pack",
)
_DISTRIBUTION = "timewarp-md"


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line in one line, like every other user error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"timewarp: error: {message} (see `{self.prog} --help`)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line. Heavy modules are imported by each verb's ``run`` only."""
    top = _Parser(prog="timewarp", description="Exact Boltzmann sampling of small peptides.")
    top.add_argument("--version", action="version", version=f"timewarp {version()}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        name = f"{__name__}.{verb}"
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).add_parser(subparsers)
    for sub in subparsers.choices.values():  # also accepted after the verb
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments without the program's name; the process's by default.

    Returns:
        0, 2 after an error that is the user's to mend (one line on stderr), 1 after a bug, or 130 after an interrupt.
    """
    debug = False
    try:
        args = parser().parse_args(argv)
        debug = args.debug
        _interrupt_on_sigterm()
        return int(importlib.import_module(f"{__name__}.{args.verb}").run(args) or 0)
    except KeyboardInterrupt:
        print("timewarp: interrupted; run the same command again to go on from what is saved", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        print(f"timewarp: error: {one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:  # a bug of ours: still one line, and never a half-printed traceback
        if debug:
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}: {one_line(error)}"
        print(f"timewarp: error: {what} (please report it; --debug shows where)", file=sys.stderr)
        return 1


def version() -> str:
    """Version of the installed package."""
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _interrupt_on_sigterm() -> None:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
        signal.signal(signal.SIGTERM, interrupt)
