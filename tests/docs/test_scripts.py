"""Benchmarks and examples call the library: what they import is there, and none uses the command line."""

import ast
import importlib
from pathlib import Path

import pytest

import timewarp

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")])
BETWEEN_VERSIONS = "against_version.py"
"""Has nothing but the command line in common with another version."""


def imported(tree: ast.AST) -> list[tuple[str, str]]:
    """Modules of the package, and what is imported from each."""
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "timewarp"
        for alias in node.names
    ]


def is_there(module: str, name: str) -> bool:
    found = importlib.import_module(module)
    try:
        return hasattr(found, name) or importlib.import_module(f"{module}.{name}") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_uses_is_there(script):
    tree = ast.parse(script.read_text())
    names = imported(tree)
    assert [f"{module}.{name}" for module, name in names if not is_there(module, name)] == []
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "tw"}
    assert used <= {*timewarp.__all__, "__version__"}
    if script.name != BETWEEN_VERSIONS:
        assert not [module for module, _ in names if module.startswith("timewarp.commands")]


def test_the_check_can_fail():
    tree = ast.parse("from timewarp.sampling import FlowKernel\nfrom timewarp import native")
    assert [is_there(*each) for each in imported(tree)] == [False, True]
