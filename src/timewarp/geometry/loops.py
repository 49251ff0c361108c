"""The geometry of a concerted rotation: loops that a driver has opened, and closed at given angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Bool, Float, Int
from .closure import Closures, Segments, solve_closures
from .graph import Bonds, neighbours
from .rings import Loop, Window, reached, windows
from .turning import turn
from .vectors import angles, dihedrals


@dataclass(frozen=True)
class Tables:
    """Windows as tables of atoms, one row each.

    Attributes:
        points: corner i, the first and the last atom of segment i, and corner i + 1.
        part: of each atom: 0 to 2, the segment it is in; 3 to 5, the corner that it hangs on.
        driver: the two atoms of the driving bond.
        turning: what turns about it, as far as the next corner.
        driven, fixed: segments.
        torsion: atoms of the driver's dihedral along the loop.
    """

    points: Int[Tensor, "windows 3 4"]
    part: Int[Tensor, "windows atoms"]
    driver: Int[Tensor, "windows 2"]
    turning: Bool[Tensor, "windows atoms"]
    driven: Int[Tensor, " windows"]
    fixed: Int[Tensor, " windows"]
    torsion: Int[Tensor, "windows 4"]

    @classmethod
    def of(cls, loops: Sequence[Loop], n_atoms: int, bonds: Bonds) -> Tables:
        """The windows of some loops of a molecule."""
        adjacent = neighbours(n_atoms, bonds)
        rows = [_row(loop, window, adjacent) for loop in loops for window in windows(loop)]
        points, part, driver, turning, driven, fixed, torsion = zip(*rows, strict=True)
        return cls(
            torch.tensor(points),
            torch.tensor(part),
            torch.tensor(driver),
            torch.stack(turning),
            torch.tensor(driven),
            torch.tensor(fixed),
            torch.tensor(torsion),
        )

    def __len__(self) -> int:
        return len(self.driven)

    def contiguous(self) -> list[Tensor]:
        """All but the torsion, for the compiled kernels."""
        names = ("points", "part", "driver", "turning", "driven", "fixed")
        return [getattr(self, name).contiguous() for name in names]

    def dihedral(self, positions: Float[Tensor, "chains atoms 3"]) -> Float[Tensor, " chains"]:
        """The driver's dihedral (rad, in float64) of each configuration with its window."""
        points = positions.double()[torch.arange(len(positions), device=positions.device)[:, None], self.torsion]
        return dihedrals(points, _ALL[None])[:, 0]

    def __getitem__(self, rows: Tensor) -> Tables:
        return Tables(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def to(self, device: torch.device) -> Tables:
        """On a device."""
        return Tables(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Opened:
    """Configurations whose driving bonds have been turned, so that their loops are open.

    Attributes:
        before: positions in nm, in float64.
        turned: the same, with the atoms of the driven segment behind the driver turned.
        tables: each configuration's window.
    """

    before: Float[Tensor, "chains atoms 3"]
    turned: Float[Tensor, "chains atoms 3"]
    tables: Tables

    @classmethod
    def by(cls, positions: Float[Tensor, "chains atoms 3"], tables: Tables, angle: Float[Tensor, " chains"]) -> Opened:
        """Turn the drivers by an angle in rad."""
        x = positions.double()
        return cls(x, turn(x, tables.driver, tables.turning, angle.double()), tables)

    @property
    def points_before(self) -> Float[Tensor, "chains 3 4 3"]:
        """Corner, first and last atom, and next corner of each segment, as it was."""
        return _gather(self.before, self.tables.points)

    @property
    def points(self) -> Float[Tensor, "chains 3 4 3"]:
        """The same, with the driven segment's in its new shape."""
        now, driven = (
            _gather(self.turned, self.tables.points),
            self.tables.driven[:, None] == torch.arange(3, device=self.before.device),
        )
        return torch.where(driven[..., None, None], now, self.points_before)

    def bend(self) -> Float[Tensor, "chains 3"]:
        """Bond angle at each corner, which no turn changes."""
        points = self.points_before
        return _angle(points.roll(1, 1)[:, :, 2], points[:, :, 0], points[:, :, 1])

    def close(self, tau: Float[Tensor, "chains 3"]) -> Float[Tensor, "chains atoms 3"]:
        """Positions of the closed loops: each segment at its angle, what hangs on a corner with the corner's bonds."""
        fixed, chain = self.tables.fixed, torch.arange(len(tau), device=tau.device)
        points, before = self.points, self.points_before
        shape = segments_of(points, self.bend())
        frames = _frames(points)  # columns: side, first bond across it, the rest
        # The triangle lies where the fixed segment, at its angle, has it.
        cosine, sine = tau.cos()[..., None], tau.sin()[..., None]
        side, across, rest = (frames[chain, fixed, :, k] for k in range(3))
        inward = cosine[chain, fixed] * across - sine[chain, fixed] * rest
        normal = torch.linalg.cross(side, inward)
        sides = [side]
        corner = [points[chain, fixed, 0]]
        for k in range(2):
            here = (fixed + k) % 3
            length = shape.side[chain, here][:, None]
            next_length, opposite = (shape.side[chain, (here + j) % 3][:, None] for j in (1, 2))
            turn_cosine = (length**2 + next_length**2 - opposite**2) / (2 * length * next_length)
            turn_sine = ((1 - turn_cosine) * (1 + turn_cosine)).clamp(min=0).sqrt()
            inward = torch.linalg.cross(normal, sides[-1])
            corner.append(corner[-1] + length * sides[-1])
            sides.append(-turn_cosine * sides[-1] + turn_sine * inward)
        place = (torch.arange(3, device=tau.device) - fixed[:, None]) % 3
        corners = torch.stack(corner, 1)[chain[:, None], place]
        e = torch.stack(sides, 1)[chain[:, None], place]
        z = normal[:, None].expand_as(e)
        m = torch.linalg.cross(z, e)
        b = cosine * m + sine * z
        targets = torch.stack([e, b, torch.linalg.cross(e, b)], -1)
        rotation = targets @ frames.transpose(-1, -2)
        # Corners: a frame of the bond that arrives and the one that leaves, before and after.
        arrives, leaves = before.roll(1, 1)[:, :, 2] - before[:, :, 0], before[:, :, 1] - before[:, :, 0]
        last = (rotation @ (points[:, :, 2] - points[:, :, 3])[..., None])[..., 0].roll(1, 1)
        first = (rotation @ (points[:, :, 1] - points[:, :, 0])[..., None])[..., 0]
        hanging = _frame(first, last) @ _frame(leaves, arrives).transpose(-1, -2)
        rotations = torch.cat([rotation, hanging], 1)
        old, new = torch.cat([points[:, :, 0], before[:, :, 0]], 1), torch.cat([corners, corners], 1)
        part = self.tables.part
        driven = part == self.tables.driven[:, None]
        x = torch.where(driven[..., None], self.turned, self.before)
        rows = chain[:, None]
        moved = (rotations[rows, part] @ (x - old[rows, part])[..., None])[..., 0] + new[rows, part]
        return torch.where((part == fixed[:, None])[..., None], self.before, moved)


def segments_of(points: Float[Tensor, "chains 3 4 3"], bend: Float[Tensor, "chains 3"]) -> Segments:
    """The shapes of segments, from the points of each."""
    start, first, last, end = points.unbind(2)
    twist = dihedrals(torch.stack([first, start, end, last], -2), _ALL[None])[..., 0]
    return Segments((end - start).norm(dim=-1), _angle(end, start, first), _angle(start, end, last), twist, bend)


def present_angles(points: Float[Tensor, "chains 3 4 3"]) -> Float[Tensor, "chains 3"]:
    """tau of closed loops as they are: the angle of each segment about its side."""
    start, first, _, end = points.unbind(2)
    normal = torch.linalg.cross(end[:, 0] - start[:, 0], end[:, 1] - start[:, 0])
    normal = (normal / normal.norm(dim=-1, keepdim=True))[:, None]
    side = (end - start) / (end - start).norm(dim=-1, keepdim=True)
    arm = first - start
    inward = torch.linalg.cross(normal.expand_as(side), side)
    return torch.atan2((arm * normal).sum(-1), (arm * inward).sum(-1))


def closures_of(opened: Opened) -> tuple[Closures, Closures]:
    """All closures of the loops as they are, and of those that have been opened."""
    bend, before, now = opened.bend(), opened.points_before, opened.points
    both = segments_of(torch.cat([before, now]), torch.cat([bend, bend]))
    found = solve_closures(both)
    n = len(before)
    return tuple(Closures(found.tau[k], found.log_volume[k], found.valid[k]) for k in (slice(n), slice(n, None)))  # type: ignore[return-value]


_ALL = torch.arange(4)


def _row(loop: Loop, window: Window, adjacent: list[list[int]]) -> tuple:
    ring, n = loop.atoms, len(loop.atoms)
    at = [ring[k] for k in window.corners]
    after, before = [ring[(k + 1) % n] for k in window.corners], [ring[k - 1] for k in window.corners]
    points = [(at[i], after[i], before[(i + 1) % 3], at[(i + 1) % 3]) for i in range(3)]
    cut = {frozenset(pair) for i in range(3) for pair in ((at[i], after[i]), (at[i], before[i]))}
    part = [-1] * len(adjacent)
    for i in range(3):
        for atom in reached(after[i], adjacent, cut):
            part[atom] = i
        for atom in reached(at[i], adjacent, cut):
            part[atom] = 3 + i
    if not loop.closed:  # the last segment is what is in front of the first corner, and what is behind the last
        for atom in reached(before[0], adjacent, cut):
            part[atom] = 2
    a, b = ring[window.driver], ring[(window.driver + 1) % n]
    end = at[(window.driven + 1) % 3]
    turning = torch.zeros(len(adjacent), dtype=torch.bool)
    turning[[*reached(b, adjacent, cut | {frozenset((a, b))}), end]] = True
    turning[b] = False
    torsion = (ring[window.driver - 1], a, b, ring[(window.driver + 2) % n])
    return points, part, (b, a), turning, window.driven, window.fixed, torsion


def _gather(x: Tensor, atoms: Tensor) -> Tensor:
    return x[torch.arange(len(x), device=x.device)[:, None, None], atoms]


def _angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return angles(torch.stack([a, b, c], -2), torch.tensor([[0, 1, 2]]))[..., 0]


def _frame(along: Tensor, other: Tensor) -> Float[Tensor, "... 3 3"]:
    """Orthonormal columns: a direction, what another one has across it, and their product."""
    e = along / along.norm(dim=-1, keepdim=True)
    across = other - (other * e).sum(-1, keepdim=True) * e
    across = across / across.norm(dim=-1, keepdim=True)
    return torch.stack([e, across, torch.linalg.cross(e, across)], -1)


def _frames(points: Float[Tensor, "chains 3 4 3"]) -> Float[Tensor, "chains 3 3 3"]:
    start, first, _, end = points.unbind(2)
    return _frame(end - start, first - start)
