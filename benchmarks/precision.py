"""Does single precision change the samples? A float32 and a float64 chain of a million steps, compared by z-scores.

    python benchmarks/precision.py --json precision.json

Both chains are made with `timewarp.sample` (or given, with --float32 and --float64). Compared are the mean energy, its
variance, the mean and variance of every bond length and angle, and the mean sine and cosine of every named torsion.
Each chain's mean is one independent draw, so that errors come from the spread of the chains' means. With n quantities
the largest |z| of two equal distributions is about sqrt(2 ln n).
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch

import timewarp as tw
from timewarp.analysis import named_torsions
from timewarp.files import read_json, write_json
from timewarp.geometry import dihedrals
from timewarp.state import Atoms


def sample(out: Path, precision: str, arguments: argparse.Namespace, seed: int) -> Path:
    tw.sample(
        arguments.molecule,
        chains=arguments.chains,
        samples=arguments.steps,
        seed=seed,
        precision=precision,
        out=out,
    )
    return out


def quantities(path: Path) -> dict[str, torch.Tensor]:
    """Of each chain, the mean of each quantity: (chains,)."""
    trajectory = tw.open(path).trajectory
    atoms: Atoms = trajectory.atoms
    bonds = torch.tensor(atoms.bonds)
    triples = torch.tensor(
        [(i, j, k) for j in range(atoms.n_atoms) for i in neighbours(atoms, j) for k in neighbours(atoms, j) if i < k]
    )
    named = named_torsions(atoms)
    torsions = torch.tensor(list(named.values()))
    sums: dict[str, torch.Tensor] = {}
    # Both are (chains, frames, ...): frame by frame over all chains, so that sums are per chain.
    for frame, energy in zip(trajectory.positions.transpose(0, 1), trajectory.energies.T, strict=True):
        x = frame.double()
        length = (x[:, bonds[:, 0]] - x[:, bonds[:, 1]]).norm(dim=-1)
        u, v = x[:, triples[:, 0]] - x[:, triples[:, 1]], x[:, triples[:, 2]] - x[:, triples[:, 1]]
        angle = torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))
        torsion = dihedrals(x, torsions)
        parts = {"energy": energy.double()[:, None], "length": length, "angle": angle}
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + value
            sums[f"{name}^2"] = sums.get(f"{name}^2", 0) + value**2
        for name, value in {"sin": torsion.sin(), "cos": torsion.cos()}.items():
            sums[name] = sums.get(name, 0) + value
    n = trajectory.n_frames
    labels = {
        "energy": ["energy"],
        "length": [f"{atoms.names[i]}-{atoms.names[j]}" for i, j in atoms.bonds],
        "angle": ["-".join(atoms.names[i] for i in row) for row in triples.tolist()],
        "sin": list(named),
        "cos": list(named),
    }
    out = {}
    for name, total in sums.items():
        kind, squared = name.removesuffix("^2"), name.endswith("^2")
        mean = total / n
        if squared:  # the variance about the mean over all chains, so that it has one value per chain
            centre = (sums[kind] / n).mean(0)
            mean = mean - 2 * centre * sums[kind] / n + centre**2
        for column, label in enumerate(labels[kind]):
            out[f"{'variance' if squared else 'mean'} of {kind} {label}"] = mean[:, column]
    return out


def neighbours(atoms: Atoms, j: int) -> list[int]:
    return [int(i) for i in atoms.adjacency[j].nonzero()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecule", default="Ace-A-Nme")
    parser.add_argument("--chains", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1_024_000, help="over all chains (default 1024000)")
    parser.add_argument("--float32", type=Path, metavar="RUN")
    parser.add_argument("--float64", type=Path, metavar="RUN")
    parser.add_argument("--json", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        single = arguments.float32 or sample(Path(folder) / "float32", "float32", arguments, seed=1)
        double = arguments.float64 or sample(Path(folder) / "float64", "float64", arguments, seed=2)
        summaries = [read_json(path / "summary.json") for path in (single, double)]
        first, second = quantities(single), quantities(double)
    z = {}
    for name, a in first.items():
        b = second[name]
        error = math.sqrt(float(a.var()) / len(a) + float(b.var()) / len(b))
        z[name] = float(a.mean() - b.mean()) / error
    worst = sorted(z, key=lambda name: -abs(z[name]))[:5]
    expected = math.sqrt(2 * math.log(len(z)))
    squares = sum(value**2 for value in z.values()) / len(z)
    for summary in summaries:
        rate = f"{summary['samples_per_second']:,.0f} samples/s"
        print(f"{summary['precision']}: {summary['n_samples']:,} samples, {rate}, {summary['engines']}")
    print(f"{len(z)} quantities: largest |z| {abs(z[worst[0]]):.2f} ({expected:.2f} expected), mean z^2 {squares:.2f}")
    for name in worst:
        print(f"  {name:40} z = {z[name]:+.2f}")
    if arguments.json:
        result = {"schema": 1, "benchmark": "precision", "mean_squared_z": squares, "z": z}
        rates = {s["precision"]: s["samples_per_second"] for s in summaries}
        write_json(arguments.json, result | {"samples": summaries[0]["n_samples"], "samples_per_second": rates})


if __name__ == "__main__":
    main()
