"""Laws of distances, angles, dihedrals, rotations and internal coordinates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handmade import ALANINE_DIPEPTIDE, random_internal, random_positions
from timewarp.geometry import (
    angles,
    automorphism_classes,
    build_tree,
    centre,
    dihedrals,
    find_stereocentres,
    log_volume,
    random_rotations,
    ring_bonds,
    signed_volumes,
    superpose,
    to_internal,
    to_positions,
    wrap,
)

ATOMS = ALANINE_DIPEPTIDE
TREE = ATOMS.tree


def points(seed: int, n: int = 22) -> torch.Tensor:
    return torch.randn(4, n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_dihedral_signs_are_iupacs():
    square = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [1.0, 0, 1]])
    quadruple = torch.tensor([[0, 1, 2, 3]])
    assert dihedrals(square, quadruple).item() == pytest.approx(0.0)
    # Looking along j -> k, a clockwise turn of the far bond is positive.
    turned = square.clone()
    turned[3] = torch.tensor([0.0, 1.0, 1.0])
    assert dihedrals(turned, quadruple).item() == pytest.approx(math.pi / 2)


def test_angles_are_exact_near_a_straight_line():
    small = 1e-6
    bent = torch.tensor([[1.0, 0, 0], [0, 0, 0], [-1, small, 0]], dtype=torch.float64)
    assert angles(bent, torch.tensor([[0, 1, 2]])).item() == pytest.approx(math.pi - small, abs=1e-12)


@given(seed=st.integers(0, 10_000))
def test_positions_to_internal_and_back(seed):
    x = points(seed)
    torch.testing.assert_close(to_positions(to_internal(x, TREE), TREE, x), x, atol=1e-8, rtol=0)


@given(seed=st.integers(0, 10_000))
def test_internal_to_positions_and_back(seed):
    internal = random_internal(ATOMS, 8, seed, torch.float64)
    back = to_internal(random_positions(ATOMS, 8, seed, torch.float64), TREE)
    assert wrap(back - internal).abs().max() < 1e-7


@given(seed=st.integers(0, 10_000))
def test_internal_coordinates_do_not_see_rigid_motion(seed):
    x = points(seed)
    rotation = random_rotations(4, torch.Generator().manual_seed(seed), torch.float64)
    moved = x @ rotation.transpose(-1, -2) + 3.0
    assert wrap(to_internal(moved, TREE) - to_internal(x, TREE)).abs().max() < 1e-6


def test_volume_element_is_autograds():
    """|d positions / d (internal, rigid motion)| differs from exp(log_volume) by a constant only."""
    frames = random_positions(ATOMS, 2, dtype=torch.float64)
    logs = []
    for x in frames:
        internal = to_internal(x, TREE)

        def place(values, x=x, internal=internal):
            full = internal.clone()
            full[TREE.defined] = values[:-6]
            shift, turn = values[-6:-3], values[-3:]
            zero = torch.zeros((), dtype=turn.dtype)
            generator = torch.stack(
                [torch.stack([zero, -turn[2], turn[1]]), torch.stack([turn[2], zero, -turn[0]]),
                 torch.stack([-turn[1], turn[0], zero])]
            )  # fmt: skip
            return (to_positions(full, TREE, x) @ torch.linalg.matrix_exp(generator).T + shift).flatten()

        start = torch.cat([internal[TREE.defined], torch.zeros(6, dtype=torch.float64)])
        jacobian = torch.autograd.functional.jacobian(place, start)
        logs.append(torch.linalg.slogdet(jacobian)[1] - log_volume(internal, TREE))
    assert logs[0].item() == pytest.approx(logs[1].item(), abs=1e-6)


def test_turning_a_torsion_turns_its_siblings_and_nothing_else():
    internal = random_internal(ATOMS, 1, 3, torch.float64)
    frame = random_positions(ATOMS, 1, 3, torch.float64)
    psi = next(i for i in TREE.rotatable if i == 14 or 14 in TREE.references[i][:2])
    turned = internal.clone()
    turned[:, psi, 2] += 1.0
    before, after = (to_positions(q, TREE, frame) for q in (internal, turned))
    changed = wrap(to_internal(after, TREE) - internal).abs() > 1e-9
    assert changed.sum() == 1
    assert changed[0, psi, 2]
    assert (before - after).abs().max() > 0.01


def test_alanine_dipeptides_tree():
    assert int(TREE.defined.sum()) == 3 * 22 - 6
    assert len(TREE.rotatable) == 5
    bonds = {frozenset(TREE.references[i][:2]) for i in TREE.rotatable}
    names = {frozenset(ATOMS.names[i] for i in bond) for bond in bonds}
    assert names == {frozenset(p) for p in (("N", "CA"), ("CA", "C"), ("CA", "CB"), ("CH3", "C"), ("N", "C"))}
    assert ATOMS.peptide_bonds.tolist() == [[1, 4, 6, 8], [8, 14, 16, 18]]


def test_stereocentres_and_equivalent_atoms():
    assert [row[0] for row in find_stereocentres(ATOMS.elements, ATOMS.bonds)] == [8]
    classes = automorphism_classes(ATOMS.elements, ATOMS.bonds)
    assert classes[11] == classes[12] == classes[13] != classes[0]
    assert classes[0] == classes[2] == classes[3]


def test_rings_are_stiff_and_bridges_are_not():
    ring = [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert ring_bonds(6, [*ring, (3, 4), (4, 5)]) == {frozenset(b) for b in ring}


def test_reflection_flips_the_chirality():
    x = points(1)
    mirrored = x * torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(signed_volumes(mirrored, ATOMS.stereocentres), -signed_volumes(x, ATOMS.stereocentres))


@pytest.mark.parametrize(
    ("elements", "bonds", "message"),
    [
        (["H", "H"], [(0, 1)], "at least 4 atoms"),
        (["C", "H", "C", "H"], [(0, 1), (2, 3)], "several pieces"),
        (["C", "H", "H", "H", "H"], [(0, 1), (0, 2), (0, 3), (0, 4)], "star"),
    ],
)
def test_molecules_without_a_tree(elements, bonds, message):
    with pytest.raises(ValueError, match=message):
        build_tree(elements, bonds)


@given(seed=st.integers(0, 1000))
def test_superposing_undoes_a_rigid_motion(seed):
    x = points(seed)[0]
    rotation = random_rotations(1, torch.Generator().manual_seed(seed), torch.float64)[0]
    torch.testing.assert_close(superpose((x @ rotation.T + 2.0)[None], x)[0], x, atol=1e-8, rtol=0)


def test_superposing_never_mirrors():
    x = points(2)[0]
    mirrored = x * torch.tensor([1.0, 1.0, -1.0])
    moved = superpose(mirrored[None], x)
    assert (
        signed_volumes(moved, ATOMS.stereocentres).sign() == signed_volumes(mirrored, ATOMS.stereocentres).sign()
    ).all()


def test_rotations_are_proper_and_uniform():
    rotations = random_rotations(20_000, torch.Generator().manual_seed(0), torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotations @ rotations.transpose(-1, -2), eye.expand_as(rotations), atol=1e-10, rtol=0)
    assert torch.linalg.det(rotations).min() > 0.999
    # Under the Haar measure, entries have mean 0, variance 1/3, and the trace has mean 0 and variance 1.
    assert rotations.mean(0).abs().max() < 4 * (1 / 3 / 20_000) ** 0.5
    trace = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert abs(trace.mean()) < 4 / 20_000**0.5
    assert abs(trace.var() - 1) < 0.06


def test_centring():
    assert centre(points(0) + 5).mean(-2).abs().max() < 1e-12


@given(seed=st.integers(0, 1000))
def test_wrapping_keeps_the_angle(seed):
    angle = 50 * torch.randn(100, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    wrapped = wrap(angle)
    assert (wrapped >= -math.pi).all()
    assert (wrapped < math.pi).all()
    torch.testing.assert_close(wrapped.sin(), angle.sin(), atol=1e-9, rtol=0)
    torch.testing.assert_close(wrapped.cos(), angle.cos(), atol=1e-9, rtol=0)
