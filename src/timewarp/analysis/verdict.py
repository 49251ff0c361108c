"""Trust the run or not, and why: every check with its number, its limit and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

from .convergence import RHAT_LIMIT, rhat_limit

ESS_LIMIT = 400
"""Smallest ESS on which R-hat and error bars can be relied (Vehtari et al. 2021)."""

JSD_FACTOR, JSD_SLACK = 3.0, 0.005
"""A divergence is at its floor below ``JSD_FACTOR * floor + JSD_SLACK`` (bits)."""

FEWEST_PROPOSALS = 20
"""Of a kernel of which no proposal at all is accepted, this many in each chain are enough to say so."""
LONGEST_REPEAT = 0.1
"""Largest part of a chain that may pass without a single accepted move."""

FEW_CROSSINGS = 20
"""With fewer crossings of phi = 0 than this, the population of a side is hardly known."""

FAMILY_LEVEL = 1e-3
"""Chance that a sound run is flagged by any of one family of z-scores."""

FEWEST_VISITS = 10
"""Visits that a state, or acceptances that a chain, is expected to have, from which on none at all is no accident."""

Status = Literal["pass", "note", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One reason.

    Attributes:
        name: what was looked at.
        status: ``pass``, ``warn`` or ``fail``; ``note`` for what is no fault of the run.
        text: the finding in one sentence, with the advice where there is any.
    """

    name: str
    status: Status
    text: str


@dataclass(frozen=True)
class Verdict:
    """``trust`` (all checks pass), ``caution`` (some warn) or ``reject`` (one fails)."""

    checks: tuple[Check, ...]

    @property
    def level(self) -> Literal["trust", "caution", "reject"]:
        """The worst of the checks."""
        found = {check.status for check in self.checks}
        return "reject" if "fail" in found else "caution" if "warn" in found else "trust"

    @property
    def headline(self) -> str:
        """The verdict in a few words."""
        return {
            "trust": "These samples can be trusted.",
            "caution": "Usable, with reservations.",
            "reject": "Do not trust these samples yet.",
        }[self.level]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"level": self.level, "headline": self.headline, "checks": [asdict(c) for c in self.checks]}


def judge(analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None = None) -> Verdict:
    """Judge a run from what :func:`~timewarp.analysis.analyse` and :func:`~timewarp.analysis.compare` found.

    A quantity that never varied has no R-hat: it is reported as such and never counted as converged. Differences from a
    reference that is itself not converged only warn.
    """
    checks = [
        *_convergence(analysis),
        *_unturned(analysis),
        *_movement(analysis),
        *_basins(analysis),
        *_cis_trans(analysis),
        *_geometry(analysis),
    ]
    if comparison is not None:
        checks += _agreement(comparison, smallest_ess(analysis))
    return Verdict(tuple(checks))


