"""p(x(t + tau) | x(t)) from one state: what a network proposes, beside fresh runs of molecular dynamics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import native
from ..analysis import (
    backbone_planes,
    bonded_types,
    bonded_values,
    jensen_shannon,
    jsd_torsion,
    named_torsions,
    ramachandran,
)
from ..analysis import torsion_angles as torsions_of
from ..energies import Parameters, Potential
from ..flows.acceptance import expected_acceptance
from ..machine import set_sampling_threads
from ..pretrained import LoadedModel
from ..progress import Listener
from ..report.conditional import conditional_plot
from ..report.plots import Plot
from ..restriction import Restriction
from ..run import Run
from ..sampling import Target
from ..simulation import BatchedLangevin
from ..state import Atoms, repartition_hydrogen_mass
from ..system import System
from ..trajectories import RunFolder
from .kernels import load_model
from .sources import teller

BINS, PLANE_BINS = 36, 12
"""Bins per torsion, and per axis of a plane: a few hundred endpoints do not fill more."""
MOST_BONDS = 4
USUAL_LAG_PS = 500.0
"""Length of the MD runs beside a network that has no lag of its own."""


@dataclass(frozen=True, eq=False)
class Conditional:
    """Where one state leads, by a network and by molecular dynamics.

    Attributes:
        model: name of the network.
        weights_sha256: of its file.
        lag_ps: length of the MD runs.
        run: the MD run from which the state and the settings of the dynamics are.
        chain: of the state.
        frame: of the state.
        start: torsions of the state in rad, by name.
        acceptance: (n,) probability with which Metropolis-Hastings would accept each proposal.
        torsions: the network's name and ``MD`` -> torsion -> angles in rad.
        energies: likewise, in kJ/mol; infinite where a proposal's is not a finite number.
        bonds: type of bond -> likewise, lengths in nm.
    """

    model: str
    weights_sha256: str
    lag_ps: float
    run: Path
    chain: int
    frame: int
    start: dict[str, float]
    acceptance: np.ndarray = field(repr=False)
    torsions: dict[str, dict[str, np.ndarray]] = field(repr=False)
    energies: dict[str, np.ndarray] = field(repr=False)
    bonds: dict[str, dict[str, np.ndarray]] = field(repr=False)

    @property
    def mean_acceptance(self) -> tuple[float, float]:
        """Of proposals from this state, with its standard error."""
        return float(self.acceptance.mean()), float(self.acceptance.std() / math.sqrt(len(self.acceptance)))

    def divergences(self) -> dict[str, dict[str, float]]:
        """Jensen-Shannon divergence in bits of each torsion and each plane of (phi, psi), beside its noise floor.

        The floor is between halves of the MD runs. Fewer samples differ by more, so that as many proposals are compared
        with as many ends of MD as a half has: with every half, and the mean is given.
        """
        proposed, dynamics = ({name: angles[:, None] for name, angles in t.items()} for t in self.torsions.values())
        shown = {name: (name,) for name in dynamics} | {
            f"{phi}, {psi}": (phi, psi) for phi, psi in backbone_planes(dynamics).values()
        }
        found = {}
        for label, names in shown.items():
            ours, theirs = (np.concatenate([t[name] for name in names], -1) for t in (proposed, dynamics))
            halves = theirs[: len(theirs) // 2], theirs[len(theirs) // 2 : len(theirs) // 2 * 2]
            parts = [ours[k::2][: len(halves[0])] for k in (0, 1)]
            found[label] = {
                "value": float(np.mean([_divergence(a, b) for a in parts for b in halves])),
                "floor": _divergence(*halves),
            }
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data; torsions of the start in degrees."""
        value, error = self.mean_acceptance
        return {
            "schema": 1,
            "model": self.model,
            "weights_sha256": self.weights_sha256,
            "lag_ps": self.lag_ps,
            "start": {
                "run": str(self.run),
                "chain": self.chain,
                "frame": self.frame,
                "torsions_degrees": {name: math.degrees(angle) for name, angle in self.start.items()},
            },
            "n": len(self.acceptance),
            "md_runs": len(self.energies["MD"]),
            "acceptance": {"value": value, "error": error},
            "jsd": self.divergences(),
            "energy_kJ_mol": {
                name: {"median": float(np.median(e)), "quartiles": np.quantile(e, [0.25, 0.75]).tolist()}
                for name, e in self.energies.items()
            },
        }

    def plot(self) -> Plot:
        """Planes and distributions of the backbone torsions, energies and bond lengths, network beside MD."""
        finite = {name: e[np.isfinite(e)] for name, e in self.energies.items()}
        # The far tail of clashes would leave the histogram one bin wide.
        top = np.quantile(finite["MD"], 0.999) + 6 * finite["MD"].std()
        shown = {name: np.clip(e, None, top) for name, e in finite.items()}
        return conditional_plot(self.torsions, self.start, backbone_planes(list(self.start)), shown, self.bonds)


