"""The conditional distribution from one state, with networks of each kind, on molecules of their own and others."""

import json

import numpy as np
import pytest

from timewarp.commands import main
from timewarp.report.write import save_plots
from timewarp.verbs.conditional import conditional


@pytest.fixture(scope="module")
def md(tmp_path_factory):
    """A little MD of molecules, by name."""
    made = {}

    def of(name):
        if name not in made:
            out = tmp_path_factory.mktemp("md") / "md"
            options = "--length 0.16 --replicas 8 --frame-spacing 0.5 --burn-in 2 --threads 1 --quiet"
            assert main(["simulate", name, *options.split(), "--out", str(out)]) == 0
            made[name] = out
        return made[name]

    return of


@pytest.mark.parametrize(("molecule", "planes"), [("Ace-A-Nme", {"phi_1", "psi_1"}), ("SG", {"phi_2", "psi_1"})])
def test_the_transferable_network_beside_fresh_md(md, tmp_path, molecule, planes):
    found = conditional(md(molecule), "peptides", n=256, md_runs=256, lag_ps=2.0, frame=5, chain=1)
    assert (found.model, found.chain, found.frame, found.lag_ps) == ("peptides", 1, 5, 2.0)
    value, error = found.mean_acceptance
    assert 0.3 < value < 1
    assert 0 < error < 0.1
    assert planes <= set(found.start)
    data = found.to_json()
    # In 2 ps MD has hardly left the state; the network, which redraws all soft torsions, has.
    single = [row for name, row in data["jsd"].items() if "," not in name]
    widest = max(single, key=lambda row: row["value"] - row["floor"])
    assert widest["value"] > max(0.1, 3 * widest["floor"]), data["jsd"]
    (plane,) = (row for name, row in data["jsd"].items() if name == ", ".join(sorted(planes)))
    assert plane["value"] > 1.5 * plane["floor"]
    assert np.isfinite(found.energies["MD"]).all()
    (picture,) = save_plots([found.plot()], tmp_path, ("png",))
    assert picture.stat().st_size > 20_000
    json.dumps(data)


@pytest.mark.parametrize("model", ["ala2", "ala2-cartesian", "peptides"])
def test_networks_of_every_kind_propose_and_the_seed_decides_what(md, model):
    def draw(seed):
        return conditional(md("Ace-A-Nme"), model, n=64, md_runs=2, lag_ps=0.01, frame=5, chain=1, seed=seed)

    first, again, other = draw(3), draw(3), draw(4)
    assert np.array_equal(first.torsions[model]["psi_1"], again.torsions[model]["psi_1"])
    assert np.array_equal(first.acceptance, again.acceptance)
    assert not np.array_equal(first.torsions[model]["psi_1"], other.torsions[model]["psi_1"])
    assert ((first.acceptance >= 0) & (first.acceptance <= 1)).all()
    assert 0.001 < first.mean_acceptance[0] < 1
    assert (first.acceptance[~np.isfinite(first.energies[model])] == 0).all()


def test_the_start_is_a_typical_frame_and_the_lag_the_networks(md):
    found = conditional(md("Ace-A-Nme"), "ala2", n=20, md_runs=16, lag_ps=0.1)
    assert found.start["phi_1"] < 0  # four in five frames have it so
    assert found.acceptance.shape == (20,)
    assert conditional(md("Ace-A-Nme"), "ala2-cartesian", n=4, md_runs=2, frame=0).lag_ps == 500.0


def test_the_command_prints_and_writes_its_numbers(md, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    options = "--model ala2 --n 100 --md-runs 32 --lag 1 --threads 1 --frame 5 --chain 1 --format svg --quiet"
    command = ["conditional", str(md("Ace-A-Nme")), *options.split(), "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "acceptance from this state" in shown
    data = json.loads((out / "conditional.json").read_text())
    assert (data["start"]["chain"], data["start"]["frame"], data["lag_ps"], data["n"]) == (1, 5, 1, 100)
    assert 0.5 < data["acceptance"]["value"] < 1
    assert (out / "conditional.svg").stat().st_size > 20_000
    assert main(command) == 0
    assert json.loads((out / "conditional.json").read_text())["jsd"] == data["jsd"]


def test_what_cannot_be_done_is_said_in_a_line(md, tmp_path, capsys):
    chain = tmp_path / "chain"
    argv = "sample Ace-A-Nme --no-flow --samples 16 --chains 2 --warmup 2 --quiet --out"
    assert main([*argv.split(), str(chain)]) == 0
    ala = str(md("Ace-A-Nme"))
    for words, message in (
        ([str(chain)], "is a run of kind chain; give MD"),
        ([ala, "--frame", "100000"], "got chain 0, frame 100000"),
        ([ala, "--chain", "99", "--frame", "1"], "got chain 99, frame 1"),
        ([str(md("SG")), "--model", "ala2"], "ala2"),
        ([str(tmp_path / "none")], "no such run folder"),
    ):
        capsys.readouterr()
        out = tmp_path / "out"
        assert main(["conditional", *words, "--quiet", "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not out.exists()
