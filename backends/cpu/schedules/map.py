"""Elementwise and movement kernels: one loop nest over the elements of the results.

A task is a row, or a block of columns of a long one; a row is computed in vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Code, Elements, Kernel, Tensor, delinearize, vector_index
from aivmc.backends.cpu.schedules.collapse import axis_groups, collapse_region
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.core import Region, Value
from aivmc.ir.definition import definition
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.elementary import NAMES
from aivmc.ir.types import Shape

_INTERLEAVED_BITS = 4096  # of registers for each vector of LANES elements, half of them in f64
_COLUMNS = 4096  # of a task: a few microseconds of work, and all its operands in the L1 cache


def lower_map(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.map``."""
    region, tensors = collapsed(kernel)
    outputs = region.terminator.operands
    shape = outputs[0].tensor.shape or (1,)
    rows, columns = shape[:-1], shape[-1]
    blocks = ceil_div(columns, _COLUMNS)
    kernel.tasks = product(rows) * blocks

    def task(code: Code, number: Expr) -> None:
        many = blocks != 1
        row = quotient(number, kernel.emit.dim(blocks)) if many else number
        block = remainder(number, kernel.emit.dim(blocks)) if many else i64(0)
        outer = delinearize(code, kernel.emit, code.bind(row), rows)
        start = code.bind(block * _COLUMNS)
        count, at_least = _columns_of_task(kernel, columns, start)
        compute_columns(
            code,
            start,
            count,
            lambda scope, column: store_element(scope, kernel, region, tensors, [*outer, column]),
            at_least,
            vectors_at_once(kernel),
        )

    kernel.code.span(kernel.begin, kernel.end, task)


def _columns_of_task(kernel: Kernel, columns: Dim, start: Expr) -> tuple[int | Expr, int]:
    """How many columns a task has, and how many it has at least."""
    if isinstance(columns, int) and columns <= _COLUMNS:
        return columns, columns
    count = tirx.min(i64(_COLUMNS), kernel.emit.dim(columns) - start)
    return count, columns % _COLUMNS or _COLUMNS if isinstance(columns, int) else 0


def vectors_at_once(kernel: Kernel) -> int:
    """How many vectors of elements to compute interleaved: one, or of elementary functions, whose
    long chains of operations a processor can't look beyond, as many as fit its registers."""
    if not any(op.name.removeprefix("det.") in NAMES for op in kernel.region.body):
        return 1
    target = kernel.target
    return max(target.registers * target.vector_bits // _INTERLEAVED_BITS, 1)


def _is_constant(name: str) -> bool:
    return name == "det.constant"


def collapsed(kernel: Kernel) -> tuple[Region, dict[Value, Tensor]]:
    """The region and its tensors, with as few axes as can be."""
    region = kernel.region
    if not all(definition(op.name).is_elementwise or _is_constant(op.name) for op in region.body):
        return region, dict(kernel.tensors)
    shape = region.terminator.operands[0].tensor.shape
    shapes = [v.tensor.shape for v in region.arguments]
    groups = axis_groups(shape, shapes)
    result, values = collapse_region(region, len(shape), groups)
    tensors = {
        values[v]: Tensor(t.array, values[v].tensor, kernel.emit) for v, t in kernel.tensors.items()
    }
    return result, tensors


def compute_columns(
    code: Code,
    start: Expr,
    count: int | Expr,
    body: Callable[[Code, Expr], None],
    at_least: int = 0,
    at_once: int = 1,
) -> None:
    """Call ``body`` for ``count`` columns from ``start`` on: in vectors, ``at_once`` interleaved,
    and what is left over once more as a vector that ends at the last column, or one by one where
    there may be fewer columns than lanes.

    Computing a column twice is harmless: it gives the same bits.
    """
    if isinstance(count, int):
        at_least, rest = count, i64(count % LANES)
        vectors, total = i64(count // LANES), i64(count)
    else:
        total = code.bind(count)
        vectors = code.bind(tirx.floordiv(total, i64(LANES)))
        rest = code.bind(total - vectors * LANES)
    _compute_vectors(code, start, vectors, body, at_once)
    if at_least < LANES:
        done = code.bind(start + vectors * LANES)
        code.loop(rest, lambda scope, i: body(scope, scope.bind(done + i)))
    elif not isinstance(rest, tirx.IntImm):
        last = vector_index(code.bind(start + total - LANES))
        code.when(tirx.GT(rest, i64(0)), lambda scope: body(scope, last))
    elif rest.value:
        body(code, vector_index(code.bind(start + total - LANES)))


def _compute_vectors(
    code: Code, start: Expr, vectors: Expr, body: Callable[[Code, Expr], None], at_once: int
) -> None:
    """``at_once`` vectors interleaved as long as there are so many, then one by one."""
    for many in sorted({at_once, 1}, reverse=True):
        groups = code.bind(tirx.floordiv(vectors, i64(many)))

        def group(scope: Code, number: Expr, first: Expr = start, many: int = many) -> None:
            first = scope.bind(first + number * (many * LANES))
            columns = [vector_index(scope.bind(first + i * LANES)) for i in range(many)]
            scope.interleave(columns, body)

        code.loop(groups, group)
        start = code.bind(start + groups * (many * LANES))
        vectors = code.bind(vectors - groups * many)


def store_element(
    code: Code,
    kernel: Kernel,
    region: Region,
    tensors: dict[Value, Tensor],
    index: Sequence[Expr],
) -> None:
    """Compute what the region yields at ``index``, an element or a vector of them, and store it."""
    elements = Elements(code, kernel.emit, region, {v: tensors[v].load for v in region.arguments})
    for value in region.terminator.operands:
        shape: Shape = value.tensor.shape
        tensors[value].store(code, index if shape else [], elements.at(value, index[: len(shape)]))
