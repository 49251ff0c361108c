"""The commands and the code of the README and of the first pages are run, in order, as a reader would."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_site import DOCS, blocks

from timewarp.commands import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST_PAGE = (DOCS / "getting-started.md").read_text()
SETS_UP = ("make ", ". .venv/bin/activate")
FEWER = {
    "timewarp sample AIVL -n": "-n 320 -c 16 --warmup 40",
    "timewarp sample AIVL -o": "-n 640 -c 16 --warmup 40",
    "timewarp sample Ace-A-Nme": "-n 1280 -c 32 --warmup 40",
    "timewarp sample --sequences": "-n 160 -c 8 --warmup 20",
}
"""Options that make a command quick enough for a test and change nothing else about it; the last one given counts."""
GOOD = "These samples can be trusted."


def commands(text: str) -> list[str]:
    lines = [line for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    return [line[2:].split("  #")[0].strip() for line in lines]


def run_all(text: str, capfd, fewer: dict[str, str]) -> dict[str, str]:
    """Run the commands of a page here; what each of them printed."""
    printed = {}
    for command in commands(text):
        if command.startswith((*SETS_UP, "timewarp --version")):
            continue
        words = shlex.split(command)
        assert words[0] == "timewarp", command
        extra = next((shlex.split(more) for start, more in fewer.items() if command.startswith(start)), [])
        # In this process: each of its own would spend most of its time on importing.
        code = main([*words[1:], *extra])
        printed[command], errors = capfd.readouterr()
        assert code == 0, f"{command}\n{errors}"
    return printed


def test_it_is_read_in_two_minutes():
    assert len(README.splitlines()) <= 120


def test_every_make_target_that_is_named_exists():
    named = set(re.findall(r"make ([a-z-]+)", " ".join(re.findall(r"`make [a-z-]+`|\$ make [a-z-]+", README))))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "install", "docs", "lint"} <= named <= targets


@pytest.mark.slow
def test_the_first_commands_end_well(tmp_path, monkeypatch, capfd):
    """As they are, with the numbers of samples and chains that a reader gets: they end with a good verdict."""
    monkeypatch.chdir(tmp_path)
    assert subprocess.run([sys.executable, "-m", "timewarp", "--version"], check=False).returncode == 0
    capfd.readouterr()
    printed = run_all(README, capfd, {})
    first = next(iter(printed.values()))
    assert GOOD in first
    (shown,) = blocks(README, "text")
    assert GOOD in shown
    assert [line.split()[0] for line in shown.splitlines()] == [line.split()[0] for line in first.splitlines()]
    assert (tmp_path / "ala2/report/index.html").stat().st_size > 10_000


@pytest.mark.slow
def test_python_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    names: dict = {}
    exec(code, names)
    assert names["run"].verdict().headline == GOOD
    assert names["run"].torsions["phi_2"].shape == (16, 1250)
    assert names["run"].ramachandran()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_getting_started(tmp_path, monkeypatch, capfd):
    for name in ("configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    printed = run_all(FIRST_PAGE, capfd, FEWER)
    assert len(printed) >= 17
    for page in ("ala2/report/index.html", "ag-samples/report/index.html", "ag-evaluation/index.html"):
        assert (tmp_path / page).stat().st_size > 10_000
    # The same in Python goes on with what the commands have made, so that it is done at once.
    (code,) = blocks((DOCS / "train-your-own.md").read_text(), "python")
    before = {path: os.stat(path).st_mtime_ns for path in tmp_path.glob("ag-*/segments/*")}
    names: dict = {}
    exec(code, names)
    assert names["run"].trajectory.n_chains == 16
    assert before == {path: os.stat(path).st_mtime_ns for path in tmp_path.glob("ag-*/segments/*")}


@pytest.mark.slow
def test_lists_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = [code for code in blocks((DOCS / "campaigns.md").read_text(), "python") if "import timewarp" in code]
    small = {"length_ns=10": "length_ns=0.01, burn_in_ps=1", "20_000": "160", '"tcp://host:8786"': '"processes"'}
    for old, new in small.items():
        assert old in code
        code = code.replace(old, new)
    names: dict = {}
    exec(code, names)
    assert names["summary"]["done"] == 2


@pytest.mark.slow
def test_python_example(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "quickstart.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"accepted ([\d.]+)", done.stdout)[1]) > 0.5


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
