"""Rings that turn, their windows, and what a concerted rotation leaves as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from timewarp.geometry import angles, dihedrals, neighbours, wrap
from timewarp.geometry.concerted import (
    all_closures,
    close_loops,
    find_present,
    present_closure,
    scramble,
    turn_loops,
    turn_plainly,
)
from timewarp.geometry.loops import Opened, Tables, present_angles
from timewarp.geometry.rings import find_path, find_rings, windows
from timewarp.molecules import build_molecule
from timewarp.native import available
from timewarp.restriction import Restriction

RING = Path(__file__).parents[1] / "structures" / "disulphide_ring.pdb"


@pytest.fixture(scope="module")
def molecule():
    return build_molecule(RING, minimise=False)


@pytest.fixture(scope="module")
def atoms(molecule):
    return molecule.atoms


@pytest.fixture(scope="module", params=["ring", "chain"])
def loop_case(request, molecule):
    """Shaken configurations of a ring and of a chain, with a window each."""
    molecule = molecule if request.param == "ring" else build_molecule("Ace-AKG-Nme", minimise=False)
    atoms = molecule.atoms
    loops = list(atoms.rings) or [find_path(atoms.elements, atoms.bonds)]
    generator = torch.Generator().manual_seed(7)
    n = 300
    noise = torch.randn(n, atoms.n_atoms, 3, generator=generator, dtype=torch.float64)
    x = molecule.start_positions.double() + 0.004 * noise
    tables = Tables.of(loops, atoms.n_atoms, atoms.bonds)
    which = torch.randint(len(tables), (n,), generator=generator)
    angle = math.pi * (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1)
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    return atoms, loops, x, tables[which], angle, uniform


FREE = torch.full((300,), torch.inf, dtype=torch.float64)


def test_a_disulphide_ring_turns_about_all_but_its_peptide_bonds(atoms):
    (ring,) = atoms.rings
    names = {(atoms.names[a], atoms.names[b]) for a, b in ring.bonds} | {
        (atoms.names[b], atoms.names[a]) for a, b in ring.bonds
    }
    assert len(ring.bonds) == 11
    assert {("N", "CA"), ("CA", "C"), ("CA", "CB"), ("CB", "SG"), ("SG", "SG")} <= names
    assert ("C", "N") not in names
    assert sorted(atoms.names[ring.atoms[k]] for k in ring.corners) == [*["CA"] * 4, "CB", "CB", "SG", "SG"]


@pytest.mark.parametrize("sequence", ["AG", "Ace-P-Nme", "Ace-FWH-Nme"])
def test_prolines_and_aromatic_rings_do_not_turn(sequence):
    assert build_molecule(sequence, minimise=False).atoms.rings == ()


def cyclic(sequence):
    """A chain whose ends are joined through their carbons: the bonds of a macrocycle."""
    atoms = build_molecule(sequence, minimise=False).atoms
    cap = max(i for i, name in enumerate(atoms.residue_names) if name == "NME" and atoms.names[i] == "C")
    return replace(atoms, bonds=(*atoms.bonds, (atoms.names.index("CH3"), cap)))


def test_a_proline_is_a_rigid_part_of_a_macrocycle():
    closed = cyclic("Ace-GPGGG-Nme")
    (ring,) = closed.rings
    proline = {i for i, name in enumerate(closed.residue_names) if name == "PRO"}
    turning = [{closed.names[a], closed.names[b]} for a, b in ring.bonds if {a, b} <= proline]
    assert turning == [{"CA", "C"}]
    tables = Tables.of([ring], closed.n_atoms, closed.bonds)
    inside = tables.part[:, sorted(i for i in proline if closed.names[i] in ("N", "CD", "CG", "CB", "HA"))]
    assert (inside == inside[:, :1]).all()


def test_bonds_of_two_fused_rings_turn_within_their_own_path():
    """Two macrocycles that share a path: three paths between two atoms, of which no bond turns against another's."""
    n = 30
    bonds = [(i, (i + 1) % n) for i in range(n)] + [(0, 15)]
    rings = find_rings(["S"] * n, bonds)
    assert sorted(len(ring.bonds) for ring in rings) == [15, 15]
    assert {frozenset(b) for r in rings for b in r.bonds} == {frozenset(b) for b in bonds[:-1]}
    tables = Tables.of(rings, n, bonds)
    assert (tables.part >= 0).all()


def test_small_rings_and_short_chains_have_no_window():
    six = find_rings(["S"] * 6, [(i, (i + 1) % 6) for i in range(6)])
    assert six == []
    assert find_rings(["S"] * 7, [(i, (i + 1) % 7) for i in range(7)]) != []
    chain = build_molecule("Ace-A-Nme", minimise=False).atoms
    assert find_path(chain.elements, chain.bonds) is None


def test_windows_share_no_bond(atoms):
    (ring,) = atoms.rings
    n, found = len(ring.atoms), windows(ring)
    for window in found:
        six = [k % n for c in window.corners for k in (c - 1, c)]
        assert len(set(six)) == 6
        assert window.driver not in six
        assert ring.turns[window.driver]
        assert window.driven != window.fixed
    assert len(set(found)) == len(found) > 50
    assert {window.driver for window in found} == {k for k in range(n) if ring.turns[k]}, "every bond drives"


