"""Exact samples of the Boltzmann distribution of a molecule."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import native
from ..energies import Potential
from ..files import read_toml, write_atomically
from ..goal import Looking, Progressed, parse_goal
from ..machine import default_chains, describe, set_sampling_threads
from ..molecules import SYSTEM_FILE, Molecule, folder_name
from ..progress import Listener, listening
from ..run import Run
from ..sampling import ChainSettings, Kernel, distinct_states, run_chains, summarise
from ..settings import options_of
from ..settings.molecule import MoleculeSettings
from ..settings.sampling import CONCERTED, MINUTES, SAMPLES, UNTIL, ChainOptions, SampleSettings
from ..starts import check_starts, settle
from ..system import System
from ..trajectories import SUPERCHAINS, RunFolder, open_source
from .kernels import build_kernel, load_model, read_tuning, replay, without_network

logger = logging.getLogger("timewarp")

MakesKernel = Callable[[System], Kernel]


def sample(
    molecule: str | Path | Molecule | System,
    *,
    out: Path | str | None = None,
    kernel: MakesKernel | None = None,
    progress: bool | Listener = False,
    heartbeat: Callable[[], None] = lambda: None,
    **settings: Any,
) -> Run:
    """Draw exact samples of the Boltzmann distribution of a molecule, into a run folder.

    A trained network proposes large moves, Metropolis-Hastings accepts or rejects them, and local moves relax the rest.
    Chirality is that of the start, and so is the cis/trans pattern of peptide bonds, but for those that ``cis_trans``
    leaves free. A process that is killed loses at most
    one open segment: the same call goes on, bit for bit, and a larger ``samples`` extends the run.

    With ``until`` (``"rhat=1.01,ess=1000"``), ``minutes`` or ``observables`` in place of ``samples``, the run goes on
    until every torsion, the energy, the conformations and these observables meet the goal, or the time is over (60
    minutes by default). ``run.summary["until"]`` says how far it came.

    Args:
        molecule: one-letter codes (``"AG"``), with caps (``"Ace-A-Nme"``), a PDB file, a topology with its own force
            field (``prmtop``, ``top``, ``psf``, ``xml``), a run folder, or a :class:`System`.
        out: the run folder, new or to be resumed; None: ``NAME-samples`` here.
        kernel: makes the kernel of a system, in place of the default one; such as
            ``lambda system: tw.Cycle([tw.Flow(system), tw.HMC(system)])``.
        progress: True for a progress line on standard error, or a function that is called with a
            :class:`timewarp.progress.Report` now and then.
        heartbeat: called after every step; what it raises ends the run.
        settings: fields of :class:`SampleSettings`: ``samples``, ``chains``, ``temperature_K``, ``model``, ``seed``,
            ...

    Returns:
        The run: torsions, energies, positions, figures, :meth:`~timewarp.run.Run.verdict`.

    Raises:
        ValueError: the molecule or a setting cannot be used; one line says why and what to do.
        FileExistsError: the folder holds something else, or a run with other settings.
        FileNotFoundError: there is no such PDB file or network.

    Example:
        >>> run = sample("AG", samples=64, chains=8, warmup=10, out=folder / "ag")
        >>> run.torsions["phi_2"].shape
        (8, 8)
    """
    began = time.monotonic()
    model = settings.pop("model", None)
    chosen = SampleSettings.make({**settings, "model": model_name(model)})
    system = as_system(molecule, chosen, chosen.temperature_K)
    if kernel is None and without_network(system, chosen):
        chosen = chosen.replaced(no_flow=True)
    threads = set_sampling_threads(chosen.threads, system.device)
    path = Path(out or f"{folder_name(system.name)}-samples")
    stored = stored_config(path)
    if chosen.samples is None and not chosen.has_goal and "until" not in stored:
        chosen = chosen.replaced(samples=SAMPLES)
    goal = parse_goal(chosen.until or stored.get("until") or UNTIL) if chosen.samples is None else None
    wanted = chosen.observables or tuple(stored.get("observables", ())) if goal is not None else ()
    n_chains = chosen.chains or stored.get("n_chains") or default_chains(threads)
    superchains = min(SUPERCHAINS, n_chains)
    if chosen.start_from is None:
        check_starts(system.atoms, chosen.starts, restriction=system.restriction)
        starts, states, n_states = chosen.starts, None, 0
    else:
        starts, states, n_states = _states_of(chosen, system, n_chains)
    tuning = None if chosen.tuning is None else read_tuning(chosen.tuning)
    loaded = None
    if kernel is None:
        if chosen.learned:
            instead = ", or sample without a network: `no_flow`"
            loaded = load_model(system, model, chosen.family, instead, stored.get("weights_sha256"))
        # A run that began without concerted rotations goes on without them.
        rings = CONCERTED in stored.get("kernels", (CONCERTED,))
        made: Kernel = build_kernel(system, chosen, loaded, n_chains=n_chains, threads=threads, rings=rings)
    else:
        made = kernel(system)
        if made.target is not system:
            raise ValueError(f"the kernel {made!r} is of another target; make it from the system that it is given")
    chains = ChainSettings(
        n_chains=n_chains,
        **({} if chosen.samples is None else {"n_samples": chosen.samples}),
        thin=chosen.thin,
        warmup=chosen.warmup,
        seed=chosen.seed,
        frames_per_segment=chosen.frames_per_segment(system.atoms.n_atoms, n_chains),
    )
    parts = made.parts
    names = list(dict.fromkeys(part.name for part in parts))
    batched = next((part for part in parts if hasattr(part, "proposals")), None)
    config: dict[str, Any] = {
        **system.facts,
        "model": None if loaded is None else loaded.name,
        "weights_sha256": None if loaded is None else loaded.sha256,
        "kernels": names,
        "proposals": None if batched is None else chosen.proposals or "tuned",
        "flow_steps": None if batched is None else chosen.flow_steps or "proposals",
        "torsion_moves": chosen.torsion_moves,
        **({"concerted_moves": chosen.concerted_moves} if CONCERTED in names else {}),
        "hmc_steps": chosen.hmc_steps or "tuned",
        "hmc_acceptance": chosen.hmc_acceptance,
        "starts": list(starts),
        "start_from": None if chosen.start_from is None else str(chosen.start_from),
        "start_states": None if states is None else digest(states),
        "superchains": superchains if states is None else n_states,
        **cis_trans_facts(system),
        **chain_facts(chains, system, threads),
        "warmup": chains.warmup,
        "tuning": tuning,
        "until": None if goal is None else str(goal),
        "observables": list(wanted) or None,
    }
    if goal is not None:
        del config["n_samples"]
    if stored and "superchains" not in stored:
        config["superchains"] = None  # version 0.1: each chain had a start of its own
    if tuning is not None:
        replay(tuning, made, chosen.tuning)
    folder = RunFolder.create(
        path,
        kind="chain",
        name=system.name,
        atoms=system.atoms,
        topology_pdb=system.pdb,
        config=config,
        may_change=("n_samples", "until", "observables", "threads", "start_from"),
    )

    def begin(generator: torch.Generator) -> Tensor:
        if states is not None:
            # Frames of a run are in equilibrium, and stay in it; what an exploration found is strained.
            return (
                states if starts == ("run",) else settle(system, states, kT=system.kT, restriction=system.restriction)
            )
        return system.starts(n_chains, generator, starts, superchains=superchains)

    minutes = chosen.minutes or MINUTES
    looking = None
    if goal is not None:
        looking = Looking(folder, goal, wanted, minutes=minutes, began=began, tell=_tell)
    with listening(progress), folder.lock():
        keep_energy(folder, system)
        record = run_chains(
            made,
            begin,
            folder,
            chains,
            device=system.device,
            tuning=tuning,
            quiet=progress is not True,
            heartbeat=heartbeat,
            length=looking,
        )
        run = Run(folder)
        folder.write_summary(
            {
                "schema": 1,
                "molecule": system.name,
                "model": config["model"],
                **summarise(run.trajectory, record, system.restriction),
                "preset": system.preset,
                "temperature_K": system.temperature_K,
                "seed": chains.seed,
                "warmup": chains.warmup,
                **describe(system.device, threads),
                "weights_sha256": config["weights_sha256"],
                "family": None if loaded is None else loaded.kind,
                "proposals": getattr(batched, "proposals", None),
                "flow_steps": getattr(batched, "n_steps", None),
                "engines": engines(system, parts),
                "thin": chains.thin,
                "starts": list(starts),
                "start_from": config["start_from"],
                "precision": system.precision,
                "until": None if looking is None or looking.last is None else looking.last.to_json(),
            }
        )
    return run


def _tell(progressed: Progressed) -> None:
    """What a run waits for, in a line of the log."""
    if progressed.lacking:
        worst, n = progressed.lacking[0], len(progressed.lacking)
        more = f" and {n - 1} more" if n > 1 else ""
        about = "" if math.isinf(progressed.factor) else f"; about {progressed.factor:.2g} times as many are needed"
        logger.info(f"{progressed.samples:,} samples: waits for {worst}{more}{about}")


def as_system(molecule: str | Path | Molecule | System, settings: ChainOptions, temperature_K: float | None) -> System:
    """The system of a molecule under some settings; a system as it is.

    Raises:
        ValueError: the molecule cannot be built, or a setting contradicts the system that was given.
    """
    if not isinstance(molecule, System):
        return System(
            molecule,
            preset=settings.preset,
            temperature_K=temperature_K,
            precision=settings.precision,
            device=settings.device,
            cis_trans=settings.cis_trans,
            **files_of(settings),
        )
    if settings.cis_trans not in (ChainOptions.cis_trans, molecule.restriction.cis_trans):
        raise ValueError(
            f"the system has cis_trans {molecule.restriction.cis_trans}, not {settings.cis_trans}; leave it out"
        )
    if given := [name for name, value in files_of(settings).items() if value]:
        raise ValueError(f"the system is built already, and `{given[0]}` is for building it; leave it out")
    if settings.preset not in (ChainOptions.preset, molecule.preset):
        raise ValueError(f"the system is under {molecule.preset}, not {settings.preset}; leave out `preset`")
    if temperature_K not in (None, molecule.temperature_K):
        raise ValueError(
            f"the system is at {molecule.temperature_K:g} K, not {temperature_K:g} K; leave out `temperature_K`"
        )
    return molecule


def files_of(settings: MoleculeSettings) -> dict[str, Any]:
    """What was given beside the molecule, as :class:`System` takes it."""
    return {option.name: getattr(settings, option.name) for option in options_of(MoleculeSettings)}


def stored_config(path: Path) -> dict[str, Any]:
    """The configuration of the run in a folder, from which settings that are not given are taken; empty for none."""
    return read_toml(path / "config.toml") if (path / "config.toml").is_file() else {}


def chain_facts(chains: ChainSettings, system: System, threads: int) -> dict[str, Any]:
    """What the configuration of a run of chains says of their number and of the machine."""
    return {
        "n_chains": chains.n_chains,
        "n_samples": chains.n_samples,
        "thin": chains.thin,
        "seed": chains.seed,
        "precision": system.precision,
        "device": system.device.partition(":")[0],
        "threads": threads,
        "frames_per_segment": chains.frames_per_segment,
    }


def cis_trans_facts(system: System) -> dict[str, Any]:
    """Which peptide bonds are free, where any may be: runs that keep them all say nothing, as those of version 0.1."""
    setting = system.restriction.cis_trans
    return {} if setting == ChainOptions.cis_trans else {"cis_trans": setting}


def keep_energy(folder: RunFolder, system: System) -> None:
    """Store the compiled force field beside the frames, for training and for other runs."""
    if system.parameters is not None and not (folder.path / "energy.safetensors").exists():
        system.parameters.save(folder.path / "energy.safetensors")
    molecule = system.molecule
    if molecule is not None and molecule.has_own_force_field and not (folder.path / SYSTEM_FILE).exists():
        write_atomically(folder.path / SYSTEM_FILE, molecule.system_xml)


def engines(system: System, parts: Sequence[Any]) -> dict[str, Any]:
    """What computed the energies and the network: compiled kernels or torch."""
    return {
        "energy": system.potential.engine if isinstance(system.potential, Potential) else None,
        "flow": next((part.engine for part in parts if hasattr(part, "engine")), None),
        "instruction_set": native.instruction_set(),
    }


def digest(positions: Tensor) -> str:
    """Short hash of positions, by which a resumed run knows its starts."""
    return hashlib.sha256(positions.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def model_name(model: Any) -> str | None:
    """The name or path of a network, for the settings."""
    return None if model is None else str(getattr(model, "name", model))


def _states_of(settings: SampleSettings, system: System, n_chains: int) -> tuple[tuple[str, ...], Tensor, int]:
    """Where chains start from another run: starts by name, one configuration per chain, and how many are distinct.

    They are the distinct states of an exploration (cycled if they are fewer than the chains), or frames of MD, of a
    chain or of another program's trajectory, evenly spread over it.

    Raises:
        ValueError: it is of another molecule or force field, or its frames are of another stereochemistry.
    """
    assert settings.start_from is not None
    source = open_source(settings.start_from, settings.top, molecule=system.molecule)
    if source.atoms.fingerprint != system.atoms.fingerprint:
        raise ValueError(f"{source.path} holds another molecule: {source.name}, not {system.name}")
    if (preset := source.config.get("preset")) not in (None, system.preset):
        raise ValueError(f"{source.path} is under {preset}, not {system.preset}; give `preset` {preset}")
    if source.config.get("energy") not in (None, system.energy_digest):
        raise ValueError(f"{source.path} is under another force field than {system.name}; give that run's own files")
    if explored := source.kind == "exploration":
        states = distinct_states(source.trajectory(), n_chains, system.restriction)
    else:
        frames = source.trajectory().positions.flatten(0, 1)
        frames = frames[torch.linspace(0, len(frames) - 1, n_chains).round().long()]
        x = frames.to(system.built)
        inside = ~system.restriction.crossed(x).cpu()
        if not inside.any():
            raise ValueError(
                f"the frames of {source.path} have another chirality or cis/trans pattern than the molecule"
            )
        states = frames[inside]
    what = "states" if explored else "frames"
    logger.info(f"{n_chains} chains start from {len(states)} {what} of {source.path}")
    cycled = states[torch.arange(n_chains) % len(states)].to(system.built)
    return ("exploration" if explored else "run",), cycled, min(len(states), n_chains)
