"""Targets and densities with known answers, and the statistics that judge chains by them."""

from __future__ import annotations

import math

import torch

from timewarp.flows import InternalProposer, soft_coordinates
from timewarp.geometry import log_volume, to_internal, to_positions, wrap
from timewarp.sampling import FlowMove, Target
from timewarp.state import Atoms
from timewarp.units import kT

TEMPERATURE_K = 310.0
KT = kT(TEMPERATURE_K)
GRID = 20001


# --- judging -------------------------------------------------------------------------------------------------------


def worst_z(values: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest |z| over observables of (independent draws, observables) against their expectations."""
    values = values.double()
    error = values.std(0) / math.sqrt(len(values))
    return float(((values.mean(0) - truth).abs() / error).max())


def worst_chain_z(series: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest |z| of (frames, chains, observables): chains are independent, so their means give the error bar.

    That error is the standard deviation over the square root of the series' own effective sample size.
    """
    return worst_z(series.double().mean(0), truth)


# --- Cartesian toys ------------------------------------------------------------------------------------------------


class AnalyticPotential:
    """Energy in kJ/mol from ``reduced`` (in kT), forces by autograd."""

    def reduced(self, positions):
        raise NotImplementedError

    def energy(self, positions):
        return KT * self.reduced(positions)

    def energy_and_forces(self, positions):
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            energy = self.energy(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), -gradient


class Gaussian(AnalyticPotential):
    """A correlated Gaussian over two atoms, away from the origin."""

    def __init__(self, dtype=torch.float64):
        seeded = torch.Generator().manual_seed(1)
        self.mean = torch.randn(6, generator=seeded, dtype=dtype)
        self.factor = torch.eye(6, dtype=dtype) + 0.3 * torch.randn(6, 6, generator=seeded, dtype=dtype)
        self.precision = torch.linalg.inv(self.factor @ self.factor.T)

    def reduced(self, positions):
        offset = positions.flatten(1) - self.mean
        return 0.5 * (offset @ self.precision * offset).sum(-1)

    def draw(self, n, generator):
        noise = torch.randn(n, 6, generator=generator, dtype=self.mean.dtype)
        return (self.mean + noise @ self.factor.T).reshape(n, 2, 3)

    def observe(self, positions):
        flat = positions.flatten(1)
        return torch.cat(
            [flat, (flat - self.mean).square(), (flat[:, :5] - self.mean[:5]) * (flat[:, 1:] - self.mean[1:])], 1
        )

    @property
    def truth(self):
        covariance = self.factor @ self.factor.T
        return torch.cat([self.mean, covariance.diagonal(), covariance.diagonal(1)]).double()


class DoubleWell(AnalyticPotential):
    """One atom: two wells of unequal depth along x, harmonic along y and z."""

    def reduced(self, positions):
        x, y, z = positions[:, 0].unbind(-1)
        return 2 * (x.square() - 1).square() + 0.4 * x + 0.5 * (y.square() + z.square())

    def _marginal(self):
        x = torch.linspace(-4, 4, GRID, dtype=torch.float64)
        zero = torch.zeros_like(x)
        density = (-self.reduced(torch.stack([x, zero, zero], -1)[:, None])).exp()
        return x, density / density.sum()

    def draw(self, n, generator):
        x, p = self._marginal()
        rest = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return torch.cat([from_grid(x, p, n, generator)[:, None], rest], 1)[:, None]

    def observe(self, positions):
        x, y, z = positions[:, 0].unbind(-1)
        return torch.stack([x, x**2, x**3, x**4, y, y**2, z, z**2, (x > 0).double()], 1)

    @property
    def truth(self):
        x, p = self._marginal()
        moments = [float((x**k * p).sum()) for k in (1, 2, 3, 4)]
        return torch.tensor([*moments, 0, 1, 0, 1, float(p[x > 0].sum())], dtype=torch.float64)


def from_grid(x, p, n, generator):
    """Draws from a density tabulated on a fine grid, spread within a cell."""
    cells = torch.multinomial(p, n, replacement=True, generator=generator)
    return x[cells] + (x[1] - x[0]) * (torch.rand(n, generator=generator, dtype=x.dtype) - 0.5)


# --- a toy molecule ------------------------------------------------------------------------------------------------

TOY = Atoms(
    elements=("S", "S", "C", "S", "S", "H", "N", "O"),
    names=("S1", "S2", "C", "S3", "S4", "H", "N", "O"),
    residue_names=("TOY",) * 8,
    residue_numbers=(1,) * 8,
    masses=(32.0, 32.0, 12.0, 32.0, 32.0, 1.0, 14.0, 16.0),
    charges=(0.0,) * 8,
    bonds=((0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (2, 6), (4, 7)),
)
"""S-S-C(H)(N)-S-S-O: three soft torsions and one stereocentre."""


class ToyMolecule(AnalyticPotential):
    """Independent coordinates: harmonic lengths, angles and sibling dihedrals; two-fold wells in the soft torsions.

    ``exp(-U / kT)`` is a density over *positions*, so lengths carry b^2 and angles sin(theta). The phase of each soft
    torsion depends on one angle, so that a family C proposal must read the stiff coordinates. Sibling dihedrals have
    a well on either side where ``achiral``, and one well otherwise.
    """

    atoms = TOY
    tree = TOY.tree
    LENGTH, LENGTH_SD = 0.15, 0.015
    ANGLE, ANGLE_SD = 1.9, 0.15
    SIBLING, SIBLING_SD = 2.1, 0.25
    PHASE = 4.0

    def __init__(self, achiral=False):
        self.achiral = achiral
        tree = self.tree
        soft = torch.zeros(8, 3, dtype=torch.bool)
        soft[list(tree.rotatable), 2] = True
        self.soft = list(tree.rotatable)
        self.lengths = tree.defined & (torch.arange(3) == 0)
        self.angles = tree.defined & (torch.arange(3) == 1)
        self.siblings = tree.defined & ~soft & (torch.arange(3) == 2)
        self.sign = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0).double()[self.siblings[:, 2]]
        self.phase_atom = next(i for i in tree.order[2:] if bool(self.angles[i, 1]))

    # one-dimensional reduced energies, without the volume element
    def length_energy(self, b):
        return 0.5 * ((b - self.LENGTH) / self.LENGTH_SD) ** 2

    def angle_energy(self, theta):
        return 0.5 * ((theta - self.ANGLE) / self.ANGLE_SD) ** 2

    def sibling_energy(self, offset):
        """Of a sibling dihedral times its sign."""
        one = -0.5 * (wrap(offset - self.SIBLING) / self.SIBLING_SD) ** 2
        if not self.achiral:
            return -one
        other = -0.5 * (wrap(offset + self.SIBLING) / self.SIBLING_SD) ** 2
        return -torch.logaddexp(one, other)

    def torsion_energy(self, phi):
        return 1.2 * torch.cos(2 * phi) + 0.5 * torch.cos(phi)

    def phase(self, internal):
        return self.PHASE * (internal[..., self.phase_atom, 1] - self.ANGLE)

    def reduced_internal(self, internal):
        dihedral = internal[..., 2]
        return (
            self.length_energy(internal[..., self.lengths]).sum(-1)
            + self.angle_energy(internal[..., self.angles]).sum(-1)
            + self.sibling_energy(internal[..., self.siblings] * self.sign).sum(-1)
            + self.torsion_energy(dihedral[..., self.soft] - self.phase(internal)[..., None]).sum(-1)
        )

    def reduced(self, positions):
        return self.reduced_internal(to_internal(positions, self.tree))

    def tables(self):
        """(grid, probabilities, log density) of each kind of coordinate, volume element included."""
        b = torch.linspace(
            self.LENGTH - 7 * self.LENGTH_SD, self.LENGTH + 7 * self.LENGTH_SD, GRID, dtype=torch.float64
        )
        theta = torch.linspace(
            self.ANGLE - 7 * self.ANGLE_SD, self.ANGLE + 7 * self.ANGLE_SD, GRID, dtype=torch.float64
        )
        circle = -math.pi + 2 * math.pi * (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
        return {
            "length": _table(b, 2 * b.log() - self.length_energy(b)),
            "angle": _table(theta, theta.sin().clamp(min=1e-12).log() - self.angle_energy(theta)),
            "sibling": _table(circle, -self.sibling_energy(circle)),
            "torsion": _table(circle, -self.torsion_energy(circle)),
        }

    def draw_internal(self, n, generator):
        """Exact draws of the internal coordinates (up to the fineness of the grid)."""
        tables = self.tables()
        out = torch.zeros(n, 8, 3, dtype=torch.float64)
        for mask, name in ((self.lengths, "length"), (self.angles, "angle"), (self.siblings, "sibling")):
            x, p, _ = tables[name]
            k = int(mask.sum())
            out[:, mask] = from_grid(x, p, n * k, generator).reshape(n, k)
        out[:, self.siblings] = wrap(out[:, self.siblings] * self.sign)
        return self.draw_torsions(out, generator)

    def draw_torsions(self, internal, generator):
        x, p, _ = self.tables()["torsion"]
        out = internal.clone()
        k = len(self.soft)
        phi = from_grid(x, p, len(internal) * k, generator).reshape(-1, k)
        out[:, self.soft, 2] = wrap(phi.to(out) + self.phase(internal)[:, None])
        return out

    def draw(self, n, generator):
        internal = self.draw_internal(n, generator)
        frame = torch.randn(n, 8, 3, generator=generator, dtype=torch.float64)
        return to_positions(internal, self.tree, frame)

    def observe(self, positions):
        internal = to_internal(positions, self.tree)
        torsion = internal[:, self.soft, 2] - self.phase(internal)[:, None]
        raw = internal[:, self.soft, 2]
        columns = [
            internal[:, self.lengths],
            internal[:, self.lengths] ** 2,
            internal[:, self.angles],
            internal[:, self.angles] ** 2,
            torsion.cos(),
            torsion.sin(),
            (2 * torsion).cos(),
            (2 * torsion).sin(),
            raw.sin(),
            (internal[:, self.siblings] * self.sign).cos(),
            (internal[:, self.siblings] * self.sign).sin(),
        ]
        return torch.cat(columns, 1)

    @property
    def truth(self):
        tables = self.tables()

        def mean(name, function):
            x, p, _ = tables[name]
            return float((function(x) * p).sum())

        def repeat(value, mask):
            return [value] * (mask if isinstance(mask, int) else int(mask.sum()))

        k = len(self.soft)
        # raw = torsion + phase with independent parts: sin(a + b) averages to <sin a><cos b> + <cos a><sin b>
        cosine = mean("angle", lambda t: (self.PHASE * (t - self.ANGLE)).cos())
        sine = mean("angle", lambda t: (self.PHASE * (t - self.ANGLE)).sin())
        raw = mean("torsion", torch.sin) * cosine + mean("torsion", torch.cos) * sine
        values = [
            *repeat(mean("length", lambda b: b), self.lengths),
            *repeat(mean("length", lambda b: b**2), self.lengths),
            *repeat(mean("angle", lambda t: t), self.angles),
            *repeat(mean("angle", lambda t: t**2), self.angles),
            *repeat(mean("torsion", torch.cos), k),
            *repeat(mean("torsion", torch.sin), k),
            *repeat(mean("torsion", lambda t: (2 * t).cos()), k),
            *repeat(mean("torsion", lambda t: (2 * t).sin()), k),
            *repeat(raw, k),
            *repeat(mean("sibling", torch.cos), self.siblings),
            *repeat(mean("sibling", torch.sin), self.siblings),
        ]
        return torch.tensor(values, dtype=torch.float64)


def _table(x, log_density):
    weight = (log_density - log_density.max()).exp()
    log_normaliser = float(log_density.max()) + math.log(float(weight.sum()) * float(x[1] - x[0]))
    return x, weight / weight.sum(), -log_normaliser


class ExactTorsions:
    """Family C with the exact conditional of the toy molecule: acceptance 1."""

    condition_is_invariant = True

    def __init__(self, toy):
        self.toy = toy
        self.redraws = soft_coordinates(toy.tree)
        self.log_norm = toy.tables()["torsion"][2]

    def encode(self, internal):
        return internal

    def sample(self, condition, n, generator):
        draws = torch.stack([self.toy.draw_torsions(condition, generator) for _ in range(n)])
        return draws, torch.stack([self.log_prob(d, condition) for d in draws])

    def log_prob(self, internal, condition):
        phi = internal[:, self.toy.soft, 2] - self.toy.phase(condition)[:, None]
        return (self.log_norm - self.toy.torsion_energy(phi)).sum(-1)


class RoughTorsions(ExactTorsions):
    """Family C, wrong on purpose and dependent on the current torsions: a wrapped normal around a shifted angle."""

    condition_is_invariant = False
    SHIFT, SD = 0.7, 0.9

    def sample(self, condition, n, generator):
        noise = torch.randn(n, len(condition), len(self.toy.soft), generator=generator, dtype=torch.float64)
        draws = condition.expand(n, *condition.shape).clone()
        draws[..., self.toy.soft, 2] = wrap(condition[:, self.toy.soft, 2] + self.SHIFT + self.SD * noise.to(draws))
        return draws, torch.stack([self.log_prob(d, condition) for d in draws])

    def log_prob(self, internal, condition):
        step = internal[:, self.toy.soft, 2] - condition[:, self.toy.soft, 2] - self.SHIFT
        turns = 2 * math.pi * torch.arange(-4, 5, dtype=torch.float64)
        terms = -0.5 * ((wrap(step)[..., None] + turns) / self.SD) ** 2 - math.log(self.SD * math.sqrt(2 * math.pi))
        return terms.logsumexp(-1).sum(-1)


class ExactInternal:
    """Family B with the exact Boltzmann distribution of the toy molecule, volume element included: acceptance 1."""

    condition_is_invariant = True

    def __init__(self, toy):
        self.toy = toy
        self.redraws = toy.tree.defined
        self.tables = toy.tables()

    def encode(self, internal):
        return internal

    def sample(self, condition, n, generator):
        draws = torch.stack([self.toy.draw_internal(len(condition), generator) for _ in range(n)])
        return draws, torch.stack([self.log_prob(d, condition) for d in draws])

    def log_prob(self, internal, condition):
        toy, counts = self.toy, {"length": 7, "angle": 6, "sibling": int(self.toy.siblings.sum())}
        norm = sum(counts[name] * self.tables[name][2] for name in counts) + len(toy.soft) * self.tables["torsion"][2]
        return norm + log_volume(internal, toy.tree) - toy.reduced_internal(internal)


class WideInternal(ExactInternal):
    """Family B, wrong on purpose: Gaussian lengths and angles without the volume element, uniform torsions."""

    LENGTH_SD, ANGLE_SD, SIBLING_SD = 0.017, 0.17, 0.3

    def _parts(self):
        toy = self.toy
        return (
            (toy.lengths, toy.LENGTH, self.LENGTH_SD),
            (toy.angles, toy.ANGLE, self.ANGLE_SD),
            (toy.siblings, toy.SIBLING * toy.sign, self.SIBLING_SD),
        )

    def sample(self, condition, n, generator):
        draws = torch.zeros(n, *condition.shape, dtype=torch.float64)
        for mask, mean, sd in self._parts():
            noise = torch.randn(n, len(condition), int(mask.sum()), generator=generator, dtype=torch.float64)
            draws[..., mask] = mean + sd * noise
        uniform = torch.rand(n, len(condition), len(self.toy.soft), generator=generator, dtype=torch.float64)
        draws[..., self.toy.soft, 2] = math.pi * (2 * uniform - 1)
        return draws, torch.stack([self.log_prob(d, condition) for d in draws])

    def log_prob(self, internal, condition):
        total = -math.log(2 * math.pi) * len(self.toy.soft) * torch.ones(len(internal), dtype=torch.float64)
        for mask, mean, sd in self._parts():
            offset = (internal[:, mask] - mean) / sd
            total = total - (0.5 * offset**2 + math.log(sd * math.sqrt(2 * math.pi))).sum(-1)
        return total


class EitherHand(ExactInternal):
    """Family B, exact for the achiral toy: half of the candidates have the other chirality."""


def toy_target(toy, restriction=None):
    return Target(toy, TEMPERATURE_K, restriction)


def flow_move(target, density, kind=FlowMove):
    """Metropolis-Hastings with a density of the toy's internal coordinates."""
    return kind(target, InternalProposer(density, density.toy.tree))
