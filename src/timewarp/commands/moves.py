"""The moves of `sample` and `explore`: their options, the network behind them, the kernels that they name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..molecules import Molecule
    from ..pretrained import LoadedModel
    from ..sampling import Cycle, FlowMove, Target

KERNELS = ("flow", "torsion", "hmc")
PUCKER = "pucker"
REGROWTHS = ("flow_suffix", "flow_subset")
FAMILIES = ("C", "C2", "B", "A")
HMC_STEPS = (10, 20, 40, 80)
DEFAULT_HMC_STEPS = 40
CPU_FILLED, GPU_FILLED = 16, 4096
"""Proposals of all chains together that fill a machine: a tuned batch is no larger, since that would only waste.

Measured on a CPU core (22 atoms, 3.3 million parameters): one chain makes 34 steps/s with one proposal, 169 with 16,
172 with 64.
"""


def add_model(group: argparse._ArgumentGroup) -> None:
    """``--model`` and ``--family``."""
    group.add_argument(
        "--model",
        metavar="MODEL",
        help="name of a shipped network (see `timewarp models`), or the folder of a `timewarp train` run (default: "
        "the shipped one for this molecule, or else the one for every peptide)",
    )
    group.add_argument(
        "--family",
        choices=FAMILIES,
        help="of the network: C redraws torsions, C2 the same for any peptide, B all internal coordinates, A (Timewarp "
        "as published) all Cartesian ones (default: the model's)",
    )


def add_moves(parser: argparse.ArgumentParser) -> None:
    """The options of `sample` that choose its kernels."""
    moves = parser.add_argument_group("the moves")
    add_model(moves)
    moves.add_argument(
        "--kernels",
        metavar="LIST",
        help=f"kernels of a cycle in order, of {', '.join((*KERNELS, PUCKER, *REGROWTHS))} (the last two of family C2, "
        f"{PUCKER} of molecules with proline); one may be repeated (default {','.join(KERNELS)}, and {PUCKER} where "
        "there is proline, and with a network of family C2 its two as well)",
    )
    moves.add_argument("--no-flow", action="store_true", help="do without a network: torsion moves and hmc")
    moves.add_argument(
        "--proposals",
        type=options.integer("the number of proposals", least=1, most=100_000),
        metavar="B",
        help="proposals that a network of family A draws from one state at a time; the first accepted one ends the "
        "batch. It changes the speed alone: more fill a machine that few chains leave idle, 1 wastes none (default: "
        "tuned in the warm-up, so that 90 %% of batches hold an accepted one, but no larger than fills the machine: "
        f"{CPU_FILLED} over all chains on a CPU, {GPU_FILLED:,} on a GPU)",
    )
    moves.add_argument(
        "--flow-steps",
        type=options.integer("the number of steps", least=1, most=100_000),
        metavar="K",
        help="Metropolis-Hastings steps of the flow in a cycle, family A (default: as many as --proposals)",
    )
    options.add_whole(moves, "--torsion-moves", 4, 1, "single-bond turns in a cycle, stiff peptide bonds included")
    moves.add_argument(
        "--hmc-steps",
        type=options.integer("the value", least=1, most=10_000),
        metavar="N",
        help=f"leapfrog steps of a hmc move (default: the best of {', '.join(map(str, HMC_STEPS))}, tried in the "
        f"warm-up; {DEFAULT_HMC_STEPS} where that is shorter than 100 steps)",
    )
    moves.add_argument(
        "--hmc-acceptance",
        type=options.number("the acceptance of hmc", above=0, most=0.99),
        default=0.8,
        metavar="P",
        help="acceptance that the warm-up tunes hmc's step size to (default 0.8)",
    )
    moves.add_argument(
        "--tuning", type=Path, metavar="FILE", help="summary.json of another run whose tuning is replayed, not redone"
    )


def kernel_names(args: argparse.Namespace) -> tuple[str, ...]:
    """The kernels of a cycle, in order.

    Raises:
        UserError: an unknown one, or options that exclude each other.
    """
    names = tuple(part.strip() for part in args.kernels.split(",")) if args.kernels else KERNELS
    known = (*KERNELS, PUCKER, *REGROWTHS)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"no kernel {unknown[0]!r}; the kernels are {', '.join(known)}")
    if args.no_flow:
        if args.model or args.family or (args.kernels and _learned(names)):
            raise UserError("--no-flow and a network exclude each other; leave out --no-flow, or --model and --family")
        names = tuple(name for name in names if name != "flow")
    if not _learned(names) and (args.model or args.family):
        raise UserError("--model and --family need the kernel flow in --kernels")
    if "flow" not in names and (args.proposals or args.flow_steps):
        raise UserError("--proposals and --flow-steps are of the kernel flow; leave them out")
    return names


def needs_model(names: tuple[str, ...]) -> bool:
    """Whether any of these kernels needs a network."""
    return bool(_learned(names))


def _learned(names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of some kernels need a network."""
    return tuple(dict.fromkeys(name for name in names if name in ("flow", *REGROWTHS)))


