"""The kernels of a chain: the default cycle of a molecule, and the moves of a network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..analysis import named_torsions, soft_torsions, turning_torsions
from ..files import read_json
from ..flows import Proposer, RegrowthProposer, SpeculativeProposer
from ..flows.growth.scale import NEAR_PI, NEAR_ZERO
from ..pretrained import PRIOR, LoadedModel, default_for, load, names, outside
from ..sampling import (
    HMC,
    Balanced,
    ConcertedMove,
    Cycle,
    Kernel,
    LengthTrial,
    Move,
    PuckerMove,
    TorsionMove,
    Tuning,
    learned_move,
    proline_rings,
    stiff_torsions,
)
from ..sampling.batched import MOST_PROPOSALS
from ..settings.sampling import CONCERTED, DEFAULT_HMC_STEPS, HMC_STEPS, LEARNED, PUCKER, KernelSettings
from ..system import System

logger = logging.getLogger("timewarp")
CPU_FILLED, GPU_FILLED = 16, 4096
"""Proposals of all chains together that fill a machine: a tuned batch is no larger, since that would only waste.

Measured on a CPU core (22 atoms, 3.3 million parameters): one chain makes 34 steps/s with one proposal, 169 with 16,
172 with 64.
"""


def load_model(
    system: System,
    model: str | Path | LoadedModel | None = None,
    family: str | None = None,
    instead: str = "",
    sha256: str | None = None,
) -> LoadedModel:
    """The network that was asked for, or the shipped one for the molecule.

    Args:
        system: what it is to serve.
        model: name of a shipped network, folder of one's own, or a network; None: the default.
        family: family of the network; None: any.
        instead: what else could be done, for the message if there is none.
        sha256: of the weights of a run that is gone on with.

    Raises:
        ValueError: there is none, or it is of another family or molecule.
        FileNotFoundError: there is no such network.
    """
    if isinstance(model, LoadedModel):
        same = model.network.atoms.fingerprint == system.atoms.fingerprint
        return model if same else load(model.description.toml, system.atoms)
    name = model or default_for(system.atoms, family)
    if name is None:
        kind = f" of family {family}" if family else ""
        raise ValueError(
            f"no shipped network{kind} covers {system.atoms.residues} (there are: {', '.join(names()) or 'none'}); "
            f"train one and give its folder as `model`{instead}"
        )
    loaded = load(name, system.atoms, sha256)
    if name == PRIOR and model is None:
        logger.warning(
            f"no shipped network has learnt molecules like {system.name}: the physics prior proposes. Samples are "
            "exact all the same"
        )
    if family not in (None, loaded.kind):
        raise ValueError(f"model {loaded.name!r} is of family {loaded.kind}, not {family}; leave out `family`")
    trained = loaded.description.training.get("preset")
    if trained is not None and trained != system.preset:
        logger.warning(
            f"{loaded.name} was trained under {trained}: samples under {system.preset} are exact all the same, but "
            "fewer proposals may be accepted"
        )
    if reasons := outside(loaded.description.training, system.atoms):
        logger.warning(
            f"{system.name} is outside what {loaded.name} has learnt: {'; '.join(reasons)}. Samples are exact all the "
            "same, but fewer proposals may be accepted"
        )
    return loaded


def without_network(system: System, settings: KernelSettings) -> bool:
    """Whether a molecule is sampled without a network because none of its bonds turns, and none was asked for."""
    asked = settings.model or settings.family or settings.kernels or not settings.learned
    if asked or system.atoms.tree.rotatable:
        return False
    how = "concerted rotations turn its ring, and hmc moves the rest" if system.atoms.rings else "hmc alone moves it"
    logger.warning(f"no bond of {system.name} turns freely: there is nothing for a network to propose, {how}")
    return True


def learned_moves(
    system: System,
    model: LoadedModel,
    *,
    n_chains: int = 1,
    proposals: int | None = None,
    flow_steps: int | None = None,
    threads: int = 1,
    engine: str | None = None,
) -> dict[str, Move]:
    """The moves that a network offers, by name; every network has ``flow``.

    Args:
        system: what they leave invariant.
        model: the network.
        n_chains: chains that go side by side: fewer leave room for larger batches.
        proposals: candidates of a batch, for a network that draws in batches; None: tuned.
        flow_steps: steps of one call, likewise.
        threads: that share the passes of a network that is computed in torch.
        engine: what computes the network: ``"native"``, ``"torch"``, or None for the faster one that applies.

    Raises:
        ValueError: batches are asked for of a network that does not draw in batches.
    """
    filled = (CPU_FILLED if system.device == "cpu" else GPU_FILLED) // n_chains
    try:
        made = model.proposers(system.parameters, system.kT, device=system.device, engine=engine, threads=threads)
    except ValueError as error:
        if not system.is_own_energy:
            raise
        raise ValueError(
            f"{model.name} cannot serve an energy of one's own: {error}; sample with `no_flow`, or make the kernel of "
            "moves that you choose"
        ) from None
    restrict(made, system)
    filled = max(1, min(filled, MOST_PROPOSALS))
    if (proposals or flow_steps) and not any(isinstance(p, SpeculativeProposer) for p in made.values()):
        raise ValueError(
            f"`proposals` and `flow_steps` are for networks that draw in batches (family A), and {model.name!r} is of "
            f"kind {model.kind}; leave them out"
        )
    return {
        name: learned_move(system, proposer, name, proposals=proposals, n_steps=flow_steps, most_proposals=filled)
        for name, proposer in made.items()
    }


def restrict(proposers: Mapping[str, Proposer], system: System) -> None:
    """Let proposals of peptide bonds enter no well that the system's restriction shuts: they would all be rejected."""
    for proposer in proposers.values():
        if isinstance(proposer, RegrowthProposer):
            proposer.wells = {i: NEAR_ZERO if zero else NEAR_PI for i, zero in system.restriction.wells.items()}


