"""The protonation state of each residue: what its hydrogens say, else its name, else pH 7; never by guesswork.

A file that gives some hydrogens of a group, but not those of the state that it would get, is refused with both charges:
whether a hydrogen is missing or meant to be absent, only its author knows.
"""

from __future__ import annotations

from pathlib import Path

from .pdb_residues import NamedResidue, hydrogen_parents, states
from .residues import Residue

_BACKBONE_N = "N"
_GUANIDINIUM = ("NE", "NH1", "NH2")
_PHOSPHATE = ("O1P", "O2P", "O3P")
_WORDS = {0: "no hydrogen", 1: "1 hydrogen", 2: "2 hydrogens", 3: "3 hydrogens"}


def choose_state(path: Path, residue: NamedResidue, *, in_disulphide: bool, notes: list[str], closed: str = "") -> None:
    """Set ``known`` to the state that the file means.

    Args:
        path: for messages.
        residue: with its hydrogens, which may have no names yet.
        in_disulphide: whether its sulphur is bonded to another.
        notes: what there is to say is added.
        closed: what messages say of how its disulphide could be closed.

    Raises:
        ValueError: its hydrogens are those of no state, or of another one than its name says.
    """
    if residue.known.is_cap:
        return
    _align_equivalent_oxygens(residue)
    if residue.known.amino_acid == "CYS":
        _choose_cysteine(path, residue, in_disulphide=in_disulphide, closed=closed)
        return
    _check_untabled(path, residue, notes)
    choices = states(residue.known)
    if len(choices) < 2:
        return
    sites = _sites(choices)
    seen = _seen(residue, sites)
    fits = [state for state in choices if _counts(state, sites) == seen]
    named = residue.known if residue.is_explicit else choices[0]
    where = " and ".join(sites)
    if not any(seen):
        if residue.known.amino_acid == "HIS" and not residue.is_explicit:
            notes.append(f"no hydrogen on the ring nitrogens of {residue.label}: took {named.variant}")
        elif residue.among_hydrogens and any(_counts(named, sites)) and set(sites) <= residue.heavy.keys():
            notes.append(_completed(residue, where, 0, sum(_counts(named, sites)), named))
        residue.known = named
    elif named in fits:
        residue.known = named
    elif fits and fits[0].charge == named.charge:
        if residue.is_explicit:
            notes.append(f"{residue.label} has the hydrogens of {_spelt(fits[0])}: took {_spelt(fits[0])}")
        residue.known = fits[0]
    elif fits and not residue.is_explicit and sum(seen) > sum(_counts(choices[0], sites)):
        residue.known = fits[0]
    elif fits:
        shown = ", ".join(h.given for h in residue.on(*sites))
        raise ValueError(
            f"{path}: {residue.label} has {_number(sum(seen))} on {where} ({shown}), as {_spelt(fits[0])} has it "
            f"(charge {signed(fits[0].charge)}), and not {_spelt(named)} (charge {signed(named.charge)}); rename the "
            f"residue {_spelt(fits[0])} to keep it so, or remove {shown} to have it built as {_spelt(named)}"
        )
    else:
        shown = ", ".join(h.given for h in residue.on(*sites))
        listed = ", ".join(f"{_spelt(s)} has {sum(_counts(s, sites))} (charge {signed(s.charge)})" for s in choices)
        raise ValueError(
            f"{path}: {residue.label} has {_number(sum(seen))} on {where} ({shown}), but {listed}; name the residue as "
            f"the one that is meant, and remove {shown} to have its hydrogens added"
        )


def _sites(choices: tuple[Residue, ...]) -> list[str]:
    """Heavy atoms whose number of hydrogens tells the states apart; the oxygens of a phosphate count together."""
    heavy = choices[0].heavy
    counts = [[list(_parents(state).values()).count(atom) for state in choices] for atom in heavy]
    return [atom for atom, row in zip(heavy, counts, strict=True) if len(set(row)) > 1]


def _parents(state: Residue) -> dict[str, str]:
    return {name: heavy for name, heavy in hydrogen_parents(state).items() if name in state.hydrogens}


def _counts(state: Residue, sites: list[str]) -> list[int]:
    parents = list(_parents(state).values())
    return [parents.count(site) for site in sites]


def _seen(residue: NamedResidue, sites: list[str]) -> list[int]:
    return [len(residue.on(site)) for site in sites]


def _number(n: int) -> str:
    return _WORDS.get(n, f"{n} hydrogens")


def _completed(residue: NamedResidue, where: str, had: int, has: int, state: Residue) -> str:
    return (
        f"{where} of {residue.label} had {_number(had)}: added {has - had}, the form of charge {signed(state.charge)}"
        f"{_instead(state)}"
    )


def _spelt(state: Residue) -> str:
    """The state's name as a file has it; D forms without a name of their own have that of the L form."""
    return state.name.upper()


def signed(charge: int) -> str:
    """A charge in elementary charges as messages write it."""
    return f"{charge:+d}" if charge else "0"


def _instead(state: Residue) -> str:
    """The charge that the other form would have."""
    others = sorted({other.charge for other in states(state)} - {state.charge})
    return f" (not {' or '.join(map(signed, others))})" if others else ""


