"""Everything about one run, alone or beside a reference, as plain data for ``summary.json`` and ``analysis.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..units import GAS_CONSTANT, kT
from .autocorrelation import integrated_time
from .bonded import bonded_statistics, compare_bonded, z_score
from .cis_trans import CIS, cis_populations, free_omegas, is_cis
from .conformations import MOST as MOST_CONFORMATIONS
from .conformations import find_conformations
from .convergence import circular_ess, circular_rhat, ess, rhat, slower, stands_still
from .distributions import bin_centres, halves, jsd_plane, jsd_torsion, noise_floor, wasserstein
from .evaluation import evaluate
from .free_energy import (
    PROFILE_BINS,
    Estimate,
    Profile,
    fluctuation,
    free_energy,
    mean,
    phi_basin,
    profile_difference,
)
from .geometry import check_geometry
from .slow import SlowMotions
from .torsions import TrajectoryLike, backbone_planes, torsion_angles

SCHEMA = 2
"""Version of the layout of ``analysis.json``."""


def diagnose(trajectory: TrajectoryLike, angles: Mapping[str, np.ndarray] | None = None) -> dict[str, dict[str, float]]:
    """Nested R-hat and ESS of each quantity by which a run is judged.

    These are every named torsion (the worse of sine and cosine), the potential energy, the indicator of each
    ``phi > 0`` that has frames on both sides, and that of each peptide bond's being cis that is both cis and trans.
    Everything that says an R-hat of a run has it from here.

    Args:
        trajectory: with the superchains between which R-hat compares.
        angles: of all its torsions, where they are known already.

    Returns:
        ``{"rhat": {"phi_1": ..., "energy": ..., "phi_1 > 0": ...}, "ess": {...}}``; NaN for what never moved.
    """
    labels = trajectory.superchains
    angles = torsion_angles(trajectory) if angles is None else angles
    rhats = {name: circular_rhat(x, labels) for name, x in angles.items()}
    sizes = {name: circular_ess(x) for name, x in angles.items()}
    plain = {"energy": np.asarray(trajectory.energies, dtype=np.float64)}
    for name, x in angles.items():
        if name.startswith("phi_") and 0 < (positive := np.asarray(x) > 0).mean() < 1:
            plain[f"{name} > 0"] = positive.astype(np.float64)
        if name.startswith("omega_") and 0 < (cis := is_cis(x)).mean() < 1:
            plain[f"{name}{CIS}"] = cis.astype(np.float64)
    rhats |= {name: rhat(x, labels) for name, x in plain.items()}
    sizes |= {name: ess(x) for name, x in plain.items()}
    return {"rhat": rhats, "ess": sizes}


def analyse(
    trajectory: TrajectoryLike,
    *,
    temperature_K: float,
    summary: Mapping[str, Any] | None = None,
    start: Any | None = None,
    unturned: Sequence[str] = (),
    cis_trans: str = "fixed",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Convergence, populations, energies, geometry and acceptance of one run.

    Args:
        trajectory: of ``timewarp simulate`` or ``timewarp sample``.
        temperature_K: temperature it was run at.
        summary: the run's own ``summary.json``, for acceptance.
        start: reference frame (atoms, 3) for chirality and cis/trans; the first frame by default.
        unturned: torsions that no move of the run turns.
        cis_trans: which peptide bonds may be cis as well as trans (:data:`timewarp.restriction.CIS_TRANS`).
        progress: called with the name of each part before it is done.

    Returns:
        Plain data; angles in degrees, energies in kJ/mol, free energies in kT.
    """
    tell = progress or (lambda _: None)
    tell("torsions")
    angles = torsion_angles(trajectory)
    energies = np.asarray(trajectory.energies, dtype=np.float64)
    n_chains, n_frames = energies.shape
    found = diagnose(trajectory, angles)
    torsions = {}
    for name, series in angles.items():
        time = integrated_time(slower(series))
        torsions[name] = {
            "rhat": found["rhat"][name],
            "ess": found["ess"][name],
            "iat": time * trajectory.frame_spacing,
            "circular_mean_deg": float(np.rad2deg(np.angle(np.exp(1j * series.astype(np.complex64)).mean()))),
        }
    basins = {
        n: {**asdict(phi_basin(x)), "rhat": found["rhat"].get(f"{n} > 0", math.nan)}
        for n, x in angles.items()
        if n.startswith("phi_")
    }
    tell("energies")
    energy_mean, energy_sd = mean(energies), fluctuation(energies)
    conformations = find_conformations(angles)
    tell("geometry")
    check = check_geometry(trajectory.positions, trajectory.atoms, start, energies, cis_trans)
    tell("bonds and angles")
    bonded = bonded_statistics(trajectory.positions, trajectory.atoms)
    repeats = _longest_repeat(energies)
    still = np.all([stands_still(series) for series in angles.values()], axis=0) if angles else np.zeros(n_chains, bool)
    return {
        "schema": SCHEMA,
        "molecule": trajectory.atoms.residues,
        "temperature_K": temperature_K,
        "n_chains": n_chains,
        "n_frames": n_frames,
        "n_superchains": len(set(trajectory.superchains)),
        "n_samples": n_chains * n_frames,
        "frame_spacing": trajectory.frame_spacing,
        "unit": trajectory.unit,
        "torsions": torsions,
        "unturned": list(unturned),
        "phi_basins": basins,
        "cis_trans": {
            "setting": cis_trans,
            "bonds": cis_populations(angles, free_omegas(trajectory.atoms, cis_trans), trajectory.superchains),
        },
        "profiles": {
            "degrees": np.rad2deg(bin_centres(PROFILE_BINS)).round(3).tolist(),
            **{name: _profile(free_energy(angles[name])) for name in _turning(angles)},
        },
        "n_conformations": 0 if conformations is None else len(conformations),
        "conformations": [] if conformations is None else conformations.table(float(trajectory.frame_spacing)),
        "energy": {
            "mean": asdict(energy_mean),
            "sd": asdict(energy_sd),
            "heat_capacity": _heat_capacity(energy_sd, temperature_K),
            "rhat": found["rhat"]["energy"],
            "ess": found["ess"]["energy"],
        },
        "geometry": check.to_json(),
        "bonded": [asdict(row) for row in bonded],
        "kernels": kernel_rows((summary or {}).get("kernels", {})),
        "stuck": {
            "longest_repeat": repeats.max(initial=0) / max(n_frames, 1),
            "never_moved": np.flatnonzero((repeats >= n_frames) | still).tolist() if n_frames > 1 else [],
        },
    }


