"""Are error bars right? Means of chains of two states, whose population and autocorrelation time are known.

    python benchmarks/error_bars.py --json error_bars.json

A chain stays with probability s, and else draws its state anew, with a population of 0.2. Its autocorrelation
time is (1 + s) / (1 - s) steps. Chains start in equilibrium. Error bars are right where the mean squared z-score of
the population is 1; above 1 they are too small. Two estimators of the effective sample size are compared:

- half-chains: Geyer's sequence of half-chains about their own means, as `timewarp.analysis.ess` and ArviZ have it;
- pooled: the same sequence, of the autocovariance about the mean of all chains, divided by the number of terms.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from timewarp.analysis import ess
from timewarp.analysis.autocorrelation import split
from timewarp.files import write_json

POPULATION, SAMPLES = 0.2, 8192
STAY = (0.0, 0.3, 0.5, 0.7, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", nargs="+", type=int, default=[8, 128], help="of 8,192 steps (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="the result")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for stay in STAY:
        for chains in arguments.chains:
            runs = [two_states(rng, chains, SAMPLES // chains, stay) for _ in range(arguments.repeats)]
            row = {"time": (1 + stay) / (1 - stay), "chains": chains}
            row |= {name: mean_z2(runs, size) for name, size in (("half-chains", ess), ("pooled", pooled_ess))}
            rows.append(row)
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    if arguments.json is not None:
        error = math.sqrt(2 / arguments.repeats)
        options = {"repeats": arguments.repeats, "seed": arguments.seed, "samples": SAMPLES, "population": POPULATION}
        write_json(arguments.json, {"benchmark": "error_bars", "options": options, "error": error, "rows": rows})


def two_states(rng: np.random.Generator, chains: int, steps: int, stay: float) -> np.ndarray:
    """0 or 1, (chains, steps)."""
    fresh = rng.random((chains, steps)) < POPULATION
    drawn = rng.random((chains, steps)) >= stay
    drawn[:, 0] = True
    last = np.maximum.accumulate(np.where(drawn, np.arange(steps), 0), axis=1)
    return np.take_along_axis(fresh, last, axis=1).astype(float)


def mean_z2(runs: list[np.ndarray], size) -> float:
    """Mean of (error of the population / its standard error) ** 2."""
    return float(np.mean([(x.mean() - POPULATION) ** 2 * size(x) / x.var() for x in runs]))


def pooled_ess(series: np.ndarray) -> float:
    """Effective sample size by the autocovariance of half-chains about the mean of all chains."""
    chains = split(series) - series.mean()
    steps = chains.shape[1]
    power = np.abs(np.fft.rfft(chains, 2 * steps)) ** 2
    rho = np.fft.irfft(power.mean(0))[:steps] / (steps - np.arange(steps))
    pairs = (rho / rho[0])[: steps // 2 * 2].reshape(-1, 2).sum(1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return chains.size / (2 * np.minimum.accumulate(kept).sum() - 1)


if __name__ == "__main__":
    main()