def load_model(args: argparse.Namespace, molecule: Molecule, without: str = "") -> LoadedModel:
    """The network that was asked for, or the shipped one for the molecule.

    Args:
        args: with ``model`` and ``family``.
        molecule: what it is to serve.
        without: what else could be done, for the message if there is none.

    Raises:
        UserError: there is none.
    """
    from ..pretrained import default_for, load, names, outside

    name = args.model or default_for(molecule.atoms, args.family)
    if name is None:
        family = f" of family {args.family}" if args.family else ""
        raise UserError(
            f"no shipped network{family} covers {molecule.atoms.residues} (there are: {', '.join(names()) or 'none'}); "
            f"train one and give --model FOLDER{without}"
        )
    model = load(name, molecule.atoms)
    family = model.network.kind
    if args.family not in (None, family):
        raise UserError(f"model {model.name!r} is of family {family}, not {args.family}; leave out --family")
    trained = model.description.training.get("preset")
    if trained is not None and trained != molecule.preset.name:
        print(
            f"timewarp: {model.name} was trained under {trained}: samples under {molecule.preset.name} are exact all "
            "the same, but fewer proposals may be accepted"
        )
    if reasons := outside(model.description.training, molecule.atoms):
        print(
            f"timewarp: {molecule.name} is outside what {model.name} has learnt: {'; '.join(reasons)}. "
            "Samples are exact all the same, but fewer proposals may be accepted"
        )
    return model


def learned_kernel(
    target: Target,
    molecule: Molecule,
    model: LoadedModel,
    device: str,
    *,
    n_chains: int = 1,
    proposals: int | None = None,
    flow_steps: int | None = None,
    threads: int = 1,
    name: str = "flow",
) -> FlowMove:
    """The kernel of a network of any family.

    Args:
        target: what it leaves invariant.
        molecule: whose states it moves.
        model: the network.
        device: torch device.
        n_chains: chains that go side by side: fewer leave room for larger batches of family A.
        proposals: candidates per batch (family A); None: tuned.
        flow_steps: steps per call (family A).
        threads: that share family A's passes, where torch itself has one. The compiled kernels have their own.

    Raises:
        UserError: batches were asked for of another family than A.
    """
    from ..flows import SpeculativeProposer
    from ..sampling import learned_move
    from ..sampling.batched import MOST_PROPOSALS

    parameters = getattr(target.potential, "parameters", None)
    proposers = model.proposers(parameters, target.kT, device=device, threads=threads)
    if name not in proposers:
        raise UserError(
            f"{model.name!r} has no move {name} for {molecule.name}, only {', '.join(proposers)}; change --kernels"
        )
    proposer = proposers[name]
    if (proposals or flow_steps) and not isinstance(proposer, SpeculativeProposer):
        raise UserError(
            f"--proposals and --flow-steps are for networks of family A, and {model.name!r} is of family "
            f"{model.network.kind}; leave them out"
        )
    filled = (CPU_FILLED if device == "cpu" else GPU_FILLED) // n_chains
    return learned_move(
        target,
        proposer,
        name,
        proposals=proposals,
        n_steps=flow_steps,
        most_proposals=max(1, min(filled, MOST_PROPOSALS)),
    )


