"""Closures of a ring: all of them are found, and their volume element is that of the six torsions."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch

from timewarp.geometry import wrap
from timewarp.geometry.closure import Equations, Segments, solve_closures, solve_plainly
from timewarp.geometry.loops import present_angles, segments_of
from timewarp.native import available

SOLVERS = [solve_closures, solve_plainly]


def random_points(n, seed=0):
    """Corner, first and last atom, and next corner of three random segments that make a ring."""
    generator = torch.Generator().manual_seed(seed)
    corner, first, last = torch.randn(3, n, 3, 3, generator=generator, dtype=torch.float64)
    following = corner.roll(-1, 1)
    return torch.stack([corner, corner + 0.5 * first, following + 0.5 * last, following], 2)


def bends(points):
    arrives, leaves = points.roll(1, 1)[:, :, 2] - points[:, :, 0], points[:, :, 1] - points[:, :, 0]
    return torch.atan2(torch.linalg.cross(arrives, leaves).norm(dim=-1), (arrives * leaves).sum(-1))


def segments(points):
    return segments_of(points, bends(points))


@cache
def some_rings():
    shapes = segments(random_points(12))
    return shapes, [by_many_starts(shapes, row) for row in range(12)]


def by_many_starts(shapes, row, starts=600):
    """Independent reference: Newton's method on the three equations, in plain numpy, from random starts."""
    side, first, last, twist, bend = (v.numpy() for v in shapes.stacked()[row])
    tau = np.random.default_rng(row).uniform(-math.pi, math.pi, (starts, 3))

    def residual(t):
        out = np.zeros_like(t)
        for i in range(3):
            before, opposite = (i + 2) % 3, (i + 1) % 3
            alpha = math.acos((side[i] ** 2 + side[before] ** 2 - side[opposite] ** 2) / (2 * side[i] * side[before]))
            e = np.array([1.0, 0, 0])
            back = np.array([math.cos(alpha), math.sin(alpha), 0])
            inward, inward_back, up = (
                np.array([0, 1.0, 0]),
                np.array([math.sin(alpha), -math.cos(alpha), 0]),
                np.eye(3)[2],
            )
            rho = t[:, before] + twist[before]
            leaves = math.cos(first[i]) * e + math.sin(first[i]) * (
                np.cos(t[:, i, None]) * inward + np.sin(t[:, i, None]) * up
            )
            arrives = math.cos(last[before]) * back + math.sin(last[before]) * (
                np.cos(rho[:, None]) * inward_back + np.sin(rho[:, None]) * up
            )
            out[:, i] = (leaves * arrives).sum(-1) - math.cos(bend[i])
        return out

    for _ in range(40):
        f = residual(tau)
        jacobian = np.stack([(residual(tau + 1e-6 * np.eye(3)[k]) - f) / 1e-6 for k in range(3)], -1)
        step = np.linalg.solve(jacobian + 1e-14 * np.eye(3), f[..., None])[..., 0]
        tau = tau - np.clip(step, -0.3, 0.3)
    tau = np.remainder(tau[np.abs(residual(tau)).max(-1) < 1e-9] + math.pi, 2 * math.pi) - math.pi
    found: list[np.ndarray] = []
    for t in tau:
        if all(np.abs(np.remainder(t - other + math.pi, 2 * math.pi) - math.pi).max() > 1e-4 for other in found):
            found.append(t)
    return torch.tensor(np.array(found).reshape(-1, 3))


@pytest.mark.parametrize("solve", SOLVERS)
def test_all_closures_are_found(solve):
    shapes, known = some_rings()
    closures = solve(shapes)
    numbers = set()
    for row, theirs in enumerate(known):
        mine = closures.tau[row, closures.valid[row]]
        off = wrap(mine[:, None] - theirs).abs().amax(-1)
        assert len(mine) == len(theirs)
        assert float(off.amin(0).max()) < 1e-5
        numbers.add(len(mine))
    assert {2, 4, 6} <= numbers


