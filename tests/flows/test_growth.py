"""Family C2: exact densities on the circle, profiles that see nothing of the future, and log q as it was drawn."""

import math

import pytest
import torch

from timewarp import native
from timewarp.energies import Potential, compile_system
from timewarp.flows.circular import grid, log_prob, node_density, resample, sample
from timewarp.flows.growth import GrowthConfig, GrowthFlow, GrowthPlan, Regrowth, build_plan, order_by, random_order
from timewarp.flows.growth.compiled_features import features_of
from timewarp.flows.growth.flow import slopes
from timewarp.flows.growth.profiles import features, outlook_at, outlooks, turn_to
from timewarp.geometry import to_internal
from timewarp.molecules import build_molecule
from timewarp.sampling import HMC, Target, TorsionMove
from timewarp.state import State
from timewarp.units import kT

SMALL = GrowthConfig(width=16, n_blocks=2, n_heads=2)
NEW = GrowthConfig(width=16, n_blocks=2, n_heads=2, omega=True, chirality=True)
THERMAL = kT(310.0)


class Peptide:
    """A molecule, its energy, and a few strained but thermal configurations."""

    def __init__(self, name: str, preset: str = "amber14-obc2", n: int = 6, config: GrowthConfig = SMALL) -> None:
        self.config = config
        self.told = {"omega": config.omega, "chirality": config.chirality}
        self.molecule = build_molecule(name, preset)
        self.atoms = self.molecule.atoms
        self.parameters = compile_system(self.molecule.system)
        self.potential = Potential(self.parameters, torch.float64)
        target = Target(self.potential, 310.0)
        generator = torch.Generator().manual_seed(5)
        start = self.molecule.start_positions.double().expand(n, -1, -1).contiguous()
        state = State(start, self.potential.energy(start))
        kernels = [HMC(target, torch.tensor(self.atoms.masses), n_steps=20, step_fs=1.0)]
        kernels += [TorsionMove(target, self.atoms.tree)] * 4
        for _ in range(15):
            for kernel in kernels:
                state, _ = kernel.step(state, generator)
        self.x = state.positions

    def flow(self, config: GrowthConfig | None = None) -> GrowthFlow:
        """A network with random weights, read-out included."""
        torch.manual_seed(3)
        flow = GrowthFlow(self.atoms, config or self.config).double()
        torch.nn.init.normal_(flow.network.read_out.weight, std=0.1)
        return flow

    def plan(self, order: tuple[int, ...] | None = None, thermal: float = THERMAL) -> GrowthPlan:
        """Tables of a growth as the network reads them."""
        return build_plan(self.atoms, self.parameters, thermal, order, **self.told)

    def way(self, order: tuple[int, ...] | None = None, kept: int = 0, thermal: float = THERMAL) -> Regrowth:
        """All torsions but the first ``kept`` of an order."""
        return Regrowth(self.plan(order, thermal), kept)

    def order(self, generator: torch.Generator) -> tuple[int, ...]:
        """A random order of growth."""
        return random_order(self.atoms, generator, self.config.omega)


PEPTIDES = [("AK", SMALL), ("Ace-P-Nme", SMALL), ("RD", SMALL), ("AK", NEW), ("Ace-P-Nme", NEW)]


@pytest.fixture(scope="module", params=PEPTIDES, ids=lambda p: f"{p[0]}{'-omega' if p[1].omega else ''}")
def peptide(request: pytest.FixtureRequest) -> Peptide:
    """Small, with a ring, and with opposite charges; with and without peptide bonds among the torsions."""
    return Peptide(request.param[0], config=request.param[1])


def test_density_integrates_to_one_and_draws_follow_it(generator: torch.Generator) -> None:
    logits = 3 * torch.randn(4, 48, generator=generator, dtype=torch.float64)
    fine = -math.pi + 2 * math.pi * (torch.arange(48_000, dtype=torch.float64) + 0.5) / 48_000
    density = log_prob(logits[:, None].expand(4, 48_000, 48), fine.expand(4, -1)).exp()
    torch.testing.assert_close(density.sum(-1) * (2 * math.pi / 48_000), torch.ones(4, dtype=torch.float64))
    # The distribution function of a draw is the uniform number that it was drawn with.
    uniform = torch.rand(4, 64, generator=generator, dtype=torch.float64)
    drawn = sample(logits[:, None].expand(4, 64, 48), uniform)
    below = (density[:, None] * (fine <= drawn[..., None])).sum(-1) * (2 * math.pi / 48_000)
    torch.testing.assert_close(below, uniform, atol=8e-4, rtol=0)