def stiff(atoms, loops):
    """Atoms of all bond angles, and of all dihedrals about bonds that do not turn."""
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    turning = {frozenset(bond) for loop in loops for bond in loop.bonds}
    triples = [(i, j, k) for j in range(atoms.n_atoms) for i in adjacent[j] for k in adjacent[j] if i < k]
    about = [(i, j, k, m) for j, k in atoms.bonds for i in adjacent[j] for m in adjacent[k] if i != k and m != j]
    still = [row for row in about if frozenset(row[1:3]) not in turning]
    moving = {frozenset(row[1:3]): row for row in about if frozenset(row[1:3]) in turning}
    return torch.tensor(triples), torch.tensor(still), torch.tensor(list(moving.values()))


def test_seven_torsions_turn_and_nothing_else_changes(loop_case):
    atoms, loops, x, tables, angle, uniform = loop_case
    turned = turn_loops(x, tables, angle, FREE, uniform)
    assert 40 < int(turned.possible.sum()) < 290
    assert torch.equal(turned.positions[~turned.possible], x[~turned.possible])
    before, after = x[turned.possible], turned.positions[turned.possible]
    pairs = torch.tensor(atoms.bonds)
    triples, still, moving = stiff(atoms, loops)

    def lengths(y):
        return (y[:, pairs[:, 0]] - y[:, pairs[:, 1]]).norm(dim=-1)

    torch.testing.assert_close(lengths(after), lengths(before), atol=1e-9, rtol=0)
    torch.testing.assert_close(angles(after, triples), angles(before, triples), atol=1e-9, rtol=0)
    assert float(wrap(dihedrals(after, still) - dihedrals(before, still)).abs().max()) < 1e-9
    changed = wrap(dihedrals(after, moving) - dihedrals(before, moving)).abs() > 1e-7
    assert (changed.sum(1) == 7).all()
    assert not Restriction(x[0], atoms).crossed(after).any()
    kept = turned.possible.nonzero()[:, 0]
    for row in kept[:20].tolist():
        fixed = tables.part[row] == tables.fixed[row]
        assert torch.equal(turned.positions[row, fixed], x[row, fixed])
    turn = tables.dihedral(turned.positions)[kept] - tables.dihedral(x)[kept] - angle[kept]
    assert float(wrap(turn).abs().max()) < 1e-9


def test_every_turn_has_its_way_back(loop_case):
    """From the new configuration the opposite turn has the old one among its closures, with the terms exchanged."""
    _, _, x, tables, angle, uniform = loop_case
    for width, numbers in ((FREE, 25), (torch.full_like(FREE, 0.6), 12)):
        there = turn_loops(x, tables, angle, width, uniform)
        found = torch.zeros_like(there.possible)
        for number in torch.linspace(0.01, 0.99, numbers, dtype=torch.float64):
            back = turn_loops(there.positions, tables, -angle, width, torch.full_like(uniform, float(number)))
            home = there.possible & back.possible & ((back.positions - x).abs().amax((1, 2)) < 1e-7)
            for one, other in (("forward", "backward"), ("backward", "forward")):
                torch.testing.assert_close(getattr(back, one)[home], getattr(there, other)[home], atol=1e-6, rtol=0)
            torch.testing.assert_close(back.log_volume[home], -there.log_volume[home], atol=1e-6, rtol=0)
            found |= home
        likely = there.possible & (there.backward > math.log(0.13))
        assert found[likely].double().mean() > 0.99


@pytest.mark.skipif(not available(), reason="the compiled kernels are missing")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_and_plain_agree(loop_case, dtype, monkeypatch):
    _, _, x, tables, angle, uniform = loop_case
    for width in (FREE, torch.full_like(FREE, 0.4)):
        one, other = (f(x.to(dtype), tables, angle, width, uniform) for f in (turn_loops, turn_plainly))
        assert torch.equal(one.possible, other.possible)
        torch.testing.assert_close(
            one.positions, other.positions, atol=1e-6 if dtype == torch.float32 else 1e-10, rtol=0
        )
        for name in ("forward", "backward", "log_volume"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-7, rtol=0)
    closures = all_closures(x, tables, angle)
    rows = closures.valid[:, 0].nonzero()[:, 0]
    arguments = (x[rows].to(dtype), tables[rows], angle[rows], closures.tau[rows, 0])
    compiled = close_loops(*arguments)
    monkeypatch.setattr("timewarp.native.available", lambda: False)
    torch.testing.assert_close(
        compiled, close_loops(*arguments), atol=1e-6 if dtype == torch.float32 else 1e-10, rtol=0
    )


def test_without_a_turn_a_loop_finds_itself_and_stays(loop_case):
    _, _, x, tables, angle, _ = loop_case
    still = torch.zeros_like(angle)
    closures = all_closures(x, tables, still)
    here, known = present_closure(x, tables, closures)
    assert known.all()
    chain = torch.arange(len(x))
    torch.testing.assert_close(close_loops(x, tables, still, closures.tau[chain, here]), x, atol=1e-8, rtol=0)
    opened = Opened.by(x, tables, still)
    assert not find_present(closures, present_angles(opened.points_before) + 0.5)[1].all()


def test_rings_are_scrambled_by_the_generator_alone(molecule, atoms):
    tables = Tables.of(atoms.rings, atoms.n_atoms, atoms.bonds)
    x = molecule.start_positions.double().repeat(32, 1, 1)
    one, again = (scramble(x, tables, torch.Generator().manual_seed(3), 10) for _ in range(2))
    assert torch.equal(one, again)
    _, _, moving = stiff(atoms, atoms.rings)
    phi = dihedrals(one, moving)
    assert (torch.stack([phi.cos().mean(0), phi.sin().mean(0)]).norm(dim=0) < 0.8).all(), "no torsion stays in place"
