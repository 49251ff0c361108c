"""This version beside another one: the same measurements with both source trees, in alternation, in one run.

    git worktree add ../before VERSION    # and compile its kernels there: make native
    python benchmarks/against_version.py ../before --json versions.json

Each tree has a process of its own, which imports nothing of the other, on one thread. Measurements are taken in turn,
A B B A, and the processes are started anew for each round: one may be lucky with its memory. Ratios are this version
over the other one, of each pair of neighbours; shown are their median, and its standard error over all pairs (1.25
standard deviations of a normal distribution that has their interquartile range). The clock is the processor time of the
process: other work on the machine moves it little, and hits both alike.

Measured are

- benchmarks/sampler.py of each tree: global proposals per second, and steps of each kernel (alanine dipeptide);
- whole cycles: samples per second of the default chain of alanine dipeptide, and of a dipeptide under the network for
  all peptides. Both versions go on with copies of a run that the other one has begun (and tuned). Where they go on bit
  for bit (`same_frames`), effective samples per second have the same ratio as samples per second;
- benchmarks/energies.py of each tree: energies and forces per second, and those of OpenMM, the same program in both
  trees, as a control;
- benchmarks/md.py of each tree: steps per second of the batched engine.

Versions need not share a library: what is called are the scripts of each tree, and the command line.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
CHAINS = {"ala2": ("Ace-A-Nme", 64, 12_800), "peptides": ("AV", 64, 6400)}
"""Of the measurements of whole cycles: molecule, chains, samples."""
BEGUN = 8
"""Samples of each chain of the runs that are gone on with."""
KERNEL_CHAINS, BATCHES, REPLICAS = 64, (64, 1024), 32
LARGEST_LOSS, SEED = 0.05, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="root of the other version's source tree")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of processes (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of measurements in each (default %(default)s)")
    parser.add_argument("--only", nargs="+", default=list(TASKS)[:4], choices=list(TASKS)[:4], help="default: all")
    parser.add_argument("--wall", action="store_true", help="measure wall time, on a machine that does nothing else")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.other.resolve(), args.wall)
        return
    trees = {"this": HERE, "other": args.other.resolve()}
    for tree in trees.values():
        if not (tree / "src" / "timewarp" / "__init__.py").is_file():
            parser.error(f"{tree} is no source tree of timewarp")
    pairs: dict[str, list[tuple[float, float]]] = {}
    facts: dict[str, list[dict[str, Any]]] = {}
    load, began = [os.getloadavg()[0]], time.time()
    with tempfile.TemporaryDirectory() as scratch:
        begun = {}
        if "chains" in args.only:
            with server(trees["other"], args.wall) as process:
                begun = ask(process, "begin", folder=scratch)
        for k in range(args.rounds):
            with contextlib.ExitStack() as stack:
                servers = {name: stack.enter_context(server(tree, args.wall)) for name, tree in trees.items()}
                for task in args.only:
                    for pair in range(-1, args.pairs):  # the first is not counted
                        order = list(servers) if pair % 2 else list(servers)[::-1]
                        found = {name: ask(servers[name], task, begun=begun) for name in order}
                        if task == "chains":
                            facts |= {name: [found[tree].pop(name) for tree in trees] for name in CHAINS}
                        for key, rate in found["this"].items() if pair >= 0 else ():
                            pairs.setdefault(key, []).append((rate, found["other"][key]))
            load.append(os.getloadavg()[0])
            print(f"round {k + 1} of {args.rounds}, {time.time() - began:.0f} s", flush=True)
    rows = {name: compared(values) for name, values in pairs.items()}
    show(rows)
    runs = {}
    for name, (this, other) in facts.items():
        rate = rows[f"chains: {name}, samples/s"]["this"]
        size = this["ess"] / this["samples"]
        runs[name] = {"same_frames": this["frames"] == other["frames"], "ess_per_second": size * rate, **this}
        print(
            f"{name}: frames equal: {runs[name]['same_frames']}; {size * rate:,.0f} effective samples/s ({this['of']})"
        )
    if args.json:
        result = {"schema": 1, "benchmark": "versions", **about(trees, args), "load": load, "rows": rows, "runs": runs}
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def compared(values: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians of both versions, and the median of the ratios with its error."""
    ratios = [this / other for this, other in values]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (math.nan,) * 3
    return {
        "this": statistics.median(this for this, _ in values),
        "other": statistics.median(other for _, other in values),
        "ratio": statistics.median(ratios),
        "quartiles": [low, high],
        "error": 1.25 * (high - low) / 1.349 / math.sqrt(len(ratios)),
        "pairs": len(ratios),
    }


def show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"{'':42}{'this':>13}{'other':>13}{'ratio':>8}{'error':>8}   quartiles")
    for name, row in rows.items():
        lost = row["ratio"] < 1 - LARGEST_LOSS - 2 * row["error"]
        print(
            f"{name:42}{row['this']:13,.1f}{row['other']:13,.1f}{row['ratio']:8.3f}{row['error']:8.3f}   "
            f"{row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f}{'   SLOWER' if lost else ''}"
        )


