"""Say what is unusual in a peptide's stereochemistry: D residues, inverted side chains, cis peptide bonds."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import signed_volumes
from ..restriction import cis
from ..shapes import Float
from ..state import Atoms
from .residues import RESIDUES

NATURAL_CENTRES: dict[str, dict[str, tuple[str, str, str]]] = {
    "any": {"CA": ("N", "C", "CB")},
    "ILE": {"CB": ("CA", "CG1", "CG2")},
    "THR": {"CB": ("CA", "OG1", "CG2")},
    "TPO": {"CB": ("CA", "OG1", "CG2")},
    "T1P": {"CB": ("CA", "OG1", "CG2")},
    "HYP": {"CG": ("CB", "CD", "OD1")},
}
"""By residue and centre, three neighbours whose signed volume is positive in natural L residues.

CIP: CA is S (R in cysteine, whose sulphur outranks C, with the same handedness), CB of isoleucine S, of threonine R, CG
of hydroxyproline R.
"""

_D_FORMS = {
    residue.label: residue.amino_acid for residue in RESIDUES.values() if residue.handedness == "D" and residue.letter
}


def unusual_geometry(atoms: Atoms, positions: Float[Tensor, "atoms 3"]) -> list[str]:
    """One line for each centre that is not what its residue's name says, and each peptide bond that is not trans."""
    notes = []
    for number in sorted(set(atoms.residue_numbers)):
        index = {atoms.names[i]: i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == number}
        name = atoms.residue_names[next(iter(index.values()))]
        sign, natural = (-1, _D_FORMS[name]) if name in _D_FORMS else (1, name)
        for centre, row in (NATURAL_CENTRES["any"] | NATURAL_CENTRES.get(natural, {})).items():
            if not {centre, *row} <= index.keys():
                continue
            quadruple = torch.tensor([[index[atom] for atom in (centre, *row)]])
            if sign * float(signed_volumes(positions, quadruple)) < 0:
                form = "D form" if sign < 0 else f"natural {'L ' * (centre == 'CA')}form"
                notes.append(f"{centre} of {name} {number} is inverted (not the {form})")
    for row in atoms.peptide_bonds[cis(positions, atoms.peptide_bonds)].tolist():
        here, there = (f"{atoms.residue_names[i]} {atoms.residue_numbers[i]}" for i in (row[1], row[2]))
        if tuple(row) in atoms.main_chain_bonds:
            notes.append(f"the peptide bond between {here} and {there} is cis")
        else:
            names = "-".join(atoms.names[i] for i in row)
            notes.append(f"the amide bond {atoms.names[row[1]]}-{atoms.names[row[2]]} of {here} is cis ({names})")
    return notes
