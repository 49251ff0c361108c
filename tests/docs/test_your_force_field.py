"""The page on force fields of one's own: its code and commands run, on the files that it names."""

import shlex
import sys

from test_site import DOCS, blocks, commands

from timewarp.commands import main

sys.path.insert(0, str(DOCS.parent / "tests" / "molecules"))

import door_systems as made

PAGE = (DOCS / "your-force-field.md").read_text()


def test_code_and_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made.peptide("KVE").save(tmp_path, "prmtop", "inpcrd", name="KVE")
    namespace: dict = {}
    for code in blocks(PAGE, "python"):
        exec(code, namespace)
    assert namespace["energies"].shape == (1,)
    found = commands(PAGE)
    assert len(found) == 2
    for command in found:
        assert main([*shlex.split(command)[1:], "--threads", "1", "--quiet"]) == 0, capsys.readouterr().err
        for file in tmp_path.glob("KVE.*"):
            file.unlink()  # the second command needs the run alone