def about(trees: Mapping[str, Path], args: argparse.Namespace) -> dict[str, Any]:
    """What was measured, and where."""
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return {
        "commits": {name: _commit(tree) for name, tree in trees.items()},
        "device": f"{next(names, 'unknown')}, one thread",
        "clock": "wall" if args.wall else "processor",
        "rounds": args.rounds,
        "pairs": args.pairs,
        "seed": SEED,
        "chains": {
            name: dict(zip(("molecule", "chains", "samples"), row, strict=True)) for name, row in CHAINS.items()
        },
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _commit(tree: Path) -> str:
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


# --- a process for each tree --------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(tree: Path, wall: bool) -> Iterator[subprocess.Popen]:
    """A process that measures with the sources of a tree."""
    command = [sys.executable, str(Path(__file__).resolve()), str(tree), "--serve", *(["--wall"] if wall else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def ask(process: subprocess.Popen, task: str, **options: Any) -> Any:
    """The result of one measurement."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"task": task, **options}) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{task} failed; the reason is above")
    return json.loads(line)


def serve(tree: Path, wall: bool) -> None:
    """Measure what is asked for, one request a line."""
    # An editable install finds its own sources, whatever the path says.
    sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
    sys.path[:] = [str(tree / "benchmarks"), str(tree / "src"), *(p for p in sys.path if Path(p).name != "benchmarks")]
    if not wall:
        time.perf_counter = time.monotonic = time.process_time
    import scaling

    import timewarp

    if tree not in Path(timewarp.__file__).resolve().parents:
        raise SystemExit(f"{timewarp.__file__} is imported, which is not in {tree}")
    scaling.matrix_product_gflops = lambda threads: 1.0  # not compared, and takes seconds
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.redirect_stdout(io.StringIO()):
            result = TASKS[request.pop("task")](tree, **request)
        print(json.dumps(result), flush=True)


def script(tree: Path, name: str, *options: str) -> dict[str, Any]:
    """The JSON that a benchmark of the tree writes."""
    path = tree / "benchmarks" / f"{name}.py"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "result.json"
        before, sys.argv = sys.argv, [str(path), *options, "--json", str(out)]
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            sys.argv = before
        return json.loads(out.read_text())


# --- what is measured: names and rates, larger is better ----------------------------------------------------------


def kernels(tree: Path, **_: Any) -> dict[str, float]:
    options = ("--chains", str(KERNEL_CHAINS), "--threads", "1", "--repeats", "5", "--seconds", "0.03")
    (row,) = script(tree, "sampler", *options)["rows"]
    rates = {f"kernels: {name}, steps/s": 1000 / ms for name, ms in row["kernels_ms"].items()}
    return {"kernels: global proposals/s": row["global_proposals_per_second"], **rates}


def energies(tree: Path, **_: Any) -> dict[str, float]:
    options = ("--threads", "1", "--molecules", "Ace-A-Nme", "--repeats", "3", "--seconds", "0.03")
    result = script(tree, "energies", *options, "--batches", *map(str, BATCHES))
    found = {}
    for row in result["results"][0]["batches"]:
        for kind in ("energies", "forces"):
            found[f"energies: {kind}/s, batch {row['batch']}"] = row[kind]["ours"]["median"]
    found["energies: control, OpenMM native forces/s"] = row["forces"]["openmm_native"]["median"]
    return found


def dynamics(tree: Path, **_: Any) -> dict[str, float]:
    import md

    return {
        f"md: steps/s, {REPLICAS} replicas{label}": md.batched_rate("Ace-A-Nme", REPLICAS, moves, 1.0, 1)[1]
        for label, moves in (("", 0.0), (", torsion moves", 10.0))
    }


def chains(tree: Path, begun: Mapping[str, str]) -> dict[str, Any]:
    """Production of the default chain; and by name what was sampled, to be compared."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, n_chains, samples) in CHAINS.items():
            out = Path(scratch) / name
            shutil.copytree(begun[name], out)
            seconds = -read(out)["wall_s"]
            sample(name, BEGUN * n_chains + samples, out)
            summary = read(out)
            seconds += summary["wall_s"]
            sizes = {key: value for key, value in summary["ess"].items() if value is not None}
            found[f"chains: {name}, samples/s"] = samples / seconds
            slowest = min(sizes, key=lambda key: sizes[key])
            found[name] = {
                "samples": summary["n_samples"],
                "ess": sizes[slowest],
                "of": slowest,
                "frames": digest(out),
            }
    return found


def digest(run: Path) -> str:
    """Of all frames and energies."""
    from timewarp.trajectories import RunFolder

    trajectory = RunFolder.open(run).trajectory()
    parts = (trajectory.positions, trajectory.energies)
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()


def read(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def begin(tree: Path, folder: str) -> dict[str, str]:
    """Begin the runs that both versions go on with: their folders."""
    for name, (_, n_chains, _) in CHAINS.items():
        sample(name, BEGUN * n_chains, Path(folder) / name)
    return {name: str(Path(folder) / name) for name in CHAINS}


def sample(name: str, samples: int, out: Path) -> None:
    """By the command line, which versions have in common."""
    from timewarp.commands import main as timewarp

    molecule, n_chains, _ = CHAINS[name]
    options = ["--chains", str(n_chains), "--samples", str(samples), "--seed", str(SEED), "--warmup", "100"]
    if timewarp(["sample", molecule, *options, "--threads", "1", "--out", str(out), "--quiet"]):
        raise SystemExit(f"sampling {molecule} failed")


TASKS = {"kernels": kernels, "energies": energies, "dynamics": dynamics, "chains": chains, "begin": begin}


if __name__ == "__main__":
    main()
