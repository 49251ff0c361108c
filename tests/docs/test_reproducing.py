"""The commands of docs/reproducing-the-paper.md are run, in order, at a small size: from MD to the report."""

import re
import shlex
from pathlib import Path

import pytest

from timewarp.commands import main
from timewarp.files import read_json, read_toml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reproducing-the-paper.md").read_text()
SMALL = {
    "simulate": "--length 0.064 --burn-in 1 --frame-spacing 0.1 --threads 1",
    "train": "--config configs/smoke-cartesian.toml --threads 1",
    "sample": "--samples 640 --chains 16 --warmup 10 --threads 1",
    "explore": "--samples 200 --chains 10 --threshold 1e6 --threads 1",
    "conditional": "--n 50 --md-runs 16 --threads 1",
    "report": "--lag 0.4",
    "evaluate": "--lag 0.4",
}
"""Options that make a command small and change nothing else about it; the last one given counts."""


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line[2:].split("  #")[0] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


FIGURES = {
    "paper/ad-chain/report": (
        "ramachandran", "free_energy", "tica", "energy", "bonded", "acceptance", "speed", "autocorrelation",
    ),
    "paper/ad-explored/report": ("exploration",),
    "paper/ad-test/conditional": ("conditional",),
    "paper/2aa-test/conditional": ("conditional",),
    "paper/2aa-chain/report": ("ramachandran", "acceptance"),
}  # fmt: skip
"""Where the figure of each experiment of the paper comes to lie."""


def test_the_configurations_that_it_names_exist():
    for name in re.findall(r"configs/[\w.-]+\.toml", PAGE):
        assert (ROOT / name).is_file(), name


@pytest.mark.slow
def test_commands(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    run = commands()
    assert len(run) >= 18
    for words in run:
        assert words[0] == "timewarp", words
        small = next((more for start, more in SMALL.items() if " ".join(words[1:]).startswith(start)), "")
        if "--sequences" in words:
            words[words.index("--sequences") + 1] = str(_two_peptides(tmp_path))
        words = [str(p) for w in words for p in (_folders(tmp_path, w) if "*" in w else [w])]
        # In this process: each of its own would spend most of its time on importing.
        assert main([*words[1:], *small.split()]) == 0, f"{' '.join(words)}\n{capfd.readouterr().err}"
    assert read_toml(tmp_path / "paper/ad-md/config.toml")["preset"] == "amber14-obc1"
    summary = read_json(tmp_path / "paper/ad-chain/summary.json")
    assert (summary["preset"], list(summary["kernels"])) == ("amber14-obc1", ["flow"])
    assert (tmp_path / "paper/ad-chain/report/index.html").stat().st_size > 10_000
    for folder, names in FIGURES.items():
        for name in names:
            assert (tmp_path / folder / f"{name}.png").stat().st_size > 5_000, name
    analysis = read_json(tmp_path / "paper/ad-chain/report/analysis.json")
    assert {"jsd_phi_psi", "profiles", "states", "measures", "energy", "bonded", "speed"} <= analysis[
        "comparison"
    ].keys()
    assert analysis["comparison"]["speed"]["TIC 1"]["sign"] in "=<>?"
    rows = read_json(tmp_path / "paper/ad-evaluation/evaluation.json")["rows"]
    assert len(rows) == 2
    assert all(row["speed_up"] is not None for row in rows)
    rows = read_json(tmp_path / "paper/ad-model/curves.json")["rows"]
    assert [row["stage"] for row in rows] == ["likelihood"] * 3 + ["acceptance"]
    assert read_toml(tmp_path / "paper/2aa-model/model.toml")["training"]["molecule"] == "2 molecules"


def _folders(base: Path, pattern: str) -> list[Path]:
    """What a shell makes of a pattern that ends in a slash."""
    return sorted(path for path in base.glob(pattern) if path.is_dir() and not path.name.startswith("."))


def _two_peptides(folder: Path) -> Path:
    """Two training peptides of different sizes."""
    path = folder / "two.txt"
    path.write_text("AG\nAS\n")
    return path
