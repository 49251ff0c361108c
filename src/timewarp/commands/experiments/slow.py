"""Experiments on slow motions: TICA and metastable states, and effective samples per second."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from . import Source, names_of, need_dynamics, read, read_pair, tell, write


def tica(args: argparse.Namespace) -> int:
    """The plane of the slowest coordinates of MD, its metastable states, and which of them the run misses."""
    from ...analysis import ess, jensen_shannon, noise_floor
    from ...analysis.tica import describe_states, missed_states
    from ...analysis.transport import plane_wasserstein
    from ...report.experiments import tica_plot

    source, reference = read_pair(args)
    fitted = reference or source
    need_dynamics(fitted, "TICA")
    slow, spacing = _fit(args, fitted)
    sources = [source] if reference is None else [source, reference]
    names = names_of(sources)
    projected = {
        n: slow.project(s.trajectory.positions, s.trajectory.atoms) for n, s in zip(names, sources, strict=True)
    }
    labels = {name: slow.states(y) for name, y in projected.items()}
    lag_ps = slow.lag_frames * spacing
    times = [float(t) * spacing for t in slow.timescales[:5]]
    print(f"lag {lag_ps:g} ps; implied time scales {', '.join(f'{t:,.0f}' for t in times)} ps; {slow.n_states} states")
    centres, populations = describe_states(slow, projected)
    for name, rows in populations.items():
        print(
            f"{name:<12}" + "  ".join(f"state {k} {100 * p:.2f} +- {100 * e:.2f} %" for k, (p, e) in enumerate(rows, 1))
        )
    data: dict[str, Any] = {
        "runs": dict(zip(names, map(str, (s.path for s in sources)), strict=True)),
        "lag_ps": lag_ps,
        "implied_timescales_ps": times,
        "states": {n: [{"population": p, "error": e} for p, e in rows] for n, rows in populations.items()},
        "ess_tic_1": {name: ess(y[..., 0]) for name, y in projected.items()},
    }
    if reference is not None:
        here, there = projected.values()
        edges = [np.linspace(there[..., k].min(), there[..., k].max(), 51) for k in range(2)]

        def divergence(a: np.ndarray, b: np.ndarray) -> float:
            return jensen_shannon(*(_histogram(points, edges) for points in (a, b)))

        def transport(a: np.ndarray, b: np.ndarray) -> float:
            return plane_wasserstein(a.reshape(-1, 2), b.reshape(-1, 2))

        data |= {"jsd": divergence(here, there), "jsd_floor": noise_floor(divergence, there)}
        data |= {"tica_w2": transport(here, there), "tica_w2_floor": noise_floor(transport, there)}
        print(f"JSD        {data['jsd']:.4f} bit (floor {data['jsd_floor']:.4f})")
        print(f"TICA-W2    {data['tica_w2']:.3f} (floor {data['tica_w2_floor']:.3f})")
        missed = missed_states(labels[names[1]], labels[names[0]], slow.n_states)
        data["missed"] = [{"state": k + 1, "population": p} for k, p in missed.items()]
        print(
            "MISSED     " + ", ".join(f"state {k + 1} ({100 * p:.2f} % of {names[1]})" for k, p in missed.items())
            if missed
            else "missed     no state"
        )
    figure = tica_plot({n: y.reshape(-1, 2) for n, y in projected.items()}, centres, populations)
    return write(args, "tica", data, [("tica", figure)])


def speed(args: argparse.Namespace) -> int:
    """Effective samples per second on the slowest coordinate and on every torsion, of chains and of MD."""
    from ...analysis import slower, torsion_angles
    from ...analysis.speed import middle_of, speed_of, speed_up
    from ...report.experiments import speed_plot
    from ..errors import UserError

    if args.reference is None:
        raise UserError("speed is measured against MD: give its folder with --reference")
    first = read(args.run, args)
    reference = read(args.reference, args, like=first, thinned=False)
    need_dynamics(reference, "the speed of MD")
    sources = [first, *(read(path, args, like=first) for path in args.others), reference]
    names = _distinct(sources)
    slow, _ = _fit(args, reference)
    series: dict[str, dict[str, np.ndarray]] = {}
    for name, s in zip(names, sources, strict=True):
        tell(args, f"effective samples of {name}")
        rows = {"TIC 1": slow.project(s.trajectory.positions, s.trajectory.atoms)[..., 0]}
        for torsion, angle in torsion_angles(s.trajectory).items():
            if torsion.startswith("phi_"):
                rows[f"{torsion} > 0"] = (angle > 0).astype(float)
            if not torsion.startswith("omega"):
                rows[torsion] = angle
        series[name] = rows
    settings = reference.run.config
    data: dict[str, Any] = {
        "runs": dict(zip(names, map(str, (s.path for s in sources)), strict=True)),
        "seconds": {n: s.seconds() for n, s in zip(names, sources, strict=True)},
        "md": {k: settings.get(k) for k in ("engine", "timestep_fs", "hydrogen_mass_Da", "friction_per_ps")},
        "speeds": {},
        "speed_up": {},
    }
    engine = f"{settings.get('engine', 'openmm')} engine, {settings.get('timestep_fs')} fs"
    print(f"effective samples per second; MD: {engine}. < and > are bounds: hardly any chain crossed.")
    print(f"{'':<14}" + "".join(f"{name:>22}" for name in names) + "   speed-up over MD (paper-era estimator)")
    drawn: dict[str, dict[str, tuple[float, bool]]] = {name: {} for name in names}
    for quantity in next(iter(series.values())):
        is_angle = not (quantity.startswith("TIC") or quantity.endswith("> 0"))
        middle = middle_of(series["MD"][quantity]) if quantity.startswith("TIC") else 0.5
        found = {}
        for name, s in zip(names, sources, strict=True):
            values = slower(series[name][quantity]) if is_angle else series[name][quantity]
            found[name] = speed_of(values, s.seconds(), float(np.median(values)) if is_angle else middle)
            drawn[name][quantity] = (found[name].per_second, found[name].bound)
        data["speeds"][quantity] = {name: asdict(row) for name, row in found.items()}
        ups = {name: speed_up(found[name], found[names[-1]]) for name in names[:-1]}
        data["speed_up"][quantity] = {n: {"ratio": ratio, "sign": sign} for n, (ratio, sign) in ups.items()}
        cells = "".join(f"{('<' if row.bound else '') + format(row.per_second, ',.4g'):>22}" for row in found.values())
        last = found[names[-1]].paper_per_second
        ratios = "; ".join(
            f"{sign if sign != '=' else ''}{r:,.3g} ({found[n].paper_per_second / last if last > 0 else math.nan:,.3g})"
            for n, (r, sign) in ups.items()
        )
        print(f"{quantity:<14}{cells}   {ratios}")
    return write(args, "speed", data, [("speed", speed_plot(drawn))])


def _fit(args: argparse.Namespace, source: Source) -> tuple[Any, float]:
    """Slow coordinates of MD, and its frame spacing in ps."""
    from ...analysis.tica import LAG_PS, fit_slow_coordinates

    spacing = float(source.trajectory.frame_spacing)
    lag_ps = args.lag or max(LAG_PS, spacing)
    lag = round(lag_ps / spacing)
    if lag < 1:
        from ..errors import UserError

        raise UserError(f"--lag {lag_ps:g} is shorter than the frames of {source.path} are apart, {spacing:g} ps")
    tell(args, f"slow coordinates of {source.path}, lag {lag * spacing:g} ps")
    return fit_slow_coordinates(source.trajectory.positions, source.trajectory.atoms, lag), spacing


def _histogram(points: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """Counts over a plane; what lies beyond its edges counts in the outermost bins."""
    x, y = (np.clip(points[..., k].ravel(), edges[k][0], edges[k][-1]) for k in range(2))
    return np.histogram2d(x, y, bins=(edges[0], edges[1]))[0]


def _distinct(sources: list[Source]) -> list[str]:
    names = [s.path.resolve().name for s in sources[:-1]]
    names = names if len(set(names)) == len(names) else [str(s.path) for s in sources[:-1]]
    return [*names, "MD"]
