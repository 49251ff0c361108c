"""Family C2 with peptide bonds among the torsions: their scale, their wells, and mirror images."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from test_growth import NEW, THERMAL, Peptide

from timewarp import native
from timewarp.energies import Parameters, Potential
from timewarp.flows.circular import grid, log_prob
from timewarp.flows.growth import GrowthConfig, GrowthFlow, Regrowth
from timewarp.flows.growth.compiled_features import features_of
from timewarp.flows.growth.handedness import alpha_carbons, signs
from timewarp.flows.growth.profiles import features, turn_to
from timewarp.flows.growth.scale import NEAR_PI, NEAR_ZERO, from_scale, log_slope, own_well, shut, to_scale
from timewarp.geometry import measure_dihedrals
from timewarp.molecules import build_molecule

MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def peptide() -> Peptide:
    return Peptide("Ace-AP-Nme", config=NEW)


def omega_steps(plan):
    return [k for k, step in enumerate(plan.steps) if step.twisting]


def mirrored(x):
    return x * MIRROR.to(x)


def test_the_scale_is_a_map_of_the_circle():
    angle = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[:-1]
    place = to_scale(angle)
    torch.testing.assert_close(torch.remainder(from_scale(place) - angle + 1, 2 * math.pi), torch.ones_like(angle))
    assert (place.diff() > 0)[1:].all()
    slope = (to_scale(angle + 1e-6) - to_scale(angle - 1e-6)) / 2e-6
    inner = (angle.abs() < 3).logical_and(angle.abs() > 1e-3)
    torch.testing.assert_close(log_slope(place)[inner].exp(), slope[inner], rtol=1e-6, atol=0)
    # A density in u is one in the angle by the slope: it integrates to one.
    logits = torch.randn(48, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).expand(4000, 48)
    density = (log_prob(logits, place) + log_slope(place)).exp()
    torch.testing.assert_close(density.sum() * (2 * math.pi / 4000), torch.ones_like(density[0]), rtol=1e-4, atol=0)


def test_wells_are_halves_of_the_circle():
    zero, pi = shut(48, [NEAR_ZERO, NEAR_PI])
    places = grid(48, torch.zeros(1).double())
    assert (~zero).sum() == (~pi).sum() == 23
    assert places[~zero].abs().max() < math.pi / 2 < places[~pi].abs().min()
    assert torch.equal(own_well(48, torch.tensor([0.3, -3.0]).double()), torch.stack([zero, pi]))


def test_peptide_bonds_of_every_kind_are_drawn(peptide):
    plan, atoms = peptide.plan(), peptide.atoms
    bonds = {frozenset(plan.steps[k].corners[1:3]) for k in omega_steps(plan)}
    assert bonds == {frozenset(row[1:3]) for row in atoms.peptide_bonds.tolist()}
    assert len(bonds) == 3  # after the cap, before proline, before the other cap
    assert plan.n_steps == len(atoms.tree.rotatable) + 3
    assert not build_molecule("AG", "amber14-vacuum").atoms.twisting[1:]


def test_the_profile_of_a_peptide_bond_is_the_energy_of_what_is_placed():
    """Atoms that are placed later are taken out of the energy."""
    ace = Peptide("Ace-A-Nme", "amber14-vacuum", n=3, config=NEW)
    plan = ace.plan()
    for k in omega_steps(plan):
        step = plan.steps[k]
        later = torch.ones(ace.atoms.n_atoms, dtype=torch.bool)
        later[torch.cat([step.old, step.fragment])] = False
        potential = Potential(without(ace.parameters, later), torch.float64)
        found = features(plan, ace.x)
        now = found.angle[:, k]
        turned = [turn_to(step, ace.x, torch.full_like(now, u), now) for u in grid(48, ace.x).tolist()]
        for u, x in zip(grid(48, ace.x).tolist(), turned, strict=True):
            angle = measure_dihedrals(x, torch.tensor([step.corners]))[:, 0]
            torch.testing.assert_close(angle.cos(), from_scale(torch.full_like(angle, u)).cos(), atol=1e-9, rtol=0)
        energy = torch.stack([potential.energy(x) for x in turned], 1) / THERMAL + log_slope(grid(48, ace.x))
        expected = energy.amin(1, keepdim=True) - energy
        near = expected > -20
        assert near.sum() > 20
        assert (found.profile[:, k] - expected)[near].abs().max() < 1e-6
        # What it would be without the slope is another thing: the test sees it.
        wrong = expected + log_slope(grid(48, ace.x))
        assert (found.profile[:, k] - wrong + wrong.amax(1, keepdim=True))[near].abs().max() > 0.1


def without(p: Parameters, gone: torch.Tensor) -> Parameters:
    """A force field in which some atoms have no non-bonded or torsion energy."""
    pairs, torsions = gone[p.exception_atoms].any(1), gone[p.torsion_atoms].any(1)
    return replace(
        p,
        charge=p.charge.masked_fill(gone, 0),
        epsilon=p.epsilon.masked_fill(gone, 0),
        exception_charge_product=p.exception_charge_product.masked_fill(pairs, 0),
        exception_epsilon=p.exception_epsilon.masked_fill(pairs, 0),
        torsion_k=p.torsion_k.masked_fill(torsions, 0),
    )


@pytest.mark.parametrize("wells", [(), (NEAR_ZERO, NEAR_PI, NEAR_ZERO)])
def test_density_over_one_peptide_bond_integrates_to_one(peptide, wells):
    flow, plan = peptide.flow(), peptide.plan()
    k = omega_steps(plan)[1]
    step, n = plan.steps[k], 480
    x = peptide.x[:1]
    places = -math.pi + 2 * math.pi * (torch.arange(n, dtype=x.dtype) + 0.5) / n
    turned = turn_to(step, x.expand(n, -1, -1), places, features(plan, x).angle[:, k].expand(n))
    each = [0] * plan.n_steps
    for place, well in zip(omega_steps(plan), wells, strict=False):
        each[place] = well
    chosen = tuple(each) if wells else ()
    with torch.no_grad():
        first, rest = (flow.score(turned, Regrowth(plan, kept, chosen)) for kept in (k, k + 1))
    # Piecewise linear in u, so that the middles of parts of its cells integrate it exactly.
    weight = (first - rest).exp() * (-log_slope(places)).exp() * (2 * math.pi / n)
    torch.testing.assert_close(weight.sum(), torch.ones_like(weight[0]), atol=1e-6, rtol=0)
    if wells:
        assert weight[places.cos() < 0].sum() > 0.999


def test_wells_that_are_shut_are_not_entered(peptide, generator):
    flow, plan = peptide.flow(), peptide.plan()
    places = omega_steps(plan)
    corners = torch.tensor([plan.steps[k].corners for k in places])
    x = peptide.x.repeat(40, 1, 1)
    wells = [0] * plan.n_steps
    for k, well in zip(places, (NEAR_ZERO, NEAR_PI, NEAR_PI), strict=True):
        wells[k] = well
    for draws in (flow, flow.float().with_engine("native") if native.available() else flow):
        with torch.no_grad():
            y = draws.redraw(x, Regrowth(plan, 0, tuple(wells)), generator)[0]
        near = measure_dihedrals(y, corners).cos() > 0
        assert (near.double().mean(0) - torch.tensor([1.0, 0.0, 0.0])).abs().max() < 0.02


def test_mirror_images_are_treated_alike(peptide, generator):
    """Density and draws of a mirror image are the mirror images of density and draws, whatever the weights."""
    flow = peptide.flow()
    way = peptide.way(peptide.order(generator), 1)
    with torch.no_grad():
        here, there = flow.score(peptide.x, way), flow.score(mirrored(peptide.x), way)
        torch.testing.assert_close(there, here, atol=1e-8, rtol=0)
        drawn = [flow.redraw(x, way, torch.Generator().manual_seed(4))[0] for x in (peptide.x, mirrored(peptide.x))]
        torch.testing.assert_close(drawn[1], mirrored(drawn[0]), atol=1e-7, rtol=0)
        # A network that does not look at handedness treats them differently.
        blind = Peptide("Ace-AP-Nme", config=replace(NEW, chirality=False))
        difference = blind.flow().score(blind.x, blind.way()) - blind.flow().score(mirrored(blind.x), blind.way())
        assert difference.abs().min() > 0.01


def test_each_residue_has_its_own_mirror():
    """A D residue beside an L one: told apart, and the other way round it is the mirror image."""
    peptide = Peptide("AV", config=NEW)
    plan = peptide.plan()
    x = peptide.x
    alphas = alpha_carbons(peptide.atoms)
    assert len(alphas) == 2
    assert (signs(x, torch.tensor(alphas)) == 1).all()  # L by convention
    assert (signs(mirrored(x), torch.tensor(alphas)) == -1).all()
    assert features(plan, x).spatial[..., -1].abs().max() == 0
    mixed = epimer(peptide.atoms, x, alphas[1][0])
    hands = signs(mixed, torch.tensor(alphas))
    assert (hands[:, 0] != hands[:, 1]).all()
    told = features(plan, mixed).spatial[..., -1]
    assert set(told.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(features(plan, mirrored(mixed)).spatial, features(plan, mixed).spatial)
    flow = peptide.flow()
    with torch.no_grad():
        way = peptide.way()
        torch.testing.assert_close(flow.score(mixed, way), flow.score(mirrored(mixed), way), atol=1e-8, rtol=0)


def epimer(atoms, x, centre):
    """Exchange the directions of two substituents of a centre: its hydrogen and one other."""
    bonded = [j for pair in atoms.bonds if centre in pair for j in pair if j != centre]
    hydrogen = next(j for j in bonded if atoms.elements[j] == "H")
    out = x.clone()
    out[:, hydrogen] = 2 * x[:, centre] - x[:, hydrogen]  # through the centre: the other side of the other three
    return reflect_rest(out, x, bonded, hydrogen, centre)


def reflect_rest(out, x, bonded, hydrogen, centre):
    """The side chain's first atom and the hydrogen change places by name: enough to turn the sign of the volume."""
    side = [j for j in bonded if j != hydrogen][-1]
    out[:, hydrogen], out[:, side] = x[:, side].clone(), x[:, hydrogen].clone()
    return out


