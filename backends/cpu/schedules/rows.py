"""Kernels over rows: softmax, norms, reductions of trailing axes. A task is one row.

Each reduction is a loop over the row in its canonical order. A value that a reduction reads and a
later loop needs again is kept: in the result it becomes, or in scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aivmc.backends.cpu.code import LANES, Code, Elements, Kernel, Tensor, delinearize, vector_index
from aivmc.backends.cpu.schedules.collapse import axis_groups, collapse_region
from aivmc.backends.cpu.schedules.map import compute_columns
from aivmc.backends.cpu.schedules.order import accumulator, reduce_row
from aivmc.backends.tir_emit import Expr, i64
from aivmc.ir.core import Op, Region, Value, users
from aivmc.ir.definition import definition
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import DType, Shape, TensorType


@dataclass(frozen=True)
class Rows:
    """The region of a ``kernel.rows`` with as few axes as can be: ``outer``, and a row's; and its
    tensors."""

    region: Region
    memory: dict[Value, Tensor]
    outer: Shape
    length: Dim


def lower_rows(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.rows``."""
    rows = collapsed_rows(kernel)
    kernel.tasks = product(rows.outer)
    kept = _kept_values(kernel, rows.region)

    def task(code: Code, number: Expr) -> None:
        outer = delinearize(code, kernel.emit, number, rows.outer)
        _Row(kernel, rows, kept, code, outer).lower()

    kernel.code.span(kernel.begin, kernel.end, task)


def collapsed_rows(kernel: Kernel) -> Rows:
    """The rows of a ``kernel.rows``."""
    root = next(op for op in kernel.region.body if "axes" in op.attributes)
    shape, axes = root.operands[0].tensor.shape, len(root.attributes["axes"])
    shapes = [v.tensor.shape for v in kernel.region.arguments]
    groups = axis_groups(shape, shapes, fixed=axes)
    region, values = collapse_region(kernel.region, len(shape), groups)
    memory = {
        values[v]: Tensor(t.array, values[v].tensor, kernel.emit) for v, t in kernel.tensors.items()
    }
    *outer, length = (product(shape[a] for a in group) for group in groups)
    return Rows(region, memory, tuple(outer), length)


def is_reduction(op: Op) -> bool:
    """Whether an op of a ``kernel.rows`` reduces rows."""
    return not definition(op.name).is_elementwise and op.name != "det.constant"


def is_read_again(op: Op, region: Region) -> bool:
    """Whether something else computes with what a reduction reads, which the region makes."""
    (value,) = op.operands
    readers = [u for u in users(region)[value] if u is not op and u is not region.terminator]
    return bool(readers) and value not in region.arguments


def _kept_values(kernel: Kernel, region: Region) -> dict[Value, Tensor]:
    """Scratch for the values that a reduction reads and something after it reads again."""
    outputs = region.terminator.operands
    kept: dict[Value, Tensor] = {}
    for op in filter(is_reduction, region.body):
        (value,) = op.operands
        is_new = value not in outputs and value not in kept
        if is_new and is_read_again(op, region) and value.tensor.dtype is DType.F32:
            row = TensorType(DType.F32, (value.tensor.shape[-1],))
            base = kernel.take_scratch(value.tensor.shape[-1])
            kept[value] = Tensor(kernel.scratch, row, kernel.emit, base)
    return kept


class _Row:
    """One row's computation."""

    def __init__(
        self,
        kernel: Kernel,
        rows: Rows,
        kept: dict[Value, Tensor],
        code: Code,
        outer: Sequence[Expr],
    ) -> None:
        self.kernel, self.region, self.memory, self.kept = kernel, rows.region, rows.memory, kept
        self.outer = list(outer)
        self.length = rows.length
        self.known: dict[Value, Callable[[Sequence[Expr]], Expr]] = {
            v: self.memory[v].load for v in self.region.arguments
        }
        self.row = Elements(code, kernel.emit, self.region, self.known)
        self.origin = [*self.outer, kernel.emit.dim(0)]
        self.code = code

    def lower(self) -> None:
        for op in filter(is_reduction, self.region.body):
            self._reduce(op)
        self._store_results()

    def _scalar(self, value: Value) -> Expr:
        """A value that is one for the whole row, computed outside its loops."""
        return self.row.at(value, self.origin)

    def _elements(self, scope: Code) -> Elements:
        """Elements in a loop over the row: what is one for the row is taken from outside."""
        known = dict(self.known)
        for op in self.region.body:
            if op.result.tensor.shape[-1:] == (1,) and self.length != 1:
                known[op.result] = lambda _, v=op.result: self._scalar(v)  # type: ignore[misc]
        return Elements(scope, self.kernel.emit, self.region, known)

    def _reduce(self, op: Op) -> None:
        (value,) = op.operands
        keep = self._place(value)

        def read(scope: Code, start: Expr, lanes: int) -> Expr:
            column = vector_index(start) if lanes == LANES else start
            index = [*self.outer, column]
            x = self._elements(scope).at(value, index)
            if keep is not None:
                self._keep(scope, keep, value, index, x)
            return self.kernel.emit.cast(x, accumulator(value.tensor.dtype))

        total = reduce_row(self.code, self.kernel.emit, op, value.tensor.shape[-1], read)
        total = self.code.keep(self.kernel.emit.cast(total, op.result.tensor.dtype))
        self.known[op.result] = lambda _: total
        if keep is not None:
            self.known[value] = self._from_kept(value, keep)

    def _place(self, value: Value) -> Tensor | None:
        """Where a reduction's operand is kept, if it is and has not been yet."""
        if value in self.known:
            return None
        if value in self.region.terminator.operands:
            return self.memory[value]
        return self.kept.get(value)

    def _keep(
        self, scope: Code, place: Tensor, value: Value, index: Sequence[Expr], x: Expr
    ) -> None:
        place.store(scope, index[-len(place.type.shape) :], x)

    def _from_kept(self, value: Value, place: Tensor) -> Callable[[Sequence[Expr]], Expr]:
        return lambda index: place.load(index[-len(place.type.shape) :])

    def _store_results(self) -> None:
        outputs = self.region.terminator.operands
        # A row of one element is wide, its reductions included.
        wide = [
            v
            for v in outputs
            if v.tensor.shape[-1] == self.length and (v not in self.known or self.length == 1)
        ]
        for value in outputs:
            if value.tensor.shape[-1] == 1 and self.length != 1:
                self.memory[value].store(self.code, self.origin, self._scalar(value))
        if not wide and self.length != 1:
            return

        def column(scope: Code, at: Expr) -> None:
            elements = self._elements(scope)
            index = [*self.outer, at]
            for value in wide:
                self.memory[value].store(scope, index, elements.at(value, index))

        count = self.length if isinstance(self.length, int) else self.kernel.emit.dim(self.length)
        compute_columns(self.code, i64(0), count, column)
