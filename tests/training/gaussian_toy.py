"""A Gaussian target and a Gaussian proposal, for which all that training does is known in closed form."""

import math

import torch
from torch import Tensor, nn

from timewarp.flows import Candidate


def harmonic(positions: Tensor, molecule: Tensor) -> Tensor:
    """U / kT of standard normal positions."""
    return 0.5 * positions.square().sum((-1, -2))


class GaussianProposal(nn.Module):
    """x' ~ N(decay x, width^2), v' ~ N(0, width_auxiliary^2): an Ornstein-Uhlenbeck step where width^2 = 1 - decay^2.

    Of the target N(0, I), with d coordinates x and as many v (see ``test_losses`` for the derivation):
    L_acc = -d (1 - decay^2 - width^2)^2 / (2 width^2) - d (1 - w^2)^2 / (2 w^2), w the width of v'.
    """

    family = "A"
    uses_auxiliary = False

    def __init__(self, decay: float = 0.3, width: float = 0.5, auxiliary: float = 1.0) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(decay, dtype=torch.float64))
        self.log_width = nn.Parameter(torch.tensor(width, dtype=torch.float64).log())
        self.log_auxiliary = nn.Parameter(torch.tensor(auxiliary, dtype=torch.float64).log())

    def encode(self, positions, auxiliary=None, molecule=None):
        return positions

    def sample(self, condition, n, generator):
        z = torch.randn(2, n, *condition.shape, generator=generator, dtype=condition.dtype)
        return self.transform(z[0], z[1], condition)

    def transform(self, latent_position, latent_auxiliary, condition):
        x = self.decay * condition + self.log_width.exp() * latent_position
        candidate = Candidate(x, self.log_auxiliary.exp() * latent_auxiliary)
        return candidate, self.log_prob(candidate, condition)

    def log_prob(self, candidate, condition):
        z = (candidate.positions - self.decay * condition) / self.log_width.exp()
        w = candidate.auxiliary / self.log_auxiliary.exp()
        log_normal = -0.5 * (z.square() + w.square()) - math.log(2 * math.pi) - self.log_width - self.log_auxiliary
        return log_normal.sum((-1, -2))

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from the time reversal, per coordinate x (the auxiliary's left out)."""
        variance = (2 * self.log_width).exp()
        return (1 - self.decay**2 - variance) ** 2 / (2 * variance)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
