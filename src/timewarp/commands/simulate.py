"""``timewarp simulate``: Langevin MD of a peptide, or of a list of peptides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..settings import setting
from ..settings.molecule import MoleculeSettings
from ..settings.other import ListSettings
from ..settings.sampling import PRESETS
from ..settings.simulation import SimulationSettings
from .parser import Call, Result, Verb
from .words import MOLECULE_OR_LIST, check_list, one_or_list


@dataclass(frozen=True, kw_only=True)
class SimulateOptions(MoleculeSettings):
    """What is not of the dynamics."""

    preset: str = setting("amber14-obc2", "force field and solvent", choices=PRESETS)
    threads: int | None = setting(
        None,
        "threads of the batched engine, or processes for OpenMM's replicas or a list",
        least=1,
        most=1024,
        shown="all cores",
    )


def run(call: Call) -> Result:
    """Simulate, and say how much and how fast."""
    from ..simulation import SimulationError

    settings = {**call.of(SimulationSettings), **call.of(SimulateOptions)}
    is_list = one_or_list(call)
    try:
        return _run_list(call, settings) if is_list else _run_one(call, settings)
    except SimulationError as error:
        raise ValueError(str(error)) from error


def _run_one(call: Call, settings: dict[str, Any]) -> Result:
    from ..verbs.simulate import simulate

    done = simulate(call.arguments["molecule"], out=call.out, progress=not call.quiet, **settings)
    summary = done.summary or {}
    text = f"{done.path}: {summary['frames']} frames, {summary['done_ns']:g} ns, {summary['ns_per_day']:,.0f} ns/day"
    return Result(text, {"run": str(done.path), **summary})


def _run_list(call: Call, settings: dict[str, Any]) -> Result:
    from ..verbs.simulate_many import simulate_many

    assert call.out is not None
    summary = simulate_many(
        call.settings["sequences"],
        call.out,
        scheduler=call.settings.get("scheduler"),
        workers=settings.pop("threads", None),
        progress=not call.quiet,
        **settings,
    )
    text = (
        f"{call.out}: {summary['done']} of {summary['peptides']} peptides, {summary['done_ns']:,.4g} ns, "
        f"{summary['ns_per_day'] or 0:,.0f} ns/day"
    )
    check_list(call.out, summary, text)
    return Result(text, summary)


VERB = Verb(
    help="Langevin MD of a peptide",
    description="Langevin MD of a peptide: minimise, burn in, produce. The run can be killed at any moment; the same "
    "command goes on with it, exactly, and a larger --length extends it.",
    run=run,
    settings=(SimulateOptions, SimulationSettings, ListSettings),
    arguments=(MOLECULE_OR_LIST,),
    out="run folder, new or to be resumed",
    out_required=True,
)