def compare(
    chain: TrajectoryLike, reference: TrajectoryLike, *, temperature_K: float, slow: SlowMotions | None = None
) -> dict[str, Any]:
    """Distances between a run and its reference, each beside its noise floor (between halves of the reference).

    Args:
        chain: the run to be judged.
        reference: long MD of the same molecule at the same temperature.
        temperature_K: temperature of both.
        slow: ``run`` and ``reference`` in the slow coordinates of the reference, where it has any.

    Raises:
        ValueError: the two are different molecules.
    """
    if chain.atoms.fingerprint != reference.atoms.fingerprint:
        raise ValueError(
            f"the reference is another molecule: {reference.atoms.residues} with {reference.atoms.n_atoms} atoms, "
            f"expected {chain.atoms.residues} with {chain.atoms.n_atoms}"
        )
    ours, theirs = torsion_angles(chain), torsion_angles(reference)
    planes = backbone_planes(list(ours))
    energies, md_energies = (np.asarray(t.energies, dtype=np.float64) for t in (chain, reference))
    thermal = kT(temperature_K)
    basins = {}
    for name in (n for n in ours if n.startswith("phi_")):
        a, b = phi_basin(ours[name]), phi_basin(theirs[name])
        z = (a.delta_F - b.delta_F) / np.hypot(a.error, b.error) if a.visited and b.visited else float("nan")
        basins[name] = {"run": asdict(a), "reference": asdict(b), "z": float(z)}
    bonded = compare_bonded(chain.positions, reference.positions, chain.atoms)
    profiles = {name: (free_energy(ours[name]), free_energy(theirs[name])) for name in _turning(ours)}
    if slow is None:
        found = evaluate(chain, reference, temperature_K=temperature_K, slow=None)
    else:
        projected = slow.projected["run"], slow.projected["reference"]
        found = evaluate(chain, reference, temperature_K=temperature_K, slow=slow.coordinates, projected=projected)
    return {
        **found,
        "reference_rhat": diagnose(reference, theirs)["rhat"],
        "jsd": {
            name: {"value": jsd_torsion(x, theirs[name]), "floor": noise_floor(jsd_torsion, theirs[name])}
            for name, x in ours.items()
        },
        "jsd_phi_psi": {
            name: {
                "value": jsd_plane((ours[phi], ours[psi]), (theirs[phi], theirs[psi])),
                "floor": jsd_plane(*zip(halves(theirs[phi]), halves(theirs[psi]), strict=True)),
            }
            for name, (phi, psi) in planes.items()
        },
        "profiles": {
            name: {**_profile(theirs), **profile_difference(ours, theirs)} for name, (ours, theirs) in profiles.items()
        },
        "phi_basins": basins,
        "conformations": _conformations(ours, theirs),
        "energy": {
            "z_mean": z_score(mean(energies), mean(md_energies)),
            "z_sd": z_score(fluctuation(energies), fluctuation(md_energies)),
            "w2_kT": wasserstein(energies, md_energies) / thermal,
            "floor_kT": noise_floor(wasserstein, md_energies) / thermal,
            "reference_mean": asdict(mean(md_energies)),
            "reference_sd": asdict(fluctuation(md_energies)),
        },
        "bonded": [asdict(row) for row in bonded],
    }


