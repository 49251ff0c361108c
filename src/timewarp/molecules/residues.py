"""One table of the residues that the program knows: amino acids, their states and D forms, and caps.

Three names are kept apart. ``name`` is the residue's own, and what the sequence notation writes in brackets
(``HIP``, ``SEP``, ``DAL``). ``parent`` is what OpenMM's bond and hydrogen definitions know (``HIS``, ``SEP``, ``ALA``),
so that a residue is built and completed under it. ``label`` is what topologies and written files say (``HIS``,
``SEP``, ``DAL``): the PDB's chemical component, except where a reader could not tell the state from its atoms.

>>> find_residue("HSP").name, find_residue("NH2").name, find_residue("DPN").parent
('HIP', 'NHE', 'PHE')
>>> [residue.name for residue in states_of("HIS")]
['HIE', 'HID', 'HIP']
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache


@dataclass(frozen=True)
class Residue:
    """One residue in one protonation state, as it is inside a chain.

    Attributes:
        name: its key; lower case for D forms that the PDB has no name for (``hip``).
        letter: one-letter code, lower case for D; empty where there is none.
        parent: the L residue or cap whose bonds and template it has, in that parent's standard state.
        amino_acid: the natural L amino acid that it derives from (``SER`` of ``SEP``); empty for caps.
        label: residue name in topologies and PDB files.
        handedness: ``L``, ``D``, or empty for glycine and caps.
        charge: in elementary charges.
        variant: state in the naming of OpenMM's ``Modeller.addHydrogens``, or None for what it does at pH 7 (``CYM`` is
            ``CYX`` there: it has the same hydrogens).
        heavy: heavy atoms in the program's order, without OXT.
        hydrogens: in the order of their heavy atoms.
        aliases: what other programs call it.
        atom_aliases: what other programs call its atoms, with our names.
        full_name: for messages.
    """

    name: str
    letter: str
    parent: str
    amino_acid: str
    label: str
    handedness: str
    charge: int
    variant: str | None
    heavy: tuple[str, ...]
    hydrogens: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    atom_aliases: tuple[tuple[str, str], ...] = ()
    full_name: str = ""

    @property
    def is_cap(self) -> bool:
        """Whether it is no amino acid."""
        return not self.amino_acid

    @property
    def atoms(self) -> tuple[str, ...]:
        """All atoms of the residue inside a chain, heavy ones first."""
        return self.heavy + self.hydrogens


_AMINO_ACIDS = """
A ALA DAL 0 alanine        | N CA C O CB | H HA HB1 HB2 HB3
C CYS DCY 0 cysteine       | N CA C O CB SG | H HA HB2 HB3 HG
D ASP DAS - aspartate      | N CA C O CB CG OD1 OD2 | H HA HB2 HB3
E GLU DGL - glutamate      | N CA C O CB CG CD OE1 OE2 | H HA HB2 HB3 HG2 HG3
F PHE DPN 0 phenylalanine  | N CA C O CB CG CD1 CD2 CE1 CE2 CZ | H HA HB2 HB3 HD1 HD2 HE1 HE2 HZ
G GLY -   0 glycine        | N CA C O | H HA2 HA3
H HIE DHI 0 histidine      | N CA C O CB CG ND1 CD2 CE1 NE2 | H HA HB2 HB3 HD2 HE1 HE2
I ILE DIL 0 isoleucine     | N CA C O CB CG1 CG2 CD1 | H HA HB HG12 HG13 HG21 HG22 HG23 HD11 HD12 HD13
K LYS DLY + lysine         | N CA C O CB CG CD CE NZ | H HA HB2 HB3 HG2 HG3 HD2 HD3 HE2 HE3 HZ1 HZ2 HZ3
L LEU DLE 0 leucine        | N CA C O CB CG CD1 CD2 | H HA HB2 HB3 HG HD11 HD12 HD13 HD21 HD22 HD23
M MET MED 0 methionine     | N CA C O CB CG SD CE | H HA HB2 HB3 HG2 HG3 HE1 HE2 HE3
N ASN DSG 0 asparagine     | N CA C O CB CG OD1 ND2 | H HA HB2 HB3 HD21 HD22
P PRO DPR 0 proline        | N CA C O CB CG CD | HA HB2 HB3 HG2 HG3 HD2 HD3
Q GLN DGN 0 glutamine      | N CA C O CB CG CD OE1 NE2 | H HA HB2 HB3 HG2 HG3 HE21 HE22
R ARG DAR + arginine       | N CA C O CB CG CD NE CZ NH1 NH2 | H HA HB2 HB3 HG2 HG3 HD2 HD3 HE HH11 HH12 HH21 HH22
S SER DSN 0 serine         | N CA C O CB OG | H HA HB2 HB3 HG
T THR DTH 0 threonine      | N CA C O CB OG1 CG2 | H HA HB HG1 HG21 HG22 HG23
V VAL DVA 0 valine         | N CA C O CB CG1 CG2 | H HA HB HG11 HG12 HG13 HG21 HG22 HG23
W TRP DTR 0 tryptophan     | N CA C O CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2 | H HA HB2 HB3 HD1 HE1 HE3 HZ2 HZ3 HH2
Y TYR DTY 0 tyrosine       | N CA C O CB CG CD1 CD2 CE1 CE2 CZ OH | H HA HB2 HB3 HD1 HD2 HE1 HE2 HH
"""
"""Letter, name, the PDB's D form, charge, full name, heavy atoms, hydrogens; all have a state of their own at pH 7."""

