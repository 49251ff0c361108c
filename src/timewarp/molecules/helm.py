"""HELM, the notation of cheminformatics for peptides, into the program's own."""

from __future__ import annotations

import re

_ENDS_FRONT, _ENDS_BACK = {"ac": "Ace"}, {"am": "NH2", "nme": "Nme"}
_MONOMERS = {"Ser_PO3H2": "[SEP]", "Thr_PO3H2": "[TPO]", "Tyr_PO3H2": "[PTR]", "Hyp": "[HYP]"}
_FORM = "expected one peptide such as PEPTIDE1{A.[dV].K}$$$$"


def is_helm(text: str) -> bool:
    """Whether a text looks like HELM."""
    return "{" in text or "$" in text


def read_helm(text: str) -> str:
    """The program's notation of a HELM string of one peptide.

    Letters, ``[dX]`` (D), ``[ac]`` in front, ``[am]`` behind and residues by the names of the program's table are
    read; connections are disulphides (``2:R3-7:R3``) and head to tail (``8:R2-1:R1``).

    Raises:
        ValueError: it is not HELM of one peptide of known monomers and connections.

    >>> read_helm("PEPTIDE1{[ac].A.[dV].K.[am]}$$$$"), read_helm("PEPTIDE1{G.R.G}$PEPTIDE1,PEPTIDE1,3:R2-1:R1$$$V2.0")
    ('Ace-AvK-NH2', 'cyclo(GRG)')
    """
    shown = text if len(text) <= 60 else text[:57] + "..."
    sections = text.split("$")
    polymer = re.fullmatch(r"(PEPTIDE\d+)\{([^{}]*)\}(\"[^\"]*\")?", sections[0].strip())
    if polymer is None or len(sections) != 5:
        raise ValueError(f"{shown!r} cannot be read as HELM; {_FORM}, with its four $")
    if sections[2].strip():
        raise ValueError(f"{shown!r} has polymer groups ({sections[2]}); {_FORM}")
    monomers = re.findall(r"\[[^\[\]]*\]|[^.]+", polymer[2])
    front, back, offset = "", "", 0
    if monomers and (name := monomers[0].strip("[]")) in _ENDS_FRONT:
        front, offset, monomers = _ENDS_FRONT[name], 1, monomers[1:]
    if monomers and (name := monomers[-1].strip("[]")) in _ENDS_BACK:
        back, monomers = _ENDS_BACK[name], monomers[:-1]
    inner = "".join(_monomer(monomer) for monomer in monomers)
    cyclic, bridges = False, []
    for connection in (part.strip() for part in sections[1].split("|") if part.strip()):
        match = re.fullmatch(rf"{polymer[1]},{polymer[1]},(\d+):(R\d)-(\d+):(R\d)(\"[^\"]*\")?", connection)
        ends = {} if match is None else {match[2]: int(match[1]) - offset, match[4]: int(match[3]) - offset}
        if match is not None and match[2] == match[4] == "R3":
            bridges.append(f"{int(match[1]) - offset}-{int(match[3]) - offset}")
        elif ends == {"R1": 1, "R2": len(monomers)} and not (front or back):
            cyclic = True
        else:
            raise ValueError(
                f"the connection {connection!r} in {shown!r}: disulphides (R3-R3) and rings from the last residue to "
                "the first (R2-R1) are read; give another molecule as a PDB file or a prmtop"
            )
    body = f"cyclo({inner})" if cyclic else "-".join(part for part in (front, inner, back) if part)
    return body + (":" if bridges else "") + ",".join(bridges)


def _monomer(text: str) -> str:
    """One monomer in the program's notation; what is unknown stays as it is, and is refused with the sequence."""
    name = text.strip("[]")
    if len(name) == 1:
        return name
    if re.fullmatch(r"d[A-Z]", name):
        return name[1].lower() if name != "dG" else "g"
    return _MONOMERS.get(name, f"[{name}]")
