"""Rows of different molecules in one padded batch: each has its own molecule's energy and forces."""

import pytest
import torch
from energy_systems import peptide, shaken

from timewarp.energies import MixedPotential, Potential, compile_system

NAMES = ("Ace-A-Nme", "AG")


@pytest.fixture
def potentials():
    return [Potential(compile_system(peptide(name).system), torch.float64) for name in NAMES]


def test_rows_in_any_order_have_their_own_energies_and_forces(potentials):
    mixed, molecule = MixedPotential(potentials), torch.tensor([1, 0, 0, 1, 0])
    most = max(p.n_atoms for p in potentials)
    batch = torch.full((5, most, 3), 7.5, dtype=torch.float64)  # padding may hold anything
    own = []
    for row, number in enumerate(molecule.tolist()):
        x = shaken(peptide(NAMES[number]).start_positions, 1, seed=row)[0]
        batch[row, : len(x)] = x
        own.append((len(x), *potentials[number].energy_and_forces(x[None])))
    batch.requires_grad_(True)
    energy = mixed.energy(batch, molecule)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    (weights * energy).sum().backward()
    for row, (n_atoms, alone, forces) in enumerate(own):
        torch.testing.assert_close(energy[row], alone[0])
        torch.testing.assert_close(batch.grad[row, :n_atoms], -weights[row] * forces[0])
        assert not batch.grad[row, n_atoms:].any()


def test_one_molecule_needs_no_sorting_and_no_rows_are_no_energies(potentials):
    x = shaken(peptide(NAMES[0]).start_positions, 3)
    one = MixedPotential(potentials[:1]).energy(x, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(one, potentials[0].energy(x))
    assert MixedPotential(potentials).energy(x[:0], torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_no_potential_is_refused():
    with pytest.raises(ValueError, match="at least one potential"):
        MixedPotential([])
