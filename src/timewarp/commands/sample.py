"""``timewarp sample``: exact Boltzmann samples of a peptide, proposed by a trained network."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..molecules import Molecule
    from ..pretrained import LoadedModel
    from ..sampling import Cycle, Target

KERNELS = ("flow", "torsion", "hmc")
FAMILIES = ("C", "B")
HMC_STEPS = (10, 20, 40, 80)
DEFAULT_HMC_STEPS = 40
STEPS_PER_SEGMENT = 50
NUMBERS_PER_SEGMENT = 2**24


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "sample",
        help="exact Boltzmann samples of a peptide",
        description="Exact Boltzmann samples of a peptide: a trained network proposes large moves, Metropolis-Hastings "
        "accepts or rejects them, and local moves relax the rest. Chirality and the cis/trans pattern of "
        "peptide bonds are those of the start. The run can be killed at any moment: the same command goes on with "
        "it, bit for bit, and a larger --samples extends it.",
    )
    parser.add_argument(
        "molecule", metavar="MOLECULE", help="one-letter sequence (AIVL), with caps (Ace-A-Nme), or a PDB file"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="run folder, new or to be resumed (default NAME-samples)"
    )
    options.add_preset(parser)
    options.add_temperature(parser)
    amount = parser.add_argument_group("how much")
    _whole(amount, "--samples", 20_000, 1, "stored samples in all, over all chains")
    _whole(amount, "--chains", 128, 1, "chains, run side by side")
    _whole(amount, "--thin", 1, 1, "Metropolis-Hastings steps (of all kernels in turn) per stored sample")
    _whole(amount, "--warmup", 200, 0, "steps before the first stored sample; the local kernel is tuned in them")
    amount.add_argument(
        "--start",
        action="append",
        metavar="START",
        help="where chains start, once per start and cycled over the chains: spread (torsions drawn at random), built "
        "(the minimised structure), or torsions in degrees such as phi_1=60,psi_1=40 (default spread)",
    )
    amount.add_argument(
        "--start-torsion",
        metavar="START",
        help="start half of the chains with these torsions, and half from the built structure: short for "
        "--start built --start START",
    )
    options.add_seed(amount)
    moves = parser.add_argument_group("the moves")
    moves.add_argument(
        "--model",
        metavar="MODEL",
        help="name of a shipped network (see `timewarp models`), or the folder of a `timewarp train` run (default: "
        "the shipped one for this molecule)",
    )
    moves.add_argument(
        "--family", choices=FAMILIES, help="of the network: C redraws torsions, B everything (default: the model's)"
    )
    moves.add_argument(
        "--kernels",
        metavar="LIST",
        help=f"kernels of a cycle in order, of {', '.join(KERNELS)}; one may be repeated (default {','.join(KERNELS)})",
    )
    moves.add_argument("--no-flow", action="store_true", help="do without a network: torsion moves and hmc")
    _whole(moves, "--torsion-moves", 4, 1, "single-bond turns in a cycle, stiff peptide bonds included")
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
    machine = parser.add_argument_group("the machine")
    machine.add_argument(
        "--precision", choices=("float32", "float64"), default="float32", help="of positions and energies in memory"
    )
    options.add_device(machine)
    options.add_threads(machine, "threads of the compiled kernels, or of torch where those are missing")
    options.add_quiet(machine)
    machine.add_argument(
        "--export",
        choices=("dcd", "xtc", "h5", "pdb"),
        help="also write the samples for other programs, to FOLDER/export",
    )


def _whole(group: argparse._ArgumentGroup, flag: str, default: int, least: int, what: str) -> None:
    kind = options.integer("the value", least=least, most=10**9)
    group.add_argument(flag, type=kind, default=default, metavar="N", help=f"{what} (default {default})")


def run(args: argparse.Namespace) -> int:
    """Sample, summarise, and print what came out."""
    import torch

    from .. import native
    from ..energies import Potential, compile_system
    from ..molecules import build_molecule
    from ..sampling import ChainSettings, Restriction, Target, check_starts, run_chains, start_positions, summarise
    from ..trajectories import RunFolder

    names = _kernel_names(args)
    starts = _starts(args)
    tuning = _tuning(args.tuning)
    device = options.resolve_device(args.device)
    threads = options.set_sampling_threads(args.threads, device)
    dtype = getattr(torch, args.precision)

    molecule = build_molecule(args.molecule, args.preset)
    for note in molecule.notes:
        print(f"timewarp: {note}")
    if device == "cpu" and not native.available():
        print(f"timewarp: {native.why_not()}")
    check_starts(molecule.atoms, starts)
    model = _model(args, molecule) if "flow" in names else None
    temperature_K = molecule.preset.temperature_K if args.temperature is None else args.temperature
    parameters = compile_system(molecule.system)
    built = molecule.start_positions.to(device, dtype)
    restriction = Restriction(built, molecule.atoms)
    target = Target(Potential(parameters, dtype=dtype, device=device), temperature_K, restriction)
    kernel = _cycle(args, names, target, molecule, model, device)
    settings = ChainSettings(
        n_chains=args.chains,
        n_samples=args.samples,
        thin=args.thin,
        warmup=args.warmup,
        seed=args.seed,
        frames_per_segment=_frames_per_segment(args, molecule.atoms.n_atoms),
    )
    config: dict[str, Any] = {
        "molecule": molecule.name,
        "preset": molecule.preset.name,
        "temperature_K": temperature_K,
        "model": None if model is None else model.name,
        "weights_sha256": None if model is None else model.sha256,
        "kernels": list(names),
        "torsion_moves": args.torsion_moves,
        "hmc_steps": args.hmc_steps or "tuned",
        "hmc_acceptance": args.hmc_acceptance,
        "starts": list(starts),
        "n_chains": settings.n_chains,
        "n_samples": settings.n_samples,
        "thin": settings.thin,
        "warmup": settings.warmup,
        "seed": settings.seed,
        "precision": args.precision,
        "device": device.partition(":")[0],
        "threads": threads,
        "frames_per_segment": settings.frames_per_segment,
        "tuning": tuning,
    }
    if tuning is not None:
        _check_tuning(args.tuning, tuning, kernel)
    folder = RunFolder.create(
        args.out or Path(f"{molecule.name}-samples"),
        kind="chain",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config=config,
        may_change=("n_samples", "threads"),
    )
    if not (folder.path / "energy.safetensors").exists():
        parameters.save(folder.path / "energy.safetensors")
    record = run_chains(
        kernel,
        lambda generator: start_positions(target, molecule.atoms, built, starts, args.chains, generator),
        folder,
        settings,
        device=device,
        tuning=tuning,
        quiet=args.quiet,
    )
    trajectory = folder.trajectory()
    summary = {
        "schema": 1,
        "molecule": molecule.name,
        "model": config["model"],
        **summarise(trajectory, record, restriction),
        "preset": molecule.preset.name,
        "temperature_K": temperature_K,
        "seed": settings.seed,
        "warmup": settings.warmup,
        "threads": threads,
        "device": _device_name(device),
        "versions": _versions(),
        "weights_sha256": config["weights_sha256"],
        "family": None if model is None else model.densities["flow"].family,
        "engines": _engines(target, kernel),
        "thin": settings.thin,
        "starts": list(starts),
        "precision": args.precision,
    }
    folder.write_summary(summary)
    print(_report(folder.path, summary))
    if args.export:
        from ..trajectories import export

        files = export(folder, folder.path / "export", format=args.export, overwrite=True)
        print(f"exported   {len(files)} files to {folder.path / 'export'}")
    return 0


def _kernel_names(args: argparse.Namespace) -> tuple[str, ...]:
    names = tuple(part.strip() for part in args.kernels.split(",")) if args.kernels else KERNELS
    if unknown := [name for name in names if name not in KERNELS]:
        raise UserError(f"no kernel {unknown[0]!r}; the kernels are {', '.join(KERNELS)}")
    if args.no_flow:
        if args.model or args.family or (args.kernels and "flow" in names):
            raise UserError("--no-flow and a network exclude each other; leave out --no-flow, or --model and --family")
        names = tuple(name for name in names if name != "flow")
    if "flow" not in names and (args.model or args.family):
        raise UserError("--model and --family need the kernel flow in --kernels")
    return names


def _starts(args: argparse.Namespace) -> tuple[str, ...]:
    if args.start and args.start_torsion:
        raise UserError("give --start (once per start) or --start-torsion, not both")
    if args.start_torsion:
        return ("built", args.start_torsion)
    return tuple(args.start or ("spread",))


def _tuning(path: Path | None) -> dict[str, dict[str, float]] | None:
    """The tuning in another run's summary (or a file with just that)."""
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


