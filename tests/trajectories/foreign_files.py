"""Files as other programs write them, of molecules that are built here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import mdtraj
import numpy as np

from timewarp.molecules import Molecule, build_molecule

_METHYLS = {f"H{k}": f"{k}H" for k in (1, 2, 3)} | {f"HB{k}": f"{k}HB" for k in (1, 2, 3)}


def dialect(sequence: str) -> list[str]:
    """Names of another program: hydrogens of a methylene count from 1, a methyl's have the digit in front."""
    atoms = molecule(sequence).atoms
    names = []
    for name, residue in zip(atoms.names, atoms.residue_names, strict=True):
        methylene = residue != "ALA" and name[:1] == "H" and name[1:2] in "ABGD" and name[2:] in ("2", "3")
        new = f"{name[:-1]}{int(name[-1]) - 1}" if methylene else _METHYLS.get(name, name)
        names.append({"O": "OT1", "OXT": "OT2", "H": "HN"}.get(new, new))
    return names


@cache
def molecule(sequence: str) -> Molecule:
    return build_molecule(sequence)


@cache
def positions(sequence: str, frames: int = 7, noise: float = 0.002) -> np.ndarray:
    """Frames about the start structure, (frames, atoms, 3) in nm, float32."""
    start = molecule(sequence).start_positions.numpy()
    return (start + noise * np.random.default_rng(5).normal(size=(frames, *start.shape))).astype(np.float32)


def topology(
    sequence: str, order: Sequence[int] | None = None, names: Sequence[str] | None = None, bonds: bool = True
) -> mdtraj.Topology:
    """The molecule's topology with its atoms in another order and under other names."""
    atoms = molecule(sequence).atoms
    order = range(atoms.n_atoms) if order is None else order
    names = atoms.names if names is None else names
    made = mdtraj.Topology()
    chain = made.add_chain()
    last, residue, new = None, None, {}
    for i in order:
        i = int(i)
        if atoms.residue_numbers[i] != last:
            last = atoms.residue_numbers[i]
            residue = made.add_residue(atoms.residue_names[i], chain, resSeq=last)
        new[i] = made.add_atom(names[i], mdtraj.element.get_by_symbol(atoms.elements[i]), residue)
    for i, j in atoms.bonds if bonds else ():
        made.add_bond(new[i], new[j])
    return made


def within_residues(sequence: str, seed: int = 0) -> np.ndarray:
    """A random order of the atoms of each residue."""
    numbers = np.array(molecule(sequence).atoms.residue_numbers)
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    return shuffled[np.argsort(numbers[shuffled], kind="stable")]


def write(path: Path, sequence: str, order: np.ndarray | None = None, names: Sequence[str] | None = None) -> Path:
    """A trajectory in the format of the path's suffix, and ``top.pdb`` beside it; gives the topology's path."""
    x = positions(sequence)
    x = x if order is None else x[:, order]
    made = mdtraj.Trajectory(x, topology(sequence, order, names), time=2.0 * np.arange(len(x)))
    made.save(str(path))
    made[0].save(str(path.with_name("top.pdb")))
    return path.with_name("top.pdb")
