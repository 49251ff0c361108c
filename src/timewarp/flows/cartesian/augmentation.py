"""What may be changed in the pairs that a Cartesian flow learns from: rigid motions, and names of like atoms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...geometry import best_rotation, dihedrals, interchangeable_leaves, random_rotations
from ...shapes import Bool, Float, Int
from ...state import Atoms


def rotate_together(generator: torch.Generator, *tensors: Float[Tensor, "batch atoms 3"]) -> tuple[Tensor, ...]:
    """Turn all tensors by the same uniformly random rotation in each row (positions, velocities: any vectors).

    >>> g = torch.Generator().manual_seed(0)
    >>> a, b = rotate_together(g, torch.eye(3)[None], torch.eye(3)[None])
    >>> torch.equal(a, b), torch.allclose(a.norm(dim=-1), torch.ones(1, 3))
    (True, True)
    """
    first = tensors[0]
    rotation = random_rotations(len(first), generator, dtype=first.dtype).to(first.device).transpose(-1, -2)
    return tuple(t @ rotation for t in tensors)


def superpose_pairs(
    before: Float[Tensor, "batch atoms 3"],
    after: Float[Tensor, "batch atoms 3"],
    is_atom: Bool[Tensor, "batch atoms"] | None = None,
) -> Float[Tensor, "batch atoms 3"]:
    """``after``, moved rigidly onto ``before`` with least squared distance (Kabsch 1976).

    Over a long lag a molecule drifts and tumbles, and a flow that is trained on raw pairs spends its capacity on that.
    The potential does not see rigid motion, so that nothing is lost. The density of superposed pairs is singular (they
    lie on a surface); :func:`jitter` gives it back a little width.
    """
    mask = torch.ones_like(before[..., :1]) if is_atom is None else is_atom.unsqueeze(-1).to(before.dtype)
    count = mask.sum(-2, keepdim=True)
    origin = (before * mask).sum(-2, keepdim=True) / count
    target = (before - origin) * mask
    moved = (after - (after * mask).sum(-2, keepdim=True) / count) * mask
    return (moved @ best_rotation(moved, target) + origin) * mask


def jitter(
    generator: torch.Generator,
    positions: Float[Tensor, "batch atoms 3"],
    is_atom: Bool[Tensor, "batch atoms"] | None = None,
    *,
    shift_nm: float,
    turn_rad: float,
) -> Float[Tensor, "batch atoms 3"]:
    """Shift configurations by N(0, shift^2) per axis, and turn them by a rotation vector of N(0, turn^2) per axis."""
    mask = torch.ones_like(positions[..., :1]) if is_atom is None else is_atom.unsqueeze(-1).to(positions.dtype)
    noise = torch.randn(2, len(positions), 3, generator=generator, device=generator.device, dtype=positions.dtype)
    noise = noise.to(positions.device)
    x, y, z = (turn_rad * noise[0]).unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    centroid = (positions * mask).sum(-2, keepdim=True) / mask.sum(-2, keepdim=True)
    turned = (positions - centroid) @ torch.linalg.matrix_exp(skew).transpose(-1, -2)
    return (turned + centroid + shift_nm * noise[1].unsqueeze(-2)) * mask


class Relabelling:
    """Names the hydrogens of methyl groups (and other like atoms that one bond turns) as the earlier frame has them.

    Over a nanosecond a methyl group turns by any multiple of 120 degrees, and a flow trained on that must learn three
    times as many modes for each group. Renaming like atoms so that each group has turned as little as possible leaves
    the energy as it is, and the density with one mode where there were three. Names are changed in cycles alone, so
    that a group's handedness stays.

    Args:
        molecules: those that the rows of a batch can be.
    """

    def __init__(self, molecules: Sequence[Atoms]) -> None:
        groups = [interchangeable_leaves(m.elements, m.bonds) for m in molecules]
        # Padding: the first atom in every place, of which all orders are the same.
        self._anchors = torch.zeros(len(groups), max(map(len, groups), default=0), 3, dtype=torch.long)
        self._orders = torch.zeros(*self._anchors.shape[:2], 3, 3, dtype=torch.long)
        for row, orders, members in zip(self._anchors, self._orders, groups, strict=True):
            for g, (anchor, leaves) in enumerate(members):
                row[g] = torch.tensor(anchor)
                orders[g] = torch.tensor(_cycles(leaves, anchor[2]))

    def __call__(
        self,
        before: Float[Tensor, "batch atoms 3"],
        after: Float[Tensor, "batch atoms 3"],
        molecule: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch atoms 3"]:
        """``after`` with like atoms named so that their groups have turned as little as possible since ``before``."""
        anchors, orders = self._anchors[molecule], self._orders[molecule]  # (batch, groups, 3), (.., order, leaf)
        rows = torch.arange(len(before))[:, None]

        def torsions(x: Tensor, leaf: Tensor) -> Tensor:
            corners = torch.stack([x[rows, i] for i in (*anchors.unbind(-1), leaf)], -2)
            return dihedrals(corners, torch.arange(4)[None])[..., 0]

        start = torsions(before, orders[..., 0, 0])
        turned = torch.stack([(torsions(after, orders[..., k, 0]) - start).cos() for k in range(3)], -1)
        best = turned.argmax(-1)[..., None, None].expand(-1, -1, 1, 3)
        source = orders.gather(2, best)[:, :, 0]
        renamed = after.clone()
        renamed[rows, orders[:, :, 0].flatten(1)] = after[rows, source.flatten(1)]
        return renamed


def _cycles(leaves: tuple[int, ...], centre: int) -> list[tuple[int, ...]]:
    """Three orders of three atoms; of two leaves both orders, and the centre in the third place."""
    if len(leaves) == 2:
        a, b = leaves
        return [(a, b, centre), (b, a, centre), (a, b, centre)]
    a, b, c = leaves
    return [(a, b, c), (b, c, a), (c, a, b)]
