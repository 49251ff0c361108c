"""The command line: one file for each verb, whose options are the fields of its settings."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import sys
import traceback
from collections.abc import Sequence

from ..interrupts import code_of, guarded
from ..version import version
from .parser import Parser, Verb, add_verb, call_of, with_flags

__all__ = ["VERBS", "main", "parser", "verb_of"]

VERBS = (
    "simulate",
    "train",
    "explore",
    "sample",
    "analyse",
    "observe",
    "report",
    "evaluate",
    "conditional",
    "models",
    "export",
    "pack",
)


USER_ERRORS: tuple[type[Exception], ...] = (ValueError, OSError, NotImplementedError)
"""Errors that are the user's to mend, one line on stderr and exit code 2: bad values, missing or foreign files, ..."""


def verb_of(name: str) -> Verb:
    """The description of a verb. Heavy modules are imported by its ``run`` only."""
    return importlib.import_module(f"{__name__}.{name}").VERB


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = Parser(prog="timewarp", description="Exact Boltzmann sampling of small peptides.")
    top.add_argument("--version", action="version", version=f"timewarp {version()}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        add_verb(subparsers, name, verb_of(name))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments without the program's name; the process's by default.

    Returns:
        0, 2 after an error that is the user's to mend (one line on stderr), 1 after a bug, or 130 or 143 after
        an interrupt.
    """
    debug, verb = False, None
    try:
        args = parser().parse_args(argv)
        debug, verb = args.debug, verb_of(args.verb)
        with guarded(), _notes_on_stderr():
            result = verb.run(call_of(verb, args))
        if args.json:
            from ..files import to_json

            print(to_json(result.data))
        elif result.text:
            print(result.text)
        return result.code
    except KeyboardInterrupt as error:
        with guarded() as guard:
            guard.say()
        return code_of(error)
    except BrokenPipeError:
        return 141
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        line = one_line(error)
        print(f"timewarp: error: {line if verb is None else with_flags(line, verb)}", file=sys.stderr)
        return 2
    except Exception as error:  # a bug of ours: still one line, and never a half-printed traceback
        if debug:
            traceback.print_exc()
        what = f"unexpected {type(error).__name__}: {one_line(error)}"
        print(f"timewarp: error: {what} (please report it; --debug shows where)", file=sys.stderr)
        return 1


def one_line(error: BaseException) -> str:
    """The message of an error on a single line.

    >>> one_line(ValueError("a\\nb"))
    'a b'
    """
    if isinstance(error, OSError) and error.strerror:
        from ..files import reason

        named = f": {error.filename}" if error.filename else ""
        what = reason(error)
        return f"{error.strerror}{named}" + (f"; {what.rpartition('; ')[2]}" if what else "")
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _notes_on_stderr():
    """What the library has to say of a molecule or a network, as lines on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("timewarp: %(message)s"))
    logger = logging.getLogger("timewarp")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
