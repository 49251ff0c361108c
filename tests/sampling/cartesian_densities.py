"""Densities of family A with known answers, and kernels on the augmented target that are right or broken on purpose."""

from __future__ import annotations

import math

import torch
from analytic_targets import TEMPERATURE_K, TOY, DoubleWell, Gaussian, ToyMolecule

from timewarp.flows import AuxiliaryProposer, Candidate, CartesianFlow, CartesianFlowConfig
from timewarp.sampling import HMC, BatchedMove, Cycle, Target
from timewarp.sampling.kernel import add_infos
from timewarp.state import State

MASSES = torch.tensor(TOY.masses, dtype=torch.float64).clamp(min=8.0)


class Linear:
    """(z', v') = A (z, v) + N (noise, noise) for each number, z being the whitened positions; A and N are 2 x 2.

    It is the exact transition of an Ornstein-Uhlenbeck process, reversible with respect to N(0, I) in (z, v), if A is
    symmetric and N N^T = I - A A^T.
    """

    def __init__(self, A, N, mean=None, factor=None):
        self.A, self.N = (torch.tensor(m, dtype=torch.float64) for m in (A, N))
        self.uses_auxiliary = bool(self.A[:, 1].any())
        self.mean, self.factor = mean, factor

    @classmethod
    def exact(cls, A, mean, factor):
        a = torch.tensor(A, dtype=torch.float64)
        return cls(A, torch.linalg.cholesky(torch.eye(2, dtype=torch.float64) - a @ a.T).tolist(), mean, factor)

    def whiten(self, x):
        if self.factor is None:
            return x
        z = torch.linalg.solve_triangular(self.factor, (x.flatten(-2) - self.mean)[..., None], upper=False)[..., 0]
        return z.reshape(x.shape)

    def colour(self, z):
        if self.factor is None:
            return z
        return (self.mean + z.flatten(-2) @ self.factor.T).reshape(z.shape)

    def encode(self, positions, auxiliary=None, molecule=None):
        assert (auxiliary is not None) == self.uses_auxiliary
        z = self.whiten(positions)
        v = torch.zeros_like(z) if auxiliary is None else auxiliary
        return torch.einsum("ij,j...->i...", self.A, torch.stack([z, v]))

    def sample(self, condition, n, generator):
        shape = (2, n, *condition.shape[1:])
        noise = torch.randn(shape, generator=generator, dtype=condition.dtype)
        z, v = condition[:, None] + torch.einsum("ij,j...->i...", self.N, noise)
        candidate = Candidate(self.colour(z), v)
        return candidate, self.log_prob(candidate, condition)

    def log_prob(self, candidate, condition):
        z, v = self.whiten(candidate.positions), candidate.auxiliary
        offset = torch.stack([z, v]) - condition[:, None]
        noise = torch.einsum("ij,j...->i...", torch.linalg.inv(self.N), offset)
        log_density = (-0.5 * noise.square() - 0.5 * math.log(2 * math.pi)).sum((0, -1, -2))
        log_density = log_density - torch.linalg.slogdet(self.N)[1] * z[0, 0].numel()
        return log_density if self.factor is None else log_density - self.factor.diagonal().log().sum()


class Lopsided:
    """For the double well: hops from well to well, and is too narrow along y and z.

    From where y or z is large it is accepted rarely, so that it matters when the local kernel runs. What leaves the
    right well has a narrow v', so that only a small v lets a chain go there: v decides on one side alone.
    """

    uses_auxiliary = False
    KEEP = torch.tensor([-0.9, 0.2, 0.2], dtype=torch.float64)
    WIDTH = torch.tensor([0.45, 0.5, 0.5], dtype=torch.float64)
    V_LEFT, V_RIGHT = 1.0, 0.3

    def encode(self, positions, auxiliary=None, molecule=None):
        return positions

    def v_scale(self, condition):
        return torch.where(condition[..., :1] > 0, self.V_RIGHT, self.V_LEFT)

    def sample(self, condition, n, generator):
        noise = torch.randn(2, n, *condition.shape, generator=generator, dtype=condition.dtype)
        candidate = Candidate(self.KEEP * condition + self.WIDTH * noise[0], self.v_scale(condition) * noise[1])
        return candidate, self.log_prob(candidate, condition)

    def log_prob(self, candidate, condition):
        scale = self.v_scale(condition)
        x = (candidate.positions - self.KEEP * condition) / self.WIDTH
        v = candidate.auxiliary / scale
        constant = 3 * math.log(2 * math.pi) + self.WIDTH.log().sum()
        return -(0.5 * (x.square() + v.square()) + scale.log()).sum((-1, -2)) - constant


EXACT = {
    "x alone": [[0.8, 0.0], [0.0, 0.0]],
    "x and v": [[0.5, 0.4], [0.4, 0.2]],
}
ROUGH = {
    # v' tells where x' came from, so that what v says decides on the way back: like a trained flow, only worse
    "x alone": ([[0.55, 0.0], [0.3, 0.0]], [[1.0, 0.0], [0.5, 0.7]]),
    "x and v": ([[0.5, 0.5], [-0.3, 0.2]], [[0.9, 0.0], [0.3, 0.9]]),
}


