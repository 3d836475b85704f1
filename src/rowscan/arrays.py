"""Array types: `Float32[np.ndarray, "n 10"]` states dtype and shape.

They are jaxtyping's, for type checkers and for the tests, which check each call against them.
Elsewhere they stand for the plain array, and jaxtyping is not imported: that took a tenth of the
time of `rowscan read`.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import (
        Bool,
        Float,
        Float32,
        Float64,
        Int16,
        Int32,
        Int64,
        Integer,
        Shaped,
        UInt8,
    )
else:

    class _Unchecked:
        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            array, _ = item
            return array

    Bool = Float = Float32 = Float64 = Int16 = Int32 = Int64 = Integer = Shaped = UInt8 = _Unchecked

__all__ = [
    "Bool",
    "Float",
    "Float32",
    "Float64",
    "Int16",
    "Int32",
    "Int64",
    "Integer",
    "Shaped",
    "UInt8",
]
