"""What a transferable network has learnt from, and where a molecule lies outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..state import Atoms


def outside(training: Mapping[str, Any], atoms: Atoms) -> list[str]:
    """In what a molecule differs from all that a network was trained on, one phrase each.

    Args:
        training: what the network's file says of its training, with ``longest_peptide`` and ``known_residues``; what it
            does not say is not judged.
        atoms: the molecule.
    """
    found = []
    longest, n = training.get("longest_peptide"), atoms.n_amino_acids
    if isinstance(longest, int) and n > longest:
        found.append(f"it has {n} residues, and the longest peptide of the training {longest}")
    known = training.get("known_residues")
    if isinstance(known, list) and (new := sorted(set(atoms.residue_names) - set(known))):
        found.append(f"the training knew no {', '.join(new)}")
    return found
