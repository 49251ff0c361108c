"""Torsion moves: pure geometry, then the distribution, with controls that must fail."""

import dataclasses
import math

import numpy as np
import openmm
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_molecule import ATOMS, BOND_STIFFNESS, torsion_energy, toy_molecule

from timewarp.geometry import angles, dihedrals, distances, to_internal, wrap
from timewarp.molecules import build_molecule
from timewarp.simulation import SimulationSettings, TorsionMoves, simulate
from timewarp.simulation.system import make_context
from timewarp.simulation.torsion_moves import branch_of, rotation, turned
from timewarp.units import kT

PHI = torch.tensor([[0, 1, 2, 3]])


@pytest.fixture(scope="module")
def dipeptide():
    return build_molecule("Ace-A-Nme")


@given(which=st.integers(0, 4), angle=st.floats(-7, 7))
def test_a_turn_changes_one_torsion_only(dipeptide, which, angle):
    tree = dipeptide.atoms.tree
    i, a, b, _ = tree.torsions[which].tolist()
    for j, k in ((a, b), (b, a)):  # the dihedral grows by the angle whichever side moves
        x, branch = dipeptide.start_positions.numpy(), branch_of(dipeptide.atoms, j, k)
        there = turned(x, branch, rotation(x, branch, angle))
        change = wrap(to_internal(torch.from_numpy(there), tree) - to_internal(dipeptide.start_positions, tree))
        expected = torch.zeros_like(change)
        expected[i, 2] = angle
        assert torch.allclose(wrap(change - expected + 1), torch.ones_like(change), atol=1e-9)


def test_the_smaller_branch_turns(dipeptide):
    for j, k in ((6, 8), (8, 6)):
        assert len(branch_of(dipeptide.atoms, j, k).atoms) <= 11


def test_rings_and_missing_bonds_are_refused():
    proline = build_molecule("Ace-P-Nme").atoms
    n, ca = (proline.names.index("N"), proline.names.index("CA"))
    with pytest.raises(ValueError, match="ring"):
        branch_of(proline, n, ca)
    with pytest.raises(ValueError, match="not bonded"):
        branch_of(ATOMS, 0, 2)


def exact_averages(temperature_K=310.0):
    """P(phi > 0) and the mean torsion energy, by quadrature."""
    phi = torch.linspace(-math.pi, math.pi, 20001, dtype=torch.float64)[:-1]
    weight = torch.exp(-torsion_energy(phi) / kT(temperature_K))
    return float(weight[phi > 0].sum() / weight.sum()), float((weight * torsion_energy(phi)).sum() / weight.sum())


def run_toy(path, torsion_moves_per_ps=10.0, seed=3):
    settings = SimulationSettings(
        length_ns=0.8,
        friction_per_ps=5.0,
        burn_in_ps=5.0,
        segment_ps=200,
        torsion_moves_per_ps=torsion_moves_per_ps,
        seed=seed,
        engine="openmm",
        hydrogen_mass_Da=1.0,
    )
    run = simulate(toy_molecule(), path, settings, quiet=True, processes=1)
    return run, run.trajectory().positions[0].double()


def z_score(samples, exact):
    """Deviation from the exact mean, in standard errors by 25 block means."""
    blocks = samples[: len(samples) // 25 * 25].reshape(25, -1).mean(1)
    return float(abs(blocks.mean() - exact) / (blocks.std() / 5 + 1e-12))


def bond_energies(positions):
    """Mean energy of the three bonds, which are of kT/2 each (the b^2 of the volume element changes it by 1e-4)."""
    stretch = distances(positions, torch.tensor(ATOMS.bonds)) - 0.15
    return (0.5 * BOND_STIFFNESS * stretch**2).mean(1)


def scores(positions):
    """z of P(phi > 0), of the torsion's energy, and of the bonds'."""
    phi = dihedrals(positions, PHI)[:, 0]
    exact = exact_averages()
    return {
        "basin": z_score((phi > 0).double(), exact[0]),
        "torsion": z_score(torsion_energy(phi), exact[1]),
        "bonds": z_score(bond_energies(positions), 0.5 * kT(310.0)),
    }


def test_md_with_torsion_moves_samples_the_canonical_distribution(tmp_path):
    run, positions = run_toy(tmp_path)
    found = scores(positions)
    assert max(found.values()) < 3.5, found
    bend = angles(positions, torch.tensor([[0, 1, 2], [1, 2, 3]]))
    assert abs(float(bend.mean()) - math.radians(112)) < 0.01
    summary = run.summary()
    moves = summary["torsion_moves"]
    assert summary["dynamics"] is False
    assert moves["attempts"] == 8000
    assert 0.02 < moves["torsions"]["TOY1:S3-S2"]["acceptance"] < 0.9


def test_without_moves_the_barrier_is_not_crossed(tmp_path):
    run, positions = run_toy(tmp_path, torsion_moves_per_ps=0)
    assert run.summary()["dynamics"] is True
    found = scores(positions)
    assert found["basin"] > 100
    assert found["bonds"] < 3.5


def test_control_accepting_everything_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(TorsionMoves, "accept", lambda self, difference, log_uniform: True)
    found = scores(run_toy(tmp_path)[1])
    assert found["torsion"] > 5


def often_turned(careful, n_rounds=2000):
    """Energies of the bonds in kT/2 where a free rotor is turned every 20 long steps, so that any heat shows."""
    molecule, timestep_ps = toy_molecule(barrier=0.0, tilt=0.0), 0.004
    integrator = openmm.LangevinMiddleIntegrator(310.0, 1.0, timestep_ps)
    integrator.setRandomNumberSeed(11)
    context = make_context(molecule.system, integrator, "Reference")
    context.setPositions(molecule.start_positions.numpy())
    context.setVelocitiesToTemperature(310.0, 12)
    moves = TorsionMoves(ATOMS, np.array(ATOMS.masses), kT(310.0), timestep_ps)
    if not careful:  # positions turn, velocities do not
        moves.half_kick[:] = 0
        moves.branches = [dataclasses.replace(b, side=b.side[:0]) for b in moves.branches]
    rng = np.random.default_rng(13)
    positions = np.empty((n_rounds, 4, 3))
    integrator.step(5000)
    for k in range(n_rounds):
        integrator.step(20)
        moves.round(context, 1, rng)
        positions[k] = context.getState(positions=True).getPositions(asNumpy=True)._value
    return bond_energies(torch.from_numpy(positions)) / (0.5 * kT(310.0))


def test_moves_bring_no_heat():
    energies = often_turned(careful=True)
    assert z_score(energies, 1.0) < 3.5
    assert 0.8 < float(energies.mean()) < 1.2


def test_control_careless_velocities_are_caught():
    assert float(often_turned(careful=False).mean()) > 2


def test_a_nan_energy_is_rejected():
    moves = TorsionMoves(ATOMS, np.array(ATOMS.masses), kT(310.0), 0.002)
    assert not moves.accept(math.nan, math.log(1e-300))
    assert not moves.accept(math.inf, math.log(1e-300))
    assert moves.accept(-1.0, 0.0)
