"""Settings of the verbs: dataclasses whose fields carry unit, bounds and help.

The command line, ``config.toml`` and the library are three views of one settings class. A field is declared once, with
:func:`setting`; the parser (:mod:`timewarp.commands.parser`), the checks and the stored configuration follow.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

LARGEST_WHOLE = 10**9
"""A whole number without another bound may be this large."""
LARGEST_NUMBER = 1e300
LARGEST_SEED = 2**32 - 1
UNITS = ("_kJ_mol", "_per_ps", "_Da", "_fs", "_ps", "_ns", "_K")
"""Ends of names of fields, which flags do without."""

Self = TypeVar("Self", bound="Settings")


@dataclass(frozen=True)
class Spec:
    """What is known of a field besides its type and its default.

    Attributes:
        help: one sentence, without the default.
        unit: of a number, such as ``K`` or ``ps``.
        least, above, most: bounds of a number; ``above`` is excluded.
        choices: the values that there are, or none for any.
        key: its name in ``config.toml``.
        flag: its long flag without dashes; by default the name without its unit, hyphens for underscores.
        short: a short flag, such as ``-n``.
        metavar: what help shows for a value; from type and unit by default.
        shown: what help says of the default where the value alone does not tell.
        group: heading under which help lists it.
        several: whether one flag takes several values (else it may be given several times); of a tuple.
        required: whether the command line must have it.
    """

    help: str = ""
    unit: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    key: str = ""
    flag: str = ""
    short: str = ""
    metavar: str = ""
    shown: str = ""
    group: str = ""
    several: bool = False
    required: bool = False


def setting(default: Any, help: str, **spec: Any) -> Any:
    """A field of a :class:`Settings` class.

    Args:
        default: its value where none is given.
        help: one sentence for ``--help`` and the documentation.
        spec: further fields of :class:`Spec`.
    """
    return field(default=default, metadata={"spec": Spec(help=help, **spec)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of the settings of a verb; a value of the wrong type or beyond a bound is refused as it is made.

    Raises:
        ValueError: a value is of another type than its field, not finite, beyond a bound, or not one of the choices.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Cooling(Settings):
        ...     final_K: float = setting(300.0, "temperature at the end", unit="K", above=0)
        >>> Cooling(final_K=280).final_K
        280.0
        >>> Cooling(final_K=-1)
        Traceback (most recent call last):
        ValueError: final_K must be a number above 0 K, got -1
    """

    def __post_init__(self) -> None:
        for f in options_of(type(self)):
            object.__setattr__(self, f.name, check(f, getattr(self, f.name)))

    @classmethod
    def make(cls: type[Self], given: Mapping[str, Any]) -> Self:
        """Settings from keyword arguments, with a message that lists the names where one is unknown.

        Raises:
            ValueError: an unknown name, or a value that its field refuses.
        """
        known = {option.name: option for option in options_of(cls)}
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"there is no setting {unknown[0]!r}; the settings are {', '.join(known)}")
        return cls(**{name: check(known[name], value) for name, value in given.items()})

    def to_config(self) -> dict[str, Any]:
        """Plain values under their names of ``config.toml``."""
        return {f.key: _plain(getattr(self, f.name)) for f in options_of(type(self))}

    def replaced(self: Self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Option:
    """A field of a settings class, resolved.

    Attributes:
        name: of the field.
        kind: ``int``, ``float``, ``bool``, ``str`` or ``Path``.
        default: its value where none is given.
        optional: whether None is a value.
        many: whether it is a tuple of values.
        spec: the rest.
    """

    name: str
    kind: type
    default: Any
    optional: bool
    many: bool
    spec: Spec

    @property
    def key(self) -> str:
        """Its name in ``config.toml``."""
        return self.spec.key or self.name

    @property
    def flag(self) -> str:
        """Its long flag, such as ``--temperature`` of the field ``temperature_K``."""
        stem = next((self.name.removesuffix(u) for u in UNITS if self.name.endswith(u)), self.name)
        return f"--{self.spec.flag or stem.replace('_', '-')}"

    @property
    def bounds(self) -> str:
        """What a value must be, such as ``a whole number of at least 1``."""
        spec = self.spec
        if spec.choices:
            return f"one of {', '.join(spec.choices)}"
        if self.kind not in (int, float):
            return {bool: "true or false", Path: "a path"}.get(self.kind, "text")
        parts = []
        if spec.above is not None:
            parts.append(f"above {spec.above:g}")
        if spec.least is not None:
            parts.append(f"of at least {spec.least:g}")
        if spec.most is not None:
            parts.append(f"at most {spec.most:,.12g}" if parts else f"of at most {spec.most:,.12g}")
        unit = f" {spec.unit}" if spec.unit else ""
        what = "a whole number" if self.kind is int else "a number"
        return what + (f" {' and '.join(parts)}{unit}" if parts else f" of {spec.unit}" if unit else "")


def options_of(cls: type) -> tuple[Option, ...]:
    """The fields of a settings class (a subclass of :class:`Settings`), resolved, in order."""
    hints = typing.get_type_hints(cls)
    return tuple(_option(f, hints[f.name]) for f in fields(cls) if "spec" in f.metadata)


def _option(f: dataclasses.Field, hint: Any) -> Option:
    parts = list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]
    optional = type(None) in parts
    (kind,) = [part for part in parts if part is not type(None)]
    many = typing.get_origin(kind) is tuple
    if many:
        kind = typing.get_args(kind)[0]
    return Option(f.name, kind, f.default, optional, many, f.metadata["spec"])


def check(option: Option, value: Any) -> Any:
    """The value of a field in its own type.

    Raises:
        ValueError: it is of another type, not finite, beyond a bound, or not one of the choices.
    """
    if value is None and option.optional:
        return None
    if option.many:
        if isinstance(value, str | Path) or not isinstance(value, Iterable):
            value = (value,)
        return tuple(_checked(option, part) for part in value)
    return _checked(option, value)


def checked(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values from a file, by name, in the types of a class's fields: numbers checked, lists as tuples.

    Raises:
        ValueError: a value that its field refuses.
    """
    options = {f.name: f for f in options_of(cls)}
    return {name: check(options[name], value) if name in options else value for name, value in given.items()}


def _checked(option: Option, value: Any) -> Any:
    spec = option.spec
    good = False
    if option.kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        good = number and abs(value) < LARGEST_NUMBER  # False for NaN
        if good and option.kind is int:
            good = value == int(value) and (spec.most is not None or abs(value) <= LARGEST_WHOLE)
        good = (
            good
            and (spec.least is None or value >= spec.least)
            and (spec.above is None or value > spec.above)
            and (spec.most is None or value <= spec.most)
        )
    elif option.kind is Path:
        good = isinstance(value, str | Path)
    else:
        good = isinstance(value, option.kind) and (not spec.choices or value in spec.choices)
    if not good:
        raise ValueError(f"{option.name} must be {option.bounds}, got {_short(value)}")
    return option.kind(value)


def _short(value: Any) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
