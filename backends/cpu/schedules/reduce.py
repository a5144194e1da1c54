"""Reductions over axes that are not the trailing ones, and window reductions.

Results are computed in vectors along the last axis where that is neither reduced nor windowed;
each lane of such a vector is a whole reduction of its own, in its canonical order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Code, Kernel, delinearize, store_results
from aivmc.backends.cpu.schedules.map import compute_columns
from aivmc.backends.cpu.schedules.order import (
    accumulator,
    combine_of,
    merge_lanes,
    new_lanes,
    reduce_blocks,
)
from aivmc.backends.tir_emit import Expr, i64, lanes_of, splat
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product

Index = Sequence[Expr]
Visit = Callable[[Code, Expr], None]


@dataclass(frozen=True)
class Source:
    """What one result reduces: ``length`` elements; ``visit`` calls back with the element of a
    result's index and a number, unless it is padding, which changes nothing."""

    length: Dim
    visit: Callable[[Code, Index, Expr, Visit], None]
    vectors: bool  # whether neighbours along the last axis reduce neighbours


def lower_reduce(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.reduce``."""
    root = root_of(kernel)
    tensor = kernel.tensors[root.operands[0]]
    shape, axes = tensor.type.shape, root.attributes["axes"]
    kept = [a for a in range(len(shape)) if a not in axes]

    def visit(code: Code, index: Index, number: Expr, then: Visit) -> None:
        places = range(len(shape)) if root.attributes["keepdims"] else kept
        at = dict(zip(places, index))
        at.update(zip(axes, delinearize(code, kernel.emit, number, [shape[a] for a in axes])))
        then(code, code.keep(tensor.load([at[a] for a in range(len(shape))])))

    length = product(shape[a] for a in axes)
    _lower(kernel, root, Source(length, visit, len(shape) - 1 not in axes))


def lower_window(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.window``."""
    root = root_of(kernel)
    _lower(kernel, root, window_source(kernel, root))


def window_source(kernel: Kernel, root: Op) -> Source:
    """What each result of a ``kernel.window`` reduces."""
    last = [root.attributes[n][-1] for n in ("window", "strides", "low", "high")]
    length = product(root.attributes["window"])

    def visit(code: Code, index: Index, number: Expr, then: Visit) -> None:
        _visit_tap(code, kernel, root, index, number, then)

    return Source(length, visit, last == [1, 1, 0, 0])


def _visit_tap(
    code: Code, kernel: Kernel, root: Op, index: Index, number: Expr, then: Visit
) -> None:
    attributes = root.attributes
    tensor = kernel.tensors[root.operands[0]]
    taps = delinearize(code, kernel.emit, number, attributes["window"])
    at: list[Expr] = []
    conditions: list[Expr] = []
    for axis, (i, tap) in enumerate(zip(index, taps)):
        low, high = attributes["low"][axis], attributes["high"][axis]
        moved = attributes["window"][axis] > 1 or attributes["strides"][axis] > 1 or low
        place = i * attributes["strides"][axis] + (tap * attributes["dilations"][axis] - low)
        at.append(code.bind(place) if moved else i)
        if low or high:
            size = kernel.emit.dim(tensor.type.shape[axis])
            conditions += [tirx.GE(at[-1], i64(0)), tirx.LT(at[-1], size)]
    if not conditions:
        then(code, code.keep(tensor.load(at)))
        return
    inside = conditions[0]
    for condition in conditions[1:]:
        inside = tirx.And(inside, condition)
    code.when(inside, lambda scope: then(scope, scope.keep(tensor.load(at))))


def root_of(kernel: Kernel) -> Op:
    """The reduction or window of a kernel."""
    return next(op for op in kernel.region.body if op.name != "det.constant")


def _lower(kernel: Kernel, root: Op, source: Source) -> None:
    """A task is one row of results."""
    shape = root.result.tensor.shape
    rows, columns = shape[:-1], shape[-1] if shape else 1
    kernel.tasks = product(rows)

    def results(code: Code, index: Index) -> None:
        total = kernel.emit.cast(
            _reduce(code, kernel, root, source, index), root.result.tensor.dtype
        )
        store_results(kernel, code, index, root.result, total)

    def task(code: Code, number: Expr) -> None:
        outer = delinearize(code, kernel.emit, number, rows)
        count = columns if isinstance(columns, int) else kernel.emit.dim(columns)
        if not shape:
            results(code, [])
        elif source.vectors:
            compute_columns(code, i64(0), count, lambda s, i: results(s, [*outer, i]))
        else:
            code.loop(count, lambda s, i: results(s, [*outer, i]))

    kernel.code.span(kernel.begin, kernel.end, task)


def _reduce(code: Code, kernel: Kernel, root: Op, source: Source, index: Index) -> Expr:
    """One result, or a vector of them."""
    emit, combine = kernel.emit, combine_of(root)
    dtype = accumulator(root.operands[0].tensor.dtype)
    width = max((lanes_of(i) for i in index), default=1)

    def block(scope: Code, start: Expr, count: int | Expr) -> Expr:
        lanes = new_lanes(scope, emit, combine, dtype, width)

        def element(inner: Code, i: Expr) -> None:
            lane = inner.bind(tirx.floormod(i, i64(LANES)) * width)

            def enter(at: Code, x: Expr) -> None:
                entered = combine.enter(emit, lanes.load(lane, width), emit.cast(x, dtype))
                lanes.store(at, lane, entered)

            source.visit(inner, index, inner.bind(start + i), enter)

        scope.loop(count, element)
        return merge_lanes(scope, emit, combine, lanes, width)

    if root.attributes.get("order") == "lanes16":
        return reduce_blocks(code, emit, combine, dtype, source.length, width, block)
    total = code.array(width, dtype)
    total.store(code, i64(0), splat(emit.const(combine.neutral, dtype), width))

    def enter(scope: Code, x: Expr) -> None:
        total.store(
            scope, i64(0), combine.enter(emit, total.load(i64(0), width), emit.cast(x, dtype))
        )

    code.loop(emit.dim(source.length), lambda scope, i: source.visit(scope, index, i, enter))
    return code.bind(total.load(i64(0), width))
