"""The HTML page: one file that loads nothing, and reads as well without scripts; light and dark, phone and paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any

from ..analysis import Verdict, largest_rhat, smallest_ess
from ..analysis.verdict import is_number
from . import tables
from .plots import Plot
from .theme import to_svg

MARKS = {"pass": "✓", "note": "i", "warn": "!", "fail": "✕"}
WORDS = {"pass": "passed", "note": "note", "warn": "warning", "fail": "failed"}


@dataclass(frozen=True)
class Provenance:
    """Where the samples come from, as the page tells it.

    Attributes:
        name: of the molecule, as the user gave it.
        kind: ``chain`` or ``md``.
        config: the run's resolved configuration.
        summary: the run's ``summary.json``, if it has one.
        reference: a description of the reference, if there is one.
        version: of this program.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    version: str = ""


def render_page(
    provenance: Provenance,
    analysis: Mapping[str, Any],
    verdict: Verdict,
    plots: list[Plot],
    comparison: Mapping[str, Any] | None = None,
    names: tuple[str, str] = ("chain", "MD"),
    viewer: str | None = None,
) -> str:
    """The whole page.

    Args:
        provenance: what was sampled and with what.
        analysis: from :func:`timewarp.analysis.analyse`.
        verdict: from :func:`timewarp.analysis.judge`.
        plots: from :func:`~timewarp.report.make_figures`.
        comparison: from :func:`timewarp.analysis.compare`.
        names: what run and reference are called.
        viewer: structures for the 3D view, from :func:`~timewarp.report.structures.viewer_data`.
    """
    slow = analysis.get("slow")
    drawn = {plot.name: plot for plot in plots}
    key = f" <span class='key run'>{escape(names[0])}</span>"
    key += f" <span class='key reference'>{escape(names[1])}</span>" if comparison else ""
    beside = {
        "ramachandran": tables.jsd_plane_table(comparison) if comparison and comparison["jsd_phi_psi"] else "",
        "free_energy": (tables.basin_table(analysis, comparison, names) if analysis["phi_basins"] else "")
        + (tables.profile_table(comparison) if comparison and comparison["profiles"] else ""),
        "tica": tables.states_table(slow, names) if slow else "",
        "speed": tables.speed_table(comparison["speed"], names) if comparison and comparison.get("speed") else "",
        "structures": tables.conformation_table(analysis, comparison, names),
        "energy": tables.energy_table(analysis, comparison, names),
        "bonded": tables.bonded_table(comparison) if comparison else "",
    }
    sections = [
        ("convergence", "Convergence", _convergence(analysis, comparison)),
        *([("distance", "Distance from the reference", _distance(comparison))] if comparison else []),
        *(
            (
                name,
                drawn[name].title,
                draw_figure(drawn[name], before=_stage() if viewer and name == "structures" else "")
                + beside.get(name, ""),
            )
            for name in (
                "ramachandran",
                "structures",
                "free_energy",
                "tica",
                "energy",
                "traces",
                "autocorrelation",
                "speed",
            )
            if name in drawn
        ),
    ]
    if analysis["kernels"]:
        extra = draw_figure(drawn["acceptance"]) if "acceptance" in drawn else ""
        sections.append(("kernels", "Acceptance", _kernels(analysis) + extra))
    sections.append(("bonded", drawn["bonded"].title, draw_figure(drawn["bonded"], key) + beside["bonded"]))
    free = list(analysis.get("cis_trans", {}).get("bonds", {}))
    sections.append(("exactness", "How exactness is ensured", _exactness(provenance, free)))
    sections.append(("provenance", "Provenance", _provenance(provenance)))
    body = "".join(f"<section id='{n}'><h2>{escape(title)}</h2>{content}</section>" for n, title, content in sections)
    contents = "".join(f"<a href='#{n}'>{escape(title)}</a>" for n, title, _ in sections)
    main = f"{_verdict(verdict)}<nav>{contents}</nav>{body}"
    scripts = []
    if viewer and "structures" in drawn:
        main += f"<script type='application/json' id='structures-data'>{viewer}</script>"
        licence = _asset("assets/3Dmol-LICENSE.txt").replace("*/", "* /")
        scripts.append(f"/*!\n{licence}\n*/\n{_asset('assets/3Dmol-min.js')}")
    title = f"{provenance.name} – Timewarp report"
    return document(title, _head(provenance, analysis), main, provenance.version, scripts)


