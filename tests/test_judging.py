"""The one judge, on made-up frames: what it names, refuses and says of each quantity."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthetic_runs import alanine, alanine_run
from timewarp.analysis import diagnose, ring_torsions
from timewarp.judging import judge_run, unturned_torsions
from timewarp.molecules import build_molecule
from timewarp.state import Atoms
from timewarp.trajectories import RunFolder, Trajectory

RING = Path(__file__).parent / "structures" / "disulphide_ring.pdb"


@dataclass
class Frames(RunFolder):
    """A run folder whose frames are made up."""

    kind: str = "chain"
    seed: int = 3
    frames: int = 600
    chains: int = 4
    superchains: tuple[int, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    temperature_K: float = 310.0
    name: str = "Ace-A-Nme"
    path: Path = Path("frames.xtc")
    is_dynamics: bool = False
    stuck: bool = False
    parameters: None = None
    streams: tuple[int, ...] = (0,)

    def n_frames(self, stream: int) -> int:
        return self.frames

    @property
    def atoms(self) -> Atoms:
        return alanine().atoms

    @property
    def topology_pdb(self) -> str:
        return alanine().pdb

    def summary(self) -> None:
        return None

    def check_unbiased(self) -> None:
        if self.kind == "exploration":
            raise ValueError("biased")

    def trajectory(self, stride: int = 1, discard: int = 0) -> Trajectory:
        run = alanine_run(seed=self.seed, frames=self.frames, chains=self.chains, stuck=self.stuck)
        x, u = run.positions[:, discard::stride], run.energies[:, discard::stride]
        unit = {"md": "ps", "frames": "frame"}.get(self.kind, "step")
        return Trajectory(
            run.atoms, x, u, torch.arange(x.shape[1]), float(stride), unit, self.kind, self.name, self.superchains
        )


def texts(judged):
    return {check.name: (check.status, check.text) for check in judged.verdict.checks}


def test_frames_from_elsewhere_are_judged_as_a_run_is():
    source, reference = Frames(), Frames(kind="md", seed=11, frames=800)
    told = []
    judged = judge_run(source, reference, discard=100, stride=2, progress=told.append)
    assert judged.verdict.level == "trust", judged.verdict
    assert (judged.analysis["n_frames"], judged.trajectory.frame_spacing) == (250, 2.0)
    assert told[-1] == "agreement with the reference"
    data = judged.to_json()
    assert data["reference"] == "frames.xtc"
    assert data["comparison"]["reference_rhat"].keys() == diagnose(reference.trajectory())["rhat"].keys()


def test_every_quantity_has_an_r_hat_and_an_ess_and_the_worst_of_all_decides():
    source = Frames()
    trajectory = source.trajectory()
    found = diagnose(trajectory)
    assert found["rhat"].keys() == {"omega_0", "phi_1", "psi_1", "omega_1", "energy", "phi_1 > 0"}
    assert found["ess"].keys() == found["rhat"].keys()
    assert all(np.isfinite([*found["rhat"].values(), *found["ess"].values()]))
    slow = replace_energies(trajectory, np.array([0.0, 0.0, 0.0, 40.0]))
    assert diagnose(slow)["rhat"]["energy"] > 1.1
    source.trajectory = lambda **_: slow
    status, text = texts(judge_run(source))["nested R-hat"]
    assert status == "fail"
    assert text.startswith("energy: R-hat between 4 superchains up to ")


def replace_energies(trajectory, shifts):
    return replace(trajectory, energies=trajectory.energies + torch.from_numpy(shifts)[:, None])


def test_chains_are_compared_between_the_superchains_they_belong_to():
    """64 chains of 20 frames, independent: sound by 8 starts as one by one, where chance gives larger R-hats."""
    alone = judge_run(Frames(chains=64, frames=20))
    shared = judge_run(Frames(chains=64, frames=20, superchains=tuple(c % 8 for c in range(64))))
    assert texts(shared)["nested R-hat"][0] == "pass"
    assert "8 superchains agree" in texts(shared)["nested R-hat"][1]
    status, text = texts(alone)["nested R-hat"]
    assert status == "pass"
    assert "chance alone gives up to 1.0" in text
    assert "between 64 superchains" in text


def test_one_chain_is_compared_with_itself():
    assert (
        "the two halves of the only chain agree" in texts(judge_run(Frames(chains=1, frames=2400)))["nested R-hat"][1]
    )


def test_a_side_of_phi_that_none_has_visited_is_no_quantity():
    source = Frames(stuck=True, chains=8)
    full = source.trajectory()
    half = replace(full, positions=full.positions[:4], energies=full.energies[:4], superchains=(0, 1, 2, 3))
    source.trajectory = lambda **_: half
    judged = judge_run(source)
    assert "phi_1 > 0" not in diagnose(half)["rhat"]
    assert texts(judged)["basin of phi_1"][0] == "warn"
    assert "variation" not in texts(judged)
    # Chains on both sides that never cross have not sampled it.
    source.trajectory = lambda **_: full
    assert texts(judge_run(source))["variation"] == (
        "fail",
        "phi_1 > 0 did not vary, or the run is too short to tell: not sampled, so not converged.",
    )


# --- what no move turns ---------------------------------------------------------------------------------------------


def test_torsions_of_a_disulphide_ring_are_named():
    atoms = build_molecule(RING, minimise=False).atoms
    ring = ["psi_1", "omega_1", "chi1_1", "phi_2", "psi_2", "omega_2", "phi_3", "psi_3", "omega_3", "phi_4", "chi1_4"]
    assert ring_torsions(atoms) == ring
    assert ring_torsions(atoms, puckers_flip=True) == ring
    assert ring_torsions(atoms, rings_turn=True) == []


def test_prolines_ring_is_named_unless_its_pucker_is_flipped():
    atoms = build_molecule("Ace-PF-Nme").atoms
    assert ring_torsions(atoms) == ["phi_1", "chi1_1", "chi2_1"]
    assert ring_torsions(atoms, puckers_flip=True) == []  # nor the ring of phenylalanine, whose bonds have no names


def test_proline_in_a_larger_ring_stays_named():
    """A bond from the far end of a chain to proline's nitrogen's neighbour closes a ring through its N-CA bond."""
    atoms = build_molecule("Ace-PA-Nme").atoms
    ends = tuple(atoms.names.index(name) for name in ("CH3", "C"))
    cap = max(i for i, name in enumerate(atoms.residue_names) if name == "NME" and atoms.names[i] == "C")
    closed = replace(atoms, bonds=(*atoms.bonds, (ends[0], cap)))
    assert {"phi_1", "psi_1", "phi_2", "psi_2"} <= set(ring_torsions(closed, puckers_flip=True))
    assert "chi1_1" not in ring_torsions(closed, puckers_flip=True)
    # This one has too few bonds that turn; of a ring that turns, proline's own ring is left.
    assert ring_torsions(closed, rings_turn=True) == ring_torsions(closed)
    atoms = build_molecule("Ace-PGGG-Nme", minimise=False).atoms
    cap = max(i for i, name in enumerate(atoms.residue_names) if name == "NME" and atoms.names[i] == "C")
    closed = replace(atoms, bonds=(*atoms.bonds, (atoms.names.index("CH3"), cap)))
    assert "psi_3" in ring_torsions(closed)
    assert ring_torsions(closed, rings_turn=True) == ["phi_1", "chi1_1", "chi2_1"]
    assert ring_torsions(closed, puckers_flip=True, rings_turn=True) == []


@pytest.mark.parametrize(
    ("kind", "config", "named"),
    [
        ("chain", {"kernels": ["flow", "hmc", "pucker"]}, []),
        ("chain", {"kernels": ["flow", "hmc"]}, ["phi_1", "chi1_1", "chi2_1"]),
        ("chain", {"kernels": ["flow", "hmc"], "proposals": "tuned"}, []),  # proposes all Cartesian coordinates
        ("md", {}, []),  # flips it within some tens of picoseconds
        ("frames", {}, []),  # of another program, whose dynamics does so too
    ],
)
def test_what_is_turned_follows_from_the_run(kind, config, named):
    @dataclass
    class Proline(Frames):
        @property
        def atoms(self):
            return build_molecule("Ace-P-Nme").atoms

    assert unturned_torsions(Proline(kind=kind, config=config)) == named


@pytest.mark.parametrize(("kernels", "named"), [(["hmc"], 11), (["hmc", "concerted"], 0)])
def test_a_ring_is_turned_by_its_kernel(kernels, named):
    @dataclass
    class Ring(Frames):
        @property
        def atoms(self):
            return build_molecule(RING, minimise=False).atoms

    assert len(unturned_torsions(Ring(kind="chain", config={"kernels": kernels}))) == named
    assert len(unturned_torsions(Ring(kind="md", config={}))) == 11


@pytest.mark.parametrize(
    ("kind", "how"),
    [("chain", "no move turns them"), ("md", "only the dynamics itself"), ("frames", "only the dynamics itself")],
)
def test_the_verdict_says_that_chains_of_one_conformer_agree_falsely(monkeypatch, kind, how):
    monkeypatch.setattr("timewarp.judging.unturned_torsions", lambda source: ["phi_1", "psi_1"])
    judged = judge_run(Frames(kind=kind))
    status, text = texts(judged)["not moved"]
    assert status == "warn"
    assert text.startswith("phi_1, psi_1 are in a ring: ")
    assert how in text
    assert "agree with each other and may all be wrong" in text
    assert judged.verdict.level == "caution"
    assert judged.analysis["unturned"] == ["phi_1", "psi_1"]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        (Frames(kind="exploration"), None, "biased"),
        (Frames(), Frames(kind="exploration"), "biased"),
        (Frames(frames=5), None, "frames.xtc has 5 frames per chain after discarding, at least 8 are needed"),
        (Frames(), Frames(temperature_K=400.0), "at the same temperature"),
        (Frames(config={"preset": "a"}), Frames(config={"preset": "b"}), "is under b and frames.xtc under a"),
    ],
)
def test_what_cannot_be_judged_is_refused(source, reference, message):
    with pytest.raises(ValueError, match=message):
        judge_run(source, reference)


def test_a_reference_of_another_molecule_is_refused():
    @dataclass
    class Glycine(Frames):
        name: str = "Ace-G-Nme"

        @property
        def atoms(self):
            return build_molecule("Ace-G-Nme").atoms

    with pytest.raises(ValueError, match="holds another molecule: Ace-G-Nme, not Ace-A-Nme"):
        judge_run(Frames(), Glycine())
