"""Scatter without atomics: each element of the result has one thread.

It looks for the element's updates among all that may be, in ascending order; where that is more
work than threads can share, a thread has a line, or a column of the slices, as on a CPU.
"""

from __future__ import annotations

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel, delinearize
from aivmc.backends.cpu.schedules import scatter as cpu
from aivmc.backends.cpu.schedules.scatter import combined, place_of, when_all
from aivmc.backends.cuda.schedules.block import least
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product
from aivmc.ir.ops._index import wrap_negative
from aivmc.ir.types import DType

# A look at an update costs little beside an update that waits for the one before; of threads, so
# many look at once.
_LOOKS = 1 << 22


def lower_scatter_elements(kernel: Kernel, root: Op) -> None:
    """Fill in the function of a ``det.scatter_elements``."""
    emit = kernel.emit
    source, indices, updates = (kernel.tensors[v] for v in root.operands)
    result, axis = kernel.tensors[root.result], root.attributes["axis"]
    shape, beside = source.type.shape, list(indices.type.shape)
    length = beside.pop(axis)
    if not _is_searched(product(shape), length, shape[axis]):
        cpu.lower_scatter_elements(kernel, root, of_task=1)
        return
    kernel.tasks = product(shape)

    def element(code: Code, number: Expr) -> None:
        at = delinearize(code, emit, number, shape)
        own = _copy(code, source.array, number)

        def look(scope: Code, i: Expr) -> None:
            place = scope.bind(indices.offset([*at[:axis], i, *at[axis + 1 :]]))
            picked = emit.cast(indices.array.load(place), DType.I64)
            along = scope.bind(wrap_negative(emit, scope.bind(picked), shape[axis]))
            scope.when(
                tirx.EQ(along, at[axis]),
                lambda s: _update(s, kernel, root, own, updates.array.load(place)),
            )

        others = zip([*at[:axis], *at[axis + 1 :]], beside, [*shape[:axis], *shape[axis + 1 :]])
        inside = [tirx.LT(i, emit.dim(n)) for i, n, d in others if n != d]
        when_all(code, inside, lambda scope: scope.loop(emit.dim(length), look))
        result.array.store(code, number, own.load(i64(0)))

    kernel.code.span(kernel.begin, kernel.end, element)


def lower_scatter_nd(kernel: Kernel, root: Op) -> None:
    """Fill in the function of a ``det.scatter_nd``."""
    emit = kernel.emit
    source, indices, updates = (kernel.tensors[v] for v in root.operands)
    result = kernel.tensors[root.result]
    depth, shape = indices.type.shape[-1], source.type.shape
    assert isinstance(depth, int)
    rows, length = product(shape[:depth]), product(indices.type.shape[:-1])
    if not _is_searched(product(shape), length, rows):
        cpu.lower_scatter_nd(kernel, root, of_task=1)
        return
    width = emit.dim(product(shape[depth:]))
    kernel.tasks = product(shape)

    def element(code: Code, number: Expr) -> None:
        row, column = code.bind(quotient(number, width)), code.bind(remainder(number, width))
        own = _copy(code, source.array, number)

        def look(scope: Code, i: Expr) -> None:
            place = place_of(scope, emit, indices, i, shape[:depth])
            x = updates.array.load(i * width + column)
            scope.when(tirx.EQ(place, row), lambda s: _update(s, kernel, root, own, x))

        code.loop(emit.dim(length), look)
        result.array.store(code, number, own.load(i64(0)))

    kernel.code.span(kernel.begin, kernel.end, element)


def _is_searched(elements: Dim, updates: Dim, length: Dim) -> bool:
    """Whether each element looks at ``updates`` of its line or column, which has ``length``."""
    looks = least(elements) * least(updates)
    return looks <= _LOOKS * (least(length) + least(updates))


def _copy(code: Code, source: Array, number: Expr) -> Array:
    own = code.array(1, source.dtype)
    own.store(code, i64(0), source.load(number))
    return own


def _update(code: Code, kernel: Kernel, root: Op, own: Array, x: Expr) -> None:
    own.store(code, i64(0), combined(code, kernel.emit, root, own.load(i64(0)), x))
