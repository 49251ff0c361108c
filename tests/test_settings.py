"""Settings: one declaration, three views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from timewarp.commands import VERBS, parser, verb_of
from timewarp.settings import Settings, options_of, setting


@dataclass(frozen=True, kw_only=True)
class Brewing(Settings):
    cups: int = setting(2, "how many", least=1, most=12, short="-c")
    warmth_K: float | None = setting(None, "of the water", unit="K", above=0)
    kinds: tuple[str, ...] = setting((), "of leaves")
    tin: Path | None = setting(None, "where they are")
    strong: bool = setting(False, "for the night", key="is_strong")
    colour: str = setting("green", "of the leaves", choices=("green", "black"))


def test_values_come_in_their_own_type():
    made = Brewing.make({"cups": 3.0, "warmth_K": 350, "kinds": ["assam"], "tin": "a/b", "strong": True})
    assert made == Brewing(cups=3, warmth_K=350.0, kinds=("assam",), tin=Path("a/b"), strong=True)
    assert isinstance(made.cups, int)
    assert isinstance(made.warmth_K, float)
    assert made.to_config() == {
        "cups": 3, "warmth_K": 350.0, "kinds": ["assam"], "tin": "a/b", "is_strong": True, "colour": "green",
    }  # fmt: skip
    assert Brewing.make({"kinds": "assam"}).kinds == ("assam",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cups": 0}, "cups must be a whole number of at least 1 and at most 12, got 0"),
        ({"cups": 2.5}, "cups must be a whole number .* got 2.5"),
        ({"cups": "2"}, "cups must be a whole number .* got '2'"),
        ({"cups": 10**400}, "cups must be a whole number"),
        ({"warmth_K": 0}, "warmth_K must be a number above 0 K, got 0"),
        ({"warmth_K": float("inf")}, "warmth_K must be a number above 0 K, got inf"),
        ({"strong": 1}, "strong must be true or false, got 1"),
        ({"colour": "red"}, "colour must be one of green, black, got 'red'"),
        ({"tin": 3}, "tin must be a path, got 3"),
        ({"tea": 1}, "no setting 'tea'; the settings are cups, warmth_K"),
    ],
)
def test_bad_values_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Brewing.make(given)


def test_flags_do_without_units():
    assert [option.flag for option in options_of(Brewing)] == [
        "--cups", "--warmth", "--kinds", "--tin", "--strong", "--colour",
    ]  # fmt: skip


@pytest.mark.parametrize("name", VERBS)
def test_every_option_of_a_verb_is_a_field_with_help(name, capsys):
    verb = verb_of(name)
    flags = [option.flag for option in verb.options]
    assert len(set(flags)) == len(flags)
    assert all(option.spec.help for option in verb.options)
    with pytest.raises(SystemExit):
        parser().parse_args([name, "--help"])
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in flags)
