"""Executors: order, failures, deaths, interrupts, and Dask clusters that are there, silent or missing."""

import os
import signal
import time
from pathlib import Path

import pytest

from timewarp.executors import DaskCluster, LocalProcesses, Task, cluster


def double(x, *, heartbeat):
    heartbeat()
    return 2 * x


def fail(error, *, heartbeat):
    raise error


def die(folder, times, *, heartbeat):
    """Dies ``times`` times, then tells how it is run."""
    mark = Path(folder) / f"{len(list(Path(folder).iterdir()))}"
    mark.touch()
    if int(mark.name) < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ.get("OMP_NUM_THREADS"), int(mark.name)


def linger(folder, *, heartbeat):
    (Path(folder) / "begun").touch()
    for _ in range(600):
        time.sleep(0.05)
        (Path(folder) / "alive").touch()
        heartbeat()


@pytest.fixture(scope="module")
def local_cluster():
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as found,
    ):
        yield found


@pytest.fixture(params=["processes", "dask"])
def executor(request):
    if request.param == "processes":
        return LocalProcesses(1)
    return DaskCluster(request.getfixturevalue("local_cluster").scheduler_address)


def test_outcomes(executor, tmp_path):
    """Values, failures, a worker that dies once, and one that always dies, in one run."""
    for name in ("once", "always"):
        (tmp_path / name).mkdir()
    tasks = [
        Task("bad", fail, (ValueError("three\nlines\nhere"),)),
        Task("bug", fail, (ZeroDivisionError("by zero"),)),
        Task("once", die, (str(tmp_path / "once"), 1)),
        Task("always", die, (str(tmp_path / "always"), 99)),
        Task("good", double, (21,)),
    ]
    outcomes, polls = {}, []
    executor.run(tasks, lambda outcome: outcomes.setdefault(outcome.name, outcome), lambda: polls.append(1))
    assert set(outcomes) == {task.name for task in tasks}
    assert (outcomes["good"].value, outcomes["good"].error) == (42, None)
    assert outcomes["bad"].error == "three lines here"
    assert outcomes["bug"].error == "unexpected ZeroDivisionError: by zero"
    threads, begun = outcomes["once"].value
    assert threads == "1"
    assert begun >= 1  # Dask computes again what a dead worker had finished and not yet handed over
    assert "died 4 times" in outcomes["always"].error
    assert len(list((tmp_path / "always").iterdir())) == 4
    assert polls


def test_an_interrupt_stops_what_runs(executor, tmp_path):
    def interrupt():
        if (tmp_path / "begun").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.run([Task("long", linger, (str(tmp_path),))], lambda outcome: None, interrupt)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        (tmp_path / "alive").unlink(missing_ok=True)
        time.sleep(0.5)
        if not (tmp_path / "alive").exists():
            break
    else:
        pytest.fail("the task goes on although nobody waits for it")
    outcomes = []
    executor.run([Task("next", double, (1,))], outcomes.append)  # the worker is free again
    assert outcomes[0].value == 2


def test_dask_is_loaded_only_where_it_is_used():
    import subprocess
    import sys

    code = (
        "import sys, timewarp.executors, timewarp.verbs.many, timewarp.verbs.sample_many; print('dask' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_dask(monkeypatch):
    monkeypatch.setattr(cluster, "is_dask_installed", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'timewarp-md\[cluster\]'"):
        DaskCluster("tcp://127.0.0.1:8786")


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:9", "nonsense://x", "nowhere.json"])
def test_no_scheduler_there(monkeypatch, where):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {where} .*address"):
        DaskCluster(where).run([Task("good", double, (1,))], lambda outcome: None)


@pytest.mark.parametrize("kind", [LocalProcesses, lambda n: DaskCluster(None, n)])
def test_no_workers(kind):
    with pytest.raises(ValueError, match="workers must be at least 1"):
        kind(0)