def conditional(
    run: Run | RunFolder | Path | str,
    model: LoadedModel | Path | str | None = None,
    *,
    family: str | None = None,
    lag_ps: float | None = None,
    chain: int | None = None,
    frame: int | None = None,
    n: int = 2000,
    md_runs: int = 512,
    seed: int = 0,
    threads: int | None = None,
    progress: bool | Listener = False,
) -> Conditional:
    """Proposals of a network from one state, and the ends of fresh MD runs from the same state.

    Args:
        run: of ``timewarp simulate``: the state is a frame of it, and the MD runs take over its time step, friction,
            masses, force field and temperature.
        model: a network, the name of a shipped one, or the folder of a training; by default the shipped one.
        family: of the shipped network; by default the best.
        lag_ps: length of the MD runs in ps; by default the network's lag, or 500 ps.
        chain: of the state; 0 by default, with ``frame``.
        frame: of the state; by default one of the most populated conformation.
        n: proposals, at least 2.
        md_runs: runs of MD, at least 2.
        seed: of all random numbers.
        threads: of the MD and of a Cartesian network; None: all cores.
        progress: True for lines on the logger ``timewarp``, or a function called with a
            :class:`timewarp.progress.Report`.

    Raises:
        FileNotFoundError: there is no such run or network.
        ValueError: the run is no MD or lacks its settings, there is no such frame, no network covers the molecule, it
            has no phi and psi, or the compiled kernels are missing.
    """
    tell = teller(progress, "conditional:") or (lambda part: None)
    folder = RunFolder.open(run if isinstance(run, Path | str) else run.path)
    threads = set_sampling_threads(threads, "cpu")
    if folder.kind != "md":
        raise ValueError(
            f"{folder.path} is a run of kind {folder.kind}; give MD, whose settings the fresh runs take over"
        )
    if min(n, md_runs) < 2:
        raise ValueError(f"at least 2 proposals and 2 MD runs are needed, got {n} and {md_runs}")
    if not native.available():
        raise ValueError(f"fresh MD runs need the compiled kernels; {native.why_not()}")
    atoms = folder.atoms
    planes = backbone_planes(named_torsions(atoms))
    if not planes:
        raise ValueError(f"{atoms.residues} has no phi and psi; there is nothing to show")
    system = System.of_run(folder)
    network = load_model(system, model, family)
    lag = float(lag_ps or network.description.training.get("lag_ps") or USUAL_LAG_PS)
    tell(f"reading {folder.path}")
    positions = folder.trajectory().positions
    if frame is None:
        chain, frame = _typical(positions, atoms, [name for pair in planes.values() for name in pair])
    chain = chain or 0
    if not (0 <= chain < len(positions) and 0 <= frame < positions.shape[1]):
        raise ValueError(
            f"{folder.path} has chains 0 to {len(positions) - 1} of frames 0 to {positions.shape[1] - 1}; got chain "
            f"{chain}, frame {frame}"
        )
    x = positions[chain, frame] - positions[chain, frame].mean(0)
    parameters = system.parameters
    assert parameters is not None
    tell(f"{n} proposals of {network.name}")
    proposed, energies, accepted = _proposals(network, parameters, folder, x, n, seed, threads)
    tell(f"{md_runs} runs of MD of {lag:g} ps from that state")
    ends, end_energies = _fresh_md(folder, parameters, x.numpy(), lag, md_runs, seed + 1, threads)
    both = {network.name: proposed, "MD": ends}
    types = [(key, rows) for key, rows in bonded_types(atoms).items() if key[0] == "bond"][:MOST_BONDS]
    return Conditional(
        model=network.name,
        weights_sha256=network.sha256,
        lag_ps=lag,
        run=folder.path,
        chain=chain,
        frame=frame,
        start={name: float(a[0]) for name, a in torsions_of(x[None], atoms).items()},
        acceptance=accepted,
        torsions={name: torsions_of(p, atoms) for name, p in both.items()},
        energies={network.name: energies, "MD": end_energies},
        bonds={
            key[1]: {name: bonded_values(p[None], atoms, "bond", rows).ravel() for name, p in both.items()}
            for key, rows in types
        },
    )


