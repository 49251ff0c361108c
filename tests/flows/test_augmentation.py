"""What may be changed in training pairs without changing what is learned."""

import math

import pytest
import torch

from timewarp.flows.cartesian.augmentation import Relabelling
from timewarp.geometry import dihedrals, interchangeable_leaves, measure_volumes, wrap
from timewarp.molecules import build_molecule


@pytest.fixture(scope="module")
def molecules():
    return [build_molecule(name) for name in ("Ace-A-Nme", "KD")]


def groups_of(molecule):
    return interchangeable_leaves(molecule.atoms.elements, molecule.atoms.bonds)


def turned(molecule, angles):
    """The built molecule with each group of like atoms turned about its bond by an angle in degrees."""
    x = molecule.start_positions.double().clone()
    for ((_, neighbour, centre), leaves), degrees in zip(groups_of(molecule), angles, strict=True):
        axis = torch.nn.functional.normalize(x[centre] - x[neighbour], dim=0)
        angle = math.radians(degrees)
        for i in leaves:
            arm = x[i] - x[centre]
            along = axis * (arm @ axis)
            across = arm - along
            x[i] = x[centre] + along + across * math.cos(angle) + torch.linalg.cross(axis, across) * math.sin(angle)
    return x


def test_the_groups_are_methyl_ammonium_and_carboxylate(molecules):
    names = [[tuple(m.atoms.names[i] for i in leaves) for _, leaves in groups_of(m)] for m in molecules]
    assert sorted(names[0]) == [("H1", "H2", "H3"), ("H1", "H2", "H3"), ("HB1", "HB2", "HB3")]
    assert sorted(names[1]) == [("H", "H2", "H3"), ("HZ1", "HZ2", "HZ3"), ("O", "OXT"), ("OD1", "OD2")]


def test_full_turns_of_methyl_groups_are_undone(molecules):
    m = molecules[0]
    x = turned(m, (0, 0, 0))
    assert (turned(m, (120, -120, 120)) - x).abs().max() > 0.1
    y = Relabelling([m.atoms])(x[None], turned(m, (120, -120, 120))[None], torch.tensor([0]))
    torch.testing.assert_close(y[0], x, atol=0.002, rtol=0)  # a built methyl group is symmetric to some 10 mrad


def test_each_group_has_turned_as_little_as_it_can_in_a_mixed_batch(molecules):
    """Threefold groups by at most 60 degrees, twofold ones by at most 90; names move within groups, hands stay."""
    generator = torch.Generator().manual_seed(2)
    most = max(m.atoms.n_atoms for m in molecules)
    which = [0, 1, 1, 0, 1]
    before, after = torch.zeros(2, len(which), most, 3, dtype=torch.float64)
    for row, k in enumerate(which):
        m = molecules[k]
        for target in (before, after):
            angles = (360 * torch.rand(len(groups_of(m)), generator=generator)).tolist()
            target[row, : m.atoms.n_atoms] = turned(m, angles)
    renamed = Relabelling([m.atoms for m in molecules])(before, after, torch.tensor(which))
    moved = 0
    for row, k in enumerate(which):
        m = molecules[k]
        for anchor, leaves in groups_of(m):
            quadruple = torch.tensor([[*anchor, leaves[0]]])
            turn = wrap(dihedrals(renamed[row], quadruple) - dihedrals(before[row], quadruple)).abs().rad2deg()
            assert turn.item() < 180 / len(leaves) + 2
            group = list(leaves)
            assert {tuple(v) for v in renamed[row, group].tolist()} == {tuple(v) for v in after[row, group].tolist()}
            moved += not torch.equal(renamed[row, group], after[row, group])
            if len(leaves) == 3:
                corner = torch.tensor([[anchor[2], *leaves]])
                hands = [measure_volumes(t[row], corner).sign() for t in (renamed, after)]
                assert torch.equal(*hands)
        rest = [i for i in range(most) if not any(i in leaves for _, leaves in groups_of(m))]
        assert torch.equal(renamed[row, rest], after[row, rest])
    assert moved > 3


def test_nothing_changes_where_nothing_moved(molecules):
    m = molecules[1]
    x = m.start_positions.double()[None]
    assert torch.equal(Relabelling([m.atoms])(x, x, torch.tensor([0])), x)