def _conformations(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The backbone conformations that are most populated in either, with their populations on both sides."""
    run, reference = find_conformations(ours), find_conformations(theirs)
    if run is None or reference is None:
        return []
    share = reference.populations()
    for name, p in run.populations().items():
        share[name] = max(p, share.get(name, 0.0))
    rows = []
    for name in sorted(share, key=lambda n: -share[n])[:MOST_CONFORMATIONS]:
        a, b = (mean(side.of(name).astype(np.float64)) for side in (run, reference))
        rows.append({"name": name, "run": asdict(a), "reference": asdict(b), "z": z_score(a, b)})
    return rows


def kernel_rows(table: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Acceptance of each kernel after warm-up, from the ``kernels`` table of a sampling run's ``summary.json``.

    ``acceptance`` is accepted / proposed, non-finite proposals counted as rejected; ``jump`` is how often an accepted
    move changes a phi or psi by more than 60 degrees, divided by how often these differ as much between independent
    samples. What the sampler does not give is NaN, None or empty.
    """
    rows = []
    for name, row in table.items():
        proposed, accepted, jump = row.get("proposed", 0), row.get("accepted", 0), row.get("jump")
        rows.append(
            {
                "name": name,
                "proposed": proposed,
                "accepted": accepted,
                "acceptance": accepted / proposed if proposed else float("nan"),
                "nonfinite": row.get("nonfinite", 0),
                "jump": None if jump is None else float(jump),
                "per_chain": tuple(float(v) for v in row.get("acceptance_per_chain", ()) if v is not None),
            }
        )
    return rows


def _turning(angles: Mapping[str, np.ndarray]) -> list[str]:
    """Torsions that have a free-energy profile: all but the peptide bonds'."""
    return [name for name in angles if not name.startswith("omega")]


def _profile(profile: Profile) -> dict[str, Any]:
    return {"free_energy_kT": profile.free_energy.tolist(), "error_kT": profile.error.tolist()}


def _heat_capacity(sd: Estimate, temperature_K: float) -> dict[str, float]:
    """Potential-energy part of the heat capacity, var(U) / (k T^2), in kJ/(mol K)."""
    scale = 1 / (GAS_CONSTANT * temperature_K**2)
    return {"value": scale * sd.value**2, "error": scale * 2 * sd.value * sd.error, "ess": sd.ess}


def _longest_repeat(energies: np.ndarray) -> np.ndarray:
    """Longest stretch of frames with one energy in each chain: rejected moves, or a chain that is stuck."""
    longest = np.ones(len(energies), dtype=np.int64)
    for chain, row in enumerate(energies):
        ends = np.flatnonzero(np.append(row[1:] != row[:-1], True))
        longest[chain] = np.diff(ends, prepend=-1).max(initial=0)
    return longest
