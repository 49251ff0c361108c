"""``timewarp observe``: the table, the files, the experiment beside it, and what is refused."""

import json

import pytest

from timewarp.commands import main
from timewarp.verbs.sample import sample


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sample("AAA", samples=320, chains=8, warmup=10, threads=1, out=tmp_path_factory.mktemp("run") / "aaa").path


def test_table_and_files(run, tmp_path, capsys):
    out = tmp_path / "obs"
    assert main(["observe", str(run), "--what", "couplings", "noe=2:HA,3:HN", "-o", str(out), "-q"]) == 0
    text = capsys.readouterr().out
    assert "3J(HN,HA) 2" in text
    assert "noe=2:HA,3:HN" in text
    stored = json.loads((out / "observables.json").read_text())
    names = [row["name"] for row in stored["observables"]]
    assert "3J(HN,CB) 3" in names
    assert (out / "observables.csv").read_text().splitlines()[0].startswith("name,kind,unit,value,error")
    assert main(["observe", str(run), "--what", "rg", "-o", str(out), "-q"]) == 0  # its own folder: written anew
    assert not (out / "experiment.png").exists()


def test_beside_an_experiment(run, tmp_path, capsys):
    table = tmp_path / "nmr.csv"
    table.write_text('observable,value,error\n"3J(HN,HA) 2",5.68,0.1\n"3J(HN,HA) 3",6.52,\n"noe=2:HA,3:HN",0.23,0.02\n')
    out = tmp_path / "obs"
    words = ["observe", str(run), "--what", "rg", "--experiment", str(table), "--reweight", "-o", str(out)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["chi_squared"]) == {"3J(HN,HA)", "noe", "all"}
    assert 0 < found["reweighting"]["kept"] <= 1
    assert (
        "too few values" in found["reweighting"]["warning"]
        or "agrees with the values already" in (found["reweighting"]["warning"])
    )
    assert (out / "experiment.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what", "nonsense"], "cannot understand the observable 'nonsense'"),
        (["--what", "distance=1:CA,8:CA"], "residues are numbered 1 to 3"),
        (["--reweight"], "need measured values: give --experiment"),
        (["--experiment", "absent.csv"], "there is no file of measured values absent.csv"),
        (["--karplus", "mine"], "graf2007"),
    ],
)
def test_refusals(run, words, message, capsys):
    try:
        code = main(["observe", str(run), *words, "-q"])
    except SystemExit as end:  # of the parser
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_folder_of_something_else_stays(run, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["observe", str(run), "--what", "rg", "-o", str(tmp_path), "-q"]) == 2
    assert "mine.txt" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
