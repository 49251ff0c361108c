"""Matrix products of the Cartesian flow: the fastest that the machine has, and weights laid out for it once.

On a CPU in single precision these are oneDNN's, through the operators that `torch.compile` uses too: bias and ReLU come
with the product, and weights that do not change are kept in the library's own layout. Beside `torch.mm` that is some
10 % at 350 rows, and half as fast again at 22, one molecule's. Anywhere else they are `torch.nn.functional.linear`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...shapes import Float

TYPICAL_ROWS = 352
"""Packed weights are laid out for so many rows; other numbers run as fast."""


def onednn_is_available() -> bool:
    """Whether this torch has oneDNN and the operators used here."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


_ONEDNN = onednn_is_available()


def linear(
    x: Float[Tensor, "*rows inputs"],
    weight: Tensor,
    bias: Float[Tensor, " outputs"] | None = None,
    *,
    relu: bool = False,
) -> Float[Tensor, "*rows outputs"]:
    """x weight^T + bias, then ReLU if asked for; without gradients. The weight may be one of :class:`Kept`."""
    if _ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


class Kept:
    """A tensor made from parameters, kept while they stay the same.

    In-place changes of a parameter raise its version, and any other change is another storage: the old storage is held
    here, so that its address cannot be given to a new one. Copies of a module start with nothing kept.
    """

    def __init__(self) -> None:
        # One attribute, replaced at once, because threads share it: (key, what holds the storage, the tensor).
        self._kept: tuple[tuple, tuple[Tensor, ...], Tensor] | None = None

    def get(self, parameters: tuple[Tensor, ...], make: Callable[[], Tensor]) -> Tensor:
        """The kept tensor, made anew if a parameter has changed."""
        if any(p.is_inference() for p in parameters):  # these carry no version
            return make()
        key = tuple((p.data_ptr(), p._version, p.dtype, p.device) for p in parameters)
        kept = self._kept
        if kept is None or kept[0] != key:
            self._kept = kept = key, tuple(p.detach() for p in parameters), make()
        return kept[2]

    def packed(self, weight: Tensor) -> Tensor:
        """The weight in oneDNN's layout, where that is used; else the weight itself."""
        return self.get((weight,), lambda: pack(weight))

    def __deepcopy__(self, memo: dict) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple:
        return Kept, ()


def pack(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """A weight in oneDNN's layout, where that is used; else the weight itself."""
    if not (_ONEDNN and weight.dtype == torch.float32 and weight.device.type == "cpu"):
        return weight
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TYPICAL_ROWS)


class Linear(nn.Linear):
    """``torch.nn.Linear`` that keeps its packed weight in evaluation without gradients."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.kept = Kept()

    def forward(self, x: Float[Tensor, "*rows inputs"], *, relu: bool = False) -> Float[Tensor, "*rows outputs"]:
        """x W^T + b, then ReLU if asked for."""
        if torch.is_grad_enabled():
            out = F.linear(x, self.weight, self.bias)
            return out.relu_() if relu else out
        return linear(x, self.weight if self.training else self.kept.packed(self.weight), self.bias, relu=relu)