def _check_tuning(path: Path, tuning: dict[str, dict[str, float]], kernel: Cycle) -> None:
    """Refuse a tuning that would not be replayed as a whole, before anything is written."""
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


def _model(args: argparse.Namespace, molecule: Molecule) -> LoadedModel:
    from ..pretrained import default_for, load, names

    name = args.model or default_for(molecule.atoms, args.family)
    if name is None:
        family = f" of family {args.family}" if args.family else ""
        raise UserError(
            f"no shipped network{family} covers {molecule.atoms.residues} (there are: {', '.join(names()) or 'none'}); "
            "train one and give --model FOLDER, or sample without a network: --no-flow"
        )
    model = load(name, molecule.atoms)
    family = model.densities["flow"].family
    if args.family not in (None, family):
        raise UserError(f"model {model.name!r} is of family {family}, not {args.family}; leave out --family")
    trained = model.description.training.get("preset")
    if trained is not None and trained != molecule.preset.name:
        print(
            f"timewarp: {model.name} was trained under {trained}: samples under {molecule.preset.name} are exact all "
            "the same, but fewer proposals may be accepted"
        )
    return model


def _cycle(
    args: argparse.Namespace,
    names: tuple[str, ...],
    target: Target,
    molecule: Molecule,
    model: LoadedModel | None,
    device: str,
) -> Cycle:
    import torch

    from ..analysis import named_torsions
    from ..sampling import (
        Cycle,
        FlowKernel,
        HMCKernel,
        Kernel,
        LengthTrial,
        TorsionKernel,
        backbone_torsions,
        stiff_torsions,
    )
    from ..sampling import repartition_hydrogen_mass as repartition

    atoms = molecule.atoms
    watched = backbone_torsions(atoms)
    kernels: dict[str, Kernel] = {}
    stiff = stiff_torsions(atoms)
    if "torsion" in names and not (atoms.tree.rotatable or stiff):
        names = tuple(name for name in names if name != "torsion")
    if model is not None:
        kernels["flow"] = FlowKernel(target, model.densities["flow"].to(device).eval(), atoms.tree, watched=watched)
    if "torsion" in names:
        kernels["torsion"] = TorsionKernel(target, atoms.tree, stiff=stiff, watched=watched)
    repeats = {"torsion": args.torsion_moves}
    if "hmc" in names:
        torsions = torch.tensor(list(named_torsions(atoms).values()), dtype=torch.long).reshape(-1, 4)
        trial = None
        if args.hmc_steps is None and len(torsions):
            others = sum(kernels[name].cost * repeats.get(name, 1) for name in names if name != "hmc")
            trial = LengthTrial(HMC_STEPS, torsions, others / names.count("hmc"))
        kernels["hmc"] = HMCKernel(
            target,
            repartition(atoms),
            n_steps=args.hmc_steps or DEFAULT_HMC_STEPS,
            target_acceptance=args.hmc_acceptance,
            trial=trial,
        )
    if "hmc" not in names and (model is None or model.densities["flow"].family == "C"):
        raise UserError("these kernels leave bond lengths and angles as they are; add hmc to --kernels")
    return Cycle([kernels[name] for name in names for _ in range(repeats.get(name, 1))])


