"""The page on sequences: its code and its commands run."""

import shlex

import pytest
from test_site import DOCS, blocks, commands

from timewarp.commands import main

PAGE = (DOCS / "sequences.md").read_text()


def test_code():
    namespace: dict = {}
    for code in blocks(PAGE, "python"):
        exec(code, namespace)
    assert namespace["molecule"].name == "Ace-[SEP]-NH2"


@pytest.mark.parametrize("number", range(3))
def test_commands(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, *words = shlex.split(commands(PAGE)[number])
    small = ("--samples", "8", "--chains", "2", "--warmup", "1", "--no-flow", "--start", "built", "--threads", "1")
    assert main([*words, *small, "--quiet"]) == 0, capsys.readouterr().err
