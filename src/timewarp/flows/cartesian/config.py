"""Size and kind of the Cartesian flow."""

from __future__ import annotations

from dataclasses import dataclass

from ...settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class CartesianFlowConfig(Settings):
    """Size and kind of the Cartesian flow. The defaults are ours; ``configs/paper-*.toml`` are the paper's."""

    n_couplings: int = setting(12, "coupling layers, alternating between positions and auxiliary; even", least=1)
    n_layers: int = setting(2, "transformer layers in each of a coupling's two networks", least=1)
    width: int = setting(64, "size of an atom's token", least=1)
    feed_forward: int = setting(256, "hidden layer of the transformer layers' feed-forward networks", least=1)
    mlp_hidden: int = setting(128, "hidden layer of the token MLPs at both ends", least=1)
    embedding: int = setting(32, "size of an atom's embedding h", least=1)
    attention: str = setting("kernel", "see attention.py", choices=("kernel", "dense", "local"))
    length_scales_nm: tuple[float, ...] = setting(
        (0.1, 0.15, 0.25, 0.4, 0.7, 1.2), "of kernel attention, one head each", unit="nm", above=0
    )
    learn_length_scales: bool = setting(True, "train them, from these values on")
    merged_values: bool = setting(
        True, "kernel attention learns one matrix per head in place of value and output projection"
    )
    n_heads: int = setting(8, "heads of dense and local attention; divides width", least=1)
    radius_nm: float = setting(0.5, "of local attention", unit="nm", above=0)
    use_auxiliary: bool = setting(False, "condition on the auxiliary variable v of the current state too")
    rich_features: bool = setting(
        True,
        "tell atoms apart by charge, chemistry and residue, and pairs by the bonds between them (an attention bias); "
        "without it by the five elements alone, as in the paper",
    )
    frame: str = setting(
        "bonds",
        "molecule expresses displacement and auxiliary in a frame that turns with the conditioning molecule (three "
        "bonded atoms at its centre), so that q is equivariant under rotation; laboratory does not, as in the paper: "
        "rotations must be learned from augmented data; bonds is equivariant too, and in place of displacements it "
        "works on bond vectors along axes of the bonds of x (frames.py)",
        choices=("laboratory", "molecule", "bonds"),
    )
    length_unit_nm: float = setting(0.1, "the networks see lengths in this unit; 1 nm in the paper", unit="nm", above=0)
    initial_scale: float = setting(
        2.0,
        "how far from the identity the couplings start, beside torch's own random start; at the identity itself (0) "
        "training finds a saddle: a coupling gains nothing from an auxiliary that knows nothing, nor an auxiliary from "
        "knowing what no coupling reads",
        least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.length_scales_nm:
            raise ValueError("length_scales_nm must be positive lengths, got none")
        if self.n_couplings % 2:
            raise ValueError(f"n_couplings must be even, so that both variables move equally, got {self.n_couplings}")
        if self.attention != "kernel" and self.width % self.n_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of n_heads ({self.n_heads})")

    @property
    def n_condition(self) -> int:
        """Numbers that a token carries of the condition: position, embedding and, if asked for, auxiliary and bonds."""
        return 3 + self.embedding + (3 if self.use_auxiliary else 0) + (12 if self.frame == "bonds" else 0)
