"""Does one network serve peptides that it has never seen? Acceptance and effective samples per second of each.

For each peptide of a list, in one run and on the same cores:

- acceptance of the learned moves (all soft torsions redrawn; a suffix; a subset in a random order) from equilibrium
  states, a few proposals from each, with the jump and the distribution over start states: a mean would hide states that
  nearly never let go. Non-finite proposals count as rejected;
- the same of the untrained network, which is the physics prior, and of a network trained without physics, if one is
  given;
- effective samples per second of the default chain, and of single-torsion moves with HMC: of the worst soft torsion
  (its sine or cosine, whichever is slower), and of the slowest coordinate of TICA, fitted on the chain of local moves,
  whose slow modes are those of the molecule; nested R-hat of both chains. A ratio of the two is formed only where both
  have an R-hat below 1.05: the effective sample size of a chain that has not found all states is no measurement, and
  flatters whichever chain was the shortest.

Equilibrium states are those of the default chain, its first fifth dropped. A result file is gone on with.

    python benchmarks/transfer.py configs/peptides/dipeptides-validation.txt --json dipeptides.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lists
import numpy as np

LEARNED = ("flow", "flow_suffix", "flow_subset")
STUCK = 0.01
CONVERGED = 1.05
WARMUP = 100
FEWEST_ACCEPTED = 20


def main() -> None:
    parser = lists.parser(__doc__, frames=60)
    lists.add_list(parser)
    parser.add_argument("--no-physics", metavar="MODEL", help="a network trained with physics = false, as a baseline")
    add_acceptance(parser)
    parser.add_argument("--local-thin", type=int, default=5, help="cycles per sample of local moves (default 5)")
    parser.add_argument("--markdown", action="store_true", help="print the table of the model card, too")
    args = parser.parse_args()
    rows = lists.run("transfer", lists.listed(args), args, lambda name: row_of(name, args), show, summarise)
    if args.markdown:
        print_table(rows)


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from timewarp.analysis import ess

    row: dict[str, Any] = {"sequence": sequence}
    default, states = chain(sequence, args, model=args.model)
    local, _ = chain(sequence, args, no_flow=True, thin=args.local_thin)
    series = tica_series(local.pop("features"), default.pop("features"))
    for part, values in zip((local, default), series, strict=True):
        part["ess_tica"] = ess(values)
        for name in ("tica", "torsion"):
            part[f"ess_{name}_per_second"] = part[f"ess_{name}"] / part["wall_s"]
    row |= {"learned": default, "local": local}
    row |= gains(default, local)
    positions = torch.as_tensor(states)
    row["acceptance"] = acceptances(sequence, args, args.model, positions, trained=True)
    row["untrained_prior"] = acceptances(sequence, args, args.model, positions, False, LEARNED[:1])["flow"]
    if args.no_physics:
        row["no_physics"] = acceptances(sequence, args, args.no_physics, positions, True, LEARNED[:1])["flow"]
    return row


def chain(sequence: str, args: argparse.Namespace, **settings: Any) -> tuple[dict[str, Any], np.ndarray]:
    """A chain from scattered starts; its figures, and equilibrium states of it."""
    import timewarp as tw
    from timewarp.analysis import circular_ess, circular_rhat, soft_torsions

    drop = args.frames // 5
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        samples = args.chains * args.frames
        tw.sample(sequence, preset=args.preset, chains=args.chains, samples=samples, warmup=WARMUP, out=out, **settings)
        run = tw.open(out, discard=drop)
        summary, soft = run.summary, list(soft_torsions(run.atoms))
        kept = {name: run.torsions[name] for name in soft}
        esses = {name: circular_ess(values) for name, values in kept.items()}
        rhats = {name: circular_rhat(values, run.trajectory.superchains) for name, values in kept.items()}
        worst = min(esses, key=lambda name: esses[name])
        positions = run.positions.reshape(-1, run.atoms.n_atoms, 3)
        features = np.stack([f(kept[name]) for name in soft for f in (np.sin, np.cos)], -1)
        chosen = np.linspace(0, len(positions) - 1, args.states).round().astype(int)
    kernels = {name: {k: v[k] for k in ("acceptance", "jump") if k in v} for name, v in summary["kernels"].items()}
    return {
        "wall_s": summary["wall_s"] * (1 - drop / args.frames),
        "ess_torsion": esses[worst],
        "slowest_torsion": worst,
        "worst_rhat": max(rhats.values()),
        "kernels": kernels,
        "tuning": summary["tuning"],
        "features": features,
    }, positions[chosen]


def gains(default: dict[str, Any], local: dict[str, Any]) -> dict[str, float | None]:
    """ESS per second of the default chain over that of local moves; None where one of them has not converged."""
    names = ("tica", "torsion")
    if max(default["worst_rhat"], local["worst_rhat"]) > CONVERGED:
        return {f"gain_{name}": None for name in names}
    return {f"gain_{n}": default[f"ess_{n}_per_second"] / local[f"ess_{n}_per_second"] for n in names}


def tica_series(reference: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slowest coordinate of TICA (lag of one stored sample), fitted on the first, of both."""
    from deeptime.decomposition import TICA

    model = TICA(lagtime=1, dim=1).fit_fetch(list(reference.astype(np.float64)))
    return tuple(np.stack([model.transform(c)[:, 0] for c in x.astype(np.float64)]) for x in (reference, other))


