"""The page on observables: its commands and its code run, on the molecule of its text and on another."""

import shlex

import pytest
from test_site import DOCS, blocks, commands

from timewarp.commands import main

PAGE = (DOCS / "observables.md").read_text()


@pytest.mark.parametrize("sequence", ["AAA", "SAA"])
def test_code_and_commands(sequence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (table,) = blocks(PAGE, "text")
    (tmp_path / "ala3.csv").write_text(table)
    for command in commands(PAGE):
        _, verb, *words = shlex.split(command)
        words = [sequence if word == "AAA" else word for word in words]
        few = ["-n", "320", "-c", "8", "--warmup", "5", "--threads", "1"] if verb == "sample" else []
        assert main([verb, *words, *few, "-q"]) == 0, capsys.readouterr().err
    namespace: dict = {}
    for code in blocks(PAGE, "python"):
        exec(code, namespace)
    assert namespace["weights"].shape == (8, 40)
    assert (tmp_path / "aaa-nmr" / "experiment.png").is_file()
