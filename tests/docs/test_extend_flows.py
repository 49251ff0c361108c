"""The page on networks of one's own: its code runs as written, and on a molecule that is not the one in the text."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from timewarp.commands import main
from timewarp.flows import KINDS
from timewarp.sampling import FlowMove

ROOT = Path(__file__).parents[2]
CODE = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extend-flows.md").read_text(), re.DOTALL))


@pytest.mark.parametrize("molecule", ["Ace-A-Nme", "AG"])
def test_the_code_of_the_page_runs(molecule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    code = CODE
    if molecule != "Ace-A-Nme":
        argv = ["sample", molecule, "--no-flow", "--samples", "1280", "--chains", "32", "--warmup", "30", "--quiet"]
        assert main([*argv, "--out", "run"]) == 0
        code = code.replace("Ace-A-Nme", molecule).replace("examples/ala2-md", "run")
        assert code != CODE
    namespace = {"__name__": "page"}
    try:
        exec(compile(code, "extend-flows.md", "exec"), namespace)
        first, info = namespace["kernel"].kernels[0], namespace["info"]
    finally:
        KINDS.pop("histogram", None)
    assert type(first) is FlowMove
    assert first.redraws.sum() == len(namespace["system"].atoms.tree.rotatable)
    assert int(info["flow"].proposed.sum()) == 16
    wells = FlowMove(namespace["system"], namespace["Wells"](namespace["system"].atoms), "wells")
    assert (wells.redraws, wells.cost, wells.engine) == (None, 1.0, "torch")
    # Both of its densities: drawn from everywhere, the mean ratio of the two directions is 1.
    x = namespace["system"].starts(1, torch.Generator().manual_seed(1)).repeat(4000, 1, 1)
    generator = torch.Generator().manual_seed(2)
    proposal = wells.proposer.propose(x, generator)
    back = namespace["Wells"](namespace["system"].atoms)
    now = namespace["measure_dihedrals"](proposal.positions, back.torsion)[:, 0]
    share = float((back.log_q(now) > back.log_q(now).min() + 0.1).double().mean())
    assert share == pytest.approx(0.9, abs=0.02)  # 0.8 in the wells, and half of the rest


def test_a_model_of_a_kind_that_nobody_registered_says_so(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.toml").write_text(
        'schema = 1\nname = "model"\nfamily = "histogram"\nresidues = "x"\nfingerprint = "y"\n'
        'weights_sha256 = "z"\n[config]\n'
    )
    argv = ["sample", "Ace-A-Nme", "--model", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "timewarp", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown family of proposals 'histogram'; the families are A, B, C, C2" in done.stderr
