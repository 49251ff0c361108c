"""Where replicas start: the built positions, some torsions set to given angles, or models of a PDB file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm.app import PDBFile

from ..analysis.torsions import named_torsions
from ..geometry import dihedrals, wrap
from ..molecules import Molecule
from ..restriction import Restriction
from ..state import Atoms
from .settings import BUILT
from .system import make_context
from .torsion_moves import branch_of, rotation, turned


def start_positions(molecule: Molecule, starts: Sequence[str], replicas: int, platform: str) -> np.ndarray:
    """Minimised start positions (replicas, atoms, 3) in nm; replica r takes ``starts[r % len(starts)]``.

    Raises:
        ValueError: a start cannot be understood, or has another chirality or peptide-bond pattern than the molecule.
        FileNotFoundError: no such PDB file.
    """
    restriction = Restriction(molecule.start_positions, molecule.atoms)
    distinct = {spec: _start(molecule, spec) for spec in dict.fromkeys(starts[:replicas])}
    minimised = {
        spec: positions if spec == BUILT else _minimise(molecule.system, positions, platform)
        for spec, positions in distinct.items()
    }
    for spec, positions in minimised.items():
        if bool(restriction.crossed(torch.as_tensor(positions))):
            raise ValueError(f"the start {spec!r} has another chirality or cis/trans pattern than {molecule.name}")
    return np.stack([minimised[starts[r % len(starts)]] for r in range(replicas)])


def set_torsions(positions: np.ndarray, atoms: Atoms, degrees: dict[str, float]) -> np.ndarray:
    """Turn named torsions (``phi_1``) to angles in degrees; bond lengths and angles stay.

    Raises:
        ValueError: the molecule has no such torsion, or it is in a ring.
    """
    known = named_torsions(atoms)
    for name, target in degrees.items():
        if name not in known:
            raise ValueError(f"no torsion {name!r} in this molecule; it has {', '.join(known)}")
        i, j, k, l = known[name]  # noqa: E741
        now = dihedrals(torch.as_tensor(positions), torch.tensor([(i, j, k, l)]))
        change = wrap(torch.tensor(math.radians(target), dtype=now.dtype) - now)
        branch = branch_of(atoms, j, k)
        positions = turned(positions, branch, rotation(positions, branch, float(change)))
    return positions


def _start(molecule: Molecule, spec: str) -> np.ndarray:
    if spec == BUILT:
        return molecule.start_positions.numpy()
    path, _, model = spec.partition("#")
    if path.lower().endswith(".pdb"):
        return _from_pdb(molecule, Path(path), model)
    degrees = {}
    for part in spec.split(","):
        name, equals, value = part.partition("=")
        try:
            degrees[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not math.isfinite(degrees[name.strip()]):
            raise ValueError(f"cannot understand the start {spec!r}; write {BUILT}, phi_1=60, or FILE.pdb") from None
    return set_torsions(molecule.start_positions.numpy(), molecule.atoms, degrees)


def _from_pdb(molecule: Molecule, path: Path, model: str) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"no such file of start positions: {path}")
    pdb = PDBFile(str(path))
    number = int(model) if model.isdigit() else 1
    if not 1 <= number <= pdb.getNumFrames():
        raise ValueError(f"{path} has models 1 to {pdb.getNumFrames()}, not {model}")
    names = tuple(atom.name for atom in pdb.topology.atoms())
    if names != molecule.atoms.names:
        raise ValueError(
            f"{path} does not hold the atoms of {molecule.name} in its order; export a run of it to see them"
        )
    return np.array(pdb.getPositions(asNumpy=True, frame=number - 1)._value, dtype=np.float64)


def _minimise(system: openmm.System, positions: np.ndarray, platform: str) -> np.ndarray:
    context = make_context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 500)
    return context.getState(positions=True).getPositions(asNumpy=True)._value