def test_density_is_periodic_and_never_vanishes() -> None:
    logits = torch.full((1, 48), -1e4)
    logits[0, 7] = 0.0
    angle = torch.tensor([2.9])
    torch.testing.assert_close(log_prob(logits, angle), log_prob(logits, angle + 2 * math.pi))
    assert node_density(logits).min() > 1e-5


def test_fourier_interpolation_is_exact_for_low_harmonics() -> None:
    coarse, fine = grid(16, torch.zeros(1).double()), grid(48, torch.zeros(1).double())
    wave = lambda a: 0.3 + torch.cos(3 * a) - 2 * torch.sin(7 * a)  # noqa: E731
    torch.testing.assert_close(wave(coarse) @ resample(16, 48), wave(fine))


def test_last_profile_is_the_energy(peptide: Peptide, generator: torch.Generator) -> None:
    for order in (None, peptide.order(generator)):
        plan = peptide.plan(order)
        found = features(plan, peptide.x)
        k = plan.n_steps - 1
        turned = [
            turn_to(plan.steps[k], peptide.x, torch.full_like(found.angle[:, k], a), found.angle[:, k])
            for a in grid(48, peptide.x).tolist()
        ]
        energy = torch.stack([peptide.potential.energy(x) for x in turned], 1) / THERMAL
        expected = energy.amin(1, keepdim=True) - energy
        # The solvent is interpolated between 16 angles; far above the minimum nobody looks.
        near = expected > -8
        assert (found.profile[:, k] - expected)[near].abs().max() < 0.25
        assert (found.profile[:, k] - expected)[near].abs().mean() < 0.02


def test_profiles_of_all_presets_follow_the_energy() -> None:
    for preset in ("amber14-vacuum", "amber14-obc1", "amber99sbildn-obc"):
        ace = Peptide("Ace-A-Nme", preset, n=2)
        plan = build_plan(ace.atoms, ace.parameters, THERMAL)
        found, k = features(plan, ace.x), plan.n_steps - 1
        turned = [
            turn_to(plan.steps[k], ace.x, torch.full_like(found.angle[:, k], a), found.angle[:, k])
            for a in grid(48, ace.x).tolist()
        ]
        energy = torch.stack([ace.potential.energy(x) for x in turned], 1) / THERMAL
        assert (found.profile[:, k] - (energy.amin(1, keepdim=True) - energy)).abs().max() < 0.3


def test_features_see_nothing_of_what_is_not_placed(peptide: Peptide, generator: torch.Generator) -> None:
    """The bug that hides behind good acceptance: a profile that leaks its own angle."""
    for order in (None, peptide.order(generator)):
        plan = peptide.plan(order)
        before = features(plan, peptide.x)
        for k in range(plan.n_steps):
            y = peptide.x
            for j in range(k, plan.n_steps):
                change = torch.rand(len(y), generator=generator, dtype=y.dtype) * 6
                y = turn_to(plan.steps[j], y, before.angle[:, j] + change, before.angle[:, j])
            after = features(plan, y)
            for name in ("profile", "ahead", "bends", "spatial"):
                gap = getattr(after, name)[:, k] - getattr(before, name)[:, k]
                assert gap.abs().max() < 1e-8, (name, k)


def test_outlook_at_is_one_of_the_outlooks(peptide: Peptide) -> None:
    plan = peptide.plan()
    for k, outlook in enumerate(outlooks(plan, peptide.x)):
        torch.testing.assert_close(outlook_at(plan, k, peptide.x).mean, outlook.mean)


def test_log_q_of_a_draw_is_what_it_was_drawn_with(peptide: Peptide, generator: torch.Generator) -> None:
    flow = peptide.flow().float()
    order = peptide.order(generator)
    ways = [peptide.way(), peptide.way(kept=2), peptide.way(order, 1)]
    for way in ways:
        with torch.no_grad():
            y, log_q = flow.redraw(peptide.x, way, generator, score=False)[:2]
            again = flow.score(y, way)
        torch.testing.assert_close(again, log_q, atol=1e-4, rtol=0)