def _frames_per_segment(args: argparse.Namespace, n_atoms: int) -> int:
    """A segment takes seconds and some ten megabytes; the number depends on the settings alone, not on the machine."""
    by_steps = STEPS_PER_SEGMENT // args.thin
    by_size = NUMBERS_PER_SEGMENT // (3 * n_atoms * args.chains)
    return max(1, min(by_steps, by_size))


def _engines(target: Target, cycle: Cycle) -> dict[str, Any]:
    """What computed the energies and the network: compiled kernels or torch."""
    from .. import native
    from ..sampling import FlowKernel

    flows = [kernel.engine for kernel in cycle.kernels if isinstance(kernel, FlowKernel)]
    return {
        "energy": getattr(target.potential, "engine", None),
        "flow": flows[0] if flows else None,
        "instruction_set": native.instruction_set(),
    }


def _device_name(device: str) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _versions() -> dict[str, str]:
    import openmm
    import torch

    from . import version

    return {
        "timewarp": version(),
        "torch": str(torch.__version__),
        "openmm": str(openmm.__version__),
        "python": platform.python_version(),
    }


def _report(path: Path, summary: dict[str, Any]) -> str:
    """The result in a few lines."""
    lines = [
        f"{summary['molecule']}: {summary['n_samples']:,} samples in {summary['n_chains']} chains, "
        f"{summary['wall_s']:.1f} s, {summary['samples_per_second']:,.0f} samples/s",
        "kernel      proposed  acceptance  jump  non-finite  restricted",
    ]
    for name, row in summary["kernels"].items():
        acceptance = "-" if row["acceptance"] is None else f"{100 * row['acceptance']:.1f} %"
        jump = "-" if row.get("jump") is None else f"{row['jump']:.2f}"
        lines.append(
            f"{name:8}{row['proposed']:12,}  {acceptance:>10}  {jump:>4}  {row['nonfinite']:10,}"
            f"  {row['restricted']:10,}"
        )
    rhat = {name: value for name, value in summary["rhat"].items() if value == value}
    ess = {name: value for name, value in summary["ess"].items() if value == value}
    if rhat and ess:
        worst, smallest = max(rhat, key=lambda n: rhat[n]), min(ess, key=lambda n: ess[n])
        advice = "" if rhat[worst] < 1.01 else "  (above 1.01: not converged; ask for more --samples)"
        lines.append(f"worst R-hat     {rhat[worst]:.4f} ({worst}){advice}")
        lines.append(
            f"smallest ESS    {ess[smallest]:,.0f} ({smallest}), {ess[smallest] / summary['wall_s']:,.1f} per second"
        )
    else:
        lines.append("R-hat and ESS   too few frames per chain to tell; ask for more --samples")
    if summary["chirality_flips"] or summary["cis_trans_flips"]:
        lines.append("WARNING: samples left the restriction; this is a bug, please report it")
    lines.append(f"next            timewarp report {path}")
    return "\n".join(lines)