_STATES = """
HID HIS 0 +HD1 -HE2   | histidine protonated at ND1
HIP HIS + +HD1        | doubly protonated histidine
ASH ASP 0 +HD2        | protonated aspartic acid
GLH GLU 0 +HE2        | protonated glutamic acid
LYN LYS 0 -HZ3        | neutral lysine
CYX CYS 0 -HG         | cysteine of a disulphide
CYM CYS - -HG         | cysteine thiolate
HYP PRO 0 +OD1 -HG2 -HG3 -HD2 -HD3 +HG +HD22 +HD23 +HD1 | trans-4-hydroxyproline (4R)
SEP SER = +P +O1P +O2P +O3P -HG | phosphoserine, dianion
S1P SER - +P +O1P +O2P +O3P -HG +H1P | phosphoserine, monoanion
TPO THR = +P +O1P +O2P +O3P -HG1 | phosphothreonine, dianion
T1P THR - +P +O1P +O2P +O3P -HG1 +H1P | phosphothreonine, monoanion
PTR TYR = +P +O1P +O2P +O3P -HH | phosphotyrosine, dianion
Y1P TYR - +P +O1P +O2P +O3P -HH +H1P | phosphotyrosine, monoanion
H1D HIS 0 +P +O1P +O2P +O3P +H1P | ND1-phosphohistidine, monoanion of the phosphate
H2D HIS - +P +O1P +O2P +O3P | ND1-phosphohistidine, dianion of the phosphate
H1E HIS 0 +P +O1P +O2P +O3P +H1P +HD1 -HE2 | NE2-phosphohistidine, monoanion of the phosphate
H2E HIS - +P +O1P +O2P +O3P +HD1 -HE2 | NE2-phosphohistidine, dianion of the phosphate
"""
"""Name, amino acid, charge (= is -2), atoms that it has more and less than the amino acid, full name."""

_OWN_STATE = ("HID", "HIP", "ASH", "GLH", "LYN", "CYX", "CYM")
"""States of the bond graph of their amino acid; the others have bonds of their own."""
_OWN_LABEL = ("LYN", "CYM")
"""States that lack a hydrogen of their amino acid, which a reader would add again."""
_CHARGES = {"0": 0, "+": 1, "-": -1, "=": -2}

