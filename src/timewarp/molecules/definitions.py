"""Teach OpenMM the bonds and hydrogens of residues that it has none of, for this process.

OpenMM's own definitions (``residues.xml``, ``hydrogens.xml``) stay as they are; ours are those of the amino acid from
which a residue derives, with the atoms that it has more or less.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import openmm.app
from openmm.app import Modeller, Topology

from .residues import RESIDUES, Residue

_PHOSPHATE = (("P", "O1P"), ("P", "O2P"), ("P", "O3P"), ("O1P", "H1P"))
_EXTRA_BONDS: dict[str, tuple[tuple[str, str], ...]] = {
    "HYP": (("CG", "OD1"), ("OD1", "HD1"), ("CG", "HG"), ("CD", "HD22"), ("CD", "HD23")),
    **dict.fromkeys(("SEP", "S1P"), (("OG", "P"), *_PHOSPHATE)),
    **dict.fromkeys(("TPO", "T1P"), (("OG1", "P"), *_PHOSPHATE)),
    **dict.fromkeys(("PTR", "Y1P"), (("OH", "P"), *_PHOSPHATE)),
    **dict.fromkeys(("H1D", "H2D"), (("ND1", "P"), *_PHOSPHATE)),
    **dict.fromkeys(("H1E", "H2E"), (("NE2", "P"), *_PHOSPHATE)),
}
_TERMINAL = ("H", "H2", "H3", "OXT", "HXT")


def residue_bonds(residue: Residue) -> tuple[tuple[str, str], ...]:
    """Pairs of atom names of a residue with an own template; ``-C`` is the carbonyl of the residue before."""
    known = {*residue.atoms, *_TERMINAL, "-C"}
    definition = _definition("residues.xml", residue.amino_acid)
    pairs = [(bond.attrib["from"], bond.attrib["to"]) for bond in definition.findall("Bond")]
    pairs += _EXTRA_BONDS[residue.name]
    return tuple((one, other) for one, other in pairs if one in known and other in known)


def _definition(file: str, name: str) -> ElementTree.Element:
    root = ElementTree.parse(Path(openmm.app.__file__).parent / "data" / file).getroot()
    return next(element for element in root.findall("Residue") if element.attrib["name"] == name)


@cache
def register_residues() -> None:
    """Tell OpenMM's ``Topology.createStandardBonds`` and ``Modeller.addHydrogens`` of them, once."""
    bonds, hydrogens = ElementTree.Element("Residues"), ElementTree.Element("Residues")
    for name in _EXTRA_BONDS:
        residue = RESIDUES[name]
        of_bonds = ElementTree.SubElement(bonds, "Residue", name=name)
        of_hydrogens = ElementTree.SubElement(hydrogens, "Residue", name=name)
        pairs = residue_bonds(residue)
        for one, other in pairs:
            ElementTree.SubElement(of_bonds, "Bond", {"from": one, "to": other})
        terminal = ("H2", "H3")
        for hydrogen in (*residue.hydrogens, *terminal):
            parent = next(a if b == hydrogen else b for a, b in pairs if hydrogen in (a, b))
            place = {"terminal": "N"} if hydrogen in terminal else {}
            ElementTree.SubElement(of_hydrogens, "H", {"name": hydrogen, "parent": parent, **place})
    Topology.loadBondDefinitions(io.BytesIO(ElementTree.tostring(bonds)))
    Modeller.loadHydrogenDefinitions(io.BytesIO(ElementTree.tostring(hydrogens)))
