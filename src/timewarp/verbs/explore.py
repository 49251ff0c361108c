"""Conformational states found fast, without Metropolis-Hastings: biased, to be confirmed by sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..machine import describe, set_sampling_threads
from ..molecules import Molecule, folder_name
from ..progress import Listener, listening
from ..run import Run
from ..sampling import ChainSettings, ExplorationKernel, run_chains, summarise_exploration
from ..sampling.exploration import state_torsions
from ..settings.sampling import ExploreSettings
from ..starts import check_starts
from ..system import System
from ..trajectories import RunFolder
from .kernels import load_model, restrict
from .sample import as_system, chain_facts, cis_trans_facts, engines, keep_energy, model_name, stored_config

DEFAULT_CHAINS = 100


def explore(
    molecule: str | Path | Molecule | System,
    *,
    out: Path | str | None = None,
    progress: bool | Listener = False,
    **settings: Any,
) -> Run:
    """Find conformational states of a molecule fast; how often each occurs means nothing.

    Many chains take whatever a trained network proposes, unless the energy rises too far or the stereochemistry changes
    (Klein et al. 2023, section 4.2). There is no Metropolis-Hastings step, so the frames are biased;
    ``sample(..., start_from=run.path)`` confirms the states, or shows that they are of no weight. The same call goes on
    with a run that was killed.

    Args:
        molecule: one-letter codes (``"AG"``), with caps (``"Ace-A-Nme"``), a PDB file, a topology with its own force
            field (``prmtop``, ``top``, ``psf``, ``xml``), a run folder, or a :class:`System`.
        out: the run folder, new or to be resumed; None: ``NAME-exploration`` here.
        progress: True for a progress line on standard error, or a function called with a
            :class:`timewarp.progress.Report`.
        settings: fields of :class:`~timewarp.settings.sampling.ExploreSettings`: ``samples``, ``chains``,
            ``threshold_kJ_mol``, ``model``, ``seed``, ...

    Returns:
        The run, of kind ``exploration``; ``run.summary["states"]`` lists what was found and when.

    Raises:
        ValueError: the molecule or a setting cannot be used, or no bond of the molecule turns.
        FileExistsError: the folder holds something else, or a run with other settings.

    Example:
        >>> run = explore("Ace-A-Nme", samples=200, chains=10, out=folder / "states")
        >>> run.summary["states"]["found"] > 1
        True
    """
    model = settings.pop("model", None)
    chosen = ExploreSettings.make({**settings, "model": model_name(model)})
    system = as_system(molecule, chosen, None)
    threads = set_sampling_threads(chosen.threads, system.device)
    path = Path(out or f"{folder_name(system.name)}-exploration")
    check_starts(system.atoms, chosen.starts, restriction=system.restriction)
    state_torsions(system.atoms)
    stored = stored_config(path)
    loaded = load_model(system, model, chosen.family, sha256=stored.get("weights_sha256"))
    made = loaded.proposers(system.parameters, system.kT, device=system.device, threads=threads)
    restrict(made, system)
    learned = made["flow"]
    kernel = ExplorationKernel(system, learned, threshold_kJ_mol=chosen.threshold_kJ_mol)
    n_chains = chosen.chains or stored.get("n_chains") or DEFAULT_CHAINS
    chains = ChainSettings(
        n_chains=n_chains,
        n_samples=chosen.samples,
        thin=chosen.thin,
        warmup=0,
        seed=chosen.seed,
        frames_per_segment=chosen.frames_per_segment(system.atoms.n_atoms, n_chains),
    )
    folder = RunFolder.create(
        path,
        kind="exploration",
        name=system.name,
        atoms=system.atoms,
        topology_pdb=system.pdb,
        config={
            "biased": True,
            "molecule": system.name,
            "preset": system.preset,
            "energy": system.energy_digest,
            "model": loaded.name,
            "weights_sha256": loaded.sha256,
            "threshold_kJ_mol": chosen.threshold_kJ_mol,
            "starts": list(chosen.starts),
            **cis_trans_facts(system),
            **chain_facts(chains, system, threads),
        },
        may_change=("n_samples", "threads"),
    )
    with listening(progress), folder.lock():
        keep_energy(folder, system)
        record = run_chains(
            kernel,
            lambda generator: system.starts(n_chains, generator, chosen.starts, superchains=n_chains),
            folder,
            chains,
            device=system.device,
            quiet=progress is not True,
        )
        run = Run(folder)
        folder.write_summary(
            {
                "schema": 1,
                "molecule": system.name,
                "model": loaded.name,
                **summarise_exploration(run.trajectory, record, system.restriction),
                "family": loaded.kind,
                "preset": system.preset,
                "threshold_kJ_mol": chosen.threshold_kJ_mol,
                "starts": list(chosen.starts),
                "seed": chains.seed,
                "thin": chains.thin,
                "precision": system.precision,
                **describe(system.device, threads),
                "engines": engines(system, (learned,)),
                "weights_sha256": loaded.sha256,
            }
        )
    return run
