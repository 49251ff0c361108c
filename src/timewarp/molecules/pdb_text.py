"""Write PDB text: every bond as CONECT, so that any reader finds the same molecule."""

from __future__ import annotations

from torch import Tensor

from ..geometry import neighbours
from ..shapes import Float
from ..state import Atoms


def _residue(atoms: Atoms, index: int) -> str:
    """A residue's name in columns 18 to 21: four letters take the blank column behind three."""
    return f"{atoms.residue_names[index]:>3}"[:4].ljust(4)


def write_pdb(atoms: Atoms, positions: Float[Tensor, "atoms 3"]) -> str:
    """PDB text (angstrom, chain A, residues numbered as in ``atoms``) of one configuration given in nm."""
    lines = []
    for i in range(atoms.n_atoms):
        record = "HETATM" if atoms.residue_names[i] in ("ACE", "NME") else "ATOM"
        element = atoms.elements[i]
        name = atoms.names[i]
        padded = name if len(name) == 4 or len(element) == 2 else f" {name}"
        x, y, z = (10 * float(v) for v in positions[i])
        lines.append(
            f"{record:<6}{i + 1:>5} {padded:<4.4} {_residue(atoms, i)}A{atoms.residue_numbers[i]:>4}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}"
        )
    last = atoms.n_atoms - 1
    lines.append(f"TER   {atoms.n_atoms + 1:>5}      {_residue(atoms, last)}A{atoms.residue_numbers[last]:>4}")
    for i, row in enumerate(neighbours(atoms.n_atoms, atoms.bonds)):
        for start in range(0, len(row), 4):
            lines.append(f"CONECT{i + 1:>5}" + "".join(f"{j + 1:>5}" for j in row[start : start + 4]))
    return "\n".join([*lines, "END", ""])
