"""Bond vectors along axes of the conditioning molecule."""

import torch

from handmade import ALANINE_DIPEPTIDE as ATOMS
from handmade import random_positions
from timewarp.flows.cartesian.frames import Axes, bond_corners, plane_axes, ways_from_root
from timewarp.geometry import random_rotations


def axes_of(x: torch.Tensor) -> Axes:
    rotation = plane_axes(x, bond_corners(ATOMS).expand(len(x), -1, -1))
    sums = ways_from_root(ATOMS).double().expand(len(x), -1, -1)
    root = ATOMS.tree.order[0]
    return Axes(rotation, x[:, root : root + 1], sums, torch.linalg.inv(sums))


def test_axes_are_right_handed_rotations():
    rotation = axes_of(random_positions(ATOMS, 5, 0, dtype=torch.float64)).rotation
    torch.testing.assert_close(rotation @ rotation.transpose(-1, -2), torch.eye(3).double().expand_as(rotation))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(5, ATOMS.n_atoms, dtype=torch.float64))


def test_a_molecule_sees_its_own_bonds_in_its_axes():
    """Lengths are bond lengths; the first atom placed on a bond lies in the plane, by the angle's supplement."""
    x = random_positions(ATOMS, 3, 1, dtype=torch.float64)
    vectors = axes_of(x).positions_into(x)
    tree = ATOMS.tree
    assert not vectors[:, tree.order[0]].any()
    for i in tree.order[1:]:
        parent, grandparent, _ = tree.references[i]
        torch.testing.assert_close(vectors[:, i].norm(dim=-1), (x[:, i] - x[:, parent]).norm(dim=-1))
        if tree.first_sibling[i] == i:
            torch.testing.assert_close(vectors[:, i, 2], torch.zeros(3).double(), atol=1e-12, rtol=0)
            along = torch.nn.functional.normalize(x[:, parent] - x[:, grandparent], dim=-1)
            torch.testing.assert_close(vectors[:, i, 0], ((x[:, i] - x[:, parent]) * along).sum(-1))


def test_positions_come_back_and_volume_is_kept():
    x, y = (random_positions(ATOMS, 3, seed, dtype=torch.float64) for seed in (2, 3))
    axes = axes_of(x)
    vectors = axes.positions_into(y[None])
    torch.testing.assert_close(axes.positions_out(vectors)[0], y)
    one = axes.select(slice(0, 1))
    jacobian = torch.autograd.functional.jacobian(
        lambda p: one.positions_into(p.view(1, -1, 3)).flatten(), y[0].ravel()
    )
    assert torch.linalg.det(jacobian).abs().item() - 1 < 1e-9
    assert torch.linalg.det(jacobian).abs().item() - 1 > -1e-9


def test_rigid_motion_of_both_changes_nothing_but_the_root():
    x, y = (random_positions(ATOMS, 2, seed, dtype=torch.float64) for seed in (4, 5))
    turn = random_rotations(1, torch.Generator().manual_seed(6), dtype=torch.float64)[0]
    here = axes_of(x).positions_into(y)
    there = axes_of(x @ turn.T + 3.0).positions_into(y @ turn.T + 3.0)
    torch.testing.assert_close(there, here)
