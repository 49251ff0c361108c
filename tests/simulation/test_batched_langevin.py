"""The batched integrator: steps against numpy, independence of batching, the distributions, with controls that fail."""

import math

import numpy as np
import openmm
import pytest
import torch
from test_torsion_moves import PHI, exact_averages, z_score
from toy_molecule import ATOMS, BOND_STIFFNESS, torsion_energy, toy_molecule

from timewarp import native
from timewarp.energies import Potential, compile_system
from timewarp.geometry import dihedrals, distances
from timewarp.molecules import build_molecule
from timewarp.simulation import BatchedLangevin
from timewarp.simulation.torsion_moves import TorsionMoves, rotation, turned
from timewarp.state import repartition_hydrogen_mass
from timewarp.units import kT

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

TEMPERATURE_K, FRICTION, STEP_FS = 310.0, 1.0, 2.0


@pytest.fixture(scope="module")
def dipeptide():
    molecule = build_molecule("Ace-A-Nme")
    return molecule, compile_system(molecule.system), repartition_hydrogen_mass(molecule.atoms, 3.0).numpy()


def engine(dipeptide, **changes):
    molecule, parameters, masses = dipeptide
    settings = {"temperature_K": TEMPERATURE_K, "friction_per_ps": FRICTION, "timestep_fs": STEP_FS, "seed": 3}
    return BatchedLangevin(parameters, molecule.atoms, masses, **{**settings, **changes})


def started(dipeptide, md, n, first=0):
    return md.start(np.repeat(dipeptide[0].start_positions.numpy()[None], n, 0), range(first, first + n))


def test_steps_are_openmms_scheme(dipeptide):
    """v += dt f/m; x += dt/2 v; v = a v + b xi; x += dt/2 v, in numpy with the torch energy, up to translations."""
    md = engine(dipeptide, precision="float64")
    replicas = started(dipeptide, md, 5)
    potential = Potential(dipeptide[1], torch.float64, engine="torch")
    x, v, m = replicas.positions.copy(), replicas.velocities.copy(), dipeptide[2][:, None]
    dt, decay = STEP_FS / 1000, math.exp(-FRICTION * STEP_FS / 1000)
    for step in range(7):
        v += dt * potential.forces(torch.from_numpy(x)).numpy() / m
        x += dt / 2 * v
        v = decay * v + np.sqrt((1 - decay**2) * kT(TEMPERATURE_K) / m) * md.normals(step, 0, replicas.ids)
        x += dt / 2 * v
    frames = md.advance(replicas, 1, 7)
    x -= x.mean(1, keepdims=True)
    assert np.abs(frames.positions[0] - x).max() < 1e-10
    assert np.abs(replicas.velocities - v).max() < 1e-10
    assert np.allclose(frames.energies[0], potential.energy(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-8)
    assert np.allclose(frames.kinetic[0], (0.5 * m * v**2).sum((1, 2)), rtol=1e-12)


def test_openmm_makes_the_same_step_without_noise(dipeptide):
    """At a friction of nothing the thermostat is silent, and OpenMM's integrator is deterministic."""
    molecule, _, masses = dipeptide
    md = engine(dipeptide, precision="float64", friction_per_ps=0.0)
    replicas = started(dipeptide, md, 1)
    from timewarp.simulation.system import make_context, with_masses

    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, 0.0, STEP_FS / 1000)
    context = make_context(with_masses(molecule.system, masses), integrator, "Reference")
    context.setPositions(replicas.positions[0])
    context.setVelocities(replicas.velocities[0])
    integrator.step(50)
    md.advance(replicas, 1, 50)
    state = context.getState(positions=True, velocities=True)
    x = state.getPositions(asNumpy=True)._value
    assert np.abs(replicas.positions[0] - (x - x.mean(0))).max() < 1e-6  # 50 steps of energies equal to 1e-7
    assert np.abs(replicas.velocities[0] - state.getVelocities(asNumpy=True)._value).max() < 1e-4


