"""A Cartesian network on peptides that it has never seen: what Timewarp was made for, measured for each peptide.

In one run and on the same threads, for each peptide of a list:

- **md**: plain MD in replicas from equilibrium states, its effective samples per second and the states it meets;
- **reference**: MD with torsion moves, whose distribution is exact and whose states are all there: equilibrium states,
  populations, and what chains are compared with;
- **acceptance** of this network and of `peptides` (C2) from equilibrium states, jump, and the share of start states
  that let go of less than 1 %; non-finite proposals count as rejected;
- **balance**: from equilibrium states, one step of Metropolis-Hastings must leave every mean where it is. z of the mean
  of min(1, r) (f(x') - f(x)) for the energy, cosines and sines of phi and psi; as a control the same without the
  densities of the proposal, which must not hold;
- **chains** of the network by itself, with batched proposals, with HMC between the moves, and of C2's default cycle:
  acceptance, jump, effective samples per second of the worst soft torsion, nested R-hat, and z of the mean energy and
  JSD of (phi, psi) from the reference beside its floor;
- **exploration**: the states of the reference that hold 1 % and that exploration meets, with the time to each, beside
  plain MD's from the same start; and those that a chain confirms which starts from what exploration found;
- **conditional** (where it is asked for): ends of fresh MD runs from one state beside proposals from it, as JSD of
  every torsion and of (phi, psi), each beside the floor between halves of the MD runs.

A result file is gone on with.

    python benchmarks/unseen.py configs/peptides/dipeptides-validation.txt --model MODEL --json unseen.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lists
import numpy as np
import transfer

SHARE = 0.01
"""Population from which on a state counts."""
CYCLES: dict[str, dict[str, Any]] = {
    "alone": {"kernels": "flow"},
    "batched": {"kernels": "flow", "proposals": 16},
    "with hmc": {"kernels": "flow,hmc"},
}


def main() -> None:
    """Measure what is not in the result yet."""
    parser = lists.parser(__doc__, frames=100)
    lists.add_list(parser)
    transfer.add_acceptance(parser)
    parser.add_argument("--reference-ns", type=float, default=20.0, help="MD with torsion moves (default 20)")
    parser.add_argument("--md-ns", type=float, default=100.0, help="plain MD (default 100)")
    parser.add_argument("--explored", type=int, default=100_000, help="samples of exploration (default 100000)")
    parser.add_argument("--threads", type=int, default=1, help="(default 1)")
    parser.add_argument("--seed", type=int, default=1, help="(default 1)")
    parser.add_argument("--ends", type=int, default=1024, help="MD runs and proposals of conditional (default 1024)")
    parser.add_argument(
        "--parts", default="acceptance,chains,states", help="what to measure, conditional too (default %(default)s)"
    )
    args = parser.parse_args()
    lists.run("unseen", lists.listed(args), args, lambda name: row_of(name, args), show, summarise)


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    """All figures of one peptide."""
    import torch

    import timewarp as tw

    parts = args.parts.split(",")
    row: dict[str, Any] = {"sequence": sequence}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        common = {"preset": args.preset, "threads": args.threads, "seed": args.seed}
        reference = tw.simulate(
            sequence,
            length_ns=args.reference_ns,
            replicas=32,
            start=("spread",),
            burn_in_ps=50,
            torsion_moves_per_ps=20,
            out=folder / "reference",
            **common,
        )
        flat = torch.as_tensor(reference.positions).flatten(0, 1)
        chosen = torch.linspace(0, len(flat) - 1, min(args.states, len(flat))).round().long()
        if "acceptance" in parts:
            for name, model in (("acceptance", args.model), ("acceptance_c2", "peptides")):
                row[name] = transfer.acceptances(sequence, args, model, flat[chosen], True, transfer.LEARNED[:1])[
                    "flow"
                ]
            row["balance"] = balance(sequence, args, flat[chosen])
        if "chains" in parts:
            row["chains"] = {}
            for label, cycle in CYCLES.items():
                out = folder / label.replace(" ", "-")
                made = tw.sample(
                    sequence,
                    model=args.model,
                    chains=args.chains,
                    samples=args.chains * args.frames,
                    warmup=20,
                    start_from=reference.path,
                    out=out,
                    **cycle,
                    **common,
                )
                row["chains"][label] = figures(made, reference)
            made = tw.sample(
                sequence,
                model="peptides",
                chains=args.chains,
                samples=args.chains * args.frames,
                start_from=reference.path,
                out=folder / "c2",
                **common,
            )
            row["chains"]["C2"] = figures(made, reference)
        if "conditional" in parts:
            found = tw.conditional(
                reference.path, args.model, n=args.ends, md_runs=args.ends, seed=args.seed, threads=args.threads
            )
            row["conditional"] = found.to_json()["jsd"] | {"accepted": found.mean_acceptance[0]}
        if "states" in parts:
            plain = tw.simulate(sequence, length_ns=args.md_ns, replicas=16, burn_in_ps=10, out=folder / "md", **common)
            row["chains"] = row.get("chains", {}) | {"MD": figures(plain, reference)}
            explored = tw.explore(
                sequence, model=args.model, samples=args.explored, chains=100, out=folder / "explored", **common
            )
            confirming = tw.sample(
                sequence,
                model=args.model,
                kernels="flow,hmc",
                chains=args.chains,
                samples=args.chains * args.frames,
                start_from=explored.path,
                out=folder / "confirmed",
                **common,
            )
            row["states"] = states_of(reference, plain, explored, confirming)
    return row


def figures(run: Any, reference: Any) -> dict[str, Any]:
    """What a chain or MD is worth, and how far it is from the reference."""
    from timewarp.analysis import circular_ess, circular_rhat, jsd_plane, mean, noise_floor, soft_torsions, z_score

    trajectory, summary = run.trajectory, run.summary
    drop = trajectory.n_frames // 5
    angles = {name: run.torsions[name][:, drop:] for name in soft_torsions(run.atoms)}
    esses = {name: circular_ess(values) for name, values in angles.items()}
    worst = min(esses, key=lambda name: esses[name])
    seconds = summary["wall_s"] * (1 - drop / trajectory.n_frames)
    phi, psi = plane(run.atoms)
    here = run.torsions[phi][:, drop:], run.torsions[psi][:, drop:]
    there = reference.torsions[phi], reference.torsions[psi]
    flow = summary.get("kernels", {}).get("flow")
    rhat = max(circular_rhat(values, trajectory.superchains) for values in angles.values())
    still = not np.isfinite(rhat)  # chains that stand still in different places: no effective samples at all
    return {
        "wall_s": seconds,
        "worst": worst,
        "ess": 0.0 if still else esses[worst],
        "ess_per_second": 0.0 if still else esses[worst] / seconds,
        "rhat": None if still else rhat,
        "acceptance": flow and flow["acceptance"],
        "jump": flow and flow.get("jump"),
        "energy_z": z_score(mean(trajectory.energies[:, drop:].numpy()), mean(reference.trajectory.energies.numpy())),
        "jsd": jsd_plane(here, there),
        "jsd_floor": noise_floor(
            lambda a, b: jsd_plane((a[..., 0], a[..., 1]), (b[..., 0], b[..., 1])), np.stack(there, -1)
        ),
    }


def plane(atoms: Any) -> tuple[str, str]:
    """Names of the phi and the psi on either side of the peptide bond."""
    from timewarp.analysis import backbone_planes, named_torsions

    return next(iter(backbone_planes(named_torsions(atoms)).values()))


def balance(sequence: str, args: argparse.Namespace, x: Any) -> dict[str, float]:
    """Largest z over observables of a step from equilibrium, and the same of a rule that forgets the proposal."""
    import torch

    import timewarp as tw
    from timewarp.flows.acceptance import acceptance_probability
    from timewarp.geometry import dihedrals
    from timewarp.pretrained import load

    system = tw.System(sequence, preset=args.preset)
    proposer = load(args.model, system.atoms).proposers(system.parameters, system.kT)["flow"]
    generator = torch.Generator().manual_seed(args.seed + 100)
    states = system.init(x.to(system.built))
    angles = dihedrals(states.positions.double(), system.watched)
    changes: dict[str, list[Any]] = {"right": [], "wrong": []}
    for _ in range(args.proposals):
        drawn = proposer.propose(states.positions, generator)
        there = system.recentre(drawn.positions)
        energy = system.energy(there)
        outside = system.restriction.crossed(there)
        gain = (states.energy.double() - energy.double()) / system.kT
        log_r = gain + (0.0 if drawn.log_ratio is None else drawn.log_ratio)
        after = dihedrals(there.double(), system.watched)
        moved = [
            energy.double() - states.energy.double(),
            *(after.cos() - angles.cos()).T,
            *(after.sin() - angles.sin()).T,
        ]
        change = torch.stack(moved, -1)
        for name, log_ratio in (("right", log_r), ("wrong", gain)):
            p = acceptance_probability(log_ratio.masked_fill(outside | ~energy.isfinite(), -torch.inf))
            changes[name].append(torch.where(p[:, None] > 0, p[:, None] * change, 0.0))
    found = {}
    for name, rows in changes.items():
        each = torch.stack(rows).mean(0)  # proposals from one state are one sample
        error = each.std(0) / len(each) ** 0.5
        scores = torch.where(error > 0, each.mean(0).abs() / error, 0.0)
        found[f"{name}, largest z of {scores.numel()}"] = float(scores.max())
    return found


def states_of(reference: Any, plain: Any, explored: Any, confirming: Any) -> dict[str, Any]:
    """States of the reference that hold a share, and when each of the others met them."""
    from timewarp.analysis.states import STATE_RADIUS_DEGREES, circular_distance, find_states
    from timewarp.sampling.exploration import state_torsions

    names = list(state_torsions(reference.atoms))

    def angles_of(run: Any) -> np.ndarray:
        """Frames in the order in which they were made, all chains side by side."""
        return np.stack([run.torsions[n] for n in names], -1).swapaxes(0, 1).reshape(-1, len(names))

    angles = angles_of(reference)
    states = find_states(angles)
    shares = states.visits() / len(angles)
    held = np.flatnonzero(shares >= SHARE)
    found: dict[str, Any] = {"torsions": names, "shares": shares[held].tolist(), "held": len(held)}
    for label, run in (("md", plain), ("exploration", explored), ("confirmed", confirming)):
        theirs, seconds = angles_of(run), run.summary["wall_s"]
        met: list[float | None] = []
        for k in held:
            near = circular_distance(theirs, angles[states.first[k]]) <= np.deg2rad(STATE_RADIUS_DEGREES)
            met.append(float(near.argmax() / len(theirs) * seconds) if near.any() else None)
        found[label] = {"seconds": seconds, "met_after_s": met, "met": sum(m is not None for m in met)}
        found[label]["all_after_s"] = None if None in met else max(m for m in met if m is not None)
    return found


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Medians and counts over the peptides."""
    found: dict[str, float] = {}
    if all("acceptance" in row for row in rows):
        for name in ("acceptance", "acceptance_c2"):
            means = [row[name]["mean"] for row in rows]
            found |= {f"{name}, median": statistics.median(means), f"{name}, worst": min(means)}
            found[f"{name}, jump, median"] = statistics.median(row[name]["jump"] or 0.0 for row in rows)
        for rule in ("right", "wrong"):
            scores = [next(v for k, v in row["balance"].items() if k.startswith(rule)) for row in rows]
            found[f"balance, {rule}, median of the largest z"] = statistics.median(scores)
    for label in ("alone", "batched", "with hmc", "C2", "MD"):
        if all(label in row.get("chains", {}) for row in rows):
            chains = [row["chains"][label] for row in rows]
            found[f"{label}, ESS per second, median"] = statistics.median(c["ess_per_second"] for c in chains)
            found[f"{label}, R-hat, median"] = statistics.median(c["rhat"] or np.inf for c in chains)
    if all("states" in row for row in rows):
        for label in ("md", "exploration", "confirmed"):
            found[f"{label}, all states"] = sum(row["states"][label]["all_after_s"] is not None for row in rows)
    return found


def show(row: dict[str, Any]) -> None:
    """One line."""
    line = f"{row['sequence']:8}"
    if "acceptance" in row:
        a, c = row["acceptance"], row["acceptance_c2"]
        line += (
            f" accepted {100 * a['mean']:.4f} % (C2 {100 * c['mean']:.1f}) jump {a['jump'] or 0:.2f} {row['balance']}"
        )
    for label, chain in row.get("chains", {}).items():
        line += (
            f"; {label} {chain['ess_per_second']:.2f}/s R-hat {chain['rhat'] or np.inf:.3f} z {chain['energy_z']:.1f}"
        )
    for name, value in row.get("conditional", {}).items():
        if "," in name:
            line += f"; JSD of ({name}) {value['value']:.3f} (floor {value['floor']:.3f})"
    if "states" in row:
        s = row["states"]
        line += "; states " + ", ".join(f"{k} {s[k]['met']}/{s['held']}" for k in ("md", "exploration", "confirmed"))
    print(line, flush=True)


if __name__ == "__main__":
    main()
