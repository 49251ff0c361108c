"""What `sample` and `explore` share: the molecule and its target, where chains start, what ran on which machine."""

from __future__ import annotations

import argparse
import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ..energies import Parameters
    from ..molecules import Molecule
    from ..sampling import Kernel, Restriction, Target

STEPS_PER_SEGMENT = 50
NUMBERS_PER_SEGMENT = 2**24


@dataclass(frozen=True)
class Setup:
    """A molecule ready to be sampled.

    Attributes:
        molecule: the molecule.
        parameters: its compiled energy.
        target: the distribution.
        restriction: the target's.
        built: positions of the built structure, in the precision and on the device of the chains.
        device: of the chains.
        threads: of the kernels, or of torch.
    """

    molecule: Molecule
    parameters: Parameters
    target: Target
    restriction: Restriction
    built: Tensor
    device: str
    threads: int


def add_molecule(parser: argparse.ArgumentParser, folder: str, optional: bool = False) -> None:
    """The molecule, ``--out`` and ``--preset``."""
    parser.add_argument(
        "molecule",
        nargs="?" if optional else None,
        default=None,
        metavar="MOLECULE",
        help="one-letter sequence (AIVL), with caps (Ace-A-Nme), or a PDB file",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"run folder, new or to be resumed (default {folder})"
    )
    options.add_preset(parser)


def add_start(group: argparse._ArgumentGroup, default: str) -> None:
    """``--start``."""
    group.add_argument(
        "--start",
        action="append",
        metavar="START",
        help="where chains start, once per start and cycled over the chains: spread (torsions drawn at random), built "
        f"(the minimised structure), torsions in degrees such as phi_1=60,psi_1=40, or FILE.pdb, FILE.pdb#MODEL "
        f"(default {default})",
    )


def add_machine(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """``--precision``, ``--device``, ``--threads``, ``--quiet``."""
    machine = parser.add_argument_group("the machine")
    machine.add_argument(
        "--precision", choices=("float32", "float64"), default="float32", help="of positions and energies in memory"
    )
    options.add_device(machine)
    options.add_threads(machine, "threads of the compiled kernels, or of torch where those are missing")
    options.add_quiet(machine)
    return machine


def set_up(args: argparse.Namespace, temperature_K: float | None = None) -> Setup:
    """Build the molecule and its target; prints what the user should know of the molecule.

    Args:
        args: with ``molecule``, ``preset``, ``precision``, ``device`` and ``threads``.
        temperature_K: None for the preset's.
    """
    import torch

    from .. import native
    from ..energies import Potential, compile_system
    from ..molecules import build_molecule
    from ..sampling import Restriction, Target

    device = options.resolve_device(args.device)
    threads = options.set_sampling_threads(args.threads, device)
    dtype = getattr(torch, args.precision)
    molecule = build_molecule(args.molecule, args.preset)
    for note in molecule.notes:
        print(f"timewarp: {note}")
    if device == "cpu" and not native.available():
        print(f"timewarp: {native.why_not()}")
    parameters = compile_system(molecule.system)
    built = molecule.start_positions.to(device, dtype)
    restriction = Restriction(built, molecule.atoms)
    if temperature_K is None:
        temperature_K = molecule.preset.temperature_K
    target = Target(Potential(parameters, dtype=dtype, device=device), temperature_K, restriction, atoms=molecule.atoms)
    return Setup(molecule, parameters, target, restriction, built, device, threads)


def start_positions(setup: Setup, starts: tuple[str, ...], n_chains: int, generator: Generator) -> Tensor:
    """Where chains start; see :func:`timewarp.starts.start_positions`."""
    from ..starts import start_positions

    return start_positions(
        setup.target,
        setup.molecule.atoms,
        setup.built,
        starts,
        n_chains,
        generator,
        kT=setup.target.kT,
        restriction=setup.restriction,
    )


def states_of(path: Path, setup: Setup, n_chains: int) -> Tensor:
    """One configuration per chain from another run: the distinct states of an exploration (cycled if they are fewer
    than the chains), or frames of MD or of a chain, evenly spread over it.

    Raises:
        UserError: the folder is of another molecule or force field, or its frames are of another stereochemistry.
    """
    import torch

    from ..sampling import distinct_states
    from ..trajectories import RunFolder

    run = RunFolder.open(path)
    if run.atoms.fingerprint != setup.molecule.atoms.fingerprint:
        raise UserError(f"{path} holds another molecule: {run.name}, not {setup.molecule.name}")
    if (preset := run.config.get("preset")) != setup.molecule.preset.name:
        raise UserError(f"{path} is under {preset}, not {setup.molecule.preset.name}; give --preset {preset}")
    if explored := run.kind == "exploration":
        states = distinct_states(run.trajectory(), n_chains, setup.restriction)
    else:
        frames = run.trajectory().positions.flatten(0, 1)
        frames = frames[torch.linspace(0, len(frames) - 1, n_chains).round().long()]
        x = frames.to(setup.built)
        inside = ~setup.restriction.crossed(x).cpu()
        if not inside.any():
            raise UserError(f"the frames of {path} have another chirality or cis/trans pattern than the molecule")
        states = frames[inside]
    what = "states" if explored else "frames"
    print(f"timewarp: {n_chains} chains start from {len(states)} {what} of {path}")
    return states[torch.arange(n_chains) % len(states)].to(setup.built)


def digest(positions: Tensor) -> str:
    """Short hash of positions, by which a resumed run knows its starts."""
    return hashlib.sha256(positions.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def frames_per_segment(args: argparse.Namespace, n_atoms: int) -> int:
    """A segment takes seconds and some ten megabytes; the number depends on the settings alone, not on the machine."""
    by_steps = STEPS_PER_SEGMENT // args.thin
    by_size = NUMBERS_PER_SEGMENT // (3 * n_atoms * args.chains)
    return max(1, min(by_steps, by_size))


def engines(target: Target, learned: Kernel | None) -> dict[str, Any]:
    """What computed the energies and the network: compiled kernels or torch."""
    from .. import native

    return {
        "energy": getattr(target.potential, "engine", None),
        "flow": getattr(learned, "engine", None),
        "instruction_set": native.instruction_set(),
    }


def device_name(device: str) -> str:
    """The device, a GPU by its name."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def versions() -> dict[str, str]:
    """Of the programs that a result depends on."""
    import openmm
    import torch

    from . import version

    return {
        "timewarp": version(),
        "torch": str(torch.__version__),
        "openmm": str(openmm.__version__),
        "python": platform.python_version(),
    }
