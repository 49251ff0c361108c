"""Lists of peptides: a worker killed in the middle, resume, extension, failures, and the bits of a single run."""

import os
import signal
import threading
import time
from functools import partial

import pytest
import torch

from timewarp.executors import DaskCluster, LocalProcesses, Outcome
from timewarp.files import exclusive, read_json
from timewarp.molecules import build_molecule
from timewarp.simulation import SimulationSettings, simulate
from timewarp.trajectories import RunFolder, run_in_campaign
from timewarp.verbs.many import peptide_seed, run_list
from timewarp.verbs.simulate_many import simulate_many, simulate_peptide

PEPTIDES = ["AG", "GG"]
SETTINGS = SimulationSettings(length_ns=0.02, burn_in_ps=0.2, segment_ps=0.5, frame_spacing_ps=0.1, seed=3)
WORK = partial(simulate_peptide, preset="amber14-obc2")


class Here:
    """An executor of this process, for what does not depend on processes."""

    description = "here"

    def __init__(self, stop_after=None):
        self.names, self.stop_after = [], stop_after

    def run(self, tasks, on_outcome, on_poll=lambda: None):
        for task in tasks:
            if len(self.names) == self.stop_after:
                raise KeyboardInterrupt
            self.names.append(task.name)
            try:
                task.function(*task.arguments, heartbeat=on_poll)
                on_outcome(Outcome(task.name))
            except task.expected as error:
                on_outcome(Outcome(task.name, error=str(error)))


def run(out, executor, peptides=PEPTIDES, settings=SETTINGS, **more):
    return simulate_many(peptides, out, executor=executor, **vars(settings), **more)


def same_frames(a, b):
    x, y = (RunFolder.open(path).trajectory() for path in (a, b))
    return torch.equal(x.positions, y.positions) and torch.equal(x.energies, y.energies)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each peptide by itself, under the seed that a campaign derives."""
    out = tmp_path_factory.mktemp("alone")
    for peptide in PEPTIDES:
        seed = peptide_seed(SETTINGS.seed, peptide)
        settings = SimulationSettings(**{**vars(SETTINGS), "seed": seed})
        simulate(build_molecule(peptide), out / peptide, settings, quiet=True, processes=1)
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "campaign"
    run(out, Here())
    return out


def kill_once(folder, closed, killed):
    """Kill the process that writes to ``folder`` once it has closed some segments."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        segments = sorted((folder / "segments").glob("*.safetensors"))
        if len(segments) >= closed:
            pid = int((folder / ".lock").read_text().split()[1])
            os.kill(pid, signal.SIGKILL)
            killed.update(pid=pid, kept={path: path.stat().st_mtime_ns for path in segments})
            return
        time.sleep(0.005)


@pytest.mark.parametrize("executor", [LocalProcesses(1), DaskCluster(None, 1)], ids=["processes", "dask"])
def test_a_killed_worker_loses_its_open_segment_at_most(executor, alone, tmp_path):
    """One worker, so that whatever it was killed with must be begun again by another."""
    killed = {}
    killer = threading.Thread(target=kill_once, args=(tmp_path / "run" / "AG", 5, killed))
    killer.start()
    summary = run(tmp_path / "run", executor)
    killer.join()
    assert killed["pid"] != os.getpid()
    assert len(killed["kept"]) < 40, "the run was over before it was killed"
    assert all(path.stat().st_mtime_ns == then for path, then in killed["kept"].items())
    assert int((tmp_path / "run" / "AG" / ".lock").read_text().split()[1]) != killed["pid"]
    assert (summary["complete"], summary["done"], summary["failed"]) == (True, 2, 0)
    for peptide in PEPTIDES:
        assert same_frames(alone / peptide, tmp_path / "run" / peptide)


def test_a_peptide_is_what_it_is_alone(alone, finished):
    for peptide in PEPTIDES:
        assert same_frames(alone / peptide, finished / peptide)
        assert (finished / peptide / "energy.safetensors").exists()


def test_summary(finished):
    summary = read_json(finished / "summary.json")
    assert (summary["schema"], summary["complete"], summary["preset"], summary["seed"]) == (1, True, "amber14-obc2", 3)
    assert summary["done_ns"] == pytest.approx(0.04)
    assert [row["sequence"] for row in summary["table"]] == PEPTIDES
    for row in summary["table"]:
        assert row["state"] == "done"
        assert row["done_ns"] == pytest.approx(0.02)
        assert row["ns_per_day"] == pytest.approx(row["done_ns"] / row["wall_s"] * 86400)
        assert row["seed"] == RunFolder.open(finished / row["folder"]).config["seed"]


def test_finished_peptides_are_skipped_and_new_ones_run(finished, tmp_path):
    import shutil

    out = shutil.copytree(finished, tmp_path / "copy")
    again = Here()
    assert run(out, again)["complete"]
    assert again.names == []
    order = Here()
    assert run(out, order, ["Ace-G-Nme", "GG"], SETTINGS)["done_ns"] == pytest.approx(0.04)
    assert order.names == ["Ace-G-Nme"]


def test_a_longer_length_extends_all(finished, tmp_path):
    short = SimulationSettings(**{**vars(SETTINGS), "length_ns": 0.01})
    run(tmp_path / "run", Here(), settings=short)
    with pytest.raises(FileExistsError, match=r"length_ns is 0\.01, not 0\.005; it can be extended"):
        run(tmp_path / "run", Here(), settings=SimulationSettings(**{**vars(SETTINGS), "length_ns": 0.005}))
    extended = Here()
    run(tmp_path / "run", extended)
    assert extended.names == PEPTIDES
    for peptide in PEPTIDES:
        assert same_frames(finished / peptide, tmp_path / "run" / peptide)


