"""Sums and products over axes, in an explicit order (numerics, clause 10).

Floats narrower than f32 are summed in f32 and rounded once; integers wrap.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aivmc.ir.constants import Array
from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._orders import accumulator, cast, check_order, in_order
from aivmc.ir.ops._reduction import Reduction
from aivmc.ir.types import DType


class OrderedReduction(Reduction):
    """A reduction whose result depends on the order; a backend emits :meth:`step` in that order."""

    attributes = {"axes": "ints", "keepdims": "bool", "order": "string"}
    reduces = True
    start = 0  # what every accumulator begins with

    def step(self, emit: Emit, total: Scalar, x: Scalar) -> Scalar:
        """An accumulator with one more element."""
        return self.combine(emit, total, x)

    def combine(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        """Two accumulators as one."""
        return emit.add(a, b)

    def check(self, dtype: DType, **attributes: Any) -> None:
        check_order(attributes["order"], dtype)

    def reduce_rows(self, rows: Array, *, order: str) -> Array:
        emit: Emit = NumpyEmit()
        dtype = DType.of(rows.dtype)
        wide = cast(rows, accumulator(dtype))
        step, combine = partial(self.step, emit), partial(self.combine, emit)
        start = emit.const(self.start, accumulator(dtype))
        return cast(in_order(order, wide, step, combine, start), dtype)


@define
class ReduceSum(OrderedReduction):
    """The sum of the elements along ``axes``; +0 of none."""

    name = "det.reduce_sum"


@define
class ReduceSquareSum(OrderedReduction):
    """The sum of squares, each added by ``fma(x, x, total)`` (numerics, clause 11)."""

    name = "det.reduce_square_sum"

    def step(self, emit: Emit, total: Scalar, x: Scalar) -> Scalar:
        if emit.dtype(x).is_float:
            return emit.fma(x, x, total)
        return emit.add(total, emit.mul(x, x))


@define
class ReduceProduct(OrderedReduction):
    """The product of the elements along ``axes``; 1 of none."""

    name = "det.reduce_product"
    start = 1

    def combine(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.mul(a, b)
