"""Dialects that differ in the names of atoms and residues."""

from __future__ import annotations

from dataclasses import replace

from dialects import (
    Dialect,
    Row,
    amide,
    ammonium,
    anonymous,
    bare_h,
    carboxylate,
    deuterated,
    digit_first,
    digit_last,
    each,
    hydroxyl_1,
    isoleucine_cd,
    named,
    plain,
    residues,
    terminal_names,
)

LONG = "AIHKDERCSTNQFYWMVPLG"
SHORT = "IHKDL"
CAPPED = "Ace-AVK-Nme"
HAND = "no hydrogen on the ring nitrogens of HIS 2: took HIE"


def charmm_patches(rows: list[Row]) -> list[Row]:
    """ACE and CT3 as CHARMM's patches write them: atoms of the residues that they cap."""
    names = {"CH3": "CAY", "C": "CY", "O": "OY"}
    first = next(row for row in rows if row.residue not in ("ACE", "NME"))
    last = [row for row in rows if row.residue not in ("ACE", "NME")][-1]
    out = []
    for row in rows:
        if row.residue == "ACE":
            name = f"HY{row.rank}" if row.is_h else names[row.name]
            row = replace(row, name=name, residue=first.residue, number=first.number)
        elif row.residue == "NME":
            on_carbon = f"HT{row.rank}" if row.parent == "C" else "HNT"
            name = on_carbon if row.is_h else {"N": "NT", "C": "CAT"}[row.name]
            row = replace(row, name=name, residue=last.residue, number=last.number)
        out.append(row)
    return out


def charmm_amide(rows: list[Row]) -> list[Row]:
    last = [row for row in rows if row.residue != "NH2"][-1]
    return [
        replace(row, name=f"HT{row.rank}" if row.is_h else "NT", residue=last.residue, number=last.number)
        if row.residue == "NH2"
        else row
        for row in rows
    ]


def polar_only(rows: list[Row]) -> list[Row]:
    """United atoms: no hydrogens on carbon."""
    return [row for row in rows if not (row.is_h and row.parent.startswith("C"))]


def heavy_only(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.is_h]


def pseudo_atoms(rows: list[Row]) -> list[Row]:
    """CYANA's QB: the mean of two or three hydrogens, listed beside them."""
    out = list(rows)
    for row in rows:
        if row.is_h and row.siblings > 1 and row.rank == 1 and row.parent == "CB":
            x, y, z = row.xyz
            out.insert(out.index(row) + 1, replace(row, serial=9000, name="QB", xyz=(x + 0.2, y, z), element=""))
    return out


def swapped_acid(rows: list[Row]) -> list[Row]:
    """The proton of an acid on OD1 in place of OD2."""
    names = {"OD1": "OD2", "OD2": "OD1", "HD2": "HD1"}
    return [replace(row, name=names.get(row.name, row.name)) if row.residue == "ASP" else row for row in rows]


def phosphate_oxygen(row: Row) -> str:
    return {"O1P": "OP1", "O2P": "OP2", "O3P": "OP3"}.get(row.name, row.name)


def proton_on_o2p(row: Row) -> str:
    return {"O1P": "O2P", "O2P": "O1P", "H1P": "HOP2"}.get(row.name, row.name)


hn, ht = amide("HN"), ammonium("HT")
xplor = named(digit_last, hn, ht, carboxylate("OT1", "OT2"))
charmm = named(digit_last, hn, ht, isoleucine_cd, hydroxyl_1, carboxylate("OT1", "OT2"))