def test_an_interrupted_campaign_says_how_far_it_is_and_goes_on(finished, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(out, Here(stop_after=1))
    summary = read_json(out / "summary.json")
    assert [row["state"] for row in summary["table"]] == ["done", "waiting"]
    assert not summary["complete"]
    rest = Here()
    run(out, rest, PEPTIDES[::-1])  # seeds do not depend on the order
    assert rest.names == ["GG"]
    assert same_frames(finished / "GG", out / "GG")


def test_a_failing_peptide_does_not_stop_the_others_and_is_tried_again(finished, tmp_path):
    out, said = tmp_path / "run", []
    (out / "AG").mkdir(parents=True)
    (out / "campaign.toml").write_bytes((finished / "campaign.toml").read_bytes())
    (out / "AG" / "thesis.tex").write_text("do not touch")
    summary = run(out, Here(), say=said.append)
    assert [row["state"] for row in summary["table"]] == ["failed", "done"]
    assert "thesis.tex" in summary["table"][0]["message"]
    assert len(said) == 1
    assert said[0].startswith("AG failed: ")
    (out / "AG" / "thesis.tex").unlink()
    again = Here()
    assert run(out, again)["complete"]
    assert again.names == ["AG"]
    assert same_frames(finished / "AG", out / "AG")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 4}, "whose seed is 3, not 4"), ({"temperature_K": 400.0}, "temperature_K is 310.0, not 400.0")],
)
def test_another_campaign_is_refused(finished, change, message):
    with pytest.raises(FileExistsError, match=message):
        run(finished, Here(), settings=SimulationSettings(**{**vars(SETTINGS), **change}))


def test_other_folders_are_refused(finished, tmp_path):
    with exclusive(finished), pytest.raises(FileExistsError, match=f"another process is writing.*pid {os.getpid()}"):
        run(finished, Here())
    with pytest.raises(FileExistsError, match="is not a campaign and not empty"):
        run(finished / "AG", Here())
    with pytest.raises(ValueError, match="each once"):
        run(tmp_path / "run", Here(), ["AG", "AG"])


def test_a_worker_without_the_file_system_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"does not see .*file system shared"):
        run_in_campaign(WORK, "AG", tmp_path / "elsewhere" / "AG", SETTINGS, heartbeat=lambda: None)


def test_a_peptide_waits_for_the_worker_that_had_it(finished, tmp_path):
    """A worker that Dask has given up may still be writing for a moment."""
    folder = tmp_path / "run" / "GG"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "campaign.toml").write_bytes((finished / "campaign.toml").read_bytes())
    waits = []
    settings = SimulationSettings(**{**vars(SETTINGS), "seed": peptide_seed(3, "GG")})
    with exclusive(folder) as _:
        thread = threading.Thread(
            target=run_in_campaign,
            args=(WORK, "GG", folder, settings),
            kwargs={"heartbeat": lambda: waits.append(1)},
        )
        thread.start()
        while not waits:
            time.sleep(0.01)
        time.sleep(0.5)
        assert not list(folder.glob("segments/*.safetensors"))
    thread.join()
    assert same_frames(finished / "GG", folder)


def test_seeds_are_of_the_sequence():
    assert peptide_seed(0, "AG") != peptide_seed(1, "AG") != peptide_seed(1, "GA")
    assert 0 <= peptide_seed(7, "AIVL") < 2**32


def count_up(sequence, folder, settings, *, heartbeat):
    """A verb: write as many lines as are wanted, one at a time; those of a glycine alone cannot be written."""
    folder.mkdir(exist_ok=True)
    if sequence == "G":
        raise ValueError("glycine is too small")
    with open(folder / "lines.txt", "a") as file:
        for _ in range(settings["lines"] - lines_of(sequence, folder)):
            file.write(f"{settings['word']}\n")
            heartbeat()


def lines_of(sequence, folder):
    path = folder / "lines.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def count_list(out, lines, executor, peptides=("G", "AG", "GA"), **more):
    def row(sequence, folder):
        return {
            "state": "done" if lines_of(sequence, folder) >= lines else "waiting",
            "lines": lines_of(sequence, folder),
        }

    return run_list(
        peptides,
        out,
        work=count_up,
        settings=lambda sequence: {"lines": lines, "word": sequence},
        row=row,
        shared={"campaign": {"schema": 1, "kind": "lines"}, "lines": lines},
        may_grow="lines",
        executor=executor,
        amount=lines_of,
        each=lines,
        unit="lines",
        totals=lambda rows, wall_s: {"all_lines": sum(row["lines"] for row in rows)},
        **more,
    )


@pytest.mark.parametrize("executor", [LocalProcesses(2), Here()], ids=["processes", "here"])
def test_any_verb_over_a_list(tmp_path, executor, capsys):
    said = []
    summary = count_list(tmp_path / "out", 3, executor, say=said.append, progress=True)
    assert said == ["G failed: glycine is too small"]
    assert (summary["done"], summary["failed"], summary["complete"], summary["all_lines"]) == (2, 1, False, 6)
    assert [row["state"] for row in summary["table"]] == ["failed", "done", "done"]
    assert summary == read_json(tmp_path / "out" / "summary.json")
    assert "3 peptides: 67 %" in capsys.readouterr().err
    longer = count_list(tmp_path / "out", 5, Here(), peptides=("AG", "GA"))
    assert (longer["complete"], longer["all_lines"]) == (True, 10)
    assert longer["wall_s"] > summary["wall_s"], "the time of earlier calls counts"
    assert (tmp_path / "out" / "AG" / "lines.txt").read_text() == "AG\n" * 5
    with pytest.raises(FileExistsError, match="lines is 5, not 4; it can be extended, not shortened"):
        count_list(tmp_path / "out", 4, Here())