def lower_gaussian():
    """The correlated Gaussian with its covariance in a triangular factor."""
    law = Gaussian()
    law.factor = torch.linalg.cholesky(law.factor @ law.factor.T)
    law.precision = torch.linalg.inv(law.factor @ law.factor.T)
    return law


def augmented_case(name, proposals, n_steps=16, *, proposer=AuxiliaryProposer, local=True, cycle=Cycle):
    """A rough density and a local kernel after every ``n_steps`` of its steps."""
    law = DoubleWell() if name == "lopsided" else lower_gaussian()
    target = Target(law, TEMPERATURE_K, invariant=False)
    density = Lopsided() if name == "lopsided" else Linear(*ROUGH[name], law.mean, law.factor)
    flow = BatchedMove(target, proposer(density), proposals=proposals, n_steps=n_steps)
    masses = torch.ones(1) if name == "lopsided" else torch.tensor([1.0, 3.0])
    hmc = HMC(target, masses, n_steps=4, step_fs=200.0, adaptive=False)
    return law, cycle([flow, hmc] if local else [flow])


def cartesian_network(atoms, width_nm=0.005, noise=0.01, **config):
    """A real network with random weights that proposes small steps: a poor proposal, and so a good test."""
    small = {"n_couplings": 2, "n_layers": 1, "width": 8, "feed_forward": 8, "mlp_hidden": 8, "embedding": 4}
    small |= {"frame": "molecule", "initial_scale": 0.0}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        flow = CartesianFlow(atoms, CartesianFlowConfig(**{**small, **config}))
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(noise * torch.randn(parameter.shape))
            flow.log_scale_position.fill_(math.log(width_nm / flow.config.length_unit_nm))
            flow.log_scale_auxiliary.fill_(0.1)
    return flow.eval()


def bond_network(toy, steps=300, step_nm=0.012):
    """A network of bond vectors that has learnt, roughly, to shake each atom a little."""
    small = {"n_couplings": 4, "n_layers": 1, "width": 16, "feed_forward": 32, "mlp_hidden": 32, "embedding": 4}
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        flow = CartesianFlow(TOY, CartesianFlowConfig(**small))
    x = toy.draw(4000, generator).float()
    flow.fit_prior(x[:500], x[:500])
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for step in range(steps):
        before = x[torch.randint(len(x), (64,), generator=generator)]
        noise = torch.randn(2, *before.shape, generator=generator)
        loss = -flow.log_prob(Candidate((before + step_nm * noise[0])[None], noise[1:]), flow.encode(before)).mean()
        optimiser.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return flow.double().eval()


def bond_case():
    """Bond vectors in double precision on the toy molecule, and a local kernel."""
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    flow = BatchedMove(target, AuxiliaryProposer(bond_network(toy)), proposals=4, n_steps=6)
    return toy, Cycle([flow, HMC(target, MASSES, n_steps=3, step_fs=25.0, adaptive=False)])


def network_case(**config):
    """Family A's network in double precision on the toy molecule, and a local kernel."""
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    (proposer,) = cartesian_network(TOY, **config).double().proposers(None, target.kT).values()
    flow = BatchedMove(target, proposer, proposals=4, n_steps=6)
    return toy, Cycle([flow, HMC(target, MASSES, n_steps=3, step_fs=25.0, adaptive=False)])


# --- broken on purpose ----------------------------------------------------------------------------------------------


class SharedAuxiliary(AuxiliaryProposer):
    """One Gibbs update for a whole batch: v is kept after a rejection, and redrawn after an acceptance."""

    def draw_auxiliaries(self, n, x, generator):
        return super().draw_auxiliaries(1, x, generator).expand(n, *x.shape)


class FlippedRatio(AuxiliaryProposer):
    def speculate(self, x, n, most, generator):
        candidates, log_ratio = super().speculate(x, n, most, generator)
        return candidates, -log_ratio


class NoAuxiliaryDensity(AuxiliaryProposer):
    """Forgets N(v'; 0, I) / N(v; 0, I)."""

    def draw(self, x, v, generator):
        drawn, log_q = super().draw(x, v, generator)
        return drawn, log_q + 0.5 * (v.square() - drawn.auxiliary.square()).sum((-1, -2))


class LocalPerBatch(Cycle):
    """Runs the local kernel after each batch, though every chain makes the same number of steps."""

    def step(self, state, generator):
        flow, local = self.kernels
        positions, energy = state.positions.clone(), state.energy.clone()
        left = torch.full((state.n_chains,), flow.n_steps)
        info = {}
        while len(active := left.nonzero()[:, 0]):
            here = State(positions[active], energy[active])
            here, outcome = flow.batch(here, flow.proposals, left[active], generator)
            left[active] -= outcome.proposed
            here, _ = local.step(here, generator)
            positions[active], energy[active] = here.positions, here.energy
        return State(positions, energy), info


class StoredPerBatch(Cycle):
    """Ends a step with the batch, whatever number of steps that was."""

    def step(self, state, generator):
        flow, local = self.kernels
        state, outcome = flow.batch(state, flow.proposals, torch.full((state.n_chains,), flow.proposals), generator)
        state, info = local.step(state, generator)
        return state, add_infos({"flow": outcome}, info)
