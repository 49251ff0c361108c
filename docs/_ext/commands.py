"""The reference of the command line, written from its own parser: `<!-- commands -->` in a page stands for it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

MARK = "<!-- commands -->"
UNSAID = ("-h, --help", "--debug")
"""Options of every verb, which the page names once."""


def reference() -> str:
    """Markdown (MyST) of every verb, with its arguments and options."""
    from timewarp.commands import parser

    return "\n".join(line for name, verb in verbs(parser()).items() for line in section(name, verb, 2))


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The verbs of a parser by name; none of one that has no verbs."""
    actions = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: verb for action in actions for name, verb in action.choices.items()}


def section(name: str, verb: argparse.ArgumentParser, depth: int) -> Iterator[str]:
    """One verb: what it does, how it is called, what it takes; then its own verbs."""
    yield from ("", f"{'#' * depth} {name}", "")
    yield from (escape(verb.description or ""), "")
    below = verbs(verb)
    if below:
        shown = f"{verb.prog} {' | '.join(below)} ..."
    else:
        formatter = verb._get_formatter()
        formatter.add_usage(verb.usage, [a for a in verb._actions if names(a) not in UNSAID], [], prefix="")
        shown = formatter.format_help().strip()
    yield from ("```text", shown, "```", "", "```{program} " + verb.prog, "```", "")
    for group in verb._action_groups if not below else ():
        actions = [a for a in group._group_actions if names(a) not in UNSAID]
        if actions and group.title not in ("options", "positional arguments"):
            yield from (f"**{(group.title or '').capitalize()}**", "")
        for action in actions:
            yield from ("````{option} " + names(action), "", escape(helped(verb, action)), "````", "")
    for inner, inner_verb in below.items():
        yield from section(f"{name} {inner}", inner_verb, depth + 1)


def names(action: argparse.Action) -> str:
    """An option with its value, as ``--help`` names it: ``--seed N``; or a positional argument."""
    metavar = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest)
    metavar = metavar if isinstance(metavar, str) else metavar[0]
    value = {0: "", "+": f" {metavar} ...", "*": f" {metavar} ..."}.get(action.nargs, f" {metavar}")
    if not action.option_strings:
        return value.strip()
    return ", ".join(flag + value for flag in action.option_strings)


def helped(verb: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option's help, without what depends on the machine that builds the page."""
    return re.sub(r", here \d+", "", verb._get_formatter()._expand_help(action)) if action.help else ""


def escape(text: str) -> str:
    """Plain text as Markdown; what stands between backticks stays code, and options become it."""
    parts = re.sub(r"(?<![\w`-])(--[a-z][\w-]*)(?!`)", r"`\1`", text).split("`")
    parts[::2] = [re.sub(r"([\\*_<>\[\]#])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the reference where a page asks for it."""
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, reference())


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill pages as they are read."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
