"""Tables of the page. Every text that comes from outside passes through :func:`html.escape`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..analysis import RHAT_LIMIT
from ..analysis.evaluation import MEASURES, Measure
from ..analysis.verdict import is_number
from .drawing import symbol

ABSENT = '<span class="absent">–</span>'
BOUND = {"=": "", ">": "&gt; ", "<": "&lt; ", "?": "? "}
"""How a ratio is to be read, by its sign: as it is, or as a bound."""


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits and thousands separated; a dash for what is not one.

    >>> number(12345.678), number(0.00123), number(1.0, 4)
    ('12,346', '0.00123', '1.000')
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return ABSENT
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(digits - 1 - magnitude, 0)}f}".replace("-", "−")


def measured(value: Any, error: Any, factor: float = 1.0) -> str:
    """Value and standard error, both to the second digit of the error.

    >>> measured(12.3456, 0.123)
    '12.35 ± 0.12'
    """
    if not (is_number(value) and is_number(error)) or error <= 0:
        return number(value * factor) if is_number(value) else ABSENT
    value, error = value * factor, error * factor
    digits = max(1 - math.floor(math.log10(error)), 0)
    return f"{value:,.{digits}f} ± {error:,.{digits}f}".replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", name: str = "") -> str:
    """A table; cells and head are HTML already. The first column is text, the others are numbers."""
    body = "".join(
        "<tr><th scope='row'>" + r[0] + "</th>" + "".join(f"<td>{c}</td>" for c in r[1:]) + "</tr>" for r in rows
    )
    top = "".join(f"<th scope='col'>{h}</th>" for h in head)
    label = f"<caption>{caption}</caption>" if caption else ""
    anchor = f" id='{escape(name)}'" if name else ""
    return f"<div class='scroll'><table{anchor}>{label}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def torsion_table(analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> str:
    """Nested R-hat, ESS and autocorrelation time of each torsion, with the divergence from a reference."""
    unit = "steps" if analysis["unit"] == "step" else escape(analysis["unit"])
    head = ["torsion", "nested R-hat", "ESS", "ESS / N", f"autocorr. time / {unit}", "mean / °"]
    if comparison:
        head += ["JSD / bit", "noise floor"]
    rows = []
    for name, row in analysis["torsions"].items():
        cells = [
            f"{escape(symbol(name))} <code>{escape(name)}</code>",
            mark(rhat_text(row["rhat"]), not is_number(row["rhat"]) or row["rhat"] > RHAT_LIMIT),
            number(row["ess"], 4) if not is_number(row["ess"]) else f"{row['ess']:,.0f}",
            percent(row["ess"] / analysis["n_samples"] if is_number(row["ess"]) else None),
            number(row["iat"]),
            number(row["circular_mean_deg"], 3),
        ]
        if comparison:
            jsd = comparison["jsd"].get(name, {})
            cells += [number(jsd.get("value"), 2), number(jsd.get("floor"), 2)]
        rows.append(cells)
    return table(head, rows, name="torsion-table")


def basin_table(analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None, names: tuple[str, str]) -> str:
    """Populations of phi > 0 and the free energy between the two sides."""
    run, reference = (escape(n) for n in names)
    head = ["residue", f"P(φ > 0), {run}", f"ΔF / kT, {run}", "nested R-hat of φ > 0", "ESS of φ > 0", "crossings"]
    if comparison:
        head += [f"P(φ > 0), {reference}", f"ΔF / kT, {reference}", "difference / σ"]
    rows = []
    for name, b in analysis["phi_basins"].items():
        cells = [
            escape(name.removeprefix("phi_")),
            measured(b["population"], b["population_error"]),
            measured(b["delta_F"], b["error"]),
            rhat_text(b["rhat"]),
            f"{b['ess']:,.0f}" if is_number(b["ess"]) else ABSENT,
            f"{b['crossings']:,}",
        ]
        if comparison:
            both = comparison["phi_basins"][name]
            other = both["reference"]
            cells += [
                measured(other["population"], other["population_error"]),
                measured(other["delta_F"], other["error"]),
                number(both["z"], 2),
            ]
        rows.append(cells)
    return table(head, rows, name="basin-table")


def cis_trans_table(analysis: Mapping[str, Any]) -> str:
    """The cis population of each peptide bond that may be either; empty without any."""
    rows = [
        [
            f"{escape(symbol(name))} <code>{escape(name)}</code>",
            measured(bond["cis"], bond["error"], 100),
            measured(bond["delta_F"], bond["delta_F_error"]),
            rhat_text(bond["rhat"]),
            f"{bond['ess']:,.0f}" if is_number(bond["ess"]) else ABSENT,
            f"{bond['crossings']:,}",
        ]
        for name, bond in analysis.get("cis_trans", {}).get("bonds", {}).items()
    ]
    head = ["peptide bond", "cis / %", "ΔF (cis) / kT", "nested R-hat", "ESS", "crossings"]
    return table(head, rows, "Peptide bonds that may be cis as well as trans.", "cis-trans-table") if rows else ""


def conformation_table(
    analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None, names: tuple[str, str], most: int = 16
) -> str:
    """Population of each backbone conformation, and when chains first came there; empty without any."""
    run, reference = (escape(n) for n in names)
    unit = "steps" if analysis["unit"] == "step" else escape(analysis["unit"])
    own = {row["name"]: row for row in analysis["conformations"]}
    both = {row["name"]: row for row in comparison["conformations"]} if comparison else {}
    shown = list(both or own)[:most]
    if not shown:
        return ""
    head = ["conformation", f"population, {run}", "ESS", f"first met / {unit}", "chains that met it"]
    head += [f"population, {reference}", "difference / σ"] if comparison else []
    rows = []
    for name in shown:
        row = own.get(name)
        cells = [f"<code>{escape(name)}</code>"]
        if row is None:
            cells += [mark("never visited", True), ABSENT, ABSENT, f"0 of {analysis['n_chains']:,}"]
        else:
            met = f"{row['chains']:,} of {analysis['n_chains']:,}"
            ess = f"{row['ess']:,.0f}" if is_number(row["ess"]) else ABSENT
            cells += [measured(row["population"], row["error"]), ess, number(row["median_first_met"]), met]
        if comparison:
            other = both[name]["reference"]
            cells += [measured(other["value"], other["error"]), number(both[name]["z"], 2)]
        rows.append(cells)
    total = len(both) if both else analysis["n_conformations"]
    caption = "Backbone conformations. <em>First met</em> is the median over chains, counted from the first sample."
    caption += f" The {most} most populated of {total}." if total > most else ""
    return table(head, rows, caption, "conformation-table")


def energy_table(analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None, names: tuple[str, str]) -> str:
    """Mean, fluctuation and heat capacity of the potential energy."""
    e = analysis["energy"]
    run, reference = (escape(n) for n in names)
    head = ["potential energy", run] + ([reference, "difference / σ"] if comparison else [])
    rows = [
        ["mean / kJ mol⁻¹", measured(e["mean"]["value"], e["mean"]["error"])],
        ["fluctuation (sd) / kJ mol⁻¹", measured(e["sd"]["value"], e["sd"]["error"])],
        [
            "heat capacity, var(U) / kT² / J mol⁻¹ K⁻¹",
            measured(e["heat_capacity"]["value"], e["heat_capacity"]["error"], 1000),
        ],
        [
            "nested R-hat, ESS",
            f"{rhat_text(e['rhat'])}, {number(e['ess'] if not is_number(e['ess']) else round(e['ess']))}",
        ],
    ]
    if comparison:
        c = comparison["energy"]
        rows[0] += [measured(c["reference_mean"]["value"], c["reference_mean"]["error"]), number(c["z_mean"], 2)]
        rows[1] += [measured(c["reference_sd"]["value"], c["reference_sd"]["error"]), number(c["z_sd"], 2)]
        rows[2] += ["", ""]
        rows[3] += ["", ""]
        floor = f"{number(c['floor_kT'], 2)} (noise floor)"
        rows.append(["Wasserstein-2 distance / kT", number(c["w2_kT"], 2), floor, ""])
    return table(head, rows, name="energy-table")


def kernel_table(analysis: Mapping[str, Any]) -> str:
    """Acceptance by kernel."""
    rows = [
        [
            f"<code>{escape(k['name'])}</code>",
            f"{k['proposed']:,}",
            f"{k['accepted']:,}",
            percent(k["acceptance"]),
            number(k["jump"], 2) if k["jump"] is not None else ABSENT,
            f"{k['nonfinite']:,}",
            f"{percent(min(k['per_chain']))} to {percent(max(k['per_chain']))}" if k["per_chain"] else ABSENT,
        ]
        for k in analysis["kernels"]
    ]
    return table(
        ["kernel", "proposed", "accepted", "acceptance", "jump", "non-finite", "range over chains"],
        rows,
        name="kernel-table",
    )


def jsd_plane_table(comparison: Mapping[str, Any]) -> str:
    """Divergence of each (phi, psi) plane beside its noise floor."""
    rows = [
        [escape(n), number(row["value"], 2), number(row["floor"], 2)] for n, row in comparison["jsd_phi_psi"].items()
    ]
    return table(["(φ, ψ), 50 × 50 bins", "JSD / bit", "noise floor"], rows, name="jsd-table")


def heading(measure: Measure) -> str:
    """Name and unit of a measure."""
    return f"{escape(measure.title)}{f' / {measure.unit}' if measure.unit else ''}"


def measures_table(comparison: Mapping[str, Any]) -> str:
    """The measures of an evaluation, each beside its noise floor."""
    rows = [
        [
            heading(m),
            *(("∞" if cell[key] is None else number(cell[key])) for key in ("value", "floor")),
            escape(m.meaning),
        ]
        for m in MEASURES
        if (cell := comparison["measures"].get(m.name)) is not None
    ]
    return table(["measure", "value", "noise floor", "what it is"], rows, name="measures-table")


def profile_table(comparison: Mapping[str, Any]) -> str:
    """The largest difference of each free-energy profile from the reference's."""
    rows = [
        [
            f"{escape(symbol(name))} <code>{escape(name)}</code>",
            number(row["difference_kT"], 2),
            number(row["difference_errors"], 2),
        ]
        for name, row in comparison["profiles"].items()
    ]
    caption = "Where both are below 6 kT, about their common mean. Of 72 bins, some lie three σ off by chance."
    return table(["profile", "largest difference / kT", "largest difference / σ"], rows, caption, "profile-table")


