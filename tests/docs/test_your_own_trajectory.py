"""The page on trajectories of other programs: its code and commands run, on two molecules."""

import shlex

import mdtraj
import pytest
from test_site import DOCS, blocks, commands

from timewarp.commands import main

PAGE = (DOCS / "your-own-trajectory.md").read_text()


@pytest.mark.parametrize("sequence", ["AG", "Ace-P-Nme"])
def test_code_and_commands(sequence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ("--samples", "256", "--chains", "4", "--warmup", "4", "--no-flow", "--threads", "1", "--quiet")
    assert main(["sample", sequence, *small, "--out", "samples", "--export", "dcd"]) == 0
    chains = [str(tmp_path / "samples" / "export" / f"chain-00{c}.dcd") for c in range(4)]
    joined = mdtraj.load(chains, top="samples/export/topology.pdb")
    joined.save("mine.dcd")
    joined[:5].save("models.pdb")
    (tmp_path / "samples" / "export" / "topology.pdb").rename("mine.pdb")
    namespace: dict = {}
    for code in blocks(PAGE, "python"):
        exec(code, namespace)
    assert namespace["positions"].shape == (1, namespace["run"].atoms.n_atoms, 3)
    assert namespace["saved"].kind == "md"
    ran = []
    for command in commands(PAGE):
        _, verb, *words = shlex.split(command)
        if verb in ("analyse", "evaluate"):
            assert main([verb, *words, "--quiet"]) == 0, capsys.readouterr().err
            ran.append(verb)
        if verb == "sample":
            few = [*small, "--samples", "8"]
            assert main([verb, *(sequence if w == "AIVL" else w for w in words), *few]) == 0, capsys.readouterr().err
            ran.append(verb)
        if verb == "train":
            assert main([verb, *words, "--steps", "2", "--batch-size", "16", "--threads", "1", "--quiet"]) == 0
            ran.append(verb)
    assert ran == ["analyse", "evaluate", "train", "sample"]
