"""One parser for all verbs: options are the fields of their settings, with unit, bounds and help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..settings import Option, Settings, check, options_of


@dataclass(frozen=True)
class Argument:
    """A positional argument of a verb.

    Attributes:
        name: under which :class:`Call` has it.
        help: one sentence.
        metavar: what help calls it.
        nargs: argparse's: None for one, ``?`` for one or none, ``+`` or ``*`` for several.
        kind: ``str`` or ``Path``.
    """

    name: str
    help: str
    metavar: str
    nargs: str | None = None
    kind: type = str


@dataclass(frozen=True)
class Call:
    """What the command line asks for.

    Attributes:
        arguments: positional ones by name.
        settings: the options that were given, by the names of their fields, over all settings classes of the verb.
        out: ``--out``, or None.
        quiet: no progress lines.
    """

    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    out: Path | None
    quiet: bool

    def of(self, settings: type[Settings]) -> dict[str, Any]:
        """Those of the given options that are fields of one settings class."""
        return {o.name: self.settings[o.name] for o in options_of(settings) if o.name in self.settings}


@dataclass(frozen=True)
class Result:
    """What a verb has to say.

    Attributes:
        text: for a person, printed without ``--json``.
        data: for a program, printed with it.
        code: exit code.
    """

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        help: one line for the list of verbs.
        description: a few sentences for its own help.
        run: carries it out.
        settings: classes whose fields are its options.
        arguments: positional arguments.
        out: help of ``--out``; empty for a verb that has none.
        out_required: whether it must be given.
        out_metavar: what help calls it.
        has_progress: whether it can take long, and so has ``--quiet``.
    """

    help: str
    description: str
    run: Callable[[Call], Result]
    settings: tuple[type[Settings], ...] = ()
    arguments: tuple[Argument, ...] = ()
    out: str = ""
    out_required: bool = False
    out_metavar: str = "FOLDER"
    has_progress: bool = True

    @property
    def options(self) -> tuple[Option, ...]:
        """Options of all its settings classes, each once."""
        return tuple({o.name: o for cls in self.settings for o in options_of(cls)}.values())


class Parser(argparse.ArgumentParser):
    """Reports a bad command line in one line, like every other user error."""

    def error(self, message: str) -> NoReturn:
        """End with the message and exit code 2."""
        self.exit(2, f"timewarp: error: {message} (see `{self.prog} --help`)\n")


def add_verb(subparsers: argparse._SubParsersAction, name: str, verb: Verb) -> None:
    """Describe a verb to argparse."""
    parser = subparsers.add_parser(name, help=_escaped(verb.help), description=_escaped(verb.description))
    for argument in verb.arguments:
        parser.add_argument(
            argument.name,
            nargs=argument.nargs,
            type=argument.kind,
            metavar=argument.metavar,
            help=_escaped(argument.help),
        )
    if verb.out:
        parser.add_argument(
            "-o", "--out", type=Path, required=verb.out_required, metavar=verb.out_metavar, help=_escaped(verb.out)
        )
    groups: dict[str, Any] = {}
    for option in verb.options:
        group = option.spec.group
        if group and group not in groups:
            groups[group] = parser.add_argument_group(group)
        add_option(groups.get(group, parser), option)
    if verb.has_progress:
        parser.add_argument("-q", "--quiet", action="store_true", help="no progress lines")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, for programs")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )


def add_option(parser: Any, option: Option) -> None:
    """One field as an option; absent from the namespace where it is not given."""
    spec = option.spec
    flags = [spec.short, option.flag] if spec.short else [option.flag]
    also: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "required": spec.required}
    if option.kind is bool:
        also["action"] = "store_true"
    else:
        also |= {"type": _reader(option), "metavar": _metavar(option)}
        if option.many:
            also |= {"nargs": "+"} if spec.several else {"action": "append"}
    parser.add_argument(*flags, help=_escaped(_help(option)), **also)


def call_of(verb: Verb, args: argparse.Namespace) -> Call:
    """The parsed command line of a verb."""
    given = {o.name: getattr(args, o.name) for o in verb.options if hasattr(args, o.name)}
    given |= {o.name: tuple(given[o.name]) for o in verb.options if o.many and o.name in given}
    return Call(
        arguments={a.name: getattr(args, a.name) for a in verb.arguments},
        settings=given,
        out=getattr(args, "out", None),
        quiet=getattr(args, "quiet", False) or args.json,
    )


def with_flags(message: str, verb: Verb) -> str:
    """A message of the library, whose settings are named in backquotes, in the words of the command line."""
    flags = {o.name: o.flag for o in verb.options}
    return re.sub(r"`(\w+)`", lambda m: flags.get(m[1], m[0]), message)


def _reader(option: Option) -> Callable[[str], Any]:
    """Text to value, with a message that says what is expected."""

    def read(text: str) -> Any:
        value: Any = text
        if option.kind in (int, float):
            try:
                value = int(text) if option.kind is int else float(text)
            except (ValueError, OverflowError):
                raise argparse.ArgumentTypeError(f"must be {option.bounds}, got {text[:40]!r}") from None
        try:
            (value,) = (check(option, value),) if not option.many else check(option, (value,))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{option.name} ")) from None
        return value

    return read


def _metavar(option: Option) -> str:
    if option.spec.metavar:
        return option.spec.metavar
    if option.spec.choices:
        return "{" + ",".join(option.spec.choices) + "}"
    unit = option.spec.unit.upper().replace("1/PS", "PER_PS").replace("/", "_")
    return unit or {int: "N", float: "X", Path: "PATH"}.get(option.kind, "TEXT")


def _help(option: Option) -> str:
    spec = option.spec
    text = spec.help + (f", in {spec.unit}" if spec.unit else "")
    if option.kind is bool or spec.required or (option.many and not spec.shown):
        return text
    if spec.shown:
        return f"{text} (default: {spec.shown})"
    return (
        text
        if option.default is None
        else f"{text} (default {option.default:,})"
        if option.kind is int
        else (f"{text} (default {option.default})")
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