def Flow(
    system: System, model: str | Path | LoadedModel | Proposer | None = None, name: str = "flow", **options: Any
) -> Move:
    """The move of a network: it redraws what the network knows of, and Metropolis-Hastings decides.

    Args:
        system: what it leaves invariant.
        model: name of a shipped network, folder of a training, a network, or a proposer of one's own
            (:class:`timewarp.flows.Proposer`); None: the shipped network for the molecule.
        name: which of its moves: ``flow`` redraws all; a transferable network has ``flow_suffix`` (the end of the
            chain) and ``flow_subset`` (a random part) as well.
        options: of :func:`learned_moves`.

    Raises:
        ValueError: the network does not serve this molecule, or has no such move.

    Example:
        >>> system = System("AG")
        >>> Flow(system, "peptides").name
        'flow'
    """
    if model is not None and not isinstance(model, str | Path | LoadedModel):
        return learned_move(system, model, name, **options)
    moves = learned_moves(system, load_model(system, model), **options)
    if name not in moves:
        raise ValueError(f"this network has no move {name!r}; it has {', '.join(moves)}")
    return moves[name]


def default_kernel(
    system: System,
    model: str | Path | LoadedModel | None = None,
    *,
    n_chains: int = 1,
    threads: int = 1,
    **settings: Any,
) -> Cycle:
    """The kernel that ``timewarp sample`` uses: learned moves, torsion moves, ring flips of proline and HMC.

    With a network that offers several moves, each step makes one learned move, drawn at random, and then sweeps of
    local moves; the warm-up balances them (:class:`timewarp.sampling.Balanced`). With others it is a cycle.

    Args:
        system: what it leaves invariant.
        model: name of a shipped network, folder of a training, or a network; None: the shipped one for the molecule.
        n_chains: chains that go side by side.
        threads: that share the passes of a network that is computed in torch.
        settings: fields of :class:`KernelSettings`, such as ``kernels="torsion,hmc"``, ``no_flow=True``.

    Raises:
        ValueError: unknown kernels or settings, or kernels that together leave bond lengths and angles as they are.

    Example:
        >>> default_kernel(System("Ace-A-Nme"), kernels="torsion,hmc")
        Cycle([4 x TorsionMove('torsion', 7 bonds), HMC('hmc', 40 steps of 1 fs)])
    """
    chosen = KernelSettings.make({"model": None if model is None else str(model), **settings})
    if without_network(system, chosen):
        chosen = chosen.replaced(no_flow=True)
    loaded = load_model(system, model, chosen.family) if chosen.learned else None
    return build_kernel(system, chosen, loaded, n_chains=n_chains, threads=threads)