def test_regrowth_keeps_what_it_says(peptide: Peptide, generator: torch.Generator) -> None:
    flow = peptide.flow()
    order = peptide.order(generator)
    kept = 2
    with torch.no_grad():
        y, _ = flow.redraw(peptide.x, peptide.way(order, kept), generator, score=False)[:2]
    tree = peptide.atoms.tree
    before, after = to_internal(peptide.x, tree), to_internal(y, tree)
    torsions = peptide.way().plan.torsions
    redrawn = [torsions[k] for k in order[kept:]]
    same = torch.ones_like(before[0], dtype=torch.bool)
    same[redrawn, 2] = False
    change = torch.remainder(after - before + math.pi, 2 * math.pi) - math.pi
    assert change[:, same].abs().max() < 1e-9
    assert (change[:, redrawn, 2].abs() > 1e-6).all()


def test_density_over_one_torsion_integrates_to_one(peptide: Peptide) -> None:
    flow = peptide.flow()
    plan = peptide.way().plan
    way, step = Regrowth(plan, plan.n_steps - 1), plan.steps[-1]
    n = 480
    x = peptide.x[:1]
    now = features(plan, x).angle[:, -1]
    angles = -math.pi + 2 * math.pi * (torch.arange(n, dtype=x.dtype) + 0.5) / n
    turned = turn_to(step, x.expand(n, -1, -1), angles, now.expand(n))
    with torch.no_grad():
        total = flow.score(turned, way).exp().sum() * (2 * math.pi / n)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


def test_rigid_motion_and_company_change_nothing(peptide: Peptide) -> None:
    flow = peptide.flow()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    turn = turn * torch.linalg.det(turn)
    with torch.no_grad():
        log_q = flow.score(peptide.x, peptide.way())
        moved = flow.score(peptide.x @ turn + 0.7, peptide.way())
        alone = flow.score(peptide.x[:1], peptide.way())
    torch.testing.assert_close(moved, log_q, atol=1e-8, rtol=0)
    torch.testing.assert_close(alone, log_q[:1], atol=1e-9, rtol=0)


def test_untrained_network_is_the_prior(peptide: Peptide) -> None:
    torch.manual_seed(0)
    flow = GrowthFlow(peptide.atoms, peptide.config).double()
    plan = peptide.plan()
    found = features(plan, peptide.x)
    with torch.no_grad():
        expected = (log_prob(found.profile, found.angle) + slopes(plan, found.angle)).sum(-1)
        torch.testing.assert_close(flow.score(peptide.x, peptide.way()), expected)


def test_network_without_physics_sees_no_energy(peptide: Peptide) -> None:
    flow = peptide.flow(GrowthConfig(width=16, n_blocks=1, n_heads=2, physics=False))
    with torch.no_grad():
        here, there = (flow.score(peptide.x, peptide.way(thermal=t)) for t in (THERMAL, 10 * THERMAL))
    torch.testing.assert_close(here, there)


def test_orders_follow_the_tree(peptide: Peptide, generator: torch.Generator) -> None:
    n = peptide.plan().n_steps
    assert order_by(peptide.atoms, list(range(n)), peptide.config.omega) == tuple(range(n))
    with pytest.raises(ValueError, match="names each of"):
        peptide.plan((0,) * n)
    backwards = tuple(reversed(range(n)))
    with pytest.raises(ValueError, match="hangs on"):
        peptide.plan(backwards)


def test_flow_needs_a_force_field(peptide: Peptide) -> None:
    with pytest.raises(ValueError, match="needs the parameters"):
        GrowthFlow(peptide.atoms, SMALL).proposers(None, THERMAL)


def test_config_is_checked() -> None:
    for wrong in ({"width": 0}, {"width": 10, "n_heads": 4}, {"harmonics": 30}):
        with pytest.raises(ValueError, match=r"must be"):
            GrowthConfig(**wrong)


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_compiled_features_are_torchs(peptide: Peptide, generator: torch.Generator) -> None:
    before, found = native.instruction_set(), []
    plan = peptide.plan(peptide.order(generator))
    expected = features(plan, peptide.x)
    for name in ("baseline", "avx2", "avx512"):
        try:
            native.core().choose_instruction_set(name)
            found.append(features_of(plan, peptide.x))
        except ValueError:
            continue  # this processor does not have it
        finally:
            native.core().choose_instruction_set(before)
    assert found
    for f in found:
        # Single precision, on steep walls: the profile is in kT and cut off at 25.
        for key, tolerance in {"angle": 1e-5, "profile": 0.01, "ahead": 1e-3, "bends": 1e-4, "spatial": 1e-4}.items():
            torch.testing.assert_close(getattr(f, key).double(), getattr(expected, key), atol=tolerance, rtol=0)