def add_acceptance(parser: argparse.ArgumentParser) -> None:
    """The options of :func:`chain` and :func:`acceptances`."""
    parser.add_argument("--preset", default="amber14-obc2", help="force field (default amber14-obc2)")
    parser.add_argument("--states", type=int, default=256, help="start states of the acceptance (default 256)")
    parser.add_argument("--proposals", type=int, default=8, help="proposals from each (default 8)")


def acceptances(
    sequence: str,
    args: argparse.Namespace,
    model: str,
    x: Any,
    trained: bool,
    moves: tuple[str, ...] = LEARNED,
) -> dict[str, Any]:
    """Of learned moves, from each of some states."""
    import torch

    import timewarp as tw
    from timewarp.flows.acceptance import expected_acceptance
    from timewarp.flows.growth import GrowthFlow
    from timewarp.geometry import dihedrals, jumps
    from timewarp.pretrained import load

    system = tw.System(sequence, preset=args.preset)
    flow = load(model, system.atoms).network
    if not trained:
        flow = GrowthFlow(system.atoms, flow.config).eval()
    proposers = flow.proposers(system.parameters, system.kT)
    generator = torch.Generator().manual_seed(11)
    x = x.to(system.built)
    states = system.init(x.repeat(args.proposals, 1, 1)).positions
    one, other = (dihedrals(p.double(), system.watched) for p in (x, x[torch.randperm(len(x), generator=generator)]))
    independent = float(jumps(one, other).any(-1).double().mean())

    def reduced_energy(positions: Any) -> Any:
        outside = system.restriction.crossed(positions)
        return system.reduced_energy(system.energy(positions)).masked_fill(outside, torch.inf)

    found = {}
    for name in moves if "flow_suffix" in proposers else LEARNED[:1]:
        tried = expected_acceptance(proposers[name], states, reduced_energy, generator)
        each = tried.probability.reshape(args.proposals, -1).mean(0).numpy()
        before, after = (dihedrals(p.double(), system.watched) for p in (states, tried.candidates))
        accepted = float(tried.probability.sum())
        jumped = float((tried.probability * jumps(before, after).any(-1)).sum())
        found[name] = {
            "mean": float(each.mean()),
            "states": {f"{q}%": float(np.percentile(each, q)) for q in (5, 25, 50, 75, 95)},
            "stuck": float((each < STUCK).mean()),
            "jump": jumped / accepted / independent if accepted > FEWEST_ACCEPTED else None,
        }
    return found


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    full = [row["acceptance"]["flow"]["mean"] for row in rows]
    jumps = [row["acceptance"]["flow"]["jump"] or 0.0 for row in rows]
    figures = {
        "acceptance, median": statistics.median(full),
        "acceptance, worst": min(full),
        "jump, median": statistics.median(jumps),
        "jump, worst": min(jumps),
        "untrained prior, median": statistics.median(row["untrained_prior"]["mean"] for row in rows),
        "R-hat below 1.01": statistics.mean(row["learned"]["worst_rhat"] < 1.01 for row in rows),
    }
    for name in ("tica", "torsion"):
        if known := [row[f"gain_{name}"] for row in rows if row[f"gain_{name}"] is not None]:
            figures |= {f"gain, {name}, median": statistics.median(known), f"gain, {name}, worst": min(known)}
            figures["peptides with a gain"] = len(known)
    figures["R-hat of the default chain, median"] = statistics.median(row["learned"]["worst_rhat"] for row in rows)
    figures["R-hat of local moves, median"] = statistics.median(row["local"]["worst_rhat"] for row in rows)
    if all("no_physics" in row for row in rows):
        figures["no physics, median"] = statistics.median(row["no_physics"]["mean"] for row in rows)
    return figures


def show(row: dict[str, Any]) -> None:
    parts = [f"{name} {row['acceptance'][name]['mean']:.3f}" for name in row["acceptance"]]
    a, gain = row["acceptance"]["flow"], row["gain_torsion"]
    print(
        f"{row['sequence']:8} {'  '.join(parts)}  5% of states {a['states']['5%']:.3f}  jump {a['jump'] or 0:.2f}  "
        f"prior {row['untrained_prior']['mean']:.3f}  "
        f"ESS/s TICA {row['learned']['ess_tica_per_second']:.0f}  "
        f"torsion {row['learned']['ess_torsion_per_second']:.0f} ({'-' if gain is None else f'{gain:.2f}x'})  "
        f"R-hat {row['learned']['worst_rhat']:.3f}, of local moves {row['local']['worst_rhat']:.3f}",
        flush=True,
    )


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows of the model card's table."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"

    for row in rows:
        full = row["acceptance"]["flow"]
        states = " / ".join(percent(full["states"][q]) for q in ("5%", "50%", "95%"))
        others = [percent(row["acceptance"][name]["mean"]) for name in LEARNED[1:] if name in row["acceptance"]]
        cells = [row["sequence"], percent(full["mean"]), states, f"{full['jump'] or 0:.2f}", *others]
        cells += [percent(row["untrained_prior"]["mean"])]
        cells += [f"{row['learned']['worst_rhat']:.2f}, {row['local']['worst_rhat']:.2f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
