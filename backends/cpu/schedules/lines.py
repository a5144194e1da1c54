"""Ops along one axis: each line of elements along it is computed on its own, one after another.

A tensor is seen as [outer, length, inner]. A task is a block of neighbouring lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, Tensor
from aivmc.backends.cpu.schedules.order import accumulator
from aivmc.backends.tir_emit import Expr, TirEmit, i64, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.types import DType, Shape

LINES = 16  # of a task: a cache line, where they are along an outer axis


@dataclass(frozen=True)
class Line:
    """One line of a tensor: element ``i`` is at ``start + i * stride``."""

    tensor: Tensor
    start: Expr
    stride: Expr

    def load(self, i: Expr) -> Expr:
        return self.tensor.array.load(self.start + i * self.stride)

    def store(self, code: Code, i: Expr, x: Expr) -> None:
        self.tensor.array.store(code, self.start + i * self.stride, x)


def for_each_line(
    kernel: Kernel,
    shape: Shape,
    axis: int,
    body: Callable[[Code, Expr, Expr], None],
    of_task: int = LINES,
) -> None:
    """``body(scope, outer, inner)`` for each line along ``axis`` of a tensor of ``shape``, so many
    of them a task."""
    lines = product(shape[:axis]) * product(shape[axis + 1 :])
    kernel.tasks = ceil_div(lines, of_task)
    count, inner = kernel.emit.dim(lines), kernel.emit.dim(product(shape[axis + 1 :]))

    def task(code: Code, number: Expr) -> None:
        start = code.bind(number * of_task)
        end = code.bind(tirx.min(start + of_task, count))

        def line(scope: Code, index: Expr) -> None:
            outer = scope.bind(quotient(index, inner))
            body(scope, outer, scope.bind(remainder(index, inner)))

        code.span(start, end, line)

    kernel.code.span(kernel.begin, kernel.end, task)


def line_of(code: Code, tensor: Tensor, axis: int, outer: Expr, inner: Expr) -> Line:
    """The line of ``tensor`` along its ``axis``."""
    emit, shape = tensor.emit, tensor.type.shape
    stride = emit.dim(product(shape[axis + 1 :]))
    size = emit.dim(product(shape[axis:]))
    return Line(tensor, code.bind(outer * size + inner), stride)


def lower_arg_extreme(kernel: Kernel, root: Op, of_task: int = LINES) -> None:
    """``det.arg_max`` and ``det.arg_min``: elements are met in order, a better one is kept."""
    emit, source = kernel.emit, kernel.tensors[root.operands[0]]
    axis, last = root.attributes["axis"], root.attributes["last"]
    length: Dim = source.type.shape[axis]
    key = Ranking(source.type.dtype, descending=root.name == "det.arg_min")

    def line(code: Code, outer: Expr, inner: Expr) -> None:
        x = line_of(code, source, axis, outer, inner)
        best, where = code.array(1, key.dtype), code.array(1, DType.I64)
        best.store(code, i64(0), emit.const(0, key.dtype))
        where.store(code, i64(0), i64(0))

        def meet(scope: Code, i: Expr) -> None:
            new = scope.keep(key.of(emit, x.load(i)))
            old = best.load(i64(0))
            better = emit.le(old, new) if last else emit.lt(old, new)

            def keep(inner_scope: Code) -> None:
                best.store(inner_scope, i64(0), new)
                where.store(inner_scope, i64(0), i)

            scope.when(emit.or_(tirx.EQ(i, i64(0)), better), keep)

        code.loop(emit.dim(length), meet)
        result = kernel.tensors[root.result].array
        result.store(
            code,
            outer * emit.dim(product(source.type.shape[axis + 1 :])) + inner,
            where.load(i64(0)),
        )

    for_each_line(kernel, source.type.shape, axis, line, of_task)


@dataclass(frozen=True)
class Ranking:
    """Integers that compare as elements do: NaN largest, -0 equal to +0 (numerics, clause 10)."""

    source: DType
    descending: bool

    @property
    def dtype(self) -> DType:
        if not self.source.is_float:
            return self.source.wide
        return DType.I64 if self.source is DType.F64 else DType.I32

    def of(self, emit: TirEmit, x: Expr) -> Expr:
        """The key of an element."""
        key = self._rank(emit, x) if self.source.is_float else emit.cast(x, self.dtype)
        return emit.not_(key) if self.descending else key

    def _rank(self, emit: TirEmit, x: Expr) -> Expr:
        bits = emit.bitcast(emit.cast(x, accumulator(self.source)), self.dtype)
        largest = emit.const((1 << (self.dtype.bits - 1)) - 1, self.dtype)
        magnitude = emit.and_(bits, largest)
        negative = emit.lt(bits, emit.const(0, self.dtype))
        signed = emit.select(negative, emit.neg(magnitude), magnitude)
        return emit.select(emit.is_nan(x), largest, signed)


def lower_cumulative_sum(kernel: Kernel, root: Op, of_task: int = LINES) -> None:
    """``det.cumulative_sum``: one running total for each line."""
    emit, source = kernel.emit, kernel.tensors[root.operands[0]]
    result = kernel.tensors[root.result]
    axis, exclusive = root.attributes["axis"], root.attributes["exclusive"]
    length = emit.dim(source.type.shape[axis])
    dtype = source.type.dtype
    wide = accumulator(dtype)

    def line(code: Code, outer: Expr, inner: Expr) -> None:
        x, sums = (line_of(code, t, axis, outer, inner) for t in (source, result))
        total = code.array(1, wide)
        total.store(code, i64(0), emit.const(0, wide))

        def add(scope: Code, step: Expr) -> None:
            i = scope.bind(length - 1 - step) if root.attributes["reverse"] else step
            before = scope.keep(total.load(i64(0)))
            after = scope.keep(emit.add(before, emit.cast(x.load(i), wide)))
            total.store(scope, i64(0), after)
            sums.store(scope, i, emit.cast(before if exclusive else after, dtype))

        code.loop(length, add)

    for_each_line(kernel, source.type.shape, axis, line, of_task)