@pytest.mark.parametrize("solve", SOLVERS)
def test_a_ring_finds_itself_and_closures_close(solve):
    n = 4000 if solve is solve_closures and available() else 600
    points = random_points(n, seed=1)
    shapes = segments(points)
    closures = solve(shapes)
    tau = present_angles(points)
    off = torch.where(closures.valid, wrap(closures.tau - tau[:, None]).abs().amax(-1), torch.inf).amin(-1)
    assert float(off.max()) < 1e-6
    row, column = closures.valid.nonzero().unbind(1)
    assert float(Equations.of(shapes)[row].residuals(closures.tau[row, column]).abs().max()) < 1e-10
    assert (closures.valid.sum(-1) % 2 == 0).all(), "real roots come in pairs"


@pytest.mark.skipif(not available(), reason="the compiled kernels are missing")
def test_compiled_and_plain_agree():
    shapes = segments(random_points(300, seed=2))
    one, other = (solve(shapes) for solve in SOLVERS)
    assert torch.equal(one.valid.sum(-1), other.valid.sum(-1))
    row, column = one.valid.nonzero().unbind(1)
    off = torch.where(other.valid[row], wrap(one.tau[row, column, None] - other.tau[row]).abs().amax(-1), torch.inf)
    assert float(off.amin(-1).max()) < 1e-7
    nearest = other.log_volume[row, off.argmin(-1)]
    torch.testing.assert_close(one.log_volume[row, column], nearest, atol=1e-5, rtol=0)


@pytest.mark.parametrize("solve", SOLVERS)
def test_what_cannot_close_does_not(solve):
    shapes = segments(random_points(4, seed=3)).stacked()
    shapes[0, 0, 0] = 100.0  # no triangle
    shapes[1, 3] = torch.nan
    shapes[2, 4] = torch.tensor([0.01, 3.1, 0.01])  # bond angles out of reach
    closures = solve(Segments(*shapes.unbind(1)))
    assert not closures.valid[:3].any()
    assert closures.valid[3].any()
    assert not solve(Segments(*shapes[:0].unbind(1))).valid.any()


def pose_jacobian(points):
    """d(pose) / d(six torsions) by autograd: the frame of the last segment, carried through six turns."""

    def rotation(axis, angle):
        x, y, z = axis
        zero = torch.zeros((), dtype=torch.float64)
        k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
        return torch.eye(3, dtype=torch.float64) + angle.sin() * k + (1 - angle.cos()) * (k @ k)

    axes = []
    for i in range(3):
        corner = points[i, 0]
        for end in (points[i - 1, 2], points[i, 1]):
            axes.append((corner, (end - corner) / (end - corner).norm()))

    def pose(torsions):
        turn, shift = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for (corner, axis), angle in zip(reversed(axes), torsions.flip(0), strict=True):
            r = rotation(axis, angle)
            turn, shift = r @ turn, corner + r @ (shift - corner)
        return torch.cat([shift, torch.stack([turn[2, 1], turn[0, 2], turn[1, 0]])])

    return torch.autograd.functional.jacobian(pose, torch.zeros(6, dtype=torch.float64))


def test_the_volume_element_is_that_of_six_torsions():
    points = random_points(50, seed=4)
    volumes = Equations.of(segments(points)).log_volume(present_angles(points))
    for row in range(50):
        _, log_volume = torch.linalg.slogdet(pose_jacobian(points[row]))
        assert float(volumes[row]) == pytest.approx(float(log_volume), abs=1e-8)


def test_slopes_are_derivatives():
    points = random_points(20, seed=5)
    equations, tau = Equations.of(segments(points)), present_angles(points)
    own, before = equations.slopes(tau)
    step = 1e-6
    for k in range(3):
        moved = torch.zeros(3, dtype=torch.float64)
        moved[k] = step
        change = (equations.residuals(tau + moved) - equations.residuals(tau - moved)) / (2 * step)
        torch.testing.assert_close(change[:, k], own[:, k], atol=1e-8, rtol=0)
        torch.testing.assert_close(change[:, (k + 1) % 3], before[:, (k + 1) % 3], atol=1e-8, rtol=0)