_ALIASES = {
    "HIE": ("HIS", "HSE", "HISE", "HISB"),
    "HID": ("HSD", "HISD", "HISA"),
    "HIP": ("HSP", "HISP", "HISH"),
    "ASH": ("ASPP", "ASPH"),
    "GLH": ("GLUP", "GLUH"),
    "LYS": ("LYSH", "LYP"),
    "LYN": ("LSN", "LYSN"),
    "CYX": ("CYS2", "CYSX", "CYSS"),
    "CYS": ("CYSH",),
    "NME": ("NMA", "NAC"),
    "NHE": ("NH2",),
}

_ATOM_ALIASES = {
    "HYP": (("OD", "OD1"), ("HO", "HD1"), ("HD2", "HD22"), ("HD3", "HD23")),
    "Y1P": (("OG", "OH"), ("HOP1", "H1P"), ("HOP2", "H1P"), ("HOP3", "H1P")),
    "S1P": (("HOP1", "H1P"), ("HOP2", "H1P"), ("HOP3", "H1P")),
    "T1P": (("HOP1", "H1P"), ("HOP2", "H1P"), ("HOP3", "H1P")),
    "ACE": (
        *(("CA", "CH3"), ("CAY", "CH3"), ("CY", "C"), ("OY", "O"), ("HH31", "H1"), ("HH32", "H2"), ("HH33", "H3")),
        *(("HY1", "H1"), ("HY2", "H2"), ("HY3", "H3")),
    ),
    "NME": (
        *(("CH3", "C"), ("CA", "C"), ("CAT", "C"), ("NT", "N"), ("HN", "H"), ("HNT", "H")),
        *(("HH31", "H1"), ("HH32", "H2"), ("HH33", "H3"), ("HT1", "H1"), ("HT2", "H2"), ("HT3", "H3")),
    ),
    "NHE": (("NT", "N"), ("H1", "HN1"), ("H2", "HN2"), ("HT1", "HN1"), ("HT2", "HN2")),
}

LACKING: dict[str, str] = {
    "AIB": "2-aminoisobutyric acid (Aib)",
    "ORN": "ornithine",
    "NLE": "norleucine",
    "DAB": "2,4-diaminobutyric acid",
    "DPP": "2,3-diaminopropionic acid",
    "CIR": "citrulline",
    "SAR": "sarcosine (N-methylglycine)",
    "MAA": "N-methylalanine",
    "MVA": "N-methylvaline",
    "MLE": "N-methylleucine",
    "MEA": "N-methylphenylalanine",
    "BAL": "beta-alanine",
    "ABA": "2-aminobutyric acid",
    "PCA": "pyroglutamic acid",
    "MSE": "selenomethionine",
    "SEC": "selenocysteine",
    "PYL": "pyrrolysine",
    "TYS": "sulfotyrosine",
    "ALY": "N-acetyllysine",
    "MLZ": "N-methyllysine",
    "MLY": "N-dimethyllysine",
    "M3L": "N-trimethyllysine",
    "FOR": "the formyl cap",
}
"""Residues of peptides for which the presets have no parameters, by the PDB's name: they are refused by name."""


