"""Distances from long MD beside the published ones: E-W2, T-W2, TICA-W2, divergences, and effective samples per second.

For each peptide there is a run of ``timewarp simulate`` in a folder by its name, under the force field of the published
rows (amber14 with OBC1, 310 K). The default chain runs beside it until it has spent its energies: each energy counts,
and each force, those of the warm-up, the burn-in and of all proposals included. From it come the measures of
``timewarp evaluate``, each with its floor, between two halves of the reference. A second, small budget is counted from
the end of the warm-up on: a user pays tuning once.

The published rows are means over 30 peptides of another list (Tan et al., PROSE, 2025; Timewarp as run there), on other
machines. What the two have in common is the force field, the number of residues and the definitions.

    timewarp simulate --sequences LIST --preset amber14-obc1 --length 10 --torsion-moves 100 --out MD
    python benchmarks/published.py MD --json published.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lists

POINTS = 1500
"""Frames of each side in an exact transport. With fewer, the distance of equal distributions is larger: the small
budget is compared with a floor of as many frames as it has."""


def main() -> None:
    parser = lists.parser(__doc__, frames=0)
    parser.add_argument("md", type=Path, help="folder of runs, by the names of the peptides")
    parser.add_argument("--energies", type=float, default=1e6, help="energies and forces in all (default 1e6)")
    parser.add_argument("--few", type=float, default=1e4, help="the small budget, after the warm-up (default 1e4)")
    parser.add_argument("--markdown", action="store_true", help="print a table of the rows, too")
    args = parser.parse_args()

    from timewarp.trajectories import run_folders

    names = [folder.name for folder in run_folders(args.md)]
    rows = lists.run("published", names, args, lambda name: row_of(name, args), show, summarise)
    if args.markdown:
        print_table(rows)


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import timewarp as tw
    from timewarp.analysis import circular_ess, circular_rhat, ess, soft_torsions
    from timewarp.analysis.evaluation import evaluate
    from timewarp.analysis.tica import fit_slow_coordinates, usual_lag

    md = tw.open(args.md / sequence)
    reference = md.trajectory
    lag = usual_lag(reference)
    slow = fit_slow_coordinates(reference.positions, reference.atoms, lag)
    with tempfile.TemporaryDirectory() as scratch:
        run, summary = chain(sequence, md.config["preset"], Path(scratch) / "chain", args)
        whole = run.trajectory
        spent, tuning = evaluations(summary)
        kept = max(1, int(whole.n_frames * args.few / (spent - tuning)))
        few = Frames(whole, kept)
        found = {}
        for name, part, points in (("many", whole, POINTS), ("few", few, few.n)):
            found[name] = evaluate(part, reference, temperature_K=md.config["temperature_K"], points=points, slow=slow)
        soft = list(soft_torsions(run.atoms))
        angles = {name: run.torsions[name] for name in soft}
        esses = {n: circular_ess(x) for n, x in angles.items()}
        worst = min(esses, key=lambda n: esses[n])
        tica = ess(slow.project(whole.positions, whole.atoms)[..., 0])
    return {
        "sequence": sequence,
        "md_ns": float(md.config["length_ns"]),
        "md_rhat": max(circular_rhat(md.torsions[name], reference.superchains) for name in soft),
        "energies": spent,
        "energies_of_warmup": tuning,
        "samples": whole.n_chains * whole.n_frames,
        "samples_few": few.n,
        "wall_s": summary["wall_s"],
        "warmup_wall_s": summary["warmup_wall_s"],
        "acceptance": summary["kernels"]["flow"]["acceptance"],
        "jump": summary["kernels"]["flow"].get("jump"),
        "rhat": max(circular_rhat(x, whole.superchains) for x in angles.values()),
        "slowest_torsion": worst,
        "ess_per_second": {"tica": tica / summary["wall_s"], "torsion": esses[worst] / summary["wall_s"]},
        **found,
    }


def chain(sequence: str, preset: str, out: Path, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A default chain of about so many energies: a short one says what a sample costs, and is gone on with."""
    import timewarp as tw

    steps = 20
    for _ in range(3):
        run = tw.sample(
            sequence, model=args.model, preset=preset, chains=args.chains, samples=args.chains * steps, seed=7, out=out
        )
        spent, tuning = evaluations(run.summary)
        wanted = int((args.energies - tuning) / (spent - tuning) * steps)
        if wanted <= steps:
            break
        steps = wanted
    return run, dict(run.summary)


