"""Triangles of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._index import zero
from aivmc.ir.types import DType, TensorType


@define
class Trilu(OpDef):
    """x [..., M, N] with zeros outside a triangle; ``k`` is an i64 scalar.

    The upper one keeps column - row >= k, the lower one column - row <= k.
    """

    name = "det.trilu"
    operands = ("x", "k")
    attributes = {"upper": "bool"}

    def result_type(self, x: TensorType, k: TensorType, *, upper: bool) -> TensorType:
        if x.rank < 2:
            raise IRError(f"{x} is not a matrix")
        if k != TensorType(DType.I64):
            raise IRError(f"k must be an i64 scalar, not {k}")
        return x

    def reference(self, x: Array, k: Array, *, upper: bool) -> Array:
        rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
        kept = columns - rows >= k if upper else columns - rows <= k
        return np.where(kept, x, zero(NumpyEmit(), DType.of(x.dtype)))

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        diagonal, k = index[-1] - index[-2], load(1, [])
        upper = site.attributes["upper"]
        kept = emit.le(k, diagonal) if upper else emit.le(diagonal, k)
        return emit.select(kept, load(0, index), zero(emit, site.result.dtype))