def build_cycle(
    args: argparse.Namespace,
    names: tuple[str, ...],
    target: Target,
    molecule: Molecule,
    model: LoadedModel | None,
    device: str,
    threads: int = 1,
) -> Cycle:
    """The kernels of one cycle.

    Raises:
        UserError: together they would leave bond lengths and angles as they are.
    """
    import torch

    from ..analysis import named_torsions, soft_torsions
    from ..sampling import (
        HMC,
        Balanced,
        Cycle,
        Kernel,
        LengthTrial,
        PuckerMove,
        TorsionMove,
        proline_rings,
        stiff_torsions,
    )
    from ..sampling import repartition_hydrogen_mass as repartition

    atoms = molecule.atoms
    kernels: dict[str, Kernel] = {}
    stiff = stiff_torsions(atoms)
    if "torsion" in names and not (atoms.tree.rotatable or stiff):
        names = tuple(name for name in names if name != "torsion")
    regrows = model is not None and model.network.kind == "C2"
    if regrows and not args.kernels and len(atoms.tree.rotatable) > 1:
        names = ("flow", *REGROWTHS, *(name for name in names if name != "flow"))
    has_proline = bool(proline_rings(atoms))
    if has_proline and not args.kernels:
        names = tuple(part for name in names for part in ((PUCKER, name) if name == "hmc" else (name,)))
    if PUCKER in names and not has_proline:
        raise UserError(f"{PUCKER} is for molecules with proline, and {molecule.name} has none; leave it out")
    if (misfit := [name for name in names if name in REGROWTHS]) and not regrows:
        raise UserError(
            f"{misfit[0]} needs a network of family C2; leave it out of --kernels, or name one with --model"
        )
    for name in _learned(names):
        assert model is not None
        kernels[name] = learned_kernel(
            target,
            molecule,
            model,
            device,
            n_chains=args.chains,
            proposals=args.proposals,
            flow_steps=args.flow_steps,
            threads=threads,
            name=name,
        )
    if "torsion" in names:
        kernels["torsion"] = TorsionMove(target, atoms.tree, stiff=stiff)
    if PUCKER in names:
        kernels[PUCKER] = PuckerMove(target, atoms)
    repeats = {"torsion": args.torsion_moves}
    if "hmc" in names:
        torsions = torch.tensor(list(named_torsions(atoms).values()), dtype=torch.long).reshape(-1, 4)
        trial = None
        if args.hmc_steps is None and len(torsions):
            others = sum(kernels[name].cost * repeats.get(name, 1) for name in names if name != "hmc")
            trial = LengthTrial(HMC_STEPS, torsions, others / names.count("hmc"))
        kernels["hmc"] = HMC(
            target,
            repartition(atoms),
            n_steps=args.hmc_steps or DEFAULT_HMC_STEPS,
            target_acceptance=args.hmc_acceptance,
            trial=trial,
        )
    if "hmc" not in names and (model is None or model.network.kind in ("C", "C2")):
        raise UserError("these kernels leave bond lengths and angles as they are; add hmc to --kernels")
    if regrows and not args.kernels:
        followed = torch.tensor(list(soft_torsions(atoms).values()), dtype=torch.long).reshape(-1, 4)
        learned = _learned(names)
        local = [kernels[name] for name in names if name not in learned for _ in range(repeats.get(name, 1))]
        return Balanced([kernels[name] for name in learned], local, followed)
    return Cycle([kernels[name] for name in names for _ in range(repeats.get(name, 1))])


def read_tuning(path: Path | None) -> dict[str, dict[str, float]] | None:
    """The tuning in another run's summary (or a file with just that).

    Raises:
        UserError: it holds none.
    """
    if path is None:
        return None
    from ..files import read_json

    data = read_json(path / "summary.json" if path.is_dir() else path)
    tuning = data.get("tuning", data)
    good = isinstance(tuning, dict) and all(
        isinstance(values, dict)
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e6 for v in values.values())
        for values in tuning.values()
    )
    if not good or not tuning:
        raise UserError(f'{path} holds no tuning; expected the summary.json of a run, or {{"hmc": {{"step_fs": 1.9}}}}')
    return {name: {key: float(v) for key, v in values.items()} for name, values in tuning.items()}


def check_tuning(path: Path, tuning: dict[str, dict[str, float]], kernel: Cycle) -> None:
    """Refuse a tuning that would not be replayed as a whole, before anything is written.

    Raises:
        UserError: it is of other kernels.
    """
    known = kernel.tuning
    for name, values in tuning.items():
        good = sorted(known.get(name, {}))
        if not good:
            raise UserError(f"{path} tunes {name!r}, which is no tuned kernel of this run ({', '.join(sorted(known))})")
        if sorted(values) != good:
            raise UserError(
                f"{path} tunes {name} by {', '.join(sorted(values)) or 'nothing'}; expected {', '.join(good)}"
            )
    kernel.retune(tuning)
