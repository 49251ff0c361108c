"""Peptide bonds drawn before the growth: their prior, their density, mirror images, and weights taken over."""

import math
from dataclasses import replace

import pytest
import torch
from test_growth import SMALL, THERMAL, Peptide

from timewarp import native
from timewarp.energies import Potential
from timewarp.flows.circular import grid
from timewarp.flows.growth import GrowthConfig, GrowthFlow
from timewarp.flows.growth.scale import NEAR_PI, from_scale, log_slope
from timewarp.flows.growth.twist import TwistHead, Twists, draw, log_density, logits_of, see
from timewarp.geometry import measure_dihedrals

FIRST = replace(SMALL, twists=True, chirality=True)
MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def peptide() -> Peptide:
    return Peptide("Ace-AP-Nme", "amber14-vacuum", n=4, config=FIRST)


def random_head() -> TwistHead:
    torch.manual_seed(2)
    head = TwistHead()
    torch.nn.init.normal_(head.read.weight, std=0.3)
    return head


def tables(peptide: Peptide) -> Twists:
    found = Twists.build(peptide.atoms, peptide.parameters, THERMAL, chirality=True)
    assert found is not None
    assert len(found.carriers) == 3
    return found


def test_the_prior_is_the_energy_of_what_is_rigid(peptide):
    """Everything but torsion terms of the bond, and pairs of its neighbours, taken out of the energy."""
    t, p = tables(peptide), peptide.parameters
    seen = see(t, peptide.x)
    for n in range(3):
        rest = torch.ones(peptide.atoms.n_atoms, dtype=torch.bool)
        rest[torch.cat([t.near[n], t.far[n]])] = False
        pairs = rest[p.exception_atoms].any(1)
        terms = torch.ones(len(p.torsion_k), dtype=torch.bool)
        for row in t.terms[t.of == n]:
            terms &= ~(p.torsion_atoms == row).all(1)
        local = replace(
            p,
            charge=p.charge.masked_fill(rest, 0),
            epsilon=p.epsilon.masked_fill(rest, 0),
            exception_charge_product=p.exception_charge_product.masked_fill(pairs, 0),
            exception_epsilon=p.exception_epsilon.masked_fill(pairs, 0),
            torsion_k=p.torsion_k.masked_fill(terms, 0),
        )
        energies = []
        for place in grid(48, peptide.x).tolist():
            x = turned_to(t, n, seen, peptide.x, place)
            energies.append(Potential(local, torch.float64).energy(x) / THERMAL + log_slope(torch.tensor(place)))
        energy = torch.stack(energies, 1)
        expected = energy.amin(1, keepdim=True) - energy
        near = expected > -20
        assert near.sum() > 20
        assert (seen.profile[:, n] - expected)[near].abs().max() < 1e-6


def turned_to(t, n, seen, x, place):
    from timewarp.geometry import turn

    change = (from_scale(torch.full_like(seen.place[:, n], place)) - from_scale(seen.place[:, n])) * seen.hands[:, n]
    return turn(x, t.corners[n, 1:3].expand(len(x), 2), t.turning[n].expand(len(x), -1), change)


def test_what_is_read_does_not_depend_on_torsions(peptide, generator):
    t = tables(peptide)
    before = see(t, peptide.x)
    flow = peptide.flow()
    with torch.no_grad():
        x = flow.redraw(peptide.x, peptide.way(), generator)[0]
    y, _ = draw(t, see(t, x), logits_of(random_head(), t, before, ()).detach(), x, generator)
    after = see(t, y)
    assert (after.place - before.place).abs().max() > 0.01
    torch.testing.assert_close(after.profile, before.profile, atol=1e-7, rtol=0)
    torch.testing.assert_close(after.stiff, before.stiff, atol=1e-8, rtol=0)


def test_draws_are_what_they_say_and_integrate_to_one(peptide, generator):
    t, head = tables(peptide), random_head()
    seen = see(t, peptide.x)
    with torch.no_grad():
        logits = logits_of(head, t, seen, (0, NEAR_PI, 0))
        y, log_q = draw(t, seen, logits, peptide.x, generator)
        torch.testing.assert_close(log_density(logits, see(t, y).place), log_q, atol=1e-8, rtol=0)
    rows = t.corners
    assert (measure_dihedrals(y, rows)[:, 1].cos() < 0).all()
    places = -math.pi + 2 * math.pi * (torch.arange(480, dtype=torch.float64) + 0.5) / 480
    one = logits[:1, 1:2].expand(480, 1, 48)
    total = (log_density(one, places[:, None]) - log_slope(places)).exp().sum() * (2 * math.pi / 480)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_a_full_redraw_has_the_density_that_it_is_scored_with(peptide, engine, generator):
    if engine == "native" and not native.available():
        pytest.skip(native.why_not())
    torch.manual_seed(3)
    flow = GrowthFlow(peptide.atoms, FIRST)
    torch.nn.init.normal_(flow.network.read_out.weight, std=0.1)
    flow.network.twist.load_state_dict(random_head().state_dict())
    proposer = flow.proposers(peptide.parameters, THERMAL, engine=engine)["flow"]
    assert proposer.redraws[list(peptide.atoms.twisting), 2].all()
    way, x = proposer.choose(generator), peptide.x.repeat(4, 1, 1)
    candidates, forward, backward = proposer.redraw(x, way, generator)
    before, after = (measure_dihedrals(positions, tables(peptide).corners) for positions in (x, candidates))
    assert (before != after).all()
    again = proposer.redraw(candidates, way, generator)[2]
    torch.testing.assert_close(again, forward, atol=3e-4, rtol=0)
    mirrored = proposer.redraw(x * MIRROR, way, generator)[2]
    torch.testing.assert_close(mirrored, backward, atol=1e-3, rtol=0)


def test_a_network_takes_over_the_weights_of_one_that_is_told_less(peptide):
    torch.manual_seed(3)
    old = GrowthFlow(peptide.atoms, SMALL).double()
    torch.nn.init.normal_(old.network.read_out.weight, std=0.1)
    with torch.no_grad():
        expected = old.score(peptide.x, peptide.way())
        for told in ({"twists": True, "chirality": True}, {"chirality": True}, {}):
            new = GrowthFlow(peptide.atoms, replace(SMALL, **told)).double()
            new.begin_with(old)
            torch.testing.assert_close(new.score(peptide.x, peptide.way()), expected, atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="cannot begin with the weights"):
        GrowthFlow(peptide.atoms, GrowthConfig(width=32, n_blocks=2, n_heads=2)).begin_with(old)
    with pytest.raises(ValueError, match="not twice"):
        GrowthConfig(omega=True, twists=True)
