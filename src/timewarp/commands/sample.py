"""``timewarp sample``: exact Boltzmann samples of a peptide, proposed by a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings import Settings, setting
from ..settings.other import EXPORT_FORMATS, XTC_ADVICE, ListSettings
from ..settings.sampling import SampleSettings
from .parser import Call, Result, Verb
from .words import MOLECULE_OR_LIST, check_list, command, one_or_list, percent, repeated

if TYPE_CHECKING:
    from ..analysis import Verdict
    from ..run import Run


@dataclass(frozen=True, kw_only=True)
class ExportOption(Settings):
    """Frames for other programs, as soon as they are there; and an exit code for scripts."""

    strict: bool = setting(False, "exit with code 3 unless the samples can be trusted")

    export: str | None = setting(
        None,
        f"also write the samples for other programs, to FOLDER/export; {XTC_ADVICE}",
        choices=EXPORT_FORMATS,
    )


def run(call: Call) -> Result:
    """Sample one molecule or a list of them, and say what came out."""
    settings, export_format = call.of(SampleSettings), call.settings.get("export")
    if one_or_list(call):
        return _run_list(call, settings, export_format)
    from ..verbs.sample import sample

    done = sample(call.arguments["molecule"], out=call.out, progress=not call.quiet, **settings)
    files = _export(done, export_format)
    verdict = _verdict(done)
    judged = verdict if isinstance(verdict, str) else verdict.to_json()
    met = not isinstance(verdict, str) and verdict.level == "trust"
    data = {"run": str(done.path), **(done.summary or {}), "verdict": judged, "files": files}
    return Result(_text(done, verdict, files, call), data, 0 if met or not call.settings.get("strict") else 3)


def _verdict(run: Run) -> Verdict | str:
    """What the judge says, or why a run of a few frames cannot be judged."""
    try:
        return run.verdict()
    except ValueError as error:
        return str(error)


def _export(run: Run, format: str | None) -> list[str]:
    if not format:
        return []
    from ..trajectories import RunFolder, export

    files = export(RunFolder.open(run.path), run.path / "export", format=format, overwrite=True)
    return [str(file) for file in files]


def _text(run: Run, verdict: Verdict | str, files: list[str], call: Call) -> str:
    """The result in a few lines."""
    summary: Mapping[str, Any] = run.summary or {}
    lines = [
        f"{summary['molecule']}: {summary['n_samples']:,} samples in {summary['n_chains']} chains, "
        f"{summary['wall_s']:.1f} s, {summary['samples_per_second']:,.0f} samples/s",
        "kernel          proposed  acceptance  jump  non-finite  restricted",
    ]
    for name, row in summary["kernels"].items():
        jump = "-" if row.get("jump") is None else f"{row['jump']:.2f}"
        lines.append(
            f"{name:12}{row['proposed']:12,}  {percent(row['acceptance']):>10}  {jump:>4}  {row['nonfinite']:10,}"
            f"  {row['restricted']:10,}"
        )
    if isinstance(verdict, str):
        lines.append(f"verdict         {verdict}")
    else:
        lines.append(f"verdict         {verdict.headline}")
        lines += [
            f"  {check.status:4}  {check.name}: {check.text}" for check in verdict.checks if check.status != "pass"
        ]
    if (until := summary.get("until")) and not until["met"]:
        lines += _lacking(until, summary, run, call)
    lines += [
        f"{name:15} {100 * bond['cis']:.3g} ± {100 * bond['error']:.2g} % cis, ESS {bond['ess']:,.0f}, "
        f"{bond['crossings']:,} crossings"
        for name, bond in summary.get("cis_trans", {}).get("free", {}).items()
    ]
    if summary["chirality_flips"] or summary["cis_trans_flips"]:
        lines.append("WARNING: samples left the restriction; this is a bug, please report it")
    if files:
        lines.append(f"exported        {len(files)} files to {run.path / 'export'}")
    lines.append(f"next            {command('report', run.path)}")
    return "\n".join(lines)


def _lacking(until: Mapping[str, Any], summary: Mapping[str, Any], run: Run, call: Call) -> list[str]:
    """What keeps a run from its goal, how long it may take, and how to go on."""
    rows = until["lacking"]
    named = ", ".join(
        f"{row['name']} (did not vary)" if row["rhat"] is None or row["ess"] is None
        else f"{row['name']} (R-hat {row['rhat']:.3f}, ESS {row['ess']:,.0f})"
        for row in rows[:3]
    )  # fmt: skip
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    lines = [f"not there yet    {until['goal']} lacks {len(rows)} of {until['quantities']} quantities: {named}{more}"]
    factor = max((row["factor"] for row in rows if row["factor"] is not None), default=None)
    minutes = None if factor is None else max((factor - 1) * summary["wall_s"] / 60, 1.0)
    if minutes is None or any(row["factor"] is None for row in rows):
        lines.append("                 what never varied may never do so: look at the report before you go on")
    if minutes is not None:
        about = "more than a day" if minutes > 1440 else f"about {minutes:.0f} min"
        lines.append(f"                 by what is there, {about} more at this pace; to go on:")
        again = {o.flag[2:]: call.settings[o.name] for o in VERB.options if o.name in call.settings}
        again["minutes"] = min(max(60.0, 1.5 * minutes), 10_000.0)
        lines.append(f"                 {repeated('sample', call.arguments['molecule'], out=run.path, **again)}")
    return lines


def _run_list(call: Call, settings: dict[str, Any], export_format: str | None) -> Result:
    from ..verbs.sample_many import sample_many

    source: Path = call.settings["sequences"]
    out = call.out or Path(f"{source.stem}-samples")
    workers = settings.pop("threads", None)
    summary = sample_many(
        source,
        out,
        scheduler=call.settings.get("scheduler"),
        workers=workers,
        progress=not call.quiet,
        export=export_format,
        **settings,
    )
    lines = [
        f"{out}: {summary['done']} of {summary['peptides']} peptides",
        f"{'peptide':10}{'flow':>8}{'jump':>6}{'nested R-hat':>14}{'smallest ESS':>14}{'ESS/s':>9}  verdict",
    ]
    for row in summary["table"]:
        if "level" in row:
            numbers = (
                percent(row["acceptance"].get("flow")),
                "-" if row["jump"] is None else f"{row['jump']:.2f}",
                "-" if row["worst_rhat"] is None else f"{row['worst_rhat']:.4f}",
                "-" if row["smallest_ess"] is None else f"{row['smallest_ess']:,.0f}",
                "-" if row["smallest_ess"] is None else f"{row['smallest_ess'] / row['wall_s']:,.1f}",
            )
            late = "" if row["state"] == "done" else "; goal not reached: the same command goes on"
            lines.append("{:10}{:>8}{:>6}{:>14}{:>14}{:>9}  {}{}".format(row["sequence"], *numbers, row["level"], late))
    text = "\n".join(lines)
    check_list(out, summary, text)
    return Result(text, summary)


VERB = Verb(
    help="exact Boltzmann samples of a peptide",
    description="Exact Boltzmann samples of a peptide: a trained network proposes large moves, Metropolis-Hastings "
    "accepts or rejects them, and local moves relax the rest. Chirality is that of the start, and so is the cis/trans "
    "pattern of peptide bonds unless --cis-trans says otherwise. The run can be killed at any moment: the same command "
    "goes on with it, bit for bit, and a larger --samples extends it.",
    run=run,
    settings=(SampleSettings, ListSettings, ExportOption),
    arguments=(MOLECULE_OR_LIST,),
    out="run folder, new or to be resumed (default NAME-samples, or for a list FILE-samples)",
)