def quantities(analysis: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """R-hat and ESS (``rhat``, ``ess``) of each quantity that :func:`~timewarp.analysis.diagnose` looked at."""
    indicators = {f"{n} > 0": b for n, b in analysis["phi_basins"].items() if 0 < b["population"] < 1}
    indicators |= {f"{n} cis": b for n, b in _free_bonds(analysis).items() if 0 < b["cis"] < 1}
    return {**analysis["torsions"], "energy": analysis["energy"], **indicators}


def _free_bonds(analysis: Mapping[str, Any]) -> Mapping[str, Any]:
    """Peptide bonds that may be cis as well as trans; analyses of earlier versions know of none."""
    return analysis.get("cis_trans", {}).get("bonds", {})


def largest_rhat(analysis: Mapping[str, Any]) -> float | None:
    """The largest R-hat of the quantities that have one."""
    return max((row["rhat"] for row in quantities(analysis).values() if is_number(row["rhat"])), default=None)


def smallest_ess(analysis: Mapping[str, Any]) -> float | None:
    """The smallest effective sample size of the quantities that have one."""
    return min((row["ess"] for row in quantities(analysis).values() if is_number(row["ess"])), default=None)


def _convergence(analysis: Mapping[str, Any]) -> Iterator[Check]:
    found = quantities(analysis)
    known = {n: row for n, row in found.items() if is_number(row["rhat"]) and is_number(row["ess"])}
    if unknown := [n for n in found if n not in known]:
        yield Check(
            "variation",
            "fail",
            f"{_list(unknown)} did not vary, or the run is too short to tell: not sampled, so not converged.",
        )
    if not known:
        return
    starts = analysis["n_superchains"] if analysis["n_superchains"] > 1 else analysis["n_chains"]
    compared = f"{starts} superchains" if starts > 1 else "the two halves of the only chain"
    # Where the ESS is too small by itself, it may be so because the superchains disagree: no allowance for chance.
    limits = {
        n: rhat_limit(range(starts), row["ess"]) if row["ess"] >= ESS_LIMIT else RHAT_LIMIT for n, row in known.items()
    }
    late = [n for n in known if known[n]["rhat"] > limits[n]]
    worst = max(late or known, key=lambda n: known[n]["rhat"])
    value = known[worst]["rhat"]
    if late:
        text = (
            f"{_list(late)}: R-hat between {compared} up to {_rhat(value)} ({worst}), above "
            f"{max(limits[worst], RHAT_LIMIT):.3g}. Run longer chains."
        )
    elif value > RHAT_LIMIT:
        text = (
            f"R-hat at most {value:.4f} ({worst}): chance alone gives up to {limits[worst]:.4f} between {compared} "
            f"with {known[worst]['ess']:,.0f} effective samples, so they agree."
        )
    else:
        text = f"R-hat at most {value:.4f} ({worst}), below {RHAT_LIMIT}: {compared} agree."
    yield Check("nested R-hat", "fail" if late else "pass", text)
    poorest = min(known, key=lambda n: known[n]["ess"])
    size = known[poorest]["ess"]
    enough = size >= ESS_LIMIT
    text = f"Effective sample size at least {size:,.0f} ({poorest})"
    yield Check(
        "ESS", "pass" if enough else "fail", f"{text}." if enough else f"{text}, below {ESS_LIMIT}: run longer chains."
    )


def _unturned(analysis: Mapping[str, Any]) -> Iterator[Check]:
    """Torsions that stay in the conformer where the run began, whatever R-hat says."""
    if names := analysis["unturned"]:
        how = (
            "no move turns them, hmc alone shifts them by small steps of all atoms"
            if analysis["unit"] == "step"
            else "no torsion move turns them, only the dynamics itself"
        )
        yield Check(
            "not moved",
            "warn",
            f"{_list(names, 12)} {'is' if len(names) == 1 else 'are'} in a ring: {how}. Chains that all start in one "
            "conformer of the ring agree with each other and may all be wrong; start them in several.",
        )


def _movement(analysis: Mapping[str, Any]) -> Iterator[Check]:
    stuck = analysis["stuck"]
    dead = stuck["never_moved"]
    groups = analysis["n_superchains"] if 1 < analysis["n_superchains"] < analysis["n_chains"] else 0
    frozen = {k["name"]: _frozen_chains(k, groups) for k in analysis["kernels"]}
    if analysis["n_chains"] == 1:
        yield Check(
            "chains",
            "warn",
            "There is one chain alone: nothing tells whether it is stuck where it began. Run several, from different "
            "starts.",
        )
    if dead:
        yield Check("movement", "fail", f"{len(dead)} of {analysis['n_chains']} chains never moved.")
    elif stuck["longest_repeat"] > LONGEST_REPEAT and analysis["n_frames"] > 50:
        yield Check(
            "movement",
            "warn",
            f"One chain stood still for {stuck['longest_repeat']:.0%} of the run: moves rarely leave where it sits.",
        )
    else:
        yield Check("movement", "pass", "Every chain keeps moving.")
    for name, count in frozen.items():
        if count:
            what = f"{count} of {groups} superchains" if groups else f"{count} chains"
            yield Check(f"acceptance of {name}", "warn", f"{what} never accepted a {name} move.")
    for kernel in analysis["kernels"]:
        if kernel["name"] == "flow" and is_number(kernel["jump"]) and kernel["jump"] < 0.6:
            yield Check(
                "jump",
                "warn",
                f"Accepted flow moves jump {kernel['jump']:.2f} times as often as independent samples (0.6 wanted).",
            )


def _frozen_chains(kernel: Mapping[str, Any], superchains: int) -> int:
    """Superchains, or chains where each is one, that never accepted a move, where that is no accident.

    The many short chains of a superchain stay where a few long ones rest for a while, which is no fault of either.
    Even so they make few proposals each: of 128 chains with three acceptances each on average, six have none.
    """
    chains = kernel["per_chain"]
    if superchains:
        chains = [max(chains[k::superchains], default=0) for k in range(superchains)]
    expected = kernel["accepted"] >= FEWEST_VISITS * len(chains)
    dead = kernel["accepted"] == 0 and kernel["proposed"] >= FEWEST_PROPOSALS * len(chains)
    return sum(a == 0 for a in chains) if expected or dead else 0


def _basins(analysis: Mapping[str, Any]) -> Iterator[Check]:
    for name, basin in analysis["phi_basins"].items():
        if 0 < basin["population"] < 1:
            if basin["crossings"] < FEW_CROSSINGS:
                yield Check(
                    f"basin of {name}",
                    "warn",
                    f"The population of {name} > 0 rests on {basin['crossings']} crossings: its error bar is a guess.",
                )
            continue
        side = "phi > 0" if basin["population"] == 0 else "phi < 0"
        yield Check(
            f"basin of {name}",
            "warn",
            f"{side} of {name} was never visited, so nothing is known of its population; start chains there too.",
        )


def _cis_trans(analysis: Mapping[str, Any]) -> Iterator[Check]:
    for name, bond in _free_bonds(analysis).items():
        if not 0 < bond["cis"] < 1:
            side = "cis" if bond["cis"] == 0 else "trans"
            text = f"No sample of {name} is {side}, though it may be: nothing is known of that population."
        elif bond["crossings"] < FEW_CROSSINGS:
            text = f"The cis population of {name} rests on {bond['crossings']} crossings: its error bar is a guess."
        else:
            continue
        yield Check(f"cis and trans of {name}", "warn", text)


def _geometry(analysis: Mapping[str, Any]) -> Iterator[Check]:
    check = analysis["geometry"]
    frames = check["frames"]
    named = {
        "nonfinite": ("Non-finite values", "frames with a position or energy that is not finite", ()),
        "chirality_flips": ("Chirality", "frames with a flipped stereocentre", check["flipped_centres"]),
        "cis_trans_flips": (
            "Peptide bonds",
            "frames with a peptide bond flipped (cis/trans)",
            check["flipped_peptide_bonds"],
        ),
        "broken_bonds": ("Bonds", "frames with a broken bond", ()),
        "clashes": ("Clashes", "frames with overlapping atoms", ()),
    }
    bad = {key: row for key, row in named.items() if check[key]}
    for key, (name, what, where) in bad.items():
        status: Status = "warn" if key == "clashes" else "fail"
        yield Check(name, status, f"{check[key]:,} of {frames:,} {what}{': ' + ', '.join(where) if where else ''}.")
    if not bad:
        yield Check(
            "geometry", "pass", f"All {frames:,} frames finite, chirality and cis/trans kept, no broken bond, no clash."
        )


def _agreement(comparison: Mapping[str, Any], run_ess: float | None) -> Iterator[Check]:
    weak = [n for n, value in comparison["reference_rhat"].items() if not is_number(value) or value > RHAT_LIMIT]
    severity: Status = "warn" if weak else "fail"
    if weak:
        yield Check(
            "reference",
            "note",
            f"The reference itself has not converged ({_list(weak)}): differences from it prove little.",
        )
    rows = comparison["jsd"] | {f"(phi, psi) of {n}": r for n, r in comparison["jsd_phi_psi"].items()}
    off = [n for n, r in rows.items() if r["value"] > JSD_FACTOR * r["floor"] + JSD_SLACK]
    worst = max(rows, key=lambda n: rows[n]["value"] / (rows[n]["floor"] + JSD_SLACK), default=None)
    if worst is not None:
        found = f"JSD of {worst} is {rows[worst]['value']:.4f} bit, its noise floor {rows[worst]['floor']:.4f}"
        text = (
            f"Torsions differ from the reference ({_list(off)}): {found}."
            if off
            else f"Torsions agree: at worst, {found}."
        )
        yield Check("torsions vs reference", severity if off else "pass", text)
    lost = {f"{n} > 0": p for n, row in comparison["phi_basins"].items() if (p := _lost(row))}
    absent = {row["name"]: p for row in comparison["conformations"] if (p := _absent(row))}
    shares = comparison["states"]["populations"]
    unmet = {f"state {k + 1}": shares[k] for k in comparison["states"]["missed"]}
    for name, missing in (("basin", lost), ("conformation", absent), ("metastable state", unmet)):
        if missing:
            found = ", ".join(f"{n} ({100 * p:.2g} % of the reference)" for n, p in missing.items())
            # A rare one may be missed by chance; one that a run of this length must meet may not.
            fault = severity if must_meet(max(missing.values()), run_ess) else "warn"
            yield Check(f"{name}s vs reference", fault, f"A {name} of the reference was never visited: {found}.")
    scores = {"mean energy": comparison["energy"]["z_mean"], "energy fluctuation": comparison["energy"]["z_sd"]}
    scores |= {f"Delta F of {n}": row["z"] for n, row in comparison["phi_basins"].items()}
    yield _z_check("energies vs reference", scores, severity)
    bonded = {f"{row['name']} {part}": row[f"z_{part}"] for row in comparison["bonded"] for part in ("mean", "sd")}
    yield _z_check("bonds and angles vs reference", bonded, severity)


def must_meet(population: float, ess: Any) -> bool:
    """Whether so many independent samples would hardly miss a state of such a population."""
    return is_number(ess) and population * ess > FEWEST_VISITS


def _lost(row: Mapping[str, Any]) -> float:
    """The reference's share of a side of phi that it is sure of and the run has not visited; 0 for none."""
    run, reference = row["run"], row["reference"]
    share = {0.0: reference["population"], 1.0: 1 - reference["population"]}.get(run["population"], 0.0)
    return share if must_meet(share, reference["ess"]) else 0.0


def _absent(row: Mapping[str, Any]) -> float:
    """The reference's share of a conformation that it is sure of and the run has not visited; 0 for none."""
    p = row["reference"]["value"]
    return p if row["run"]["value"] == 0 and must_meet(p, row["reference"]["ess"]) else 0.0


def _z_check(name: str, scores: Mapping[str, float], severity: Status) -> Check:
    known = {n: abs(z) for n, z in scores.items() if is_number(z)}
    if not known:
        return Check(name, "warn", "No error bars to compare by: run longer.")
    limit = NormalDist().inv_cdf(1 - FAMILY_LEVEL / (2 * len(known)))
    worst = max(known, key=lambda n: known[n])
    text = (
        f"largest difference {known[worst]:.1f} standard errors ({worst}); limit for {len(known)} numbers {limit:.1f}."
    )
    far = known[worst] > limit
    return Check(name, severity if far else "pass", ("Disagreement: " if far else "Agreement: ") + text)


def is_number(value: Any) -> bool:
    """Whether a value of an analysis is a finite number; what could not be estimated is NaN or None."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _rhat(value: float) -> str:
    return f"{value:.4f}" if value < 100 else "more than 100"


def _list(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