MOVES = {"torsion_interval_steps": 20, "torsion_moves_per_round": 3}


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_replica_does_not_depend_on_its_company(dipeptide, precision):
    """Neither on the batch, nor the threads, nor on how a stretch is cut: bit for bit."""
    md = engine(dipeptide, precision=precision, **MOVES)
    whole = started(dipeptide, md, 37)
    frames = md.advance(whole, 6, 50)
    alone = started(dipeptide, md, 1, first=20)
    assert np.array_equal(md.advance(alone, 6, 50).positions[:, 0], frames.positions[:, 20])
    threaded = started(dipeptide, engine(dipeptide, precision=precision, threads=3, **MOVES), 37)
    md.threads = 3
    first, second = md.advance(threaded, 2, 50), md.advance(threaded, 4, 50)
    assert np.array_equal(np.concatenate([first.positions, second.positions]), frames.positions)
    assert np.array_equal(np.concatenate([first.energies, second.energies]), frames.energies)
    assert np.array_equal(threaded.velocities, whole.velocities)
    assert np.array_equal(threaded.attempts, whole.attempts)
    assert np.array_equal(threaded.accepts, whole.accepts)
    assert whole.attempts.sum() == 37 * 15 * 3
    assert (whole.attempts == whole.attempts[0]).all()
    assert 0 < whole.accepts.sum() < whole.attempts.sum()


def test_burn_in_seeds_and_replicas_have_streams_of_their_own(dipeptide):
    md = engine(dipeptide)
    base = md.advance(started(dipeptide, md, 2), 1, 5).positions[0]
    burn_in = md.advance(started(dipeptide, md, 2), 1, 5, burn_in=True).positions[0]
    other = engine(dipeptide, seed=4)
    seeded = other.advance(started(dipeptide, other, 2), 1, 5).positions[0]
    assert np.abs(base[0] - base[1]).max() > 1e-4
    assert np.abs(base - burn_in).max() > 1e-4
    assert np.abs(base - seeded).max() > 1e-4


def test_an_exploding_replica_leaves_the_others_alone(dipeptide):
    md = engine(dipeptide)
    replicas, disturbed = started(dipeptide, md, 8), started(dipeptide, md, 8)
    disturbed.positions[3] *= 1e-3
    fine, broken = md.advance(replicas, 4, 25), md.advance(disturbed, 4, 25)
    others = [0, 1, 2, 4, 5, 6, 7]
    assert np.array_equal(fine.positions[:, others], broken.positions[:, others])
    assert not np.allclose(fine.positions[-1, 3], broken.positions[-1, 3], equal_nan=False)


def test_energies_of_float32_frames(dipeptide):
    md = engine(dipeptide)
    frames = md.advance(started(dipeptide, md, 8), 2, 100)
    expected = md.energies(frames.positions.reshape(-1, 22, 3)).reshape(2, 8)
    assert np.abs(frames.energies - expected).max() < 1e-3 * kT(TEMPERATURE_K)
    assert np.abs(frames.positions.mean(2)).max() < 1e-6


def test_a_round_of_torsion_moves_is_that_of_the_plain_version(dipeptide):
    """One step, then a round, replayed in numpy from the published generator."""
    molecule, parameters, masses = dipeptide
    md = engine(dipeptide, precision="float64", torsion_interval_steps=1, torsion_moves_per_round=6)
    plain = engine(dipeptide, precision="float64")
    replicas, reference = started(dipeptide, md, 4), started(dipeptide, plain, 4)
    md.advance(replicas, 1, 1)
    plain.advance(reference, 1, 1)  # centred, which turns do not mind
    potential = Potential(parameters, torch.float64, engine="torch")
    moves = TorsionMoves(molecule.atoms, masses, kT(TEMPERATURE_K), STEP_FS / 1000)

    def words(replica, move, purpose):
        counter = np.array([[move | purpose << 24, 1, 0, replica]], dtype=np.uint32)
        native.core().philox(counter, 3, 0)
        return counter[0].tolist()

    accepts = np.zeros_like(replicas.accepts)
    for r in range(4):
        x, v = reference.positions[r], reference.velocities[r]

        def evaluate(x):
            energy, force = potential.energy_and_forces(torch.from_numpy(x[None]))
            return float(energy[0]), force[0].numpy()

        energy, force = evaluate(x)
        v = v + moves.half_kick * force
        for move in range(6):
            which = words(0, move, 1)[0] * len(moves.branches) >> 32
            turn, uniform = words(r, move, 2)[:2]
            angle = 2 * math.pi * np.int32(np.uint32(turn)) / 2**32
            matrix = rotation(x, moves.branches[which], angle)
            candidate = turned(x, moves.branches[which], matrix)
            new = evaluate(candidate)[0]
            if moves.accept(new - energy, math.log(((uniform >> 1) + 0.5) / 2**31)):
                x, energy = candidate, new
                side = moves.branches[which].side
                v = v.copy()
                v[side] = v[side] @ matrix
                accepts[r, which] += 1
        v = v - moves.half_kick * evaluate(x)[1]
        assert np.abs(replicas.positions[r] - (x - x.mean(0))).max() < 1e-9
        assert np.abs(replicas.velocities[r] - v).max() < 1e-8
    assert np.array_equal(replicas.accepts, accepts)
    assert accepts.sum() > 0


