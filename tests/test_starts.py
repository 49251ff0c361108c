"""Start positions of chains and replicas: what was asked for, far apart, minimised; one minimiser against OpenMM's."""

import math

import numpy as np
import openmm
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handmade import ALANINE_DIPEPTIDE, random_positions
from timewarp.analysis.torsions import named_torsions, soft_torsions
from timewarp.energies import Potential, compile_system
from timewarp.geometry import dihedrals, wrap
from timewarp.molecules import build_molecule
from timewarp.restriction import Restriction
from timewarp.starts import check_starts, minimise, set_torsions, settle, start_positions
from timewarp.units import kT

KT = kT(310.0)


class Flat:
    """No energy at all, so that starts are where they were put."""

    def energy(self, positions):
        return torch.zeros_like(positions[:, 0, 0])

    def energy_and_forces(self, positions):
        return self.energy(positions), torch.zeros_like(positions)


class Case:
    """A built peptide, its energy and its restriction."""

    def __init__(self, sequence, dtype=torch.float64):
        self.molecule = build_molecule(sequence)
        self.atoms = self.molecule.atoms
        self.potential = Potential(compile_system(self.molecule.system), dtype)
        self.built = self.molecule.start_positions.to(dtype)
        self.restriction = Restriction(self.built, self.atoms)

    def starts(self, kinds, n_chains, superchains=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        more = {"kT": KT, "restriction": self.restriction, "superchains": superchains}
        return start_positions(self.potential, self.atoms, self.built, kinds, n_chains, generator, **more)


@pytest.fixture(scope="module", params=["AG", "Ace-P-Nme", "KY"])
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def dipeptide():
    return Case("Ace-A-Nme")


def degrees(x, name, atoms=ALANINE_DIPEPTIDE):
    return dihedrals(x, torch.tensor([named_torsions(atoms)[name]]))[:, 0] * 180 / math.pi


def flat_starts(kinds, n, superchains=8):
    built = random_positions(ALANINE_DIPEPTIDE, 1, seed=8)[0]
    restriction = Restriction(built, ALANINE_DIPEPTIDE)
    generator = torch.Generator().manual_seed(1)
    more = {"kT": KT, "restriction": restriction, "superchains": superchains}
    x = start_positions(Flat(), ALANINE_DIPEPTIDE, built, kinds, n, generator, **more)
    assert not restriction.crossed(x).any()
    return x, built


def test_superchains_take_the_kinds_in_turn():
    x, built = flat_starts(("built", "phi_1=60,psi_1=-40"), 10, superchains=3)
    for chain in range(10):
        assert torch.equal(x[chain], x[chain % 3]), "chains of a superchain start at the same positions"
    torch.testing.assert_close(x[[0, 2]], built.expand(2, -1, -1))
    torch.testing.assert_close(degrees(x[1:2], "phi_1"), torch.full((1,), 60.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(degrees(x[1:2], "psi_1"), torch.full((1,), -40.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(degrees(x, "omega_1"), degrees(built[None], "omega_1").expand(10), atol=1e-2, rtol=0)


def test_spread_starts_without_an_energy_are_everywhere():
    x, _ = flat_starts(("spread",), 200, superchains=200)
    for name in ("phi_1", "psi_1"):
        quarters = torch.histc(degrees(x, name), bins=4, min=-180, max=180)
        assert (quarters > 20).all(), name


def test_spread_starts_of_a_peptide_are_minima_far_apart(case):
    x = case.starts(("spread",), 32)
    assert torch.equal(x, x[torch.arange(32) % 8])
    assert torch.equal(x, case.starts(("spread",), 32)), "the generator alone decides"
    assert not torch.equal(x, case.starts(("spread",), 32, seed=1))
    assert not case.restriction.crossed(x).any()
    energy, forces = case.potential.energy_and_forces(x[:8])
    assert float(forces.norm(dim=-1).mean()) < 60
    bonds = len(case.atoms.tree.rotatable)
    assert float(energy.max() - energy.min()) < (5 + bonds) * KT
    for name in soft_torsions(case.atoms):  # every soft torsion takes values that are far from each other
        angle = torch.deg2rad(degrees(x[:8], name, case.atoms))
        apart = torch.rad2deg((angle[:, None] - angle).cos().clamp(-1, 1).acos())
        assert float(apart.max()) > 80, name


def test_a_start_of_its_own_for_each_chain(case):
    x = case.starts(("spread",), 12, superchains=12)
    assert len(x.flatten(1).unique(dim=0)) == 12


def test_a_model_of_a_pdb_file(dipeptide, tmp_path):
    other = dipeptide.starts(("phi_1=60",), 1)[0]
    lines = [line for line in dipeptide.molecule.pdb.splitlines() if line.startswith(("ATOM", "HETATM"))]
    moved = [
        line[:30] + "".join(f"{10 * value:8.3f}" for value in row) + line[54:]
        for line, row in zip(lines, other.tolist(), strict=True)
    ]
    path = tmp_path / "two models.pdb"
    path.write_text("\n".join(["MODEL        1", *lines, "ENDMDL", "MODEL        2", *moved, "ENDMDL", "END\n"]))
    x = dipeptide.starts((f"{path}", f"{path}#2"), 2)
    phi = degrees(x, "phi_1", dipeptide.atoms)
    assert float(phi[0]) == pytest.approx(float(degrees(dipeptide.built[None], "phi_1", dipeptide.atoms)), abs=15)
    assert 30 < float(phi[1]) < 110
    with pytest.raises(ValueError, match="has models 1 to 2, not 3"):
        check_starts(dipeptide.atoms, [f"{path}#3"])
    with pytest.raises(ValueError, match=r"model of .* must be a whole number"):
        check_starts(dipeptide.atoms, [f"{path}#second"])
    shuffled = [lines[k] for k in torch.randperm(len(lines), generator=torch.Generator().manual_seed(0)).tolist()]
    (tmp_path / "shuffled.pdb").write_text("\n".join([*shuffled, "END\n"]))
    assert torch.equal(dipeptide.starts((f"{tmp_path}/shuffled.pdb",), 1)[0], x[0]), "atoms are matched, not counted"
    with pytest.raises(ValueError, match="holds ACE-ALA-NME, expected ALA-GLY"):
        check_starts(build_molecule("AG").atoms, [f"{path}"])
    mirrored = [line[:30] + f"{-float(line[30:38]):8.3f}" + line[38:] for line in lines]
    (tmp_path / "mirrored.pdb").write_text("\n".join([*mirrored, "END\n"]))
    with pytest.raises(ValueError, match="handedness"):
        dipeptide.starts((f"{tmp_path}/mirrored.pdb",), 1)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("phi_7=60", "no torsion 'phi_7'"),
        ("omega_1=60", "does not turn"),
        ("phi_1", "cannot understand"),
        ("phi_1=nan", "cannot understand"),
        ("nonsense", "cannot understand"),
    ],
)
def test_bad_starts_say_so(start, message):
    with pytest.raises(ValueError, match=message):
        flat_starts((start,), 2)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pdb"):
        flat_starts(("nowhere.pdb",), 2)
    with pytest.raises(ValueError, match="at least one start"):
        flat_starts((), 2)


@given(st.floats(-180, 180), st.floats(-180, 180))
def test_named_torsions_are_set(dipeptide, phi, psi):
    x = set_torsions(dipeptide.built[None], dipeptide.atoms, {"phi_1": phi, "psi_1": psi})
    got = torch.deg2rad(torch.cat([degrees(x, name, dipeptide.atoms) for name in ("phi_1", "psi_1")]))
    wanted = torch.tensor([phi, psi], dtype=torch.float64).deg2rad()
    assert torch.allclose(wrap(got - wanted + 1), torch.ones(2, dtype=torch.float64), atol=1e-9)


def test_set_torsions_moves_all_chains_to_one_value():
    x = random_positions(ALANINE_DIPEPTIDE, 20, seed=1)
    turned = set_torsions(x, ALANINE_DIPEPTIDE, {"phi_1": 60.0})
    torch.testing.assert_close(degrees(turned, "phi_1"), torch.full((20,), 60.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(degrees(turned, "psi_1"), degrees(x, "psi_1"), atol=1e-2, rtol=0)


def test_minima_are_as_low_as_openmms(case):
    noise = torch.randn(16, case.atoms.n_atoms, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = case.built + 0.01 * noise
    low = case.potential.energy(minimise(case.potential, x))
    context = openmm.Context(
        case.molecule.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    theirs = []
    for row in x.numpy():
        context.setPositions(row)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, 500)
        theirs.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert float(low.mean()) < np.mean(theirs) + 0.5 * KT
    assert (low < case.potential.energy(x)).all()


def test_a_minimisation_never_goes_uphill_and_leaves_what_it_cannot_better(dipeptide):
    x = dipeptide.built[None].repeat(3, 1, 1)
    x[1, 0] = x[1, 4]  # two atoms in one place
    x[2] = torch.nan
    low = minimise(dipeptide.potential, x, 20)
    assert not dipeptide.potential.energy(low[:2]).gt(dipeptide.potential.energy(x[:2])).any()
    assert low[2].isnan().all()
    assert torch.equal(minimise(Flat(), x[:1]), x[:1])


def test_strained_positions_are_replaced_by_other_chains(dipeptide):
    x = dipeptide.built[None].repeat(4, 1, 1)
    x[1] = torch.nan
    x[2] = x[2] * torch.tensor([-1.0, 1.0, 1.0])
    settled = settle(dipeptide.potential, x, kT=KT, restriction=dipeptide.restriction)
    assert torch.equal(settled[1], settled[3])
    assert torch.equal(settled[2], settled[0])
    assert not dipeptide.restriction.crossed(settled).any()
    with pytest.raises(ValueError, match="no start with a finite energy"):
        settle(dipeptide.potential, x[1:2], kT=KT, restriction=dipeptide.restriction)
