"""Effective samples per second of the shipped network's chain, of torsion moves with HMC, and of MD, in one run.

For each peptide, on all cores and one after the other:

- the default chain of `timewarp.sample`, and the chain of single-torsion moves and HMC (`no_flow`), from scattered
  starts, the first fifth dropped: effective sample size of the worst soft torsion (its sine or cosine, whichever is
  slower) and of the slowest coordinate of TICA, over the wall time; nested R-hat;
- MD at 2 fs with hydrogen mass repartitioning (the batched engine, no torsion moves) from equilibrium states of the
  default chain. Its effective samples per nanosecond are 1 / (2 integrated autocorrelation time), with means and
  variances of the default chain: starts in equilibrium make the autocorrelation function right at every lag, however
  few replicas have crossed a barrier. Beyond the longest lag it goes on as the exponential of its last half. Errors are
  of a bootstrap over replicas; a function that does not fall gives a bound on the ratio;
- steps per second of the batched engine, of OpenMM with the native ``GBSAOBCForce``, and of OpenMM as its XML files
  build it, each on all cores (benchmarks/md.py).

TICA is fitted on the MD (torsions' sines and cosines, a lag of 20 ps), whose slow coordinates they are. The default
chain must have a R-hat below 1.05, or there is no ratio. Where that of the chain of local moves is above it, its
effective sample size is an overestimate (chains that never leave a basin count as one sample each), and the ratio is a
lower bound. A result file is gone on with.

    python benchmarks/against_md.py configs/peptides/dipeptides-validation.txt --first 8 --json against_md.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from types import SimpleNamespace
from typing import Any

import lists
import md
import numpy as np
import transfer

SPACING_PS, TICA_LAG_PS, RESAMPLES = 2.0, 20.0, 100


def main() -> None:
    parser = lists.parser(__doc__, frames=500)
    lists.add_list(parser)
    parser.add_argument("--local-thin", type=int, default=3, help="cycles per stored sample of local moves (default 3)")
    parser.add_argument("--md-minutes", type=float, default=2.0, help="MD of each peptide (default 2)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of every timing of MD (default 5)")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    lists.run("against_md", lists.listed(args), args, lambda name: row_of(name, args, cores), show, summarise)


def row_of(sequence: str, args: argparse.Namespace, cores: int) -> dict[str, Any]:
    from timewarp.analysis import ess

    asked = SimpleNamespace(chains=args.chains, frames=args.frames, preset=md.PRESET, states=args.chains)
    ours, states = transfer.chain(sequence, asked, model=args.model)
    local, _ = transfer.chain(sequence, asked, no_flow=True, thin=args.local_thin)
    features, names = dynamics(sequence, states, args.md_minutes * 60, cores)
    tica = slowest_coordinate(features)
    equilibrium = ours.pop("features").astype(np.float64)
    mine = {"ours": equilibrium, "local": local.pop("features").astype(np.float64)}
    for label, chain in (("ours", ours), ("local", local)):
        chain["ess_tica"] = ess(tica(mine[label]))
        for name in ("tica", "torsion"):
            chain[f"ess_{name}_per_second"] = chain[f"ess_{name}"] / chain["wall_s"]
    times = {"tica": relaxation(tica(features), tica(equilibrium))}
    each = [relaxation(features[..., k], equilibrium[..., k]) for k in range(len(names))]
    worst = max(range(len(names)), key=lambda k: each[k]["ps"])
    times["torsion"] = each[worst] | {"coordinate": names[worst]}
    rates = {"engine": md.batched_rate(sequence, 256, 0.0, args.seconds, cores)[0]}
    for form in md.FORMS:
        platforms = md.PLATFORMS if form == "native" else ("CPU",)
        rates[form] = max(md.openmm_rate(sequence, form, platform, args.seconds, cores)[0] for platform in platforms)
    row: dict[str, Any] = {
        "sequence": sequence,
        "ours": ours,
        "local": local,
        "md_ps": times,
        "steps_per_second": rates,
    }
    row["md_ns"] = features.shape[0] * features.shape[1] * SPACING_PS / 1000
    row["ratios"] = ratios(row) if ours["worst_rhat"] < transfer.CONVERGED else None
    row["local_is_bound"] = local["worst_rhat"] > transfer.CONVERGED
    return row


def dynamics(sequence: str, states: np.ndarray, seconds: float, threads: int) -> tuple[np.ndarray, list[str]]:
    """Sines and cosines of the soft torsions along MD: (replicas, frames, n)."""
    import torch

    from timewarp.analysis import soft_torsions
    from timewarp.geometry import dihedrals
    from timewarp.molecules import build_molecule

    molecule = build_molecule(sequence, md.PRESET)
    engine = md.batched_engine(molecule, 0.0, threads)
    soft = soft_torsions(molecule.atoms)
    corners = torch.tensor(list(soft.values()))
    replicas, every = engine.start(np.asarray(states, np.float64)), round(1000 * SPACING_PS / md.TIMESTEP_FS)
    found, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds:
        frames = engine.advance(replicas, 10, every)
        positions = torch.as_tensor(np.asarray(frames.positions)).float()
        found.append(dihedrals(positions.flatten(0, 1), corners).unflatten(0, positions.shape[:2]).numpy())
    angles = np.concatenate(found).swapaxes(0, 1)
    features = np.stack([f(angles[..., k]) for k in range(len(soft)) for f in (np.sin, np.cos)], -1)
    return features.astype(np.float64), [f"{f} {name}" for name in soft for f in ("sin", "cos")]


def slowest_coordinate(features: np.ndarray) -> Any:
    from deeptime.decomposition import TICA

    model = TICA(lagtime=round(TICA_LAG_PS / SPACING_PS), dim=1).fit_fetch(list(features))
    return lambda x: np.stack([model.transform(part)[:, 0] for part in x])


def relaxation(series: np.ndarray, equilibrium: np.ndarray) -> dict[str, Any]:
    """Integrated autocorrelation time of MD in ps, its error, and whether it is a bound from below."""
    centred = (series - equilibrium.mean()) / equilibrium.std()
    n = centred.shape[1]
    lags = np.unique(np.linspace(0, n // 2, 60).round().astype(int))
    products = np.stack([(centred[:, : n - k] * centred[:, k:]).mean(1) for k in lags], 1)  # (replicas, lags)
    ps, bound = integrate(products.mean(0), lags)
    generator = np.random.default_rng(1)
    again = [
        integrate(products[generator.integers(len(products), size=len(products))].mean(0), lags)[0]
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(again, (16, 84))
    return {"ps": ps, "low": float(low), "high": float(high), "bound": bound, "left": float(products.mean(0)[-1])}


def integrate(products: np.ndarray, lags: np.ndarray) -> tuple[float, bool]:
    """Integrated autocorrelation time in ps, from products that are the variance at lag 0; whether it is a bound."""
    c, t = products / products[0], lags * SPACING_PS
    below = np.flatnonzero(c < 0.05)
    end = below[0] if len(below) else len(c) - 1
    inside = float(np.trapezoid(c[: end + 1], t[: end + 1]))
    if len(below):
        return inside, False
    middle = len(c) // 2
    if not c[-1] < c[middle]:
        return inside + c[-1] * 10 * t[-1], True
    return inside + c[-1] * (t[-1] - t[middle]) / np.log(c[middle] / c[-1]), False


def ratios(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Our effective samples per second over those of each baseline."""
    found: dict[str, dict[str, float]] = {}
    for name in ("tica", "torsion"):
        mine = row["ours"][f"ess_{name}_per_second"]
        found[name] = {"local": mine / row["local"][f"ess_{name}_per_second"]}
        for engine, rate in row["steps_per_second"].items():
            ps_per_second = rate * md.TIMESTEP_FS / 1000
            found[name][engine] = mine / (ps_per_second / (2 * row["md_ps"][name]["ps"]))
    return found


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    figures: dict[str, float] = {"peptides": len(rows)}
    good = [row for row in rows if row["ratios"]]
    figures["peptides with a ratio"] = len(good)
    figures["R-hat of ours, worst"] = max(row["ours"]["worst_rhat"] for row in rows)
    for name in ("tica", "torsion") if good else ():
        for engine in good[0]["ratios"][name]:
            values = [row["ratios"][name][engine] for row in good]
            figures[f"{name}, over {engine}: median"] = statistics.median(values)
            figures[f"{name}, over {engine}: least"] = min(values)
    return figures


def show(row: dict[str, Any]) -> None:
    ours, times = row["ours"], row["md_ps"]
    spans = [f"{t['ps']:.0f} ps ({t['low']:.0f}-{t['high']:.0f})" for t in (times["tica"], times["torsion"])]
    print(
        f"{row['sequence']:6} R-hat {ours['worst_rhat']:.3f} (local {row['local']['worst_rhat']:.3f})  "
        f"ESS/s TICA {ours['ess_tica_per_second']:.0f} torsion {ours['ess_torsion_per_second']:.0f}  "
        f"MD times {spans[0]}, {spans[1]} of {times['torsion']['coordinate']}"
    )
    for name, found in (row["ratios"] or {}).items():
        print(f"       {name:8}" + "  ".join(f"{engine} {value:.3g}x" for engine, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
