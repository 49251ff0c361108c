"""The example notebook runs in a fresh kernel, as `jupyter nbconvert` runs it, and shows images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first-run.ipynb"


def outputs(cell: dict) -> dict:
    return {kind: value for output in cell["outputs"] for kind, value in output.get("data", {}).items()}


def test_it_is_saved_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_it_runs_and_its_figures_are_images(tmp_path):
    # A plain environment: what a test run sets must not choose the figures' backend for the kernel.
    environment = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTEST_CURRENT_TEST")}
    command = ["-m", "jupyter", "nbconvert", "--execute", "--to", "notebook", "--output", "executed"]
    (tmp_path / NOTEBOOK.name).write_text(NOTEBOOK.read_text())  # its folder becomes the working directory
    done = subprocess.run(
        [sys.executable, *command, "--ExecutePreprocessor.timeout=600", NOTEBOOK.name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "executed.ipynb").read_text())["cells"]
    by_code = {"".join(cell["source"]): cell for cell in cells if cell["cell_type"] == "code"}
    for code in ("run.ramachandran()", "run.free_energies()"):
        image = outputs(by_code[code])["image/png"]
        assert len(image) > 20_000, code
        assert image.startswith("iVBOR"), "the signature of PNG in base 64"
    printed = [output["text"] for cell in cells for output in cell.get("outputs", ()) if "text" in output]
    assert any("These samples can be trusted." in "".join(text) for text in printed)
    run = next(cell for code, cell in by_code.items() if code.endswith("\nrun"))
    assert "<table>" in "".join(outputs(run)["text/html"])
