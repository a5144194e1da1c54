"""Scatter: the operand copied, then the updates of each place in ascending row-major order.

Updates that meet in one place are all in one line along the axis, or in one column of the slices:
a task has lines, or columns, of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, Tensor, delinearize
from aivmc.backends.cpu.schedules.lines import LINES, for_each_line, line_of
from aivmc.backends.cpu.schedules.order import accumulator
from aivmc.backends.tir_emit import Expr, TirEmit, i64
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.ops._index import wrap_negative
from aivmc.ir.types import DType

_COLUMNS = 64  # of a task


def lower_scatter_elements(kernel: Kernel, root: Op, of_task: int = LINES) -> None:
    """Fill in the function of a ``det.scatter_elements``."""
    emit = kernel.emit
    source, indices, updates = (kernel.tensors[v] for v in root.operands)
    result, axis = kernel.tensors[root.result], root.attributes["axis"]
    shape, beside = source.type.shape, list(indices.type.shape)
    count = emit.dim(beside.pop(axis))
    others = [*shape[:axis], *shape[axis + 1 :]]
    inner_size = emit.dim(product(shape[axis + 1 :]))

    def line(code: Code, outer: Expr, inner: Expr) -> None:
        old, new = (line_of(code, t, axis, outer, inner) for t in (source, result))
        code.loop(emit.dim(shape[axis]), lambda s, i: new.store(s, i, old.load(i)))
        at = delinearize(code, emit, code.bind(outer * inner_size + inner), others)

        def update(scope: Code, i: Expr) -> None:
            place = scope.bind(indices.offset([*at[:axis], i, *at[axis:]]))
            picked = emit.cast(indices.array.load(place), DType.I64)
            along = scope.bind(wrap_negative(emit, picked, shape[axis]))
            x = updates.array.load(place)
            new.store(scope, along, combined(scope, emit, root, new.load(along), x))

        inside = [tirx.LT(i, emit.dim(n)) for i, n, d in zip(at, beside, others) if n != d]
        when_all(code, inside, lambda scope: scope.loop(count, update))

    for_each_line(kernel, shape, axis, line, of_task)


def when_all(code: Code, conditions: Sequence[Expr], body: Callable[[Code], None]) -> None:
    """``body`` where all conditions hold."""
    if not conditions:
        body(code)
        return
    code.when(conditions[0], lambda scope: when_all(scope, conditions[1:], body))


def lower_scatter_nd(kernel: Kernel, root: Op, of_task: int = _COLUMNS) -> None:
    """Fill in the function of a ``det.scatter_nd``: a task is some columns of the slices."""
    emit = kernel.emit
    source, indices, updates = (kernel.tensors[v] for v in root.operands)
    result = kernel.tensors[root.result]
    depth = indices.type.shape[-1]
    assert isinstance(depth, int)
    shape = source.type.shape
    rows, columns = product(shape[:depth]), product(shape[depth:])
    width = emit.dim(columns)
    kernel.tasks = ceil_div(columns, of_task)

    def task(code: Code, number: Expr) -> None:
        start = code.bind(number * of_task)
        count = code.bind(tirx.min(i64(of_task), width - start))

        def copy(scope: Code, row: Expr) -> None:
            first = scope.bind(row * width + start)
            scope.loop(
                count, lambda s, j: result.array.store(s, first + j, source.array.load(first + j))
            )

        def update(scope: Code, row: Expr) -> None:
            place = place_of(scope, emit, indices, row, shape[:depth])
            first = scope.bind(place * width + start)
            begin = scope.bind(row * width + start)

            def one(inner: Code, j: Expr) -> None:
                at = inner.bind(first + j)
                x, old = updates.array.load(begin + j), result.array.load(at)
                result.array.store(inner, at, combined(inner, emit, root, old, x))

            scope.loop(count, one)

        code.loop(emit.dim(rows), copy)
        code.loop(emit.dim(product(indices.type.shape[:-1])), update)

    kernel.code.span(kernel.begin, kernel.end, task)


def place_of(code: Code, emit: TirEmit, indices: Tensor, row: Expr, shape: Sequence[Dim]) -> Expr:
    """The number of the slice that a row of coordinates names."""
    place: Expr = i64(0)
    for axis, size in enumerate(shape):
        picked = emit.cast(indices.array.load(row * len(shape) + axis), DType.I64)
        along = code.bind(wrap_negative(emit, code.bind(picked), size))
        place = place * emit.dim(size) + along
    return code.bind(place)


def combined(code: Code, emit: TirEmit, root: Op, old: Expr, update: Expr) -> Expr:
    """What an element becomes, rounded to its dtype at each step."""
    reduction, dtype = root.attributes["reduction"], root.result.tensor.dtype
    if reduction == "none":
        return update
    operations = {"add": emit.add, "mul": emit.mul, "max": emit.maximum, "min": emit.minimum}
    wide = accumulator(dtype)
    old, update = (code.keep(emit.cast(x, wide)) for x in (old, update))
    return emit.cast(code.keep(operations[reduction](old, update)), dtype)