def _proposals(
    network: LoadedModel,
    parameters: Parameters,
    run: RunFolder,
    x: torch.Tensor,
    n: int,
    seed: int,
    threads: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, energies and acceptance probabilities of proposals from one state."""
    restriction = Restriction(x, run.atoms)
    target = Target(Potential(parameters, dtype=torch.float32), run.temperature_K, restriction)
    proposer = network.proposers(parameters, target.kT, threads=threads)["flow"]

    def reduced_energy(positions: torch.Tensor) -> torch.Tensor:
        return target.reduced_energy(target.energy(positions)).masked_fill(restriction.crossed(positions), torch.inf)

    states = target.init(x.expand(n, -1, -1).contiguous()).positions
    found = expected_acceptance(proposer, states, reduced_energy, torch.Generator().manual_seed(seed))
    there = target.recentre(found.candidates)
    energy = target.energy(there).double()
    energy = torch.where(energy.isfinite(), energy, torch.inf)
    return there.numpy(), energy.numpy(), found.probability.numpy()


def _fresh_md(
    run: RunFolder, parameters: Parameters, x: np.ndarray, lag_ps: float, md_runs: int, seed: int, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of MD runs from one state, with fresh velocities: positions and energies of those that did not explode."""
    try:
        timestep_fs, friction = float(run.config["timestep_fs"]), float(run.config["friction_per_ps"])
        hydrogen = run.config.get("hydrogen_mass_Da")
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{run.path / 'config.toml'} lacks the time step or the friction of the MD") from None
    engine = BatchedLangevin(
        parameters,
        run.atoms,
        repartition_hydrogen_mass(run.atoms, hydrogen or None).numpy(),
        temperature_K=run.temperature_K,
        friction_per_ps=friction,
        timestep_fs=timestep_fs,
        seed=seed,
        threads=threads,
    )
    runs = engine.start(np.broadcast_to(x, (md_runs, *x.shape)).copy())
    frames = engine.advance(runs, 1, max(1, round(1000 * lag_ps / timestep_fs)))
    good = np.isfinite(frames.energies[-1])
    return frames.positions[-1][good].astype(np.float32), frames.energies[-1][good]


def _divergence(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits of two sets of one torsion, (n, 1), or of two, (n, 2), in rad."""
    if first.shape[1] == 1:
        return jsd_torsion(first[:, 0], second[:, 0], BINS)
    return jensen_shannon(*(ramachandran(part[:, 0], part[:, 1], PLANE_BINS) for part in (first, second)))


def _typical(positions: torch.Tensor, atoms: Atoms, torsions: Sequence[str]) -> tuple[int, int]:
    """Chain and frame of the state that is closest to the most populated backbone conformation."""
    n_chains, n_frames = positions.shape[:2]
    stride = max(1, n_chains * n_frames // 20_000)
    found = torsions_of(positions[:, ::stride], atoms, list(torsions))
    flat = np.stack([a.ravel() for a in found.values()], -1)
    cells = np.floor((flat + np.pi) / (2 * np.pi) * 12).astype(int)
    _, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    densest = flat[inverse.ravel() == counts.argmax()]
    middle = np.angle(np.exp(1j * densest).mean(0))
    nearest = int(((1 - np.cos(flat - middle)).sum(-1)).argmin())
    chain, frame = divmod(nearest, -(-n_frames // stride))
    return chain, frame * stride
