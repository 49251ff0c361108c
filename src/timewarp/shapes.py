"""Array types that carry their shape: ``Float[Tensor, "batch atoms 3"]``.

With jaxtyping installed (a development extra) the shapes are checked while the tests run. Without it the same
annotations mean nothing at run time, so that training needs no more than torch, numpy, safetensors and
lightning-fabric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ImportError:

        class _Unchecked:
            """Stands in for a jaxtyping dtype: subscripting gives back the array type."""

            def __class_getitem__(cls, item):
                return item[0]

        Bool = Float = Int = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Int", "UInt8"]
