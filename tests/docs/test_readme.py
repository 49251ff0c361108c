"""The README's commands and code are run, in order, as a reader would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from timewarp.commands import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SETS_UP = ("make ", ". .venv/bin/activate")
FEWER = {
    "timewarp sample Ace-A-Nme": "--samples 1280 --chains 32 --warmup 40",
    "timewarp sample AIVL": "--samples 320 --chains 16 --warmup 40",
    "timewarp sample --sequences": "--samples 160 --chains 8 --warmup 20",
}
"""Options that make a command quick enough for a test and change nothing else about it."""


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line[2:].split("  #")[0].strip() for line in lines]


def test_every_make_target_that_is_named_exists():
    named = {command.split()[1] for command in commands() if command.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "install"} <= named <= targets


@pytest.mark.slow
def test_commands(tmp_path, monkeypatch, capfd):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([sys.executable, "-m", "timewarp", "--version"], check=False).returncode == 0
    run = [command for command in commands() if not command.startswith((*SETS_UP, "timewarp --version"))]
    assert len(run) >= 9
    for command in run:
        words = shlex.split(command)
        assert words[0] == "timewarp", command
        extra = next((shlex.split(more) for start, more in FEWER.items() if command.startswith(start)), [])
        # In this process: each of its own would spend most of its time on importing.
        assert main([*words[1:], *extra]) == 0, f"{command}\n{capfd.readouterr().err}"
    (notebook,) = [block for block in PYTHON if "timewarp.open" in block]
    exec(notebook, {})
    for page in ("ala2/report/index.html", "ag-samples/report/index.html"):
        assert (tmp_path / page).stat().st_size > 10_000


@pytest.mark.slow
def test_python_example(tmp_path):
    (block,) = [block for block in PYTHON if "generator" in block]
    example = (ROOT / "examples" / "quickstart.py").read_text()
    assert block in example, "the README shows other code than examples/quickstart.py"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    acceptance = float(re.search(r"tensor\(([\d.]+)\)", done.stdout)[1])
    assert acceptance > 0.5


def test_the_picture_can_be_drawn_again(tmp_path):
    out, md = tmp_path / "picture.png", str(ROOT / "examples" / "ala2-md")
    words = [sys.executable, str(ROOT / "docs" / "images" / "draw.py"), md, md, str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 20_000


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