def evaluations(summary: dict[str, Any]) -> tuple[int, int]:
    """Energies and forces in all, and those of them before production."""
    parts = ("energy_evaluations", "force_evaluations")
    return sum(summary[part] for part in parts), sum(summary[f"warmup_{part}"] for part in parts)


class Frames:
    """The first frames of each chain of a trajectory."""

    def __init__(self, trajectory: Any, n: int) -> None:
        self.atoms, self.unit, self.frame_spacing = trajectory.atoms, trajectory.unit, trajectory.frame_spacing
        self.n = trajectory.n_chains * n
        self.positions, self.energies = trajectory.positions[:, :n], trajectory.energies[:, :n]


def show(row: dict[str, Any]) -> None:
    cells = []
    for budget in ("many", "few"):
        measures = row[budget]["measures"]
        shown = (f"{k} {m['value']:.3f} ({m['floor']:.3f})" for k, m in measures.items() if m["value"] is not None)
        cells.append(f"{budget}: {', '.join(shown)}")
    speed = row["ess_per_second"]
    print(
        f"{row['sequence']:6} {100 * row['acceptance']:.1f} % accepted, {row['energies']:.3g} energies, R-hat "
        f"{row['rhat']:.3f}, ESS/s {speed['tica']:.1f} (TICA) {speed['torsion']:.1f} (torsion)",
        *cells,
        sep="\n       ",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    figures = {"peptides": float(len(rows))}
    for length in sorted({len(row["sequence"]) for row in rows}):
        same = [row for row in rows if len(row["sequence"]) == length]
        head = f"{length}AA"
        figures[f"{head}, acceptance, median"] = statistics.median(row["acceptance"] for row in same)
        for name in ("tica", "torsion"):
            figures[f"{head}, ESS/s, {name}, median"] = statistics.median(r["ess_per_second"][name] for r in same)
        for budget in ("few", "many"):
            for measure in ("energy_w2", "torsion_w2", "tica_w2", "jsd_torsion", "jsd_tica"):
                cells = [row[budget]["measures"][measure] for row in same if measure in row[budget]["measures"]]
                figures[f"{head}, {budget}, {measure}, mean"] = statistics.mean(c["value"] for c in cells)
                figures[f"{head}, {budget}, {measure}, floor"] = statistics.mean(c["floor"] for c in cells)
        figures[f"{head}, states missed"] = float(sum(len(row["many"]["states"]["missed"]) for row in same))
    return figures


def print_table(rows: list[dict[str, Any]]) -> None:
    """A row for each peptide: values with their floors in brackets, at the large budget."""
    for row in rows:
        cells = [row["sequence"], f"{100 * row['acceptance']:.0f}"]
        for name in ("energy_w2", "torsion_w2", "tica_w2", "jsd_torsion", "jsd_tica", "delta_F"):
            m = row["many"]["measures"].get(name)
            known = m is not None and m["value"] is not None
            cells.append(
                f"{m['value']:.2g} ({'-' if m['floor'] is None else format(m['floor'], '.2g')})" if known else "-"
            )
        states = row["many"]["states"]
        cells += [f"{states['found']}/{len(states['populations'])}", f"{row['rhat']:.3f}"]
        cells += [f"{row['ess_per_second']['tica']:,.0f}, {row['ess_per_second']['torsion']:,.0f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
