"""Sorting along an axis (numerics, clause 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.core import Region
from aivmc.ir.definition import Attributes, OpDef, define
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_arithmetic, check_axis
from aivmc.ir.ops._ranking import descending, ranks
from aivmc.ir.types import DType, TensorType, Type


@define
class TopK(OpDef):
    """The ``k`` first elements along ``axis`` in sorted order, and their i64 indices.

    Descending if ``largest``, else ascending. NaN is largest, -0 equals +0, equal elements keep
    their order.
    """

    name = "det.top_k"
    operands = ("x",)
    attributes = {"axis": "int", "k": "dim", "largest": "bool"}
    results = 2

    def infer(
        self, types: Sequence[Any], attributes: Attributes, regions: Sequence[Region]
    ) -> tuple[Type, ...]:
        x: TensorType = types[0]
        axis, k = attributes["axis"], attributes["k"]
        check_arithmetic(x.dtype)
        check_axis(axis, x.rank)
        beyond = k - x.shape[axis]
        if (isinstance(k, int) and k < 0) or (isinstance(beyond, int) and beyond > 0):
            raise IRError(f"there are not {k} elements along axis {axis} of {x}")
        values = x.with_shape((*x.shape[:axis], k, *x.shape[axis + 1 :]))
        return values, values.with_dtype(DType.I64)

    def reference(self, x: Array, *, axis: int, k: int, largest: bool) -> tuple[Array, Array]:
        keys = descending(ranks(x)) if largest else ranks(x)
        sorted_indices = np.argsort(keys, axis, kind="stable")
        indices = np.take(sorted_indices, np.arange(k), axis).astype(np.int64)
        return np.take_along_axis(x, indices, axis), indices