def states_table(slow: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Populations of the metastable states, and the implied time scales between them."""
    shown = [
        (escape(n), slow["states"][key])
        for n, key in zip(names, ("run", "reference"), strict=False)
        if key in slow["states"]
    ]
    rows = [
        [f"state {k}", *(measured(p["population"], p["error"], 100) for p in populations)]
        for k, populations in enumerate(zip(*(rows for _, rows in shown), strict=True), 1)
    ]
    unit = "MH steps" if slow["unit"] == "step" else escape(slow["unit"])
    times = ", ".join(number(t) for t in slow["timescales"] if t > slow["lag"])
    caption = f"Implied time scales above the lag of {slow['lag']:g} {unit}: {times or 'none'}."
    return table(["", *(f"population, {n} / %" for n, _ in shown)], rows, caption, "states-table")


def speed_table(speed: Mapping[str, Mapping[str, Any]], names: tuple[str, str]) -> str:
    """Effective samples per second of run and reference, and how often faster the run is."""
    run, reference = (escape(n) for n in names)
    rows = []
    for name, row in speed.items():
        cells = [
            f"{'&lt; ' if row[key]['bound'] else ''}{number(row[key]['per_second'])}" for key in ("run", "reference")
        ]
        ratio = f"{BOUND[row['sign']]}{number(row['ratio'])}"
        rows.append([escape(symbol(name)), *cells, ratio, number(row["paper_ratio"])])
    head = ["effective samples per second", run, reference, "ratio", "ratio, estimator of papers"]
    return table(head, rows, "&lt; and &gt; are bounds; ? is neither.", "speed-table")


def bonded_table(comparison: Mapping[str, Any]) -> str:
    """The bonds and angles that differ most from the reference."""
    worst = sorted(comparison["bonded"], key=lambda r: -max(_size(r["z_mean"]), _size(r["z_sd"])))[:8]
    rows = [
        [
            f"{escape(r['kind'])} {escape(r['name'])}",
            number(r["z_mean"], 2),
            number(r["z_sd"], 2),
            f"{number(r['wasserstein'] * (1000 if r['kind'] == 'bond' else 180 / math.pi), 2)} "
            f"{'pm' if r['kind'] == 'bond' else '°'}",
        ]
        for r in worst
    ]
    caption = "The types that differ most. Of many numbers, some lie two or three σ off by chance."
    return table(
        ["type", "mean: difference / σ", "spread: difference / σ", "Wasserstein-1"], rows, caption, "bonded-table"
    )


def pairs(rows: Mapping[str, Any]) -> str:
    """Name and value, nested tables flattened with dots; everything escaped."""
    return table(["setting", "value"], [[escape(k), escape(v)] for k, v in _flatten(rows)])


def rhat_text(value: Any) -> str:
    """R-hat to four digits, or what it means that there is none."""
    if not is_number(value):
        return "not varying"
    return f"{value:.4f}" if value < 100 else "&gt; 100"


def percent(value: Any) -> str:
    """A fraction as per cent."""
    return f"{100 * value:.1f} %" if is_number(value) else ABSENT


def mark(text: str, bad: bool) -> str:
    """Text, marked where it is bad, in words of colour and weight."""
    return f"<span class='bad'>{text}</span>" if bad else text


def _flatten(rows: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in rows.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and len(value) > 12:
            yield f"{prefix}{key}", f"[{len(value)} numbers]"
        else:
            yield f"{prefix}{key}", f"{value:.6g}" if isinstance(value, float) else str(value)


def _size(value: Any) -> float:
    return abs(value) if is_number(value) else 0.0
