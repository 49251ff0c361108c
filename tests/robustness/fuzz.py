"""Mutated inputs of every kind, one command after the other; run as a script for many, or from the tests for a few."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mutations import HOSTILE, mutate_json, mutate_safetensors, mutate_text, mutate_toml
from program_calls import SECONDS, Ended, call

from timewarp.commands import VERBS, verb_of

SMALL = ["--preset", "amber14-vacuum", "--threads", "1"]
CHAIN = ["Ace-A-Nme", *SMALL, "--no-flow", "--chains", "2", "--warmup", "2"]
MD = ["Ace-A-Nme", *SMALL, "--replicas", "2", "--burn-in", "0.1", "--frame-spacing", "0.05"]
TRAIN = ["--threads", "1", "--minutes", "0.02", "--quiet"]
CONFIG = """[training]
family = "C"
steps = 4
batch_size = 8
validation_every = 2
learning_rate = 1e-3

[training.flow]
n_couplings = 1
width = 8
context_blocks = 1
"""


@dataclass(frozen=True)
class Case:
    """One input and the command that reads it.

    Attributes:
        kind: of the input, for the table.
        what: what was done to it.
        arguments: of the command.
    """

    kind: str
    what: str
    arguments: list[str]


def make_inputs(folder: Path) -> None:
    """The sound inputs: a chain, MD, a training, a packed set, an evaluation, files of other programs."""
    quiet = ["--quiet"]
    commands = [
        ["sample", *CHAIN, "--samples", "120", "--out", "chain", *quiet],
        ["simulate", *MD, "--length", "0.01", "--out", "md", *quiet],
        ["pack", "md", "--out", "set.safetensors", "--frames", "20"],
        ["export", "md", "--out", "files"],
        ["export", "md", "--out", "files-xtc", "--format", "xtc"],
        ["evaluate", "chain", "--reference", "md", "--out", "evaluation", *quiet],
        ["analyse", "chain", *quiet],
    ]
    (folder / "training.toml").write_text(CONFIG)
    (folder / "list.txt").write_text("Ace-A-Nme\n# a comment\nAG\n")
    commands.append(["train", "md", "--config", "training.toml", "--out", "model", *TRAIN])
    for arguments in commands:
        ended = call([str(folder / a) if (folder / a).exists() or a in _OUT else a for a in arguments], 60)
        assert ended.code == 0, (arguments, ended)
    shutil.copyfile(folder / "chain" / "summary.json", folder / "tuning.json")


_OUT = {"chain", "md", "set.safetensors", "files", "files-xtc", "evaluation", "model", "training.toml"}
Mutation = Callable[[Path, random.Random], tuple[bytes, str]]


def _of_bytes(mutate: Callable[[bytes, random.Random], tuple[bytes, str]]) -> Mutation:
    return lambda path, rng: mutate(path.read_bytes(), rng)


MUTATIONS: dict[str, Mutation] = {
    ".json": _of_bytes(mutate_json),
    ".toml": _of_bytes(mutate_toml),
    ".safetensors": mutate_safetensors,
    ".pdb": _of_bytes(mutate_text),
    ".txt": _of_bytes(mutate_text),
    ".dcd": _of_bytes(mutate_text),
    ".xtc": _of_bytes(mutate_text),
}

# Which file of the inputs is mutated -> commands that read it, one of which is taken at random.
READERS: dict[str, list[list[str]]] = {
    "chain/config.toml": [["analyse", "chain"], ["export", "chain"], ["resume-chain"], ["evaluate-it"]],
    "chain/atoms.json": [["analyse", "chain"], ["export", "chain"], ["resume-chain"], ["train-chain"]],
    "chain/topology.pdb": [["analyse", "chain"], ["export", "chain"]],
    "chain/summary.json": [["analyse", "chain"], ["resume-chain"], ["report", "chain"], ["evaluate-it"]],
    "chain/energy.safetensors": [["train-chain"], ["start-from"], ["pack-chain"]],
    "chain/segments/s000-000000.safetensors": [["analyse", "chain"], ["resume-chain"], ["train-chain"], ["pack-chain"]],
    "md/config.toml": [["analyse", "md"], ["resume-md"], ["conditional-md"]],
    "md/segments/s000-000000.safetensors": [["resume-md"], ["analyse", "md"]],
    "md/starts.safetensors": [["resume-md"]],
    "md/summary.json": [["resume-md"], ["analyse", "md"]],
    "set.safetensors": [["train-set"]],
    "model/model.toml": [["use-model"]],
    "model/model.safetensors": [["use-model"]],
    "model/checkpoint.safetensors": [["resume-training"]],
    "model/config.toml": [["resume-training"]],
    "model/curves.json": [["resume-training"]],
    "training.toml": [["train-config"]],
    "tuning.json": [["tuned"]],
    "evaluation/peptides/Ace-A-Nme.json": [["evaluate-it"]],
    "evaluation/evaluation.json": [["evaluate-it"]],
    "evaluation/.timewarp-files.json": [["evaluate-it"]],
    "list.txt": [["listed"]],
    "chain/segments/../topology.pdb": [["sample-pdb"]],
    "files/chain-000.dcd": [["foreign", "files/chain-000.dcd"]],
    "files-xtc/chain-000.xtc": [["foreign", "files-xtc/chain-000.xtc"]],
}


def arguments_of(reader: list[str], folder: Path) -> list[str]:
    """The command line of a reader."""
    at = {name: str(folder / name) for name in (*_OUT, "tuning.json", "list.txt", "new")}
    verb, *rest = reader
    lines = {
        "resume-chain": ["sample", *CHAIN, "--samples", "160", "--out", at["chain"]],
        "resume-md": ["simulate", *MD, "--length", "0.011", "--out", at["md"]],
        "train-chain": ["train", at["chain"], "--config", at["training.toml"], "--out", at["new"], *TRAIN[:-1]],
        "pack-chain": ["pack", at["chain"], "--out", at["new"] + ".safetensors"],
        "start-from": ["sample", *CHAIN, "--samples", "8", "--start-from", at["chain"], "--out", at["new"]],
        "evaluate-it": ["evaluate", at["chain"], "--reference", at["md"], "--out", at["evaluation"]],
        "conditional-md": ["conditional", at["md"], "--n", "4", "--md-runs", "4", "--lag", "0.05", "--threads", "1"],
        "train-set": ["train", at["set.safetensors"], "--steps", "1", "--out", at["new"], *TRAIN[:-1]],
        "use-model": [
            "sample", "Ace-A-Nme", *SMALL, "--model", at["model"], "--samples", "4", "--chains", "2", "--warmup", "1",
            "--out", at["new"],
        ],
        "resume-training": ["train", at["md"], "--config", at["training.toml"], "--out", at["model"], *TRAIN[:-1]],
        "train-config": ["train", at["md"], "--config", at["training.toml"], "--out", at["new"], *TRAIN[:-1]],
        "tuned": ["sample", *CHAIN, "--samples", "8", "--tuning", at["tuning.json"], "--out", at["new"]],
        "listed": [
            "simulate", "--sequences", at["list.txt"], "--scheduler", "nowhere:1", "--out", at["new"], "--length", "1",
        ],
        "sample-pdb": [
            "sample", at["chain"] + "/topology.pdb", *SMALL, "--no-flow", "--chains", "2", "--samples", "2", "--warmup",
            "0", "--out", at["new"],
        ],
        "foreign": ["analyse", str(folder / (rest[0] if rest else "")), "--out", at["new"] + ".json"],
    }  # fmt: skip
    line = lines.get(verb, [verb, *(str(folder / name) for name in rest)])
    if verb == "foreign":
        return ["evaluate", at["chain"], "--reference", str(folder / rest[0]), "--top", at["chain"] + "/topology.pdb",
                "--out", at["new"], "--quiet"]  # fmt: skip
    return line if line[0] in ("export", "pack") else [*line, "--quiet"]


def mutated(inputs: Path, folder: Path, rng: random.Random) -> Case:
    """A copy of the inputs with one file changed."""
    file = rng.choice(sorted(READERS))
    reader = rng.choice(READERS[file])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    target = (folder / file).resolve()
    data, what = MUTATIONS[target.suffix](target, rng)
    target.write_bytes(data)
    return Case(file, f"{reader[0]}: {what}", arguments_of(reader, folder))


def options(folder: Path, rng: random.Random) -> Case:
    """A command with one hostile value of one option."""
    verb = rng.choice([v for v in VERBS if verb_of(v).options])
    option = rng.choice([o for o in verb_of(verb).options if o.kind is not bool])
    value = str(rng.choice([*HOSTILE, "1e308", "-1e-308", "nan", "inf", "/dev/full", "/dev/null", ".", "9" * 5000]))
    value = value.replace("\x00", "")[:6000]
    first = {"simulate": ["AG"], "sample": ["AG"], "explore": ["AG"], "models": []}.get(verb, [str(folder / "none")])
    required = ["--reference", str(folder / "none")] if verb == "evaluate" and option.name != "reference" else []
    out = ["--out", str(folder / "none" / ".." / "file" / "x")] if verb_of(verb).out else []
    return Case(
        f"option of {verb}", f"{option.flag} {value[:30]}", [verb, *first, *required, *out, f"{option.flag}={value}"]
    )


def cases(inputs: Path, folder: Path, n: int, seed: int) -> Iterator[tuple[Case, Ended]]:
    """So many cases, one in five of them an option."""
    rng = random.Random(seed)
    (inputs.parent / "file").write_text("a file")
    for _ in range(n):
        case = options(inputs.parent, rng) if rng.random() < 0.2 else mutated(inputs, folder, rng)
        yield case, call(case.arguments, 30 if case.arguments[0] == "report" else SECONDS)


if __name__ == "__main__":
    where, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if not (where / "inputs").exists():
        (where / "inputs").mkdir(parents=True)
        make_inputs(where / "inputs")
    rows: dict[str, dict[str, int]] = {}
    for number, (case, ended) in enumerate(cases(where / "inputs", where / f"work{seed}", count, seed)):
        row = rows.setdefault(case.kind, {"tried": 0, "refused": 0, "right": 0, "faults": 0})
        row["tried"] += 1
        row["faults" if ended.fault else "right" if ended.code == 0 else "refused"] += 1
        if ended.fault:
            print(f"{number}: {case.kind}: {case.what}: {ended.fault.strip()}", flush=True)
        if number % 10 == 9 or number == count - 1:
            (where / f"fuzz{seed}.json").write_text(json.dumps(rows, indent=2))
    print(f"{count} cases, {sum(row['faults'] for row in rows.values())} faults")