def document(title: str, header: str, main: str, version: str, scripts: Sequence[str] = ()) -> str:
    """A complete page around its parts, which are HTML already but for the title.

    Its content policy lets a browser run these scripts, then the page's own (tables to copy, the 3D view) and no other,
    and load nothing.
    """
    scripts = [*scripts, _asset("page.js")]
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}"
    policy += "; base-uri 'none'; form-action 'none'"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'><meta name='color-scheme' "
        "content='light dark'>"
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>"
        f"<header>{header}</header><main>{main}</main>"
        f"<footer>Timewarp {escape(version)}. This page is complete in itself: it loads nothing.</footer>"
        f"{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>\n"
    )


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _stage() -> str:
    """Where the 3D view goes; hidden until a script fills it."""
    return (
        "<div class='viewer' hidden>"
        "<div class='stage' role='img' tabindex='0' aria-label='3D view of the conformation; arrow keys turn it'>"
        "</div>"
        "<p class='controls'><output></output><label><input type='checkbox' name='spread'> spread over samples</label>"
        "<label><input type='checkbox' name='hydrogens'> all hydrogens</label>"
        "<span class='mouse'>Choose below; drag or arrow keys to turn, Ctrl and wheel to zoom.</span>"
        "<span class='touch'>Choose below; tap the view, then turn it.</span></p></div>"
    )


def _head(provenance: Provenance, analysis: Mapping[str, Any]) -> str:
    summary = provenance.summary
    config = provenance.config
    chain = provenance.kind == "chain"
    preset = str(summary.get("preset") or config.get("preset") or "")
    model = summary.get("model") or config.get("model")
    what = "Boltzmann samples by Metropolis-Hastings" if chain else "Molecular dynamics"
    chains = "chain" if chain else "replica"
    spacing = f"{analysis['frame_spacing']:g} {'MH steps' if chain else analysis['unit']}"
    spacing = "every MH step" if chain and analysis["frame_spacing"] == 1 else f"one every {spacing}"
    detail = [
        f"{escape(analysis['molecule'])} at {analysis['temperature_K']:g} K",
        f"force field <b>{escape(preset)}</b>" if preset else "",
        f"model <b>{escape(str(model))}</b>" if model else "",
        f"{analysis['n_chains']:,} {chains}{'s' if analysis['n_chains'] != 1 else ''} of "
        f"{analysis['n_frames']:,} frames, {spacing}",
        f"beside {escape(provenance.reference)}" if provenance.reference else "",
    ]
    facts = [
        ("samples", f"{analysis['n_samples']:,}"),
        ("chains" if chain else "replicas", f"{analysis['n_chains']:,}"),
    ]
    flow = next((k for k in analysis["kernels"] if k["name"] == "flow"), None)
    if flow:
        facts.append(("flow moves accepted", tables.percent(flow["acceptance"])))
    rhat, ess = largest_rhat(analysis), smallest_ess(analysis)
    if rhat is not None and ess is not None:
        facts.append(("largest nested R-hat", tables.rhat_text(rhat)))
        facts.append(("smallest ESS", f"{ess:,.0f}"))
    rates = [v for v in (summary.get("ess_per_second") or {}).values() if is_number(v)]
    if rates:
        facts.append(("ESS per second", tables.number(min(rates), 3)))
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in facts)
    listed = "".join(f"<li>{item}</li>" for item in detail if item)
    return (
        f"<p class='eyebrow'>{what}</p><h1>{escape(provenance.name)}</h1><ul class='what'>{listed}</ul><dl>{cells}</dl>"
    )


def _verdict(verdict: Verdict) -> str:
    order = {"fail": 0, "warn": 1, "note": 2, "pass": 3}
    items = "".join(
        f"<li class='{c.status}'><span class='mark' role='img' aria-label='{WORDS[c.status]}'>{MARKS[c.status]}</span>"
        f"<span><b>{escape(c.name)}</b> {escape(c.text)}</span></li>"
        for c in sorted(verdict.checks, key=lambda c: order[c.status])
    )
    return (
        f"<section id='verdict' class='{verdict.level}'><h2>{escape(verdict.headline)}</h2><ul>{items}</ul></section>"
    )


