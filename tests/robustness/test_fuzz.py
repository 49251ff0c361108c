"""Mutated inputs and option values: every one is refused in one line, or right."""

import os

import pytest
from fuzz import cases, make_inputs

SHORT, LONG = 25, int(os.environ.get("TIMEWARP_FUZZ", "100"))


@pytest.mark.parametrize("n", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_mutated_inputs(tmp_path, n):
    (tmp_path / "inputs").mkdir()
    make_inputs(tmp_path / "inputs")
    found, refused = [], 0
    for case, ended in cases(tmp_path / "inputs", tmp_path / "work", n, seed=n):
        refused += ended.code != 0
        if ended.fault:
            found.append(f"{case.kind}: {case.what}: {ended.fault}")
    assert not found, "\n".join(found)
    assert refused > n // 2  # or the mutations change nothing
