"""Hamiltonian Monte Carlo over all Cartesian coordinates, many chains at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..flows.proposer import Proposal
from ..shapes import Float
from ..state import State, repartition_hydrogen_mass
from ..units import FEMTOSECONDS_PER_PICOSECOND
from .kernel import Outcome, Tuning
from .length import LengthTrial
from .move import Move
from .target import Target

MOST_STEPS = 10_000
"""Leapfrog steps of a trajectory, at most."""


class HMC(Move):
    """Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011): fresh momenta, a leapfrog trajectory, accept or reject.

    The leapfrog is the position-first one (half a drift, kick and drift in turn, half a drift): its expected energy
    error is that of the momentum-first one, and ``n_steps`` of it need ``n_steps`` forces and one energy, none of them
    at the current state, whose energy the state carries. It preserves volume and is reversible, so that
    ``log_ratio = (K(p) - K(p')) / kT``.

    Masses are a free choice: momenta are auxiliary, so they change how fast the chain moves, never where it goes.
    On a target without rigid motion the total momentum is drawn as zero; forces of such a target conserve it.

    The step size of each step is drawn per chain, uniformly within ``jitter`` of the tuned one and independently of
    the state, so that no vibration stays in resonance with the trajectory's length (Neal 2011, section 3.2).

    Warm-up sets the step size by dual averaging towards ``target_acceptance`` (Hoffman & Gelman 2014, section 3.2);
    :meth:`freeze` fixes it at the averaged value. With a ``trial`` it also tries several numbers of steps, and keeps
    the one with the cheapest independent sample.

    Args:
        target: the distribution.
        masses: of each atom, in Da; the molecule's, with hydrogens of 3 Da
            (:func:`timewarp.state.repartition_hydrogen_mass`), by default.
        n_steps: leapfrog steps in a trajectory.
        step_fs: step size before adaptation.
        target_acceptance: what the adaptation aims for.
        jitter: relative half-width of the step size's distribution, in [0, 1).
        adaptive: whether :meth:`adapt` does anything.
        trial: numbers of steps to try in warm-up; None for the given ``n_steps``.
        name: the key of its outcomes.

    Raises:
        ValueError: a number is out of its range, or there are no masses.
    """

    name = "hmc"

    def __init__(
        self,
        target: Target,
        masses: Float[Tensor, " atoms"] | None = None,
        *,
        n_steps: int = 10,
        step_fs: float = 1.0,
        target_acceptance: float = 0.8,
        jitter: float = 0.1,
        adaptive: bool = True,
        trial: LengthTrial | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(target, name)
        if masses is None:
            if target.atoms is None:
                raise ValueError("this target does not know its atoms: give hmc the masses")
            masses = repartition_hydrogen_mass(target.atoms)
        if n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {n_steps}")
        if not (math.isfinite(step_fs) and step_fs > 0):
            raise ValueError(f"step_fs must be a positive number of femtoseconds, got {step_fs}; try 1.0")
        if not 0 < target_acceptance < 1:
            raise ValueError(f"target_acceptance must be between 0 and 1, got {target_acceptance}; try 0.8")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must be in [0, 1), got {jitter}")
        if not (torch.isfinite(masses).all() and (masses > 0).all()):
            raise ValueError("masses must be positive and finite")
        self.masses = masses[:, None]
        self.n_steps = n_steps
        self.step_fs = step_fs
        self.jitter = jitter
        self._averaging = _DualAveraging(step_fs, target_acceptance) if adaptive else None
        self.trial = trial
        self._trying = adaptive and trial is not None

    def __repr__(self) -> str:
        return f"HMC({self.name!r}, {self.n_steps} steps of {self.step_fs:.3g} fs)"

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """The end of one trajectory of every chain."""
        momenta = self.draw_momenta(state, generator)
        x = state.positions
        spread = torch.rand(state.n_chains, 1, 1, generator=generator, device=x.device, dtype=x.dtype)
        step_ps = self.step_fs / FEMTOSECONDS_PER_PICOSECOND * (1 + self.jitter * (2 * spread - 1))
        positions, last = self.integrate(x, momenta, step_ps)
        return Proposal(positions, (self.kinetic_energy(momenta) - self.kinetic_energy(last)) / self.target.kT)

    def draw_momenta(self, state: State, generator: torch.Generator) -> Float[Tensor, "chains atoms 3"]:
        """Momenta in Da nm/ps from their Boltzmann distribution (with zero sum on a target without rigid motion)."""
        x = state.positions
        masses = self.masses.to(x)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        momenta = (masses * self.target.kT).sqrt() * noise
        if self.target.invariant:
            momenta = momenta - masses / masses.sum() * momenta.sum(-2, keepdim=True)
        return momenta

    def kinetic_energy(self, momenta: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, " chains"]:
        """Kinetic energy in kJ/mol, in float64."""
        return (momenta.double().square() / (2 * self.masses.to(momenta.device).double())).sum((-1, -2))

    def integrate(
        self,
        positions: Float[Tensor, "chains atoms 3"],
        momenta: Float[Tensor, "chains atoms 3"],
        step_ps: Float[Tensor, "chains 1 1"],
    ) -> tuple[Float[Tensor, "chains atoms 3"], Float[Tensor, "chains atoms 3"]]:
        """The leapfrog trajectory's end: positions and momenta."""
        return self.target.leapfrog(positions, momenta, self.masses[:, 0], step_ps[:, 0, 0], self.n_steps)

    @property
    def cost(self) -> float:  # type: ignore[override]
        """A force per leapfrog step."""
        return float(self.n_steps)

    def begin_warmup(self, n_steps: int) -> None:
        """Plan when each trajectory length is tried."""
        if self.trial is not None:
            self.trial.begin(n_steps)

    def adapt(self, info: Mapping[str, Outcome], state: State | None = None) -> None:
        """Move the step size towards the target acceptance, and try the next trajectory length when it is time."""
        if self._averaging is not None and self.name in info:
            outcome = info[self.name]
            proposed = int(outcome.proposed.sum())
            if proposed:
                self.step_fs = self._averaging.update(float(outcome.acceptance.sum()) / proposed)
        if self._trying and self.trial is not None and state is not None:
            self.n_steps = self.trial.observe(state, self.n_steps)

    def freeze(self) -> None:
        """Fix the step size at the average over the adaptation, and the number of steps."""
        self._trying = False
        if self._averaging is not None:
            self.step_fs = self._averaging.average
            self._averaging = None

    @property
    def tuning(self) -> Tuning:
        """The step size, and the number of steps where it is tuned."""
        length = {} if self.trial is None else {"n_steps": float(self.n_steps)}
        return {self.name: {"step_fs": self.step_fs, **length}}

    def retune(self, tuning: Mapping[str, Mapping[str, float]]) -> None:
        """Take over a step size, and a number of steps where it is tuned.

        Raises:
            ValueError: the step size is not a positive number, or the number of steps not a positive whole one.
        """
        if self.trial is not None and "n_steps" in tuning.get(self.name, {}):
            n_steps = tuning[self.name]["n_steps"]
            if not (math.isfinite(n_steps) and 1 <= n_steps <= MOST_STEPS and n_steps == int(n_steps)):
                raise ValueError(f"the tuning of {self.name} needs n_steps of 1 to {MOST_STEPS}, got {n_steps!r}")
            self.n_steps = int(n_steps)
            self._trying = False
        if self.name in tuning and "step_fs" in tuning[self.name]:
            step_fs = tuning[self.name]["step_fs"]
            if not (isinstance(step_fs, (int, float)) and math.isfinite(step_fs) and step_fs > 0):
                raise ValueError(f"the tuning of {self.name} needs a positive step_fs, got {step_fs!r}")
            self.step_fs = float(step_fs)
            self._averaging = None


class _DualAveraging:
    """Nesterov's dual averaging of the log step size (Hoffman & Gelman 2014, equations 6 and 7)."""

    GAMMA, T0, KAPPA = 0.05, 10.0, 0.75

    def __init__(self, step: float, target: float) -> None:
        self.shrink_towards = math.log(10 * step)
        self.target = target
        self.iteration = 0
        self.error = 0.0
        self.log_average = math.log(step)

    def update(self, acceptance: float) -> float:
        self.iteration += 1
        weight = 1 / (self.iteration + self.T0)
        self.error = (1 - weight) * self.error + weight * (self.target - acceptance)
        log_step = self.shrink_towards - math.sqrt(self.iteration) / self.GAMMA * self.error
        decay = self.iteration**-self.KAPPA
        self.log_average = decay * log_step + (1 - decay) * self.log_average
        return math.exp(log_step)

    @property
    def average(self) -> float:
        return math.exp(self.log_average)
