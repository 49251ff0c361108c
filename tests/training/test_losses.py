"""Likelihood, acceptance and entropy against what is known of Gaussians; the guards."""

import math

import pytest
import torch
from gaussian_toy import GaussianProposal, harmonic, normal

from timewarp.flows import Candidate
from timewarp.training.cartesian import CartesianObjective
from timewarp.training.losses import (
    acceptance,
    entropy,
    largest_penalty,
    log_likelihood,
    propose,
    soften,
)

KNEE = 100.0
MANY = 20_000


def molecules(n: int) -> torch.Tensor:
    return torch.zeros(n, dtype=torch.long)


def proposed(flow, n=MANY, atoms=1, energy=harmonic, seed=0):
    x, v = normal(2, n, atoms, 3, seed=seed)
    return propose(flow, x, v, molecules(n), normal(2, n, atoms, 3, seed=seed + 1), energy)


def expected_acceptance(flow) -> float:
    ratio = proposed(flow, seed=50).log_ratio.detach()
    return float(ratio.clamp(max=0).exp().mean())


def maximise(flow, weights, steps=400, rate=0.02, energy=harmonic, data=None):
    """Gradient ascent on the objective that training uses, with fresh states each step."""
    objective = CartesianObjective(flow, lambda: energy, KNEE)
    optimiser = torch.optim.Adam(flow.parameters(), lr=rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        x, v, new_v, noise = normal(4, 512, 1, 3, seed=step)
        after = x if data is None else data * x + math.sqrt(1 - data**2) * noise
        latents = normal(2, 512, 1, 3, seed=step + 10_000)
        loss, _ = objective(x, after, molecules(512), torch.stack([v, new_v]), latents, weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return flow


# --- each loss against its closed form ----------------------------------------------------------------------------


def test_log_ratio_is_that_of_the_densities_written_out():
    """log r = log mu(x') N(v') + log q(x, v | x') - log mu(x) N(v) - log q(x', v' | x), each term by torch."""
    flow, n = GaussianProposal(0.4, 0.7, 1.3), 50
    x, v = normal(2, n, 2, 3)
    found = propose(flow, x, v, molecules(n), normal(2, n, 2, 3, seed=1), harmonic)
    there, new_v = found.candidate.positions[0], found.candidate.auxiliary[0]

    def log_normal(value, mean, width):
        return torch.distributions.Normal(mean, torch.tensor(width, dtype=torch.float64)).log_prob(value).sum((-1, -2))

    def log_q(value, auxiliary, given):
        return log_normal(value, 0.4 * given, 0.7) + log_normal(auxiliary, 0 * given, 1.3)

    signed = ((there, 1), (new_v, 1), (x, -1), (v, -1))
    target = sum(sign * log_normal(value, 0 * value, 1.0) for value, sign in signed)
    expected = target + log_q(x, v, there) - log_q(there, new_v, x)
    torch.testing.assert_close(found.log_ratio, expected)
    assert found.log_ratio.std() > 0.5


@pytest.mark.parametrize("flow", [GaussianProposal(0.3, 0.8), GaussianProposal(0.9, 0.6), GaussianProposal(0.0, 1.2)])
def test_acceptance_loss_is_minus_the_divergence_from_the_time_reversal(flow):
    """(x, x') has covariance [[1, a], [a, a^2 + s^2]], its reversal the same with x and x' exchanged; both have the
    determinant s^2, and KL = (1 - a^2 - s^2)^2 / (2 s^2) for each of three coordinates."""
    values = acceptance(proposed(flow), KNEE).detach()
    error = float(values.std()) / MANY**0.5
    assert float(values.mean()) == pytest.approx(-3 * float(flow.kl().detach()), abs=5 * error)
    assert float(values.mean()) < -5 * error  # away from the optimum: a wrong sign cannot pass


def test_entropy_loss_is_the_entropy():
    flow = GaussianProposal(0.4, 0.7, 1.3)
    values = entropy(proposed(flow)).detach()
    exact = 3 * (math.log(2 * math.pi * math.e) + math.log(0.7) + math.log(1.3))
    assert float(values.mean()) == pytest.approx(exact, abs=5 * float(values.std()) / MANY**0.5)


def test_likelihood_loss_is_the_cross_entropy_of_pairs():
    flow = GaussianProposal(0.4, 0.7)
    x, noise, v, new_v = normal(4, MANY, 1, 3)
    values = log_likelihood(flow, x, 0.6 * x + 0.8 * noise, v, new_v, molecules(MANY)).detach()
    # E (0.6 x + 0.8 n - 0.4 x)^2 = 0.2^2 + 0.8^2
    exact = -3 * (math.log(2 * math.pi) + math.log(0.7) + 0.5 * 0.68 / 0.49 + 0.5)
    assert float(values.mean()) == pytest.approx(exact, abs=5 * float(values.std()) / MANY**0.5)


@pytest.mark.parametrize("parameter", ["decay", "log_width", "log_auxiliary"])
def test_gradients_through_draw_densities_and_energy_are_numerical_derivatives(parameter):
    flow = GaussianProposal(0.4, 0.7, 1.2)

    def value():
        found = proposed(flow, n=200)
        return acceptance(found, KNEE).mean() + 0.3 * entropy(found).mean()

    value().backward()
    here = getattr(flow, parameter)
    analytic, step = float(here.grad), 1e-5
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            here.add_(sign * step)
            sides.append(float(value()))
            here.sub_(sign * step)
    assert analytic == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


# --- training to convergence ----------------------------------------------------------------------------------------


def test_training_on_acceptance_reaches_acceptance_one():
    flow = GaussianProposal(0.3, 0.4, 1.6)
    assert expected_acceptance(flow) < 0.5
    maximise(flow, (0.0, 1.0, 0.0))
    assert expected_acceptance(flow) > 0.999
    assert float(flow.decay.detach()) ** 2 + float((2 * flow.log_width).exp()) == pytest.approx(1.0, abs=2e-3)


def test_training_on_likelihood_finds_the_dynamics():
    """Pairs of an Ornstein-Uhlenbeck process: the maximum of likelihood is the process, and every move is accepted."""
    flow = maximise(GaussianProposal(0.0, 0.5, 1.3), (1.0, 0.0, 0.0), data=0.6)
    assert float(flow.decay) == pytest.approx(0.6, abs=0.02)
    assert float(flow.log_width.exp()) == pytest.approx(0.8, abs=0.02)
    assert expected_acceptance(flow) > 0.97


def test_training_on_acceptance_and_entropy_reaches_the_known_optimum():
    """Maximise -(1 - a^2 - S)^2 / (2 S) + (e / 2) ln S over a and S = s^2: a = 0 and S^2 - e S - 1 = 0."""
    e = 0.2
    best = (e + math.sqrt(e**2 + 4)) / 2
    flow = maximise(GaussianProposal(0.5, 0.6, 0.8), (0.0, 1.0, e), steps=800)
    assert abs(float(flow.decay)) < 0.05
    assert float((2 * flow.log_width).exp()) == pytest.approx(best, abs=0.02)
    assert float((2 * flow.log_auxiliary).exp()) == pytest.approx(best, abs=0.02)
    assert expected_acceptance(flow) > 0.9


def test_negative_control_a_wrong_sign_is_caught():
    """With the energy's sign turned, ascent runs away from acceptance."""

    def upside_down(positions, molecule):
        return -harmonic(positions, molecule)

    flow = maximise(GaussianProposal(0.3, 0.4, 1.0), (0.0, 1.0, 0.0), steps=100, energy=upside_down)
    assert expected_acceptance(flow) < 0.6


# --- guards -----------------------------------------------------------------------------------------------------------


def test_soften_is_the_identity_below_the_knee_and_rises_smoothly_above():
    x = torch.linspace(-300, 300, 61, dtype=torch.float64)
    torch.testing.assert_close(soften(x, KNEE)[x <= KNEE], x[x <= KNEE])
    around = torch.tensor([KNEE - 1e-4, KNEE + 1e-4], dtype=torch.float64, requires_grad=True)
    soft = soften(around, KNEE)
    assert float(soft[1] - soft[0]) == pytest.approx(2e-4, rel=1e-3)
    soft.sum().backward()
    torch.testing.assert_close(around.grad, torch.ones(2, dtype=torch.float64), atol=1e-5, rtol=0)
    far = 10.0 ** torch.arange(1, 309, dtype=torch.float64)
    assert bool((soften(far, KNEE).diff() > 0).all())
    assert float(soften(far, KNEE).max()) <= largest_penalty(KNEE) < 800 * KNEE


class Repulsive:
    """U / kT of two atoms that repel as r^-12."""

    def __init__(self, height: float = 1.0) -> None:
        self.height = height

    def __call__(self, positions, molecule):
        r = (positions[:, 0] - positions[:, 1]).norm(dim=-1)
        return self.height * (0.1 / r) ** 12


class Fixed(GaussianProposal):
    """Proposes a configuration that is a parameter."""

    def __init__(self, positions) -> None:
        super().__init__()
        self.there = torch.nn.Parameter(positions)

    def transform(self, latent_position, latent_auxiliary, condition):
        x = self.there.expand_as(latent_position)
        return Candidate(x, latent_auxiliary), torch.zeros(x.shape[:2], dtype=x.dtype)

    def log_prob(self, candidate, condition):
        return torch.zeros(candidate.positions.shape[:2], dtype=torch.float64)


def two_atoms(distance: float) -> torch.Tensor:
    return torch.tensor([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], dtype=torch.float64)


def gradient_for(distance: float, knee: float = KNEE, energy=None) -> tuple[float, torch.Tensor]:
    flow = Fixed(two_atoms(distance))
    start, zero = two_atoms(0.15)[None], torch.zeros(1, 2, 3, dtype=torch.float64)
    found = propose(
        flow, start, zero, molecules(1), torch.zeros(2, 1, 2, 3, dtype=torch.float64), energy or Repulsive()
    )
    loss = -acceptance(found, knee).mean()
    loss.backward()
    return float(loss), flow.there.grad


@pytest.mark.parametrize("distance", [0.08, 0.05, 1e-3, 1e-10, 1e-22])
def test_descent_leads_downhill_however_close_the_atoms(distance):
    """The loss is finite and its negative gradient pulls the atoms apart, with the slope knee * 12 / r far above it."""
    loss, gradient = gradient_for(distance)
    assert math.isfinite(loss)
    assert gradient[1, 0] < 0 < gradient[0, 0]
    energy = (0.1 / distance) ** 12
    slope = 12 * (energy if energy < KNEE else KNEE * energy / (energy - (0.1 / 0.15) ** 12)) / distance
    assert -float(gradient[1, 0]) == pytest.approx(slope, rel=1e-6)


def test_closer_atoms_cost_more():
    losses = [gradient_for(10.0**-k)[0] for k in range(1, 20)]
    assert losses == sorted(losses)


def test_negative_controls_of_the_guard():
    """What the guard replaces: a hard clamp has no gradient, and the bare energy no finite scale."""
    distance = 0.01
    x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    ((0.1 / x) ** 12).clamp(max=KNEE).backward()
    assert float(x.grad) == 0.0
    bare = 12 * (0.1 / distance) ** 12 / distance
    assert float(gradient_for(distance)[1].abs().max()) < 1e-6 * bare


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_proposal_that_is_not_finite_counts_most_and_teaches_nothing(broken):
    class Broken(Repulsive):
        def __call__(self, positions, molecule):
            energy = super().__call__(positions, molecule)
            return torch.where((positions[:, 1, 0] < 0.07), broken * energy, energy)

    loss, gradient = gradient_for(0.05, energy=Broken())
    assert loss == pytest.approx(largest_penalty(KNEE))
    assert not gradient.any()
    assert loss > gradient_for(1e-22)[0]


def test_the_others_of_the_batch_go_on():
    """One exploded row of a batch: the gradient is that of the other rows."""
    x, v = normal(2, 8, 2, 3)
    latents = normal(2, 8, 2, 3, seed=1)

    def explodes(positions, molecule):
        energy = harmonic(positions, molecule)
        # The first row is fine where it is, and broken wherever it goes.
        moved = (positions != x).flatten(1).any(1)
        return energy + torch.where(moved & (torch.arange(8) == 0), torch.inf, 0.0)

    def gradients(rows, energy):
        flow = GaussianProposal(0.4, 0.7)
        found = propose(flow, x[rows], v[rows], molecules(len(x[rows])), latents[:, rows], energy)
        acceptance(found, KNEE).sum().backward()
        return [p.grad for p in flow.parameters()], found.finite

    guarded, finite = gradients(slice(None), explodes)
    rest, _ = gradients(slice(1, None), harmonic)
    assert finite.tolist() == [False] + [True] * 7
    torch.testing.assert_close(guarded, rest)


def test_a_force_that_is_not_finite_is_dropped():
    class Cusp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.square().sum((-1, -2))

        @staticmethod
        def backward(ctx, g):
            return torch.full((1, 2, 3), torch.inf, dtype=torch.float64)

    _, gradient = gradient_for(0.1, energy=lambda positions, molecule: Cusp.apply(positions))
    assert not gradient.any()
