"""Experiments that lay a chain beside MD: Ramachandran plots, free energies, energies and bond lengths."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from . import names_of, read_pair, tell, write


def ramachandran(args: argparse.Namespace) -> int:
    """Ramachandran plots of each residue, with the divergence from MD and its floor."""
    from ...analysis import backbone_planes, jsd_plane, noise_floor, torsion_angles
    from ...report.plots import ramachandran_plot
    from ..errors import UserError

    source, reference = read_pair(args)
    sources = [source] if reference is None else [source, reference]
    angles = {n: torsion_angles(s.trajectory) for n, s in zip(names_of(sources), sources, strict=True)}
    planes = backbone_planes(list(next(iter(angles.values()))))
    if not planes:
        raise UserError(f"{source.trajectory.atoms.residues} has no phi and psi; nothing to plot")
    rows: dict[str, Any] = {}
    print(f"{'':<20}{'JSD/bit':>10}{'floor':>10}")
    for residue, (phi, psi) in planes.items():
        row: dict[str, Any] = {"jsd": None, "floor": None}
        if reference is not None:
            here, there = angles.values()
            row["jsd"] = jsd_plane((here[phi], here[psi]), (there[phi], there[psi]))
            both = np.stack([there[phi], there[psi]], -1)
            row["floor"] = noise_floor(lambda a, b: jsd_plane((a[..., 0], a[..., 1]), (b[..., 0], b[..., 1])), both)
            print(f"{residue:<20}{row['jsd']:>10.4f}{row['floor']:>10.4f}")
        rows[residue] = row
    data = {"runs": [str(s.path) for s in sources], "planes": rows, "bins": 50}
    return write(args, "ramachandran", data, [("ramachandran", ramachandran_plot(angles))])


def free_energy(args: argparse.Namespace) -> int:
    """Free energy along every phi and psi (and chi), with errors, of chain and MD."""
    from ...analysis import free_energy as profile_of
    from ...analysis import phi_basin, torsion_angles
    from ...report.plots import profiles_plot

    source, reference = read_pair(args)
    sources = [source] if reference is None else [source, reference]
    names = names_of(sources)
    angles = {}
    for name, s in zip(names, sources, strict=True):
        every = torsion_angles(s.trajectory)
        angles[name] = {t: a for t, a in every.items() if not t.startswith("omega")}
    tell(args, "free energies")
    data: dict[str, Any] = {"runs": dict(zip(names, map(str, (s.path for s in sources)), strict=True)), "profiles": {}}
    print(f"{'torsion':<10}{'largest difference/kT':>24}{'in errors':>11}   Delta F of phi > 0 in kT")
    for torsion in next(iter(angles.values())):
        profiles = {name: profile_of(a[torsion]) for name, a in angles.items()}
        data["profiles"][torsion] = {name: _profile(p) for name, p in profiles.items()}
        line = f"{torsion:<10}" + (_difference(*profiles.values()) if len(profiles) == 2 else " " * 35)
        if torsion.startswith("phi_"):
            basins = {name: phi_basin(a[torsion]) for name, a in angles.items()}
            data["profiles"][torsion]["basins"] = {name: asdict(b) for name, b in basins.items()}
            line += "   " + "; ".join(f"{n} {b.delta_F:.2f} +- {b.error:.2f}" for n, b in basins.items())
        print(line)
    return write(args, "free-energy", data, [("free-energy", profiles_plot(angles))])


def energies(args: argparse.Namespace) -> int:
    """Distributions of the energy, of bond lengths and of angles."""
    from ...analysis import compare_bonded, mean, noise_floor, wasserstein
    from ...report.plots import bonded_plot, energies_plot
    from ...units import kT

    source, reference = read_pair(args)
    sources = [source] if reference is None else [source, reference]
    names = names_of(sources)
    runs = {name: s.trajectory for name, s in zip(names, sources, strict=True)}
    thermal = kT(source.temperature_K)
    data: dict[str, Any] = {"runs": dict(zip(names, map(str, (s.path for s in sources)), strict=True)), "energy": {}}
    for name, run in runs.items():
        found = mean(np.asarray(run.energies))
        data["energy"][name] = asdict(found)
        print(f"{name:<12} mean energy {found.value:10.3f} +- {found.error:.3f} kJ/mol")
    if reference is not None:
        here, there = (np.asarray(run.energies) / thermal for run in runs.values())
        data["energy_w2_kT"] = wasserstein(here, there)
        data["energy_w2_floor_kT"] = noise_floor(wasserstein, there)
        print(f"E-W2         {data['energy_w2_kT']:.3f} kT (floor {data['energy_w2_floor_kT']:.3f})")
        tell(args, "bonds and angles")
        rows = compare_bonded(source.trajectory.positions, reference.trajectory.positions, source.trajectory.atoms)
        data["bonded"] = [asdict(row) for row in rows]
        print(f"{'bond or angle':<28}{'z of mean':>10}{'z of sd':>9}{'W1':>12}")
        for row in sorted(rows, key=lambda r: -max(abs(r.z_mean), abs(r.z_sd)))[:8]:
            unit = "nm" if row.kind == "bond" else "rad"
            print(f"{row.kind + ' ' + row.name:<28}{row.z_mean:>10.2f}{row.z_sd:>9.2f}{row.wasserstein:>9.5f} {unit}")
        scores = [z for r in rows for z in (r.z_mean, r.z_sd) if math.isfinite(z)]
        data["largest_z"] = max(map(abs, scores), default=None)
        print(f"largest |z| {data['largest_z']:.2f} of {len(scores)}")
    plots = [("energies", energies_plot(runs)), ("bonds", bonded_plot(runs, source.trajectory))]
    return write(args, "energies", data, plots)


def _profile(profile: Any) -> dict[str, Any]:
    degrees = np.rad2deg(profile.centres).round(3).tolist()
    return {"degrees": degrees, "free_energy_kT": profile.free_energy.tolist(), "error_kT": profile.error.tolist()}


def _difference(first: Any, second: Any) -> str:
    """The largest difference of two profiles where both are populated (below 6 kT), and in standard errors."""
    seen = (first.free_energy < 6) & (second.free_energy < 6)
    with np.errstate(invalid="ignore"):
        gap = np.where(seen, first.free_energy - second.free_energy, 0.0)
    # Each profile's zero is its own lowest bin: compare about their mean over the common, populated range.
    gap = np.where(seen, gap - np.average(gap[seen], weights=np.exp(-second.free_energy[seen])), 0.0)
    error = np.hypot(np.nan_to_num(first.error, nan=math.inf), np.nan_to_num(second.error, nan=math.inf))
    return f"{np.abs(gap).max():>24.2f}{np.max(np.abs(gap) / np.maximum(error, 1e-9)):>11.1f}"
