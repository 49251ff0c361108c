"""A molecule has one order of atoms, whatever the order and the hydrogens' names of a file."""

import random

import pytest

from timewarp.molecules import build_molecule
from timewarp.molecules.ordering import reorder
from timewarp.molecules.sequences import RESIDUES

OTHER_NAMES = {("ACE", "H1"): "HH31", ("ACE", "H2"): "HH32", ("ACE", "H3"): "HH33", ("NME", "C"): "CH3"}
OTHER_NAMES |= {("NME", f"H{k}"): f"HH3{k}" for k in (1, 2, 3)}


def shuffled(pdb: str, keep_hydrogens: bool) -> str:
    """The file with atoms shuffled within residues and caps named as in Amber's own files."""
    rng = random.Random(1)
    residues: dict[str, list[str]] = {}
    for line in pdb.splitlines():
        if line.startswith(("ATOM", "HETATM")) and (keep_hydrogens or line[76:78].strip() != "H"):
            name = OTHER_NAMES.get((line[17:20], line[12:16].strip()))
            line = line if name is None else f"{line[:12]}{name:>4}{line[16:]}"
            residues.setdefault(line[22:26], []).append(line)
    lines = [line for residue in residues.values() for line in rng.sample(residue, len(residue))]
    return "".join(f"ATOM  {n:5}{line[11:]}\n" for n, line in enumerate(lines, 1)) + "TER\nEND\n"


@pytest.mark.parametrize("keep_hydrogens", [True, False])
@pytest.mark.parametrize("name", ["Ace-A-Nme", "KWI"])
def test_a_shuffled_file_is_the_same_molecule(name, keep_hydrogens, tmp_path):
    built = build_molecule(name, "amber14-vacuum", minimise=False)
    path = tmp_path / "shuffled.pdb"
    path.write_text(shuffled(built.pdb, keep_hydrogens))
    read = build_molecule(path, "amber14-vacuum", minimise=False)
    assert read.atoms.fingerprint == built.atoms.fingerprint
    assert ("atoms put in the program's order" in " ".join(read.notes)) or not keep_hydrogens
    heavy = [i for i, element in enumerate(built.atoms.elements) if element != "H"]
    assert (read.start_positions - built.start_positions)[heavy].abs().max() < 1e-3


@pytest.mark.parametrize("letter", sorted(RESIDUES))
def test_built_molecules_are_in_that_order(letter):
    molecule = build_molecule(f"{letter}{letter}", "amber14-vacuum", minimise=False)
    _, _, moved = reorder(molecule.topology, molecule.start_positions.numpy())
    assert not moved