NAMES = (
    Dialect("PDB 3.3 (wwPDB, IUPAC)", LONG, plain()),
    Dialect("PDB 2.3: 1HB, 2HB, 1HG1", LONG, plain(named(digit_first, ammonium("H", digit="first")))),
    Dialect("X-PLOR and CNS: HB1, HB2, HN, HT1, OT1, OT2", LONG, plain(xplor)),
    Dialect(
        "CHARMM and NAMD: HSE, CD and HD1 of ILE, HG1 of SER, segments",
        LONG,
        plain(charmm, residues(HIS="HSE"), each(chain="", segment="PROA")),
    ),
    Dialect("CHARMM's HSD", "A[HID]G", plain(charmm, residues(HIS="HSD"))),
    Dialect("CHARMM's HSP", "A[HIP]G", plain(charmm, residues(HIS="HSP"))),
    Dialect("CHARMM's ASPP and GLUP", "A[ASH][GLH]G", plain(charmm, residues(ASP="ASPP", GLU="GLUP"))),
    Dialect("CHARMM's LSN", "A[LYN]G", plain(charmm, residues(LYN="LSN"))),
    Dialect("CHARMM's patches ACE and CT3 within residues", CAPPED, plain(named(digit_last, hn), charmm_patches)),
    Dialect("CHARMM's patches about one residue", "Ace-A-Nme", plain(named(digit_last, hn), charmm_patches)),
    Dialect("CHARMM's patch CT2 (amide)", "AK-NH2", plain(named(digit_last, hn, ht), charmm_amide)),
    Dialect(
        "GROMACS pdb2gmx: H1, OC1, OC2, CD of ILE",
        LONG,
        plain(named(digit_last, ammonium("H"), isoleucine_cd, carboxylate("OC1", "OC2"))),
    ),
    Dialect("GROMACS: O1 and O2", SHORT, plain(named(digit_last, ammonium("H"), carboxylate("O1", "O2")))),
    Dialect(
        "GROMOS: HISB, LYSH, O1, O2, no elements",
        SHORT,
        plain(
            named(digit_last, ammonium("H"), isoleucine_cd, carboxylate("O1", "O2")),
            residues(HIS="HISB", LYS="LYSH"),
            element=False,
        ),
    ),
    Dialect("GROMOS's HISA", "A[HID]G", plain(residues(HIS="HISA"))),
    Dialect("GROMOS's HISH", "A[HIP]G", plain(residues(HIS="HISH"))),
    Dialect("GROMOS's united atoms: polar hydrogens alone", SHORT, plain(polar_only), notes="added", rebuilds=True),
    Dialect("GROMOS's CYSH", "ACG", plain(residues(CYS="CYSH"))),
    Dialect("OPLS: HISE, ASPH, GLUH", "A[HIE][ASH][GLH]G", plain(residues(HIS="HISE", ASP="ASPH", GLU="GLUH"))),
    Dialect("OPLS: HISD", "A[HID]G", plain(residues(HIS="HISD"))),
    Dialect(
        "AMBER: NILE, HIE, CLEU, H1",
        SHORT,
        plain(named(ammonium("H")), residues(HIS="HIE"), each(residue=terminal_names)),
    ),
    Dialect(
        "AMBER: HID, HIP, ASH, GLH, LYN",
        "A[HID][HIP][ASH][GLH][LYN]G",
        plain(
            each(residue=lambda row: {2: "HID", 3: "HIP", 4: "ASH", 5: "GLH", 6: "LYN"}.get(row.number, row.residue)),
            each(name=lambda row: {"HZ1": "HZ2", "HZ2": "HZ3"}.get(row.name, row.name)),
        ),
    ),
    Dialect("AMBER: CYM", "A[CYM]G", plain()),
    Dialect(
        "AMBER: HH31 and CH3 of the caps",
        CAPPED,
        plain(
            each(
                name=lambda row: (
                    f"HH3{row.rank}"
                    if row.parent in ("CH3", "C") and row.residue in ("ACE", "NME")
                    else "CH3"
                    if (row.residue, row.name) == ("NME", "C")
                    else row.name
                )
            )
        ),
    ),
    Dialect(
        "the cap NMA: HN, CA, 1HA",
        CAPPED,
        plain(
            each(
                name=lambda row: (
                    f"{row.rank}HA"
                    if (row.residue, row.parent) == ("NME", "C")
                    else {"C": "CA", "H": "HN"}.get(row.name, row.name)
                    if row.residue == "NME"
                    else row.name
                )
            ),
            residues(NME="NMA"),
        ),
    ),
    Dialect("the cap NAC", CAPPED, plain(residues(NME="NAC"))),
    Dialect("the amide NH2 (wwPDB)", "AK-NH2", plain()),
    Dialect("the amide NHE (AMBER)", "AK-NH2", plain(residues(NH2="NHE"))),
    Dialect(
        "the amide's hydrogens H1 and H2",
        "AK-NH2",
        plain(each(name=lambda row: f"H{row.rank}" if row.residue == "NH2" and row.is_h else row.name)),
    ),
    Dialect(
        "Maestro: charges behind elements, HIE, NMA",
        CAPPED,
        plain(named(ammonium("H")), residues(NME="NMA"), each(charge=lambda row: "1+" if row.name == "NZ" else "")),
    ),
    Dialect(
        "Rosetta: 1HB, energies behind the atoms",
        SHORT,
        plain(
            named(digit_first, ammonium("H", digit="first")),
            end="TER\n# All scores below are weighted scores, not raw scores.\n#BEGIN_POSE_ENERGIES_TABLE x.pdb\n"
            "label fa_atr fa_rep total\nALA:NtermProteinFull_1 -1.2 0.3 -0.9\n#END_POSE_ENERGIES_TABLE x.pdb\n",
        ),
    ),
    Dialect("PyMOL: H01, H02 for added hydrogens", LONG, plain(each(name=anonymous))),
    Dialect("Open Babel: every hydrogen is H", SHORT, plain(each(name=bare_h))),
    Dialect("Insight: LYS+, ASP-", "AKDG", plain(residues(LYS="LYS+", ASP="ASP-"))),
    Dialect("HyperChem: names to the left, 1HB", SHORT, plain(named(digit_first), align="left")),
    Dialect(
        "CYANA: pseudo-atoms QB",
        SHORT,
        plain(pseudo_atoms),
        notes="left out QB of HIS 2, QB of LYS 3, QB of ASP 4, QB of LEU 5, which stand for no atom",
    ),
    Dialect("hydrogens of the amine HN1, HN2, HN3", SHORT, plain(named(ammonium("HN")))),
    Dialect("hydrogens of the amine H1, H2, H3", SHORT, plain(named(ammonium("H")))),
    Dialect("ends OCT1 and OCT2", SHORT, plain(named(carboxylate("OCT1", "OCT2")))),
    Dialect("ends O and OT", SHORT, plain(named(carboxylate("O", "OT")))),
    Dialect("ends O' and O''", SHORT, plain(named(carboxylate("O'", "O''")))),
    Dialect(
        "deuterium: D, DB2, element D",
        SHORT,
        plain(named(deuterated), each(element=lambda r: "D" if r.is_h else r.element)),
        notes="read deuterium as hydrogen",
    ),
    Dialect("an acid's proton on OD1", "A[ASH]G", plain(swapped_acid)),
    Dialect("D residues by name: DAL, DVA, DLY", "avkG", plain()),
    Dialect("D residues by name: DALA", "aVG", plain(residues(DAL="DALA"))),
    Dialect("hydroxyproline HYP", "A[HYP]G", plain()),
    Dialect("phosphoserine SEP: OP1 or O1P", "A[SEP]G", plain(each(name=phosphate_oxygen))),
    Dialect("phosphothreonine TPO and phosphotyrosine PTR", "A[TPO][PTR]G", plain()),
    Dialect("SEP with a proton, on O2P", "A[S1P]G", plain(residues(S1P="SEP"), each(name=proton_on_o2p))),
    Dialect("a disulphide by distance: CYX", "ACGGCA:2-5", plain(residues(CYS="CYX"))),
    Dialect("a disulphide by distance: CYS2 of GROMOS", "ACGGCA:2-5", plain(residues(CYS="CYS2"))),
    Dialect("a disulphide by distance: CYD of Rosetta", "ACGGCA:2-5", plain(residues(CYS="CYD"))),
    Dialect("no hydrogens", "IKDL", plain(heavy_only), notes="added 41 hydrogens", rebuilds=True),
    Dialect(
        "no hydrogens, the tautomer by name",
        "A[HID]G",
        plain(heavy_only, residues(HIS="HID")),
        notes="added",
        rebuilds=True,
    ),
    Dialect("no hydrogens, HIS", SHORT, plain(heavy_only), notes=f"{HAND}|added 48 hydrogens", rebuilds=True),
)