def build_kernel(
    system: System,
    settings: KernelSettings,
    model: LoadedModel | None,
    *,
    n_chains: int = 1,
    threads: int = 1,
    rings: bool = True,
) -> Cycle:
    """The kernel of some settings with a network that is loaded already; see :func:`default_kernel`.

    ``rings`` says whether the default kernels include concerted rotations where the molecule has a ring.

    Raises:
        ValueError: a kernel is not for this molecule or network, or bond lengths and angles would stay as they are.
    """
    wanted = list(settings.names)
    moves: dict[str, Kernel] = {}
    if model is not None:
        moves |= learned_moves(
            system,
            model,
            n_chains=n_chains,
            proposals=settings.proposals,
            flow_steps=settings.flow_steps,
            threads=threads,
        )
    balanced = not settings.kernels and len(moves) > 1
    if balanced:
        wanted = [*moves, *(name for name in wanted if name != "flow")]
    has_proline = bool(proline_rings(system.atoms))
    if has_proline and not settings.kernels:
        wanted.insert(wanted.index("hmc"), PUCKER)
    rings = rings and system.device != "mps"  # closures need double precision, which that device has not
    if rings and not settings.kernels and system.atoms.rings:
        wanted.insert(wanted.index("hmc"), CONCERTED)
    if PUCKER in wanted and not has_proline:
        raise ValueError(f"{PUCKER} is for molecules with proline, and {system.name} has none; leave it out")
    if misfit := [name for name in settings.learned if name not in moves]:
        raise ValueError(f"{misfit[0]} needs a network that has this move; leave it out of the kernels, or name one")
    if "torsion" in wanted and not (system.atoms.tree.rotatable or stiff_torsions(system.atoms)):
        wanted = [name for name in wanted if name != "torsion"]
    if "torsion" in wanted:
        moves["torsion"] = TorsionMove(system)
    if PUCKER in wanted:
        moves[PUCKER] = PuckerMove(system)
    if CONCERTED in wanted:
        moves[CONCERTED] = ConcertedMove(system)
    repeats = {"torsion": settings.torsion_moves, CONCERTED: settings.concerted_moves}
    if "hmc" in wanted:
        others = sum(moves[name].cost * repeats.get(name, 1) for name in wanted if name != "hmc")
        moves["hmc"] = _hmc(system, settings, others / wanted.count("hmc"))
    elif model is None or any(not _moves_all(moves[name]) for name in settings.learned):
        raise ValueError("these kernels leave bond lengths and angles as they are; add hmc to the `kernels`")
    if balanced:
        learned = [moves[name] for name in wanted if name in LEARNED]
        local = [moves[name] for name in wanted if name not in LEARNED for _ in range(repeats.get(name, 1))]
        return Balanced(learned, local, _watched(system, rings=CONCERTED in moves))
    return Cycle([moves[name] for name in wanted for _ in range(repeats.get(name, 1))])


def _watched(system: System, *, rings: bool = False) -> torch.Tensor:
    """Torsions that moves are balanced by: soft ones, those in rings, and peptide bonds that may be cis or trans."""
    free = system.restriction.peptide_bonds[system.restriction.free].cpu()
    return torch.cat([_rows((turning_torsions if rings else soft_torsions)(system.atoms)), free])


def _hmc(system: System, settings: KernelSettings, others: float) -> HMC:
    torsions = _rows(named_torsions(system.atoms))
    trial = LengthTrial(HMC_STEPS, torsions, others) if settings.hmc_steps is None and len(torsions) else None
    return HMC(
        system,
        n_steps=settings.hmc_steps or DEFAULT_HMC_STEPS,
        target_acceptance=settings.hmc_acceptance,
        trial=trial,
    )


def _moves_all(move: Kernel) -> bool:
    """Whether a learned move redraws bond lengths and angles too."""
    redraws = move.redraws  # type: ignore[attr-defined]
    return redraws is None or bool(redraws[:, :2].any())


def _rows(torsions: Mapping[str, Any]) -> torch.Tensor:
    return torch.tensor(list(torsions.values()), dtype=torch.long).reshape(-1, 4)


def read_tuning(source: Path | str | Mapping[str, Any]) -> Tuning:
    """The tuned numbers of another run.

    Args:
        source: its folder, its ``summary.json``, a file with nothing but the tuning, or a table.

    Raises:
        ValueError: it holds none.
    """
    data = source
    if isinstance(source, str | Path):
        path = Path(source)
        data = read_json(path / "summary.json" if path.is_dir() else path)
    assert isinstance(data, Mapping)
    tuning = data.get("tuning", data)
    good = isinstance(tuning, Mapping) and all(
        isinstance(values, Mapping)
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e6 for v in values.values())
        for values in tuning.values()
    )
    if not good or not tuning:
        raise ValueError(
            f'{source} holds no tuning; expected the summary.json of a run, or {{"hmc": {{"step_fs": 1.9}}}}'
        )
    return {name: {key: float(v) for key, v in values.items()} for name, values in tuning.items()}


def replay(tuning: Tuning, kernel: Kernel, source: object) -> None:
    """Give a kernel the tuned numbers of another run, all or none.

    Raises:
        ValueError: they are of other kernels.
    """
    known = kernel.tuning
    for name, values in tuning.items():
        good = sorted(known.get(name, {}))
        if not good:
            raise ValueError(
                f"{source} tunes {name!r}, which is no tuned kernel of this run ({', '.join(sorted(known))})"
            )
        if sorted(values) != good:
            raise ValueError(
                f"{source} tunes {name} by {', '.join(sorted(values)) or 'nothing'}; expected {', '.join(good)}"
            )
    kernel.retune(tuning)
