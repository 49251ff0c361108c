"""The kernels on ARM: cross-compiled and run in an emulator, where both are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-DTIMEWARP_ISA=baseline"]
WORST = {"float32": 3e-7, "float64": 2e-15}

pytestmark = pytest.mark.skipif(not (COMPILER and EMULATOR), reason="no aarch64 cross compiler and emulator")


def test_every_kernel_compiles_for_arm(tmp_path):
    kernels = sorted((ROOT / "src/native").glob("*kernels.cpp"))
    assert kernels
    for source in kernels:
        subprocess.run([COMPILER, *FLAGS, "-c", str(source), "-o", str(tmp_path / "out.o")], check=True)


def test_elementary_functions_on_arm(tmp_path):
    program = tmp_path / "elementary"
    sources = [ROOT / "src/native/elementary.cpp", Path(__file__).with_name("elementary_main.cpp")]
    subprocess.run([COMPILER, *FLAGS, "-static", *map(str, sources), "-o", str(program)], check=True)
    out = subprocess.run([EMULATOR, str(program)], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    assert len(rows) == 18
    for precision, function, error in rows:
        assert float(error) < WORST[precision], (precision, function)
