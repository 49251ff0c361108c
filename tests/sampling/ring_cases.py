"""A ring of seven atoms whose bond lengths and angles are fixed: one degree of freedom, known by quadrature."""

from __future__ import annotations

import math
from functools import cache

import torch
from analytic_targets import TEMPERATURE_K, AnalyticPotential

from timewarp.geometry import dihedrals
from timewarp.geometry.loops import Opened, Tables, closures_of
from timewarp.geometry.rings import find_rings
from timewarp.sampling import ConcertedMove, Target
from timewarp.state import Atoms

SEVEN = Atoms(
    elements=("S",) * 7,
    names=tuple(f"S{i + 1}" for i in range(7)),
    residue_names=("TOY",) * 7,
    residue_numbers=(1,) * 7,
    masses=(32.0,) * 7,
    charges=(0.0,) * 7,
    bonds=tuple((i, (i + 1) % 7) for i in range(7)),
)
TORSIONS = torch.tensor([[(i + k) % 7 for k in range(4)] for i in range(7)])
CELLS = 1500
"""Angles of each driver in the quadrature."""


def irregular_ring():
    """Positions of a ring whose bonds and angles all differ: a helix bent into a crown, shaken."""
    k = torch.arange(7, dtype=torch.float64)
    angle, seeded = 2 * math.pi * k / 7, torch.Generator().manual_seed(4)
    height = 0.06 * torch.tensor([1, -0.4, -0.8, 1, -1, 0.9, -0.6], dtype=torch.float64)
    ring = torch.stack([0.19 * angle.cos(), 0.19 * angle.sin(), height], -1)
    return ring + 0.01 * torch.randn(7, 3, generator=seeded, dtype=torch.float64)


def screw_volume(x, bonds):
    """log |det B| of six turning bonds: the columns are the screws of their axes."""
    a, b = x[..., bonds[..., 0], :], x[..., bonds[..., 1], :]
    axis = (b - a) / (b - a).norm(dim=-1, keepdim=True)
    screws = torch.cat([torch.linalg.cross(a, axis), axis], -1)
    return torch.linalg.slogdet(screws.transpose(-1, -2))[1]


class SevenRing(AnalyticPotential):
    """Two-fold and one-fold wells in the seven torsions, with phases; lengths and angles are never turned.

    The density of the ring at fixed lengths and angles is ``exp(-U / kT) / |det B|`` by the angle of any one bond, B
    the Jacobian of the other six. Each driver's density is multiplied by its share ``|det B_d|^2 / sum |det B_d'|^2``,
    so that all points are counted once, and singularities of one driver are left to the others.
    """

    atoms = SEVEN

    def __init__(self):
        self.rings = find_rings(SEVEN.elements, SEVEN.bonds)
        self.tables = Tables.of(self.rings, 7, SEVEN.bonds)
        self.points, self.weights = self._quadrature()

    def reduced(self, positions):
        phi = dihedrals(positions, TORSIONS)
        phase = torch.linspace(0, 2, 7, dtype=phi.dtype)
        return (0.7 * (2 * phi + phase).cos() + 0.5 * (phi - phase).cos()).sum(-1)

    def _quadrature(self):
        angle = -math.pi + 2 * math.pi * (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
        start = irregular_ring()
        # The first window of each driver; all windows of a driver have the same six followers.
        drivers = [frozenset(row) for row in self.tables.driver.tolist()]
        windows = [drivers.index(d) for d in dict.fromkeys(drivers)]
        six = [[[i, (i + 1) % 7] for i in range(7) if {i, (i + 1) % 7} != drivers[w]] for w in windows]
        self.six = torch.tensor(six)
        found, logs, drivers_of = [], [], []
        for number, window in enumerate(windows):
            opened = Opened.by(start.expand(CELLS, -1, -1), self.tables[torch.full((CELLS,), window)], angle)
            _, closures = closures_of(opened)
            row, column = closures.valid.nonzero().unbind(1)
            again = Opened(opened.before[row], opened.turned[row], self.tables[torch.full((len(row),), window)])
            x = again.close(closures.tau[row, column])
            volumes = screw_volume(x, self.six)
            found.append(x)
            drivers_of.append(torch.full((len(x),), number))
            logs.append(volumes[:, number] - (2 * volumes).logsumexp(-1) - self.reduced(x))
        self.driver_of_points = torch.cat(drivers_of)
        log_weights = torch.cat(logs)
        return torch.cat(found), (log_weights - log_weights.logsumexp(0)).exp()

    def draw(self, n, generator):
        rows = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        x = self.points[rows]
        return x - x.mean(1, keepdim=True)

    def observe(self, positions):
        phi = dihedrals(positions, TORSIONS)
        return torch.cat([phi.cos(), phi.sin(), (2 * phi).cos(), (phi[:, :-1] - phi[:, 1:]).cos()], 1)

    @property
    def truth(self):
        return (self.weights[:, None] * self.observe(self.points)).sum(0)


@cache
def seven_ring():
    return SevenRing()


def ring_case(kind=ConcertedMove, window=None, **options):
    """The ring and a kernel of it; of one of its seven windows alone, if that is given."""
    ring = seven_ring()
    kernel = kind(Target(ring, TEMPERATURE_K), SEVEN, **options)
    if window is not None:
        kernel.tables = kernel.tables[torch.tensor([window])]
    return ring, kernel


NEAR, FAR, HOP = ({"far_share": far, "hop_share": hop} for far, hop in ((0, 0), (1, 0), (0, 1)))


class ForgetsTheJacobian(ConcertedMove):
    def log_ratio(self, forward, backward, log_volume):
        return super().log_ratio(forward, backward, torch.zeros_like(log_volume))


class InvertsTheJacobian(ConcertedMove):
    def log_ratio(self, forward, backward, log_volume):
        return super().log_ratio(forward, backward, -log_volume)


class ForgetsTheNumber(ConcertedMove):
    """As if every driver left equally many closures, and all were as likely."""

    def log_ratio(self, forward, backward, log_volume):
        return log_volume
