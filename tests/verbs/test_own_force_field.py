"""Verbs on molecules with a force field of their own: sampled frames re-scored, runs gone on with, another refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import timewarp as tw
from timewarp.commands import main
from timewarp.molecules import build_molecule
from timewarp.trajectories import RunFolder

sys.path.insert(0, str(Path(__file__).parent.parent / "molecules"))

import door_systems as made

FEW = {"samples": 64, "chains": 8, "warmup": 6, "threads": 1}
CASES = {
    "prmtop": (lambda: made.peptide("Ace-A-Nme"), ("prmtop", "rst7"), "obc2"),
    "top": (made.halide, ("top", "gro"), "gbn2"),
    "psf": (lambda: made.peptide("Ace-A-Nme"), ("psf", "prm", "crd"), "obc1"),
    "xml": (made.dinucleotide, ("xml", "pdb"), None),
    "ring": (made.ring, ("prmtop", "rst7"), "obc2"),
}


@pytest.mark.parametrize("case", CASES)
def test_sampled_frames_have_the_energies_of_openmm(case: str, tmp_path: Path) -> None:
    make, suffixes, solvent = CASES[case]
    path = make().save(tmp_path, *suffixes)
    run = tw.sample(path, solvent=solvent, out=tmp_path / "run", **FEW)
    system = build_molecule(path, files=tw.molecules.Files(solvent=solvent), minimise=False).system
    frames = run.positions.reshape(-1, run.atoms.n_atoms, 3)[::9].astype(float)
    expected = [made.reference_energy(system, frame) for frame in frames]
    # Energies are stored as the chain had them, in single precision.
    assert np.allclose(run.energies.ravel()[::9], expected, atol=0.05, rtol=2e-6)
    assert (run.path / "system.xml").is_file()
    summary = run.summary
    assert summary is not None
    assert summary["chirality_flips"] == summary["cis_trans_flips"] == 0


@pytest.fixture
def prmtop(tmp_path: Path) -> Path:
    return made.peptide("Ace-A-Nme").save(tmp_path, "prmtop", "rst7")


def test_a_run_goes_on_and_is_extended_without_its_files(prmtop: Path, tmp_path: Path) -> None:
    whole = tw.sample(prmtop, solvent="obc2", out=tmp_path / "whole", **{**FEW, "samples": 128})
    part = tw.sample(prmtop, solvent="obc2", out=tmp_path / "part", **FEW)
    for file in tmp_path.glob("mol.*"):
        file.unlink()
    on = tw.sample(part.path, out=part.path, **{**FEW, "samples": 128})
    assert np.array_equal(on.positions, whole.positions)
    assert tw.open(part.path).system.energy_digest == whole.config["energy"]
    found = tw.explore(part.path, samples=20, chains=4, threads=1, out=tmp_path / "states")
    assert found.folder.molecule_argument == str(found.path)
    again = tw.sample(found.path, start_from=found.path, out=tmp_path / "confirmed", **FEW)
    assert again.atoms == whole.atoms
    md = tw.simulate(part.path, length_ns=0.002, burn_in_ps=0.1, threads=1, out=tmp_path / "md")
    assert tw.simulate(md.path, length_ns=0.003, burn_in_ps=0.1, threads=1, out=md.path).trajectory.n_frames > 1
    assert md.config["energy"] == whole.config["energy"]


def test_another_force_field_or_solvent_is_another_run(prmtop: Path, tmp_path: Path) -> None:
    tw.sample(prmtop, solvent="obc2", out=tmp_path / "run", **FEW)
    with pytest.raises(FileExistsError, match=r"under another force field .prmtop-obc2, not prmtop-obc1"):
        tw.sample(prmtop, solvent="obc1", out=tmp_path / "run", **FEW)
    lines = prmtop.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if "BOND_EQUIL_VALUE" in line) + 2
    lines[row] = f"{float(lines[row][:16]) + 0.01:16.8E}{lines[row][16:]}"
    prmtop.write_text("\n".join(lines))
    with pytest.raises(FileExistsError, match=r"another force field .* with these numbers"):
        tw.sample(prmtop, solvent="obc2", out=tmp_path / "run", **FEW)
    other = made.peptide("Ace-AK-Nme").save(tmp_path, "prmtop", "rst7", name="other")
    with pytest.raises(FileExistsError, match="holds another molecule"):
        tw.sample(other, solvent="obc2", out=tmp_path / "run", **FEW)


def test_a_preset_in_another_solvent(tmp_path: Path) -> None:
    run = tw.sample("Ace-A-Nme", solvent="gbn2", out=tmp_path / "run", **FEW)
    assert run.config["preset"] == "amber14-gbn2"
    assert tw.System("Ace-A-Nme", solvent="obc2").facts == tw.System("Ace-A-Nme").facts
    assert tw.System("AG").facts["energy"] is None


def test_the_command_line_from_files_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my files"
    folder.mkdir()
    path = made.dinucleotide().save(folder, "top", "gro")
    few = ["-n", "160", "-c", "8", "--warmup", "4", "--threads", "1", "--quiet"]
    assert main(["sample", str(path), "--solvent", "gbn", *few, "-o", str(folder / "run")]) == 0
    said = capsys.readouterr()
    assert "the physics prior proposes" in said.err
    assert main(["report", str(folder / "run"), "-o", str(folder / "report"), "--quiet"]) == 0
    page = (folder / "report" / "index.html").read_text()
    assert "C4′–C3′" in page or "C4&#x27;–C3&#x27;" in page or "C4'–C3'–O3'–P" in page
    assert "φ" not in page.split("<body")[1].split("How")[0][:2000]
    assert "hmc alone" in page
    files = ["--solvent", "gbn", "--coordinates", str(path.with_suffix(".gro"))]
    assert main(["explore", str(path), *files, *few[:4], "--quiet", "-o", str(folder / "states")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next ")]
    assert "--coordinates" in line
    assert "--solvent gbn" in line
    assert (
        main(["simulate", str(path), *files, "--length", "0.002", "--burn-in", "0", "-o", str(folder / "md"), "-q"])
        == 0
    )
    assert main(["pack", str(folder / "md"), "-o", str(folder / "packed.safetensors")]) == 0
    capsys.readouterr()
    assert main(["sample", str(path.with_suffix(".gro")), *few, "-o", str(folder / "x")]) == 2
    assert "--coordinates" in capsys.readouterr().err


def test_what_is_said_where_no_bond_turns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = made.ring("GGGGGG").save(tmp_path, "prmtop", "rst7")
    with caplog.at_level("WARNING", logger="timewarp"):
        run = tw.sample(path, solvent="obc2", out=tmp_path / "run", **FEW)
    assert "nothing for a network to propose, concerted rotations turn its ring" in caplog.text
    assert set(run.config["kernels"]) == {"concerted", "hmc"}
    assert RunFolder.open(run.path).config["preset"] == "prmtop-obc2"
