"""Running sums."""

from __future__ import annotations

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_arithmetic, check_axis
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.types import DType, TensorType


@define
class CumulativeSum(OpDef):
    """Sums of all elements up to each one along ``axis``, from +0, ascending (clause 10).

    ``exclusive`` leaves the element itself out; ``reverse`` runs from the end. Floats narrower
    than f32 are summed in f32, each result rounded once; integers wrap.
    """

    name = "det.cumulative_sum"
    operands = ("x",)
    attributes = {"axis": "int", "exclusive": "bool", "reverse": "bool"}

    def result_type(
        self, x: TensorType, *, axis: int, exclusive: bool, reverse: bool
    ) -> TensorType:
        check_arithmetic(x.dtype)
        check_axis(axis, x.rank)
        return x

    def reference(self, x: Array, *, axis: int, exclusive: bool, reverse: bool) -> Array:
        emit, dtype = NumpyEmit(), DType.of(x.dtype)
        columns = np.moveaxis(cast(x, accumulator(dtype)), axis, 0)
        sums = np.zeros(columns.shape, columns.dtype)
        total = np.zeros(columns.shape[1:], columns.dtype)
        positions = range(len(columns))
        for i in reversed(positions) if reverse else positions:
            before, total = total, emit.add(total, columns[i])
            sums[i] = before if exclusive else total
        return np.asarray(cast(np.moveaxis(sums, 0, axis), dtype), order="C")
