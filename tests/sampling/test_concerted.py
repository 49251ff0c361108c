"""Concerted rotations as a kernel: what it needs, what it changes, and that a ring's weights come out as they must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from analytic_targets import TEMPERATURE_K, worst_chain_z
from kernel_cases import LIMIT
from ring_cases import FAR, HOP, NEAR, SEVEN, TORSIONS, ring_case, screw_volume, seven_ring

from handmade import ALANINE_DIPEPTIDE
from timewarp.analysis import named_torsions, ring_torsions
from timewarp.commands import main
from timewarp.energies import Potential, compile_system
from timewarp.files import read_json
from timewarp.geometry import dihedrals, measure_dihedrals, wrap
from timewarp.geometry.concerted import all_closures, present_closure
from timewarp.judging import unturned_torsions
from timewarp.molecules import build_molecule
from timewarp.restriction import Restriction
from timewarp.sampling import ConcertedMove, Target
from timewarp.starts import start_positions
from timewarp.trajectories import open_source
from timewarp.units import kT
from timewarp.verbs.kernels import default_kernel

RING = Path(__file__).parents[1] / "structures" / "disulphide_ring.pdb"


class Flat:
    def energy(self, positions):
        return torch.zeros_like(positions[:, 0, 0])


def test_closures_know_the_volume_elements_of_screws():
    """|det B| of the six followers of each window, from the axes of their bonds in space."""
    ring = seven_ring()
    for window in range(len(ring.tables)):
        rows = torch.arange(window, len(ring.points), 400)
        x, own = ring.points[rows], ring.tables[torch.full((len(rows),), window)]
        closures = all_closures(x, own, torch.zeros(len(rows), dtype=torch.float64))
        driver = set(ring.tables.driver[window].tolist())
        six = next(s for s in ring.six if driver not in [set(bond) for bond in s.tolist()])
        truth = screw_volume(x, six)
        here, known = present_closure(x, own, closures)
        assert known.double().mean() > 0.99
        off = (closures.log_volume[torch.arange(len(rows)), here] - truth)[known].abs()
        assert float(off.max()) < 1e-5


def test_shares_of_drivers_do_not_matter():
    """Other shares of the drivers in the quadrature give the same averages: the densities of all drivers are one."""
    ring = seven_ring()
    volumes = screw_volume(ring.points, ring.six)
    own = ring.driver_of_points
    mine = volumes[torch.arange(len(own)), own]
    log_weights = 2 * mine - (3 * volumes).logsumexp(-1) - ring.reduced(ring.points)
    weights = (log_weights - log_weights.logsumexp(0)).exp()
    torch.testing.assert_close((weights[:, None] * ring.observe(ring.points)).sum(0), ring.truth, atol=3e-3, rtol=0)


def test_from_one_ring_to_all(generator):
    """From one conformer, chains find the populations of all: those that no small turn reaches included."""
    ring, kernel = ring_case()
    state = kernel.init(ring.draw(1, generator).repeat(150, 1, 1))
    series = []
    for step in range(110):
        state, _ = kernel.step(state, generator)
        if step >= 50:
            series.append(ring.observe(state.positions))
    assert worst_chain_z(torch.stack(series), ring.truth) < LIMIT


@pytest.mark.parametrize("options", [NEAR, FAR, HOP])
def test_lengths_and_angles_stay(options, generator):
    ring, kernel = ring_case(**options)
    state = kernel.init(ring.draw(300, generator))
    for _ in range(10):
        new, info = kernel.step(state, generator)
        moved = info["concerted"].accepted.bool()
        for k in (1, 2):
            shift = (new.positions - new.positions.roll(k, 1)).norm(dim=-1)
            torch.testing.assert_close(
                shift, (state.positions - state.positions.roll(k, 1)).norm(dim=-1), atol=1e-8, rtol=0
            )
        turned = wrap(dihedrals(new.positions, TORSIONS) - dihedrals(state.positions, TORSIONS)).abs() > 1e-9
        assert not turned[~moved].any()
        assert (turned[moved].sum(1) >= (6 if options is HOP else 7)).double().mean() > 0.99
        state = new


def test_energies_of_candidates_are_those_of_their_positions(generator):
    for options in (FAR, HOP):
        ring, kernel = ring_case(**options)
        proposal = kernel.propose(kernel.init(ring.draw(100, generator)), generator)
        torch.testing.assert_close(proposal.energy, ring.energy(proposal.positions), atol=1e-8, rtol=0)


def test_what_is_missing_is_said():
    target = Target(Flat(), TEMPERATURE_K)
    for make, message in (
        (lambda: ConcertedMove(target), "give the concerted move the molecule"),
        (lambda: ConcertedMove(target, ALANINE_DIPEPTIDE), "no ring and no chain with seven bonds"),
        (lambda: ConcertedMove(Target(Flat(), 300.0, invariant=False), SEVEN), "invariant to rigid motion"),
        (lambda: ConcertedMove(target, SEVEN, far_share=0.7, hop_share=0.5), "parts of 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


class DisulphideRing:
    def __init__(self):
        self.molecule = build_molecule(RING)
        self.atoms = self.molecule.atoms
        self.built = self.molecule.start_positions.float()
        self.potential = Potential(compile_system(self.molecule.system), torch.float32)
        self.restriction = Restriction(self.built, self.atoms)


@pytest.fixture(scope="module")
def disulphide():
    return DisulphideRing()


def test_chirality_and_cis_trans_are_kept_in_a_peptide(disulphide, generator):
    target = Target(disulphide.potential, 310.0, disulphide.restriction, atoms=disulphide.atoms)
    kernel = ConcertedMove(target)
    state = kernel.init(disulphide.built.repeat(64, 1, 1))
    accepted = 0
    for _ in range(40):
        state, info = kernel.step(state, generator)
        accepted += int(info["concerted"].accepted.sum())
        assert not disulphide.restriction.crossed(state.positions).any()
    assert accepted > 0.02 * 40 * 64
    rows = torch.tensor([named_torsions(disulphide.atoms)[name] for name in ("phi_2", "psi_2", "phi_3", "psi_3")])
    before, after = (measure_dihedrals(x, rows) for x in (disulphide.built[None], state.positions))
    assert float((wrap(after - before).abs() > 0.05).double().mean()) > 0.3


def test_spread_starts_differ_in_the_ring(disulphide):
    def starts():
        generator = torch.Generator().manual_seed(5)
        return start_positions(
            disulphide.potential,
            disulphide.atoms,
            disulphide.built,
            ("spread",),
            8,
            generator,
            kT=kT(310.0),
            restriction=disulphide.restriction,
        )

    x = starts()
    assert torch.equal(x, starts()), "the generator alone decides"
    assert not disulphide.restriction.crossed(x).any()
    names = ring_torsions(disulphide.atoms)
    known = named_torsions(disulphide.atoms)
    for name in names:
        if not name.startswith("omega"):
            angle = measure_dihedrals(x, torch.tensor([known[name]]))[:, 0]
            assert float((angle[:, None] - angle).cos().clamp(-1, 1).acos().max()) > 1.0, name
    _, forces = disulphide.potential.energy_and_forces(x)
    assert float(forces.norm(dim=-1).mean()) < 100


def test_sample_takes_it_where_there_is_a_ring(tmp_path):
    options = ["--samples", "16", "--chains", "4", "--warmup", "2", "--quiet", "--no-flow"]
    assert main(["sample", str(RING), *options, "--out", str(tmp_path / "ring")]) == 0
    assert set(read_json(tmp_path / "ring" / "summary.json")["kernels"]) == {"torsion", "concerted", "hmc"}
    assert unturned_torsions(open_source(tmp_path / "ring")) == []
    # A run that began without it goes on without it.
    kernels = ["--kernels", "torsion,hmc"]
    assert main(["sample", str(RING), *options, *kernels, "--out", str(tmp_path / "old")]) == 0
    assert len(unturned_torsions(open_source(tmp_path / "old"))) == 11
    more = [*options, "--samples", "32"]
    assert main(["sample", str(RING), *more, "--out", str(tmp_path / "old")]) == 0
    assert set(read_json(tmp_path / "old" / "summary.json")["kernels"]) == {"torsion", "hmc"}
    # It is an option for the inside of a chain, and no default.
    longer = ["--kernels", "concerted,hmc", "--out", str(tmp_path / "longer")]
    assert main(["sample", "Ace-AAAA-Nme", *options, *longer]) == 0
    assert read_json(tmp_path / "longer" / "summary.json")["kernels"]["concerted"]["proposed"] > 0


def test_it_is_a_local_move_of_the_default_kernel():
    from timewarp.system import System

    made = default_kernel(System(RING))
    assert "concerted" in [part.name for part in made.parts]
    assert "concerted" not in [part.name for part in default_kernel(System("Ace-A-Nme")).parts]