# --- distributions --------------------------------------------------------------------------------------------------


def toy_run(n_frames=400, *, timestep_fs=2.0, moves=10, precision="float32", friction=5.0, change=None, **shape):
    """Frames (replicas * frames, 4, 3) of the toy, and the kinetic energies."""
    molecule = toy_molecule(**shape)
    md = BatchedLangevin(
        compile_system(molecule.system),
        ATOMS,
        np.array(ATOMS.masses),
        temperature_K=TEMPERATURE_K,
        friction_per_ps=friction,
        timestep_fs=timestep_fs,
        seed=17,
        precision=precision,
        torsion_interval_steps=50,
        torsion_moves_per_round=moves,
    )
    if change is not None:
        change(md)
    replicas = md.start(np.repeat(molecule.start_positions.numpy()[None], 32, 0))
    md.advance(replicas, 1, 5000, burn_in=True)
    frames = md.advance(replicas, n_frames, 100)
    positions = torch.from_numpy(frames.positions).double().transpose(0, 1)
    return positions.reshape(-1, 4, 3), frames.kinetic.T.reshape(-1)


def bond_energies(positions):
    stretch = distances(positions, torch.tensor(ATOMS.bonds)) - 0.15
    return (0.5 * BOND_STIFFNESS * stretch**2).mean(1)


def scores(positions):
    phi, exact = dihedrals(positions, PHI)[:, 0], exact_averages()
    return {
        "basin": z_score((phi > 0).double(), exact[0]),
        "torsion": z_score(torsion_energy(phi), exact[1]),
        "bonds": z_score(bond_energies(positions), 0.5 * kT(TEMPERATURE_K)),
    }


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_canonical_distribution_is_sampled(precision):
    positions, kinetic = toy_run(precision=precision)
    found = scores(positions)
    assert max(found.values()) < 3.5, found
    # At a step of 2 fs the stiff bonds' velocities, half a step off, have a percent less than their share.
    assert kinetic.mean() / (6 * kT(TEMPERATURE_K)) == pytest.approx(1, abs=0.02)


def test_a_short_step_has_the_exact_kinetic_temperature():
    _, kinetic = toy_run(timestep_fs=0.25, moves=0)
    assert z_score(torch.from_numpy(kinetic), 6 * kT(TEMPERATURE_K)) < 3.5


def test_without_moves_the_barrier_is_not_crossed():
    found = scores(toy_run(moves=0)[0])
    assert found["basin"] > 100
    assert found["bonds"] < 3.5


def test_control_accepting_everything_is_caught():
    """With a friction of next to nothing the heat bath is silent, and its temperature is that of the moves alone."""

    def hot(md):
        md._settings["kT"] = 1e6 * md.kT

    assert scores(toy_run(change=hot, friction=1e-9)[0])["torsion"] > 5


# --- heat -----------------------------------------------------------------------------------------------------------


def often_turned(careful=True):
    """Energies of the bonds in kT/2 of a free rotor, turned every 20 steps of 4 fs, so that any heat shows.

    A careless version turns positions alone, and leaves velocities, half a step behind, as they are.
    """
    molecule = toy_molecule(barrier=0.0, tilt=0.0)
    md = BatchedLangevin(
        compile_system(molecule.system),
        ATOMS,
        np.array(ATOMS.masses),
        temperature_K=TEMPERATURE_K,
        friction_per_ps=1.0,
        timestep_fs=4.0,
        seed=11,
        torsion_interval_steps=20,
        torsion_moves_per_round=1,
    )
    state = md.start(np.repeat(molecule.start_positions.numpy()[None], 64, 0))
    energies = []
    for _ in range(600):
        md.advance(state, 1, 19)
        unturned = state.take(np.arange(64))
        md._settings["moves_per_round"] = 0
        md.advance(unturned, 1, 1)  # the last step again, without the move
        md._settings["moves_per_round"] = 1
        frames = md.advance(state, 1, 1)
        if not careful:
            state.velocities[:] = unturned.velocities
        energies.append(bond_energies(torch.from_numpy(frames.positions[0])).numpy())
    assert state.accepts.sum() > 0.9 * state.attempts.sum()
    return torch.from_numpy(np.array(energies[100:]).T.reshape(-1)) / (0.5 * kT(TEMPERATURE_K))


def test_moves_bring_no_heat():
    energies = often_turned()
    assert z_score(energies, 1.0) < 3.5
    assert 0.9 < float(energies.mean()) < 1.1


def test_control_careless_velocities_are_caught():
    assert float(often_turned(careful=False).mean()) > 1.5
