"""Run folders of version 0.1 go on, bit for bit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from instruction_sets import instruction_sets
from timewarp.files import read_json

HERE = Path(__file__).parent
CHAINS = "--chains 4 --warmup 10 --seed 3 --threads 1"
MD = "--burn-in 0.1 --frame-spacing 0.1 --seed 3 --segment 0.4 --threads 1 --torsion-moves 5"
COMMANDS = {
    "chain-c2": f"sample AG {CHAINS} --samples 24",
    "chain-c": f"sample Ace-A-Nme {CHAINS} --start-torsion phi_1=60 --samples 24",
    "chain-b": f"sample Ace-A-Nme {CHAINS} --family B --samples 24",
    "chain-a": f"sample Ace-A-Nme {CHAINS} --family A --proposals 2 --samples 24",
    "chain-local": f"sample Ace-P-Nme {CHAINS} --no-flow --samples 24",
    "md-batched": f"simulate AG --replicas 4 {MD} --length 0.0024",
    "md-openmm": f"simulate AG --replicas 2 {MD} --length 0.0024 --engine openmm --platform Reference",
    "exploration": "explore Ace-A-Nme --chains 4 --seed 3 --threads 1 --samples 24",
}
LISTS = {
    "list-md": "simulate --replicas 2 --burn-in 0.1 --frame-spacing 0.1 --seed 3 --segment 0.2 --scheduler processes "
    "--threads 1 --length 0.0008",
    "list-samples": "sample --chains 4 --warmup 4 --seed 3 --scheduler processes --threads 1 --samples 16",
}
ISA = {"TIMEWARP_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.skipif("avx2" not in instruction_sets(), reason="this processor, or this build, has no AVX2")


def go_on(name: str, words: list[str], folder: Path) -> Path:
    copy = folder / name
    shutil.copytree(HERE / "stopped" / name, copy)
    command = [sys.executable, "-m", "timewarp", *words, "--out", str(copy), "--quiet"]
    done = subprocess.run(command, env={**os.environ, **ISA}, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return copy


def check_frames(run: Path, expected: Path) -> None:
    wanted = load_file(expected)
    assert wanted
    for key, tensor in wanted.items():
        segment, _, part = key.partition(":")
        assert np.array_equal(load_file(run / "segments" / segment)[part], tensor), key


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_goes_on_bit_for_bit(name, tmp_path):
    run = go_on(name, COMMANDS[name].split(), tmp_path)
    check_frames(run, HERE / "expected" / f"{name}.safetensors")


def test_a_chain_goes_on_bit_for_bit(tmp_path):
    """The most usual kind, in every test run."""
    run = go_on("chain-c2", COMMANDS["chain-c2"].split(), tmp_path)
    check_frames(run, HERE / "expected" / "chain-c2.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_a_list_goes_on(name, tmp_path):
    words = [*LISTS[name].split(), "--sequences", str(HERE / "peptides.txt")]
    folder = go_on(name, words, tmp_path)
    for sequence in ("AG", "GA"):
        check_frames(folder / sequence, HERE / "expected" / f"{name}-{sequence}.safetensors")
    assert read_json(folder / "summary.json")["done"] == 2


@pytest.mark.slow
def test_a_training_goes_on(tmp_path):
    """Step for step; matrix products of another processor may round differently."""
    md = Path(__file__).parents[2] / "examples" / "ala2-md"
    words = ["train", str(md), "--config", str(HERE / "training.toml"), "--threads", "1"]
    folder = go_on("training", words, tmp_path)
    expected = load_file(HERE / "expected" / "training.safetensors")
    found = load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_same_command_without_a_number_of_chains_goes_on_too(tmp_path):
    """The default number of chains was another one: a run keeps its own."""
    words = ["sample", "AG", "--warmup", "10", "--seed", "3", "--threads", "1", "--samples", "24"]
    run = go_on("chain-c2", words, tmp_path)
    check_frames(run, HERE / "expected" / "chain-c2.safetensors")
