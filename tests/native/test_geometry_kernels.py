"""Dihedrals and signed volumes in the kernels against torch in double precision, on every instruction set there is."""

import pytest
import torch

from timewarp import native
from timewarp.geometry import dihedrals, measure_dihedrals, measure_volumes, signed_volumes, turn, wrap

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())

ROWS = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [4, 0, 3, 1]])


def positions(n, dtype=torch.float64):
    return torch.randn(n, 5, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 1, 19])
def test_they_are_those_of_torch(instruction_set, dtype, n):
    x = positions(n, dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-7
    turn = wrap(measure_dihedrals(x, ROWS).double() - dihedrals(x.double(), ROWS))
    assert turn.shape == (n, 3)
    assert (turn.abs() <= tolerance).all()
    torch.testing.assert_close(
        measure_volumes(x, ROWS).double(), signed_volumes(x.double(), ROWS), atol=tolerance, rtol=3e-7
    )


def test_any_leading_dimensions_and_no_rows():
    x = positions(6)
    assert torch.equal(measure_volumes(x.reshape(2, 3, 5, 3), ROWS).reshape(6, 3), measure_volumes(x, ROWS))
    assert torch.equal(measure_dihedrals(x[0], ROWS), measure_dihedrals(x, ROWS)[0])
    assert measure_dihedrals(x, ROWS[:0]).shape == (6, 0)


def test_atoms_beyond_the_molecule_are_refused():
    with pytest.raises(ValueError, match="atoms within the molecule"):
        measure_dihedrals(positions(2), torch.tensor([[0, 1, 2, 5]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_turning_a_branch_is_that_of_torch(dtype, monkeypatch):
    x = positions(30, dtype)
    generator = torch.Generator().manual_seed(3)
    bonds = torch.tensor([[0, 1], [2, 1], [3, 4]])[torch.randint(0, 3, (30,), generator=generator)]
    turning = torch.rand(30, 5, generator=generator) < 0.5
    angle = 6 * torch.rand(30, generator=generator, dtype=torch.float64).to(dtype) - 3
    turned = turn(x, bonds, turning, angle)
    assert torch.equal(turned[~turning], x[~turning])
    monkeypatch.setattr(native, "_core", None)
    expected = turn(x.double(), bonds, turning, angle.double())
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(turned.double(), expected, atol=tolerance, rtol=0)
