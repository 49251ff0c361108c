"""Closing a ring of three rigid segments that turn about three corners: all solutions, and their volume elements.

A ring is cut at three of its atoms, the *corners* P1, P2, P3. Segment i is all between corner i and the next one, and
is rigid. The two ring bonds at each corner turn: six torsions. While they turn, bond lengths and angles stay, and so
do the sides of the triangle of corners. What is left is the angle tau_i of each segment about its side of the triangle,
and the bond angle at each corner is one equation for the angles of the two segments that meet there. That is the
triaxial loop closure of Coutsias, Seok, Jacobson & Dill, J. Comput. Chem. 25, 510 (2004); there are at most 16
solutions. See ``docs/method.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import native
from ..shapes import Bool, Float
from .vectors import wrap

MOST = 16
"""Closures of one ring, at most."""
DEGREE, SAMPLES = 8, 32
"""The resultant is a trigonometric polynomial of this degree; at so many angles it is evaluated to know it."""
FIRST_PIECES, FINEST = 16, 2.0**-26
"""The circle is cut into pieces, which are halved down to this part of a first one."""
NOISE = 1e-15
"""Rounding of the resultant, in the sum of the sizes of its coefficients."""
TAYLOR = 8
"""Terms of a Taylor series that are worked out; the rest is bounded."""
MOST_PIECES = 512
"""A ring with more undecided pieces than this closes in a whole range of angles, or nearly so: it has no answer."""
POLISHING_STEPS, RESIDUAL, SHIFT, SAME = 12, 1e-10, 1e-4, 1e-6
"""Newton steps; the largest residual of a closure (a cosine); how far it may shift tau_3, and what tells two apart."""


@dataclass(frozen=True)
class Segments:
    """The shapes of three segments and the bond angles at the corners, in float64: all that closures depend on.

    Attributes:
        side: distance of corners i and i + 1, in nm.
        first: angle (rad) at corner i between the side and the segment's first bond.
        last: angle at corner i + 1 between the side and the segment's last bond.
        twist: dihedral of both bonds about the side, from the first to the last.
        bend: bond angle at corner i, between the last bond of segment i - 1 and the first of segment i.
    """

    side: Float[Tensor, "rings 3"]
    first: Float[Tensor, "rings 3"]
    last: Float[Tensor, "rings 3"]
    twist: Float[Tensor, "rings 3"]
    bend: Float[Tensor, "rings 3"]

    def stacked(self) -> Float[Tensor, "rings 5 3"]:
        """All of it in one tensor."""
        return torch.stack([self.side, self.first, self.last, self.twist, self.bend], 1)


@dataclass(frozen=True)
class Closures:
    """The ways to close each ring, in no particular order.

    Attributes:
        tau: angle (rad) of each segment's first bond about its side, from the inside of the triangle to its upper face.
        log_volume: log of |d(pose) / d(six torsions)|, the determinant of Dodd, Boone & Theodorou, Mol. Phys. 78, 961
            (1993), in nm^3: at given lengths, angles and other torsions, closures have density 1 / volume.
        valid: which entries are closures.
    """

    tau: Float[Tensor, "rings 16 3"]
    log_volume: Float[Tensor, "rings 16"]
    valid: Bool[Tensor, "rings 16"]


def solve_closures(segments: Segments) -> Closures:
    """All closures of each ring.

    The other two angles are eliminated; what is left is a trigonometric polynomial of degree 8 in tau_3. Its roots are
    isolated by halving pieces of the circle until Taylor bounds say that a piece has none, or is monotonic; so that no
    root is missed but by rounding. Each is polished on the three equations.

    In the compiled kernel where that can be.
    """
    shapes = segments.stacked()
    if shapes.device.type == "cpu" and native.available():
        n = len(shapes)
        tau, volume = torch.zeros(n, MOST, 3, dtype=torch.float64), torch.zeros(n, MOST, dtype=torch.float64)
        valid = torch.zeros(n, MOST, dtype=torch.bool)
        if n:
            native.core().solve_closures(shapes.contiguous(), tau, volume, valid, native.threads())
        return Closures(tau, volume, valid)
    return solve_plainly(segments)


def solve_plainly(segments: Segments) -> Closures:
    """As :func:`solve_closures`, in torch."""
    given = segments.stacked()
    rolled = [Segments(*given.roll(-r, -1).unbind(1)) for r in range(3)]
    # Which segment's angle is kept to the last: the one with which the lines stay farthest from vanishing.
    qualities = torch.stack([torch.nan_to_num(Equations.of(s).quality(), nan=-1.0) for s in rolled])
    first = qualities.argmax(0)
    order = (torch.arange(3, device=given.device) + first[:, None]) % 3
    segments = Segments(*given.gather(2, order[:, None].expand(-1, 5, -1)).unbind(1))
    equations = Equations.of(segments)
    n, device = len(segments.side), segments.side.device
    if n == 0:
        nothing = torch.zeros(0, MOST, dtype=torch.float64, device=device)
        return Closures(nothing[..., None].expand(0, MOST, 3), nothing, nothing.bool())
    coefficients = equations.resultant()
    row, angle, width = _roots(coefficients)
    # Of the two angles of each other segment, any of the four combinations may be the one that closes.
    tau = equations[row].branches(angle)
    row, angle, width, tau = *(v.repeat_interleave(4) for v in (row, angle, width)), tau.flatten(0, 1)
    of = equations[row]
    for _ in range(POLISHING_STEPS):
        tau = tau - of.newton(tau)
    residual = of.residuals(tau).abs().amax(-1)
    good = (residual < RESIDUAL) & (wrap(tau[:, 2] - angle).abs() < SHIFT + width) & torch.isfinite(tau).all(-1)
    row, tau = row[good], wrap(tau[good])
    # Side by side in a table of each ring's; of equal ones the first is kept.
    place = torch.arange(len(row), device=device) - torch.searchsorted(row, row)
    table = torch.full((n, int(place.max()) + 1 if len(row) else 1, 3), torch.inf, dtype=torch.float64, device=device)
    table[row, place] = tau
    same = wrap(table[row] - tau[:, None]).abs().amax(-1) < SAME
    earlier = torch.arange(table.shape[1], device=device) < place[:, None]
    fresh = ~(same & earlier).any(1)
    row, tau = row[fresh], tau[fresh]
    place = torch.arange(len(row), device=device) - torch.searchsorted(row, row)
    row, tau, place = (v[place < MOST] for v in (row, tau, place))
    out = torch.zeros(n, MOST, 3, dtype=torch.float64, device=device)
    volume = torch.zeros(n, MOST, dtype=torch.float64, device=device)
    valid = torch.zeros(n, MOST, dtype=torch.bool, device=device)
    volume[row, place], valid[row, place] = equations[row].log_volume(tau), True
    out[row[:, None], place[:, None], order[row]] = tau
    return Closures(out, volume, valid)


@dataclass(frozen=True)
class Equations:
    """The bond angle at corner i as an equation for the angles of two segments.

    With rho_i = tau_(i - 1) + twist_(i - 1), the angle of the bond that arrives at corner i:
    ``K + A cos rho + B cos tau + C cos tau cos rho + D sin tau sin rho = 0``.
    """

    factors: Float[Tensor, "rings 5 3"]
    twist: Float[Tensor, "rings 3"]
    log_sides: Float[Tensor, " rings"]

    @classmethod
    def of(cls, segments: Segments) -> Equations:
        """From the shapes."""
        side, first, twist = segments.side, segments.first, segments.twist
        last = segments.last.roll(1, -1)  # of the segment that arrives at corner i
        arriving, opposite = side.roll(1, -1), side.roll(-1, -1)
        cosine = (side**2 + arriving**2 - opposite**2) / (2 * side * arriving)
        # Where the sides make no triangle the sine is NaN, and so is all that follows: no closure.
        sine = ((1 - cosine) * (1 + cosine)).sqrt()
        cf, sf, cl, sl = first.cos(), first.sin(), last.cos(), last.sin()
        factors = torch.stack(
            [cf * cl * cosine - segments.bend.cos(), cf * sl * sine, sf * cl * sine, -sf * sl * cosine, sf * sl], 1
        )
        return cls(factors, twist, side.log().sum(-1))

    def __getitem__(self, rows: Tensor) -> Equations:
        return Equations(self.factors[rows], self.twist[rows], self.log_sides[rows])

    def residuals(self, tau: Float[Tensor, "rings 3"]) -> Float[Tensor, "rings 3"]:
        """How far each equation is from zero: a difference of cosines."""
        k, a, b, c, d = self.factors.unbind(1)
        rho = (tau + self.twist).roll(1, -1)
        return k + a * rho.cos() + (b + c * rho.cos()) * tau.cos() + d * tau.sin() * rho.sin()

    def slopes(self, tau: Float[Tensor, "rings 3"]) -> tuple[Tensor, Tensor]:
        """Derivatives of equation i by its own tau_i, and by tau_(i - 1)."""
        _, a, b, c, d = self.factors.unbind(1)
        rho = (tau + self.twist).roll(1, -1)
        own = -(b + c * rho.cos()) * tau.sin() + d * tau.cos() * rho.sin()
        before = -(a + c * tau.cos()) * rho.sin() + d * tau.sin() * rho.cos()
        return own, before

    def determinant(self, tau: Float[Tensor, "rings 3"]) -> Float[Tensor, " rings"]:
        """Of the derivatives of all equations: both cyclic products."""
        own, before = self.slopes(tau)
        return own.prod(-1) + before.prod(-1)

    def log_volume(self, tau: Float[Tensor, "rings 3"]) -> Float[Tensor, " rings"]:
        """Log of |d(pose) / d(six torsions)|: the product of the sides and the determinant of the equations."""
        return self.log_sides + self.determinant(tau).abs().log()

    def newton(self, tau: Float[Tensor, "rings 3"]) -> Float[Tensor, "rings 3"]:
        """A Newton step, at most a tenth of a radian long."""
        f, (p, q) = self.residuals(tau), self.slopes(tau)
        # Cyclic matrix with p on the diagonal and q_i in column i - 1, by Cramer's rule.
        p2, p3, q3 = p.roll(-1, -1), p.roll(-2, -1), q.roll(-2, -1)
        f2, f3 = f.roll(-1, -1), f.roll(-2, -1)
        step = (p2 * p3 * f - q * p2 * f3 + q * q3 * f2) / self.determinant(tau)[:, None]
        return torch.nan_to_num(step).clamp(-0.1, 0.1)

    def lines(self, angle: Float[Tensor, "rings n"]) -> tuple[Tensor, Tensor]:
        """At tau_3 = angle, (a, b, h) of ``a cos + b sin = h`` for tau_1, and for rho_3."""
        k, a, b, c, d = (v[:, None] for v in self.factors.unbind(1))
        rho = angle + self.twist[:, 2:]
        one = [b[..., 0] + c[..., 0] * rho.cos(), d[..., 0] * rho.sin(), -(k[..., 0] + a[..., 0] * rho.cos())]
        cosine = angle.cos()
        three = [a[..., 2] + c[..., 2] * cosine, d[..., 2] * angle.sin(), -(k[..., 2] + b[..., 2] * cosine)]
        return torch.stack(one, -1), torch.stack(three, -1)

    def quality(self) -> Float[Tensor, " rings"]:
        """How far, at worst, the lines are from vanishing: where one does, the resultant is lost in rounding."""
        angle = 2 * math.pi * torch.arange(SAMPLES, dtype=torch.float64, device=self.twist.device) / SAMPLES
        one, three = self.lines(angle.expand(len(self.twist), -1))
        return ((one**2).sum(-1) * (three**2).sum(-1)).amin(-1)

    def bilinear(self) -> Float[Tensor, "rings 3 3"]:
        """Equation 2 as a form in (1, cos tau_1, sin tau_1) and (1, cos rho_3, sin rho_3)."""
        k, a, b, c, d = self.factors[..., 1].unbind(1)
        zero, one = torch.zeros_like(k), torch.ones_like(k)
        plain = torch.stack([k, b, zero, a, c, zero, zero, zero, d], -1).unflatten(-1, (3, 3))
        c1, s1 = self.twist[:, 0].cos(), self.twist[:, 0].sin()
        c2, s2 = self.twist[:, 1].cos(), self.twist[:, 1].sin()
        left = torch.stack([one, zero, zero, zero, c1, -s1, zero, s1, c1], -1).unflatten(-1, (3, 3))
        right = torch.stack([one, zero, zero, zero, c2, s2, zero, -s2, c2], -1).unflatten(-1, (3, 3))
        return left.transpose(1, 2) @ plain @ right

    def resultant(self) -> Tensor:
        """Fourier coefficients (rings, 9) of the resultant in tau_3: ``R = Re sum_k c_k exp(i k tau_3)``.

        Equation 2 is p + q cos tau_1 + r sin tau_1 = 0; with the line of tau_1 it has one common point, which is on the
        unit circle where a quadratic form Q in y = (1, cos rho_3, sin rho_3) is zero. Restricted to the line of rho_3,
        that form and the circle's are two binary quadratic forms, whose resultant is in no need of a division.
        """
        angle = 2 * math.pi * torch.arange(SAMPLES, dtype=torch.float64, device=self.twist.device) / SAMPLES
        line1, line3 = self.lines(angle.expand(len(self.twist), -1))
        p, q, r = (row[:, None] for row in self.bilinear().unbind(1))
        a, b, h = (v[..., None] for v in line1.unbind(-1))
        forms = (h * r + b * p, a * p + h * q, a * r - b * q)
        signs = (1, 1, -1)
        ell = torch.stack([-line3[..., 2], line3[..., 0], line3[..., 1]], -1)
        crossed = [torch.linalg.cross(ell, form) for form in forms]
        circle = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64, device=ell.device)
        mixed = sum(sign * (c * c * circle).sum(-1) for sign, c in zip(signs, crossed, strict=True))
        quadratic = sum(signs[i] * signs[j] * (crossed[i] * forms[j]).sum(-1) ** 2 for i, j in ((0, 1), (0, 2), (1, 2)))
        inside = line3[..., 0] ** 2 + line3[..., 1] ** 2 - line3[..., 2] ** 2
        values = mixed**2 + 4 * quadratic * inside
        coefficients = torch.fft.rfft(values)[:, : DEGREE + 1] / SAMPLES
        coefficients[:, 1:] *= 2
        return coefficients

    def branches(self, angle: Float[Tensor, " rings"]) -> Float[Tensor, "rings 4 3"]:
        """The four combinations of tau_1 and tau_2 at a given tau_3; where a pair is complex, its real part twice."""
        line1, line3 = (line[:, 0] for line in self.lines(angle[:, None]))
        found = []
        for a, b, h in (line1.unbind(-1), line3.unbind(-1)):
            middle, size = torch.atan2(b, a), (a * a + b * b).sqrt()
            half = torch.arccos((h / size).clamp(-1, 1))
            found.append((middle - half, middle + half))
        return torch.stack(
            [torch.stack([one, three - self.twist[:, 1], angle], -1) for one in found[0] for three in found[1]], 1
        )


def _roots(coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros on the circle of each polynomial, by rows: row, angle, and how far off it may be; some may come twice."""
    device = coefficients.device
    order = torch.arange(DEGREE + 1, dtype=torch.float64, device=device)
    size = coefficients.abs().sum(-1)
    # Bounds of the terms of Taylor series: of the derivatives that are worked out, and of all that follows.
    beyond = (coefficients.abs() * order**TAYLOR).sum(-1) / math.factorial(TAYLOR)
    factorial = torch.tensor([math.factorial(k) for k in range(TAYLOR)], dtype=torch.float64, device=device)
    row = torch.arange(len(coefficients), device=device)[torch.isfinite(size) & (size > 0)]
    row = row.repeat_interleave(FIRST_PIECES)
    half = math.pi / FIRST_PIECES
    middle = half * (2 * torch.arange(FIRST_PIECES, dtype=torch.float64, device=device) + 1)
    middle = middle.repeat(len(row) // FIRST_PIECES)
    rows, lows, halves, off = [], [], [], []

    def take(which: Tensor, isolated: bool) -> None:
        rows.append(row[which])
        lows.append(middle[which])
        halves.append(torch.full_like(middle[which], half))
        off.append(torch.full_like(middle[which], 0.0 if isolated else half))

    finest = half * FINEST
    while len(row):
        terms = torch.stack(_evaluate(coefficients[row], middle, TAYLOR), -1) / factorial
        terms = terms * half ** torch.arange(TAYLOR, dtype=torch.float64, device=device)
        value, sizes, last = terms[:, 0], terms.abs(), beyond[row] * half**TAYLOR
        noise = NOISE * size[row]
        range_ = sizes[:, 1:].sum(-1) + last
        maybe = value.abs() <= range_ + noise
        bends = (sizes[:, 2:] * torch.arange(2, TAYLOR, device=device)).sum(-1) + TAYLOR * last
        steady = sizes[:, 1] > bends + noise * half
        low, high = (_evaluate(coefficients[row], middle + s * half, 1)[0] for s in (-1, 1))
        take(maybe & steady & ((low < 0) != (high < 0)), True)
        flat = maybe & ~steady & (value.abs() + range_ < noise)  # no more can be known of it
        take(flat, False)
        open_ = maybe & ~steady & ~flat
        crowd = torch.bincount(row[open_], minlength=len(coefficients))
        open_ &= crowd[row] <= MOST_PIECES
        if half <= finest:
            take(open_, False)
            break
        half /= 2
        row = row[open_].repeat_interleave(2)
        middle = torch.stack([middle[open_] - half, middle[open_] + half], 1).flatten()
    row, middle, width = torch.cat(rows), torch.cat(lows), torch.cat(halves)
    angle = _bisect(coefficients[row], middle - width, middle + width)
    by_row = torch.argsort(row, stable=True)
    return row[by_row], angle[by_row], torch.cat(off)[by_row]


def _bisect(coefficients: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The root in each piece: Newton steps, and halves where these leave it."""
    negative = _evaluate(coefficients, low, 1)[0] < 0
    angle = (low + high) / 2
    for _ in range(POLISHING_STEPS if len(angle) else 0):
        value, slope = _evaluate(coefficients, angle, 2)
        below = (value < 0) == negative
        low, high = torch.where(below, angle, low), torch.where(below, high, angle)
        step = angle - value / slope
        angle = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
    return angle


def _evaluate(coefficients: Tensor, angle: Tensor, derivatives: int) -> list[Tensor]:
    """The polynomial and its first derivatives, one angle a row."""
    order = torch.arange(DEGREE + 1, dtype=torch.float64, device=angle.device)
    term = coefficients * torch.exp(1j * angle[:, None] * order)
    found = []
    for _ in range(derivatives):
        found.append(term.real.sum(-1))
        term = term * (1j * order)
    return found