def _align_equivalent_oxygens(residue: NamedResidue) -> None:
    """A proton on one of two or three equivalent oxygens is on the one that our table says."""
    for group in (("OD2", "OD1"), ("OE2", "OE1"), _PHOSPHATE):
        if group[0] not in residue.heavy or (
            group is not _PHOSPHATE and residue.known.amino_acid not in ("ASP", "GLU")
        ):
            continue
        holder = group[0]
        for state in states(residue.known):
            holder = next((heavy for heavy in _parents(state).values() if heavy in group), holder)
        others = [atom for atom in group if atom != holder and atom in residue.heavy and residue.on(atom)]
        if len(others) == 1 and not residue.on(holder) and holder in residue.heavy:
            residue.swap(holder, others[0])


def _choose_cysteine(path: Path, residue: NamedResidue, *, in_disulphide: bool, closed: str) -> None:
    of = {state.name.upper(): state for state in states(residue.known)}
    plain, bridged, bare = states(residue.known)[0], of["CYX"], of["CYM"]
    protons = residue.on("SG")
    if in_disulphide:
        residue.known = bridged
    elif residue.known is bridged:
        raise ValueError(
            f"{path}: {residue.label} is named as the cysteine of a disulphide bond, but no other SG without a "
            f"hydrogen "
            f"is within 3 angstrom of its own; for a thiol rename it CYSH (charge 0), for a disulphide give "
            f"positions in "
            f"which the bond is closed{closed}"
        )
    elif residue.known is bare and protons:
        raise ValueError(
            f"{path}: {residue.label} has {protons[0].given} on SG (charge 0), but its name says the thiolate (charge "
            f"-1); rename it CYS, or remove {protons[0].given}"
        )
    elif residue.known is not bare:
        if not protons and residue.hydrogens and not residue.is_explicit and "SG" in residue.heavy:
            raise ValueError(
                f"{path}: SG of {residue.label} has no hydrogen and no bond to another SG, while others of its atoms "
                "have theirs; rename it CYM for the thiolate (charge -1), or CYSH to have the thiol's HG added "
                "(charge 0)"
            )
        residue.known = plain


def _check_untabled(path: Path, residue: NamedResidue, notes: list[str]) -> None:
    """Groups whose other state no force field has: guanidinium and phenol."""
    if not residue.hydrogens:
        return
    if residue.known.amino_acid == "ARG" and set(_GUANIDINIUM) <= residue.heavy.keys():
        seen = len(residue.on(*_GUANIDINIUM))
        if seen == 0:
            notes.append(_completed(residue, ", ".join(_GUANIDINIUM), 0, 5, residue.known))
        elif seen < 5:
            shown = ", ".join(h.given for h in residue.on(*_GUANIDINIUM))
            neutral = " (neutral, charge 0)" if seen == 4 else ""
            raise ValueError(
                f"{path}: {residue.label} has {_number(seen)} on NE, NH1 and NH2{neutral}, but the force fields have "
                f"arginine with 5 alone (charge +1): remove {shown} to have all five added, or, to keep it so, "
                f"give the "
                "molecule as an AMBER prmtop (and inpcrd)"
            )
    if (
        residue.known.amino_acid == "TYR"
        and "OH" in residue.heavy
        and "P" not in residue.heavy
        and not residue.on("OH")
    ):
        raise ValueError(
            f"{path}: OH of {residue.label} has no hydrogen, while others of its atoms have theirs: the force fields "
            "have no deprotonated tyrosine (charge -1); add HH, or remove all hydrogens of the residue to have them "
            "added (charge 0), or, to keep it so, give the molecule as an AMBER prmtop (and inpcrd)"
        )


def terminal_hydrogens(
    path: Path, residue: NamedResidue, *, is_first: bool, is_last: bool, notes: list[str]
) -> dict[str, str]:
    """The hydrogens that the residue has where it stands in the chain, with their heavy atoms.

    Raises:
        ValueError: an end of the chain has another protonation than the force fields have.
    """
    expected = _parents(residue.known)
    if residue.known.is_cap:
        return expected
    on_n = residue.on(_BACKBONE_N)
    if is_first:
        full = ("H2", "H3") if "H" not in expected else ("H", "H2", "H3")
        seen = len(on_n)
        if residue.among_hydrogens and seen < len(full):
            if seen == len(full) - 1:
                shown = ", ".join(h.given for h in on_n)
                raise ValueError(
                    f"{path}: N of {residue.label} has {_number(seen)}, a neutral amine (charge 0); the force fields "
                    f"have the charged end alone (charge +1): remove {shown} to have it built so, or cap the end with "
                    "ACE"
                )
            notes.append(
                f"N of {residue.label} had {_number(seen)}: added {len(full) - seen}, the charged amine (charge +1, "
                "not 0)"
            )
        expected = dict.fromkeys(full, _BACKBONE_N) | {k: v for k, v in expected.items() if k != "H"}
    elif len(on_n) > ("H" in expected):
        shown = ", ".join(h.given for h in on_n)
        raise ValueError(
            f"{path}: N of {residue.label} has {_number(len(on_n))} ({shown}), but it is inside the chain, "
            f"where it has "
            f"{_number(int('H' in expected))}: remove those that do not belong there, or part the chain before it"
        )
    if is_last:
        acid = residue.on("O", "OXT")
        if acid:
            shown = ", ".join(h.given for h in acid)
            raise ValueError(
                f"{path}: {shown} of {residue.label} makes its end a carboxylic acid (charge 0); the force fields have "
                f"the carboxylate alone (charge -1): remove {shown} to have it so, or end the chain with an amide (NH2 "
                "or NME)"
            )
        if "OXT" not in residue.heavy:
            notes.append(
                f"added the terminal OXT of {residue.label}"
                + (": the end is a carboxylate (charge -1, not 0)" if residue.among_hydrogens else "")
            )
    return expected
