"""The page *Extend*: its code runs as written, and on a molecule that is not the one in the text."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_site import DOCS, blocks

import timewarp as tw
from timewarp.flows import KINDS
from timewarp.sampling import FlowMove, RegrowthMove

CODE = blocks((DOCS / "extend.md").read_text(), "python")


@pytest.fixture(scope="module", params=["AG", "Ace-P-Nme"])
def page(request, tmp_path_factory):
    """The names that the code of the page has left behind, and the runs of its sections by folder."""
    folder = tmp_path_factory.mktemp("extend")
    namespace = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            for block in CODE:
                exec(compile(block.replace('"AG"', f'"{request.param}"'), "extend.md", "exec"), namespace)
            yield namespace, folder
        finally:
            KINDS.pop("histogram", None)


def kernels(folder: Path, name: str) -> dict:
    return (tw.open(folder / name).summary or {})["kernels"]


@pytest.mark.slow
def test_a_kernel_of_ones_own_is_counted_as_the_others_are(page):
    namespace, folder = page
    mirror = kernels(folder, "ag-mirror")["mirror"]
    assert mirror["proposed"] == 3200
    assert 0.2 < mirror["acceptance"] < 0.9
    assert mirror["jump"] is not None
    # The map is its own inverse: with the same random torsion, twice is nothing.
    system = tw.System(namespace["md"].name)
    state = system.init(system.starts(4, torch.Generator().manual_seed(0)))
    move = namespace["Mirror"](system)
    there = move.propose(state, torch.Generator().manual_seed(1)).positions
    again = move.propose(system.init(there), torch.Generator().manual_seed(1)).positions
    assert (there - state.positions).abs().max() > 0.01
    torch.testing.assert_close(again - again.mean(1, True), state.positions, atol=2e-5, rtol=0)


@pytest.mark.slow
def test_proposers_of_ones_own(page):
    namespace, folder = page
    assert kernels(folder, "ag-wells")["wells"]["acceptance"] > 0.05
    assert kernels(folder, "ag-histogram-samples")["flow"]["acceptance"] > 0.1
    system = tw.System(namespace["md"].name)
    wells = tw.Flow(system, namespace["Wells"](system.atoms), "wells")
    assert type(wells) is FlowMove
    assert (wells.redraws, wells.cost, wells.engine) == (None, 1.0, "torch")
    # Both of its densities: 0.8 of the draws are in the wells, and half of the rest.
    x = system.built.repeat(4000, 1, 1)
    back = namespace["Wells"](system.atoms)
    proposal = back.propose(x, torch.Generator().manual_seed(2))
    now = namespace["measure_dihedrals"](proposal.positions, back.torsion)[:, 0]
    share = float((back.log_q(now) > back.log_q(now).min() + 0.1).double().mean())
    assert share == pytest.approx(0.9, abs=0.02)
    flow = tw.Flow(system, namespace["model"])
    assert flow.redraws.sum() == len(system.atoms.tree.rotatable)


@pytest.mark.slow
def test_an_energy_of_ones_own_is_sampled(page):
    """The mean distance of the ends under the spring, beside the chain of the force field, reweighted."""
    namespace, folder = page
    assert kernels(folder, "ag-spring-flow")["flow"]["acceptance"] > 0.1
    system, field = namespace["system"], namespace["field"]
    assert isinstance(tw.Flow(system, namespace["proposer"]), RegrowthMove)
    if namespace["md"].name == "AG":
        with pytest.raises(ValueError, match="parameters of the molecule's energy"):
            tw.default_kernel(system)
    plain = tw.sample(field, samples=4800, chains=16, out=folder / "plain")

    def ends(run):
        return np.linalg.norm(run.positions[:, :, 0] - run.positions[:, :, -1], axis=-1)

    spring, free = ends(tw.open(folder / "ag-spring-flow")), ends(plain)
    weights = np.exp(-25 * free**2 / field.kT)
    means = [(w * x).sum() / w.sum() for w, x in zip(weights, free, strict=True)]
    errors = [np.std(values, ddof=1) / 4 for values in (spring.mean(1), means)]
    reweighted = (weights * free).sum() / weights.sum()
    assert abs(spring.mean() - reweighted) < 4 * np.hypot(*errors)
    assert free.mean() - spring.mean() > 4 * np.hypot(*errors)  # the spring is felt at all


@pytest.mark.slow
def test_a_trajectory_of_ones_own(page):
    namespace, folder = page
    assert namespace["mine"].kind == "frames"
    assert kernels(folder, "mine-samples")["flow"]["proposed"] == 3200
    verdict = namespace["run"].verdict(reference=namespace["mine"])
    assert any("vs reference" in check.name for check in verdict.checks)


def test_a_model_of_a_kind_that_nobody_registered_says_so(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.toml").write_text(
        'schema = 1\nname = "model"\nfamily = "histogram"\nresidues = "x"\nfingerprint = "y"\n'
        f'weights_sha256 = "{"0" * 64}"\n[config]\n'
    )
    argv = ["sample", "Ace-A-Nme", "--model", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "timewarp", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search("unknown family of proposals 'histogram'; the families are A, B, C, C2", done.stderr)