def draw_figure(plot: Plot, key: str = "", before: str = "") -> str:
    """A plot with its caption, inline; ``before`` is HTML above its panels."""
    panels = "".join(
        "<div class='panel'>"
        + to_svg(panel.draw, *plot.size, f"{plot.name}{n}", escape(panel.label, quote=True))
        + "</div>"
        for n, panel in enumerate(plot.panels)
    )
    width = round(plot.size[0] * 72 * 1.25)  # a little above its natural size, so that labels are as large as the text
    return (
        f"<figure class='{escape(plot.name)}'>{before}<div class='panels' style='--panel:{width}px'>{panels}</div>"
        f"<figcaption>{escape(plot.caption)}{key}</figcaption></figure>"
    )


def _convergence(analysis: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> str:
    text = (
        "<p>Nested R-hat compares superchains, groups of chains that share a start, with each other: rank-normalised, "
        "below 1.01, or what chance gives, when their starts are forgotten. ESS is the number of independent samples "
        "that the run is worth (Geyer’s initial positive sequence over all chains). Each is the worse of sine and "
        "cosine of the torsion; those of the energy and of each φ > 0 stand in their own tables below."
    )
    if comparison:
        text += (
            " JSD is the Jensen-Shannon divergence from the reference (0 equal, 1 disjoint; 100 bins), its noise "
            "floor that between two independent halves of the reference."
        )
    return text + "</p>" + tables.torsion_table(analysis, comparison) + tables.cis_trans_table(analysis)


def _distance(comparison: Mapping[str, Any]) -> str:
    return (
        "<p>The measures that papers report, each beside its noise floor: its value between two independent halves of "
        "the reference. A run at the floor cannot be told from the reference.</p>" + tables.measures_table(comparison)
    )


def _kernels(analysis: Mapping[str, Any]) -> str:
    return (
        "<p>Accepted over proposed after warm-up; a proposal whose energy is not finite counts as rejected. "
        "<em>Jump</em> is how often an accepted move turns a φ or ψ by more than 60°, relative to independent "
        "samples: 1 is as good as "
        "independent.</p>" + tables.kernel_table(analysis)
    )


def _exactness(provenance: Provenance, free: Sequence[str] = ()) -> str:
    restricted = (
        "<p>The target is the Boltzmann distribution <em>restricted to the starting chirality, and to the starting "
        f"cis/trans pattern of all peptide bonds but {escape(', '.join(free))}</em>, which may be cis as well as "
        "trans: every kernel rejects any other crossing. Populations of other stereoisomers, or of other cis peptide "
        "bonds, cannot be read from these samples.</p>"
        if free
        else "<p>The target is the Boltzmann distribution <em>restricted to the starting chirality and cis/trans "
        "pattern</em>, that of X-Pro bonds included: every kernel rejects a crossing. Populations of other "
        "stereoisomers, or of cis peptide bonds, cannot be read from these samples.</p>"
    )
    if provenance.kind == "chain":
        return (
            "<p>Every move, learned or not, is a proposal that Metropolis-Hastings accepts with probability min(1, "
            "r), where r holds the force field’s exact energies and the proposal’s exact densities in both "
            "directions. So the Boltzmann distribution is left invariant whatever the network has learned: a poor "
            "network makes the chain slow, not wrong. What remains is the question whether the chain is long enough,"
            " which the verdict above answers as far as any "
            "finite run can.</p>" + restricted
        )
    return (
        "<p>Molecular dynamics with a finite time step and a thermostat samples the Boltzmann distribution up to an "
        "error of second order in the time step; it is not corrected by Metropolis-Hastings here. Nothing keeps it "
        "from crossing to another cis/trans pattern but the height of the barrier: see the geometry checks.</p>"
    )


def _provenance(provenance: Provenance) -> str:
    skip = {"kernels", "rhat", "ess", "ess_per_second", "schema"}
    short = {k: v for k, v in provenance.summary.items() if k not in skip}
    parts = []
    if short:
        parts.append(f"<details open><summary>Run</summary>{tables.pairs(short)}</details>")
    parts.append(f"<details><summary>Resolved configuration</summary>{tables.pairs(provenance.config)}</details>")
    return "".join(parts)
