"""Reductions over axes, brought to one form: combine the columns of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_axis
from aivmc.ir.types import DType, TensorType


class Reduction(OpDef):
    """The elements along ``axes``, flattened row-major, become one; the dtype is kept.

    ``axes`` ascend; ``keepdims`` leaves axes of length 1 in their places. Subclasses check the
    dtype and combine the columns of a matrix.
    """

    operands = ("x",)
    attributes = {"axes": "ints", "keepdims": "bool"}

    def check(self, dtype: DType, **attributes: Any) -> None:
        """``IRError`` if the reduction is not defined on ``dtype`` with these attributes."""

    def reduce_rows(self, rows: Array, **attributes: Any) -> Array:
        """[rows, n] -> [rows]."""
        raise TypeError(f"{self.name} has no reference semantics")

    def result_type(
        self, x: TensorType, *, axes: tuple[int, ...], keepdims: bool, **attributes: Any
    ) -> TensorType:
        self.check(x.dtype, **attributes)
        for axis in axes:
            check_axis(axis, x.rank)
        if list(axes) != sorted(set(axes)):
            raise IRError(f"axes must ascend: {list(axes)}")
        if keepdims:
            return x.with_shape(tuple(1 if a in axes else d for a, d in enumerate(x.shape)))
        return x.with_shape(tuple(d for a, d in enumerate(x.shape) if a not in axes))

    def reference(
        self, x: Array, *, axes: tuple[int, ...], keepdims: bool, **attributes: Any
    ) -> Array:
        kept = [a for a in range(x.ndim) if a not in axes]
        shape = [x.shape[a] for a in kept]
        rows = rows_along(x, axes)
        result = self.reduce_rows(rows, **attributes).reshape(shape)
        return np.expand_dims(result, axes) if keepdims else result


def rows_along(x: Array, axes: Sequence[int]) -> Array:
    """[rows, n]: one row for each index of the other axes, n the elements along ``axes``."""
    kept = [a for a in range(x.ndim) if a not in axes]
    rows, columns = (prod(x.shape[a] for a in group) for group in (kept, axes))
    return x.transpose(*kept, *axes).reshape(rows, columns)