@pytest.mark.skipif(not native.available(), reason=native.why_not())
@pytest.mark.parametrize("mirror", [False, True])
def test_compiled_kernels_are_torchs(peptide, mirror, generator):
    torch.manual_seed(3)
    single = GrowthFlow(peptide.atoms, GrowthConfig(width=24, n_blocks=2, n_heads=3, omega=True, chirality=True))
    with torch.no_grad():
        for parameter in single.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    double, compiled = copy.deepcopy(single).double(), single.with_engine("native")
    x = mirrored(peptide.x) if mirror else peptide.x
    x = x.repeat(5, 1, 1).float()
    plan = peptide.plan()
    found, expected = features_of(plan, x), features(plan, x.double())
    for key, tolerance in {"angle": 1e-5, "profile": 0.01, "ahead": 1e-3, "bends": 1e-4, "spatial": 1e-4}.items():
        torch.testing.assert_close(getattr(found, key).double(), getattr(expected, key), atol=tolerance, rtol=0)
    well = tuple(NEAR_PI if step.twisting else 0 for step in plan.steps)
    for way in (Regrowth(plan), Regrowth(plan, 3, well), peptide.way(peptide.order(generator), 1)):
        with torch.no_grad():
            there, forward, backward = compiled.redraw(x, way, torch.Generator().manual_seed(2))
            wanted, q_there, q_here = double.redraw(x, way, torch.Generator().manual_seed(2))
        assert (there - wanted).abs().median() < 1e-5
        assert (forward - q_there).abs().median() < 2e-3
        torch.testing.assert_close(backward, q_here, atol=3e-3, rtol=0)
        again = compiled.redraw(there, way, torch.Generator())[2]
        torch.testing.assert_close(again, forward, atol=2e-4, rtol=0)
