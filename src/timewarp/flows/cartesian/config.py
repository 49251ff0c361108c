"""Size and kind of the Cartesian flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

ATTENTIONS = ("kernel", "dense", "local")
FRAMES = ("laboratory", "molecule", "bonds")


@dataclass(frozen=True)
class CartesianFlowConfig:
    """Size and kind of the Cartesian flow. The defaults are ours; ``configs/paper-*.toml`` are the paper's.

    Attributes:
        n_couplings: coupling layers, alternating between positions and auxiliary; even.
        n_layers: transformer layers in each of a coupling's two networks.
        width: size of an atom's token.
        feed_forward: hidden layer of the transformer layers' feed-forward networks.
        mlp_hidden: hidden layer of the token MLPs at both ends.
        embedding: size of an atom's embedding h.
        attention: ``kernel``, ``dense`` or ``local`` (``attention.py``).
        length_scales_nm: of kernel attention, one head each.
        learn_length_scales: train them, from these values on.
        merged_values: kernel attention learns one matrix per head in place of value and output projection.
        n_heads: heads of dense and local attention; divides ``width``.
        radius_nm: of local attention.
        use_auxiliary: condition on the auxiliary variable v of the current state too.
        rich_features: tell atoms apart by charge, chemistry and residue, and pairs by the bonds between them (as an
            attention bias); False: by the five elements alone, as in the paper.
        frame: ``molecule`` expresses displacement and auxiliary in a frame that turns with the conditioning molecule
            (three bonded atoms at its centre), so that q is equivariant under rotation; ``laboratory`` does not, as in
            the paper, and rotations must be learned from augmented data. ``bonds`` is equivariant too, and in place of
            displacements it works on bond vectors along axes of the bonds of x (``frames.py``).
        length_unit_nm: the networks see lengths in this unit; 1 nm in the paper.
        initial_scale: how far from the identity the couplings start, beside torch's own random start. At the identity
            itself (0) training finds a saddle: a coupling gains nothing from an auxiliary that knows nothing, nor an
            auxiliary from knowing what no coupling reads.
    """

    n_couplings: int = 12
    n_layers: int = 2
    width: int = 64
    feed_forward: int = 256
    mlp_hidden: int = 128
    embedding: int = 32
    attention: str = "kernel"
    length_scales_nm: Sequence[float] = (0.1, 0.15, 0.25, 0.4, 0.7, 1.2)
    learn_length_scales: bool = True
    merged_values: bool = True
    n_heads: int = 8
    radius_nm: float = 0.5
    use_auxiliary: bool = False
    rich_features: bool = True
    frame: str = "bonds"
    length_unit_nm: float = 0.1
    initial_scale: float = 2.0

    def __post_init__(self) -> None:
        # A list from a TOML file is as good as a tuple.
        object.__setattr__(self, "length_scales_nm", tuple(float(v) for v in self.length_scales_nm))
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "str": str}
        for field in fields(self):
            value = getattr(self, field.name)
            kind = kinds.get(str(field.type), tuple)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{field.name} must be of type {field.type}, got {value!r}")
            least = 0 if field.name == "initial_scale" else math.ulp(0.0)
            if kind not in (bool, str, tuple) and not (math.isfinite(value) and value >= least):
                raise ValueError(f"{field.name} must be {'positive' if least else '0 or positive'}, got {value!r}")
        if self.n_couplings % 2:
            raise ValueError(f"n_couplings must be even, so that both variables move equally, got {self.n_couplings}")
        if self.attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {self.attention!r}; expected one of {', '.join(ATTENTIONS)}")
        if self.frame not in FRAMES:
            raise ValueError(f"unknown frame {self.frame!r}; expected one of {', '.join(FRAMES)}")
        if not self.length_scales_nm or not all(math.isfinite(v) and v > 0 for v in self.length_scales_nm):
            raise ValueError(f"length_scales_nm must be positive lengths, got {list(self.length_scales_nm)}")
        if self.attention != "kernel" and self.width % self.n_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of n_heads ({self.n_heads})")

    @property
    def n_condition(self) -> int:
        """Numbers that a token carries of the condition: position, embedding and, if asked for, auxiliary and bonds."""
        return 3 + self.embedding + (3 if self.use_auxiliary else 0) + (12 if self.frame == "bonds" else 0)