def _table() -> dict[str, Residue]:
    table: dict[str, Residue] = {}
    for line in _AMINO_ACIDS.strip().splitlines():
        head, heavy, hydrogens = (part.split() for part in line.split("|"))
        letter, name, d_name, charge, full_name = head
        parent = "HIS" if name == "HIE" else name
        residue = Residue(
            name=name,
            letter=letter,
            parent=parent,
            amino_acid=parent,
            label=parent,
            handedness="" if name == "GLY" else "L",
            charge=_CHARGES[charge],
            variant="HIE" if name == "HIE" else None,
            heavy=tuple(heavy),
            hydrogens=tuple(hydrogens),
            full_name=full_name,
        )
        table[name] = residue
        if d_name != "-":
            table[d_name] = _mirrored(residue, d_name, letter.lower(), d_name)
    natural = {residue.amino_acid: residue for residue in table.values() if residue.handedness != "D"}
    for line in _STATES.strip().splitlines():
        code, _, title = line.partition("|")
        name, amino_acid, charge, *changes = code.split()
        gained = [change[1:] for change in changes if change[0] == "+"]
        kept = {change[1:] for change in changes if change[0] == "-"}
        whole = natural[amino_acid]
        residue = Residue(
            name=name,
            letter="",
            parent=amino_acid if name in _OWN_STATE else name,
            amino_acid=amino_acid,
            label=amino_acid if name in _OWN_STATE and name not in _OWN_LABEL else name,
            handedness="L",
            charge=_CHARGES[charge],
            variant={"CYM": "CYX"}.get(name, name) if name in _OWN_STATE else None,
            heavy=whole.heavy + tuple(atom for atom in gained if atom[0] != "H"),
            hydrogens=_in_order([atom for atom in whole.hydrogens if atom not in kept], gained),
            full_name=title.strip(),
        )
        table[name] = residue
        d_label = {r.amino_acid: r.label for r in table.values() if r.handedness == "D" and r.letter}[amino_acid]
        has_label = name in _OWN_STATE and name not in _OWN_LABEL
        table[name.lower()] = _mirrored(residue, name.lower(), "", d_label if has_label else name)
    caps = {
        "ACE": (("CH3", "C", "O"), ("H1", "H2", "H3"), "acetyl cap"),
        "NME": (("N", "C"), ("H", "H1", "H2", "H3"), "N-methylamide cap"),
        "NHE": (("N",), ("HN1", "HN2"), "amide cap"),
    }
    for name, (heavy_atoms, hydrogen_atoms, full_name) in caps.items():
        label = "NH2" if name == "NHE" else name
        table[name] = Residue(name, "", label, "", label, "", 0, None, heavy_atoms, hydrogen_atoms, full_name=full_name)
    for name, aliases in _ALIASES.items():
        table[name] = replace(table[name], aliases=aliases)
    for name, atom_aliases in _ATOM_ALIASES.items():
        table[name] = replace(table[name], atom_aliases=atom_aliases)
    return table


def _mirrored(residue: Residue, name: str, letter: str, label: str) -> Residue:
    full_name = f"D-{residue.full_name}"
    return replace(residue, name=name, letter=letter, label=label, handedness="D", full_name=full_name)


def _in_order(kept: list[str], gained: list[str]) -> tuple[str, ...]:
    """Hydrogens from the backbone outwards; that of a phosphate last."""
    order = "ABGDEZHP"

    def rank(name: str) -> tuple[int, str]:
        return (-1 if name == "H" else order.index(name.lstrip("H1")[:1] or "H"), name)

    return tuple(sorted(kept + [atom for atom in gained if atom[0] == "H"], key=rank))


RESIDUES: dict[str, Residue] = _table()
"""Every residue by its name."""

LETTERS: dict[str, Residue] = {residue.letter: residue for residue in RESIDUES.values() if residue.letter}
"""Amino acids by one-letter code: capital L, lower case D."""


@cache
def find_residue(name: str) -> Residue | None:
    """The residue of this name in our or another program's naming, or None.

    AMBER's names of terminal residues (``NILE``, ``CLEU``) are their residues'. ``HIS`` says no tautomer: it is HIE,
    and a reader that sees hydrogens decides among :func:`states_of` ``("HIS")``.
    """
    if name in RESIDUES:
        return RESIDUES[name]
    for residue in RESIDUES.values():
        if name.upper() == residue.name or name.upper() in residue.aliases:
            return residue
    if len(name) == 4 and name[0] in "NC":
        return find_residue(name[1:])
    return None


def states_of(label: str) -> tuple[Residue, ...]:
    """Residues that share a label (``HIS``, ``DAS``), that of pH 7 first; their atoms tell which one it is."""
    return tuple(residue for residue in RESIDUES.values() if residue.label == label and residue.handedness != "D") or (
        tuple(residue for residue in RESIDUES.values() if residue.label == label)
    )
