"""Where the extremes along an axis are (numerics, clause 10)."""

from __future__ import annotations

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_arithmetic, check_axis
from aivmc.ir.ops._ranking import descending, ranks
from aivmc.ir.types import DType, TensorType


class ArgExtreme(OpDef):
    """i64 index along ``axis``, which ``keepdims`` leaves with length 1.

    Ties go to the lowest index, or to the highest with ``last``; NaN is largest, -0 equals +0.
    """

    operands = ("x",)
    attributes = {"axis": "int", "keepdims": "bool", "last": "bool"}

    def keys(self, x: Array) -> Array:
        """Integers whose maximum is sought."""
        raise NotImplementedError

    def result_type(self, x: TensorType, *, axis: int, keepdims: bool, last: bool) -> TensorType:
        check_arithmetic(x.dtype)
        check_axis(axis, x.rank)
        if x.shape[axis] == 0:
            raise IRError(f"axis {axis} of {x} has no elements")
        kept = (1,) if keepdims else ()
        return TensorType(DType.I64, (*x.shape[:axis], *kept, *x.shape[axis + 1 :]))

    def reference(self, x: Array, *, axis: int, keepdims: bool, last: bool) -> Array:
        keys = self.keys(x)
        if last:
            keys = np.flip(keys, axis)
        found = np.asarray(np.argmax(keys, axis, keepdims=keepdims), np.int64)
        return np.asarray(x.shape[axis] - 1 - found if last else found)


@define
class ArgMax(ArgExtreme):
    """Where the largest element is."""

    name = "det.arg_max"

    def keys(self, x: Array) -> Array:
        return ranks(x)


@define
class ArgMin(ArgExtreme):
    """Where the smallest element is: a NaN only among NaNs."""

    name = "det.arg_min"

    def keys(self, x: Array) -> Array:
        return descending(ranks(x))
