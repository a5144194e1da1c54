"""Kernels over rows: softmax, norms, reductions of trailing axes. A group of threads has a row.

Neighbouring threads compute neighbouring elements; reductions are as :mod:`.order` says. A value
that a reduction reads and that is needed again is kept: in shared memory, or where the row is too
long for that, in a result until it is overwritten. An element is kept and taken by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tvm import tirx

from aivmc.backends.cpu.code import Code, Elements, Kernel, Tensor, delinearize
from aivmc.backends.cpu.schedules import rows as cpu
from aivmc.backends.cpu.schedules.order import accumulator
from aivmc.backends.cuda.schedules.block import Block, Team, threads_for
from aivmc.backends.cuda.schedules.order import Partials, TeamReduction, is_staged
from aivmc.backends.tir_emit import Expr, i64
from aivmc.ir.core import Op, Value
from aivmc.ir.dims import product
from aivmc.ir.types import DType

_EACH = 4  # elements of a thread, as long as there are not more than _MOST threads for a row
_MOST = 256
_OTHERWISE = 128  # threads for a row of unknown length
_PART = 2048  # elements in shared memory at a time, of rows that are longer or of unknown length
_ROOM = 28 << 10  # bytes of shared memory for elements


def lower_rows(kernel: Kernel) -> Block | None:
    """Fill in the function of a ``kernel.rows``."""
    rows = cpu.collapsed_rows(kernel)
    if rows.length == 1:  # nothing to share
        cpu.lower_rows(kernel)
        return None
    size = threads_for(rows.length, _EACH, _MOST, _OTHERWISE)
    team = Team(kernel, size, product(rows.outer))
    _Row(kernel, rows, team).lower()
    return team.block


@dataclass(frozen=True)
class _Kept:
    """Where a row of a value is kept: in ``shared`` memory as its accumulator's dtype, or in a
    result."""

    tensor: Tensor
    shared: bool


class _Row:
    """A group's row."""

    def __init__(self, kernel: Kernel, rows: cpu.Rows, team: Team) -> None:
        self.kernel, self.emit, self.team, self.code = kernel, kernel.emit, team, kernel.code
        self.region, self.memory, self.length = rows.region, rows.memory, rows.length
        self.count = self.length if isinstance(self.length, int) else self.emit.dim(self.length)
        self.outer = delinearize(self.code, self.emit, team.task, rows.outer)
        self.origin = [*self.outer, i64(0)]
        self.known: dict[Value, Callable[[Sequence[Expr]], Expr]] = {
            v: self.memory[v].load for v in self.region.arguments
        }
        self.row = Elements(self.code, self.emit, self.region, self.known)
        self.reductions = [op for op in self.region.body if cpu.is_reduction(op)]
        self.places, self.staging = self._allocate()
        self.done: dict[Value, _Kept] = {}
        self.partials = Partials(team)

    def lower(self) -> None:
        for op in self.reductions:
            self._reduce(op)
        _where(self.code, self.team.active, self._store_scalars)
        _where(self.code, self.team.active, self._store_rows)

    def _reduce(self, op: Op) -> None:
        (value,) = op.operands
        keep = self.places.get(value) if value not in self.done else None
        reduction = TeamReduction(self.team, self.partials, op, self.length)
        staged = self.staging[op] if is_staged(op) else None

        def read(scope: Code, i: Expr) -> Expr:
            x = self._elements(scope).at(value, [*self.outer, i])
            if keep is not None:
                self._keep(scope, keep, i, x, staged)
            return self.emit.cast(x, reduction.dtype)

        total = reduction.lower(self.code, read, staged)
        total = self.code.keep(self.emit.cast(total, op.result.tensor.dtype))
        self.known[op.result] = lambda _: total
        if keep is not None:
            self.done[value] = keep

    def _scalar(self, value: Value) -> Expr:
        """A value that is one for the whole row, computed outside its loops."""
        return self.row.at(value, self.origin)

    def _elements(self, scope: Code) -> Elements:
        """Elements in a loop over the row: what is one for the row is taken from outside, and what
        is kept from its place."""
        known = dict(self.known)
        known |= {v: partial(self._take, scope, v) for v in self.done}
        for op in self.region.body:
            if op.result.tensor.shape[-1:] == (1,):
                known[op.result] = lambda _, v=op.result: self._scalar(v)  # type: ignore[misc]
        return Elements(scope, self.emit, self.region, known)

    # Values that are kept

    def _allocate(self) -> tuple[dict[Value, _Kept], dict[Op, Tensor]]:
        """Where values are kept, and through which shared memory reductions read."""
        wanted = list(dict.fromkeys(op.operands[0] for op in self.reductions if self._again(op)))
        kept: list[Value] = []
        size = _PART
        if isinstance(self.length, int):
            whole = max(self.length, 1)
            room = _ROOM // (self.team.groups * whole)
            choices = (wanted[:n] for n in range(len(wanted), -1, -1))
            fitting = next((c for c in choices if self._bytes(c) <= room), None)
            if fitting is not None:
                kept, size = fitting, whole
        held = {v: self.team.take(size, _wide(v)) for v in kept}
        parts = {t: self.team.take(size, t) for t in self._parts(kept)}
        staging = {}
        for op in filter(is_staged, self.reductions):
            lender = self._lender(op, kept)
            staging[op] = held[lender] if lender else parts[_wide(op.operands[0])]
        return self._places(wanted, held), staging

    def _bytes(self, kept: Sequence[Value]) -> int:
        """Of shared memory for an element of the row, if these values are kept there."""
        return sum(t.bits // 8 for t in [*map(_wide, kept), *self._parts(kept)])

    def _parts(self, kept: Sequence[Value]) -> list[DType]:
        """The dtypes of what else has to go through shared memory."""
        staged = filter(is_staged, self.reductions)
        return list(
            dict.fromkeys(_wide(op.operands[0]) for op in staged if not self._lender(op, kept))
        )

    def _again(self, op: Op) -> bool:
        """Whether what a reduction reads is computed here, and needed again."""
        (value,) = op.operands
        if value in self.region.arguments or not value.tensor.dtype.is_float:
            return False
        return cpu.is_read_again(op, self.region) or value in self.region.terminator.operands

    def _lender(self, op: Op, kept: Sequence[Value]) -> Value | None:
        """A value in whose place a reduction's elements can be, for it is its own or is not kept
        before a later reduction."""
        first = {v: n for n, o in reversed([*enumerate(self.reductions)]) for v in o.operands}
        (value,) = op.operands
        number = self.reductions.index(op)
        if value in kept:
            return value
        later = (v for v in kept if _wide(v) is _wide(value) and first[v] > number)
        return next(later, None)

    def _places(self, wanted: Sequence[Value], held: dict[Value, Tensor]) -> dict[Value, _Kept]:
        """Of values that find no place, none: they are computed again."""
        places = {v: _Kept(cells, True) for v, cells in held.items()}
        results = self.region.terminator.operands
        free = [v for v in results if v not in wanted]
        for value in wanted:
            other = next((v for v in free if v.tensor == value.tensor), None)
            if value in places:
                continue
            if value in results:
                places[value] = _Kept(self.memory[value], False)
            elif other is not None:
                free.remove(other)
                places[value] = _Kept(self.memory[other], False)
        return places

    def _keep(self, code: Code, place: _Kept, i: Expr, x: Expr, staged: Tensor | None) -> None:
        """Keep an element, unless it gets to its place on its way to the reduction."""
        if not place.shared:
            place.tensor.store(code, [*self.outer, i], x)
        elif place.tensor is not staged:
            place.tensor.store(code, [i], self.emit.cast(x, accumulator(self.emit.dtype(x))))

    def _take(self, code: Code, value: Value, index: Sequence[Expr]) -> Expr:
        place = self.done[value]
        if not place.shared:
            return place.tensor.load(index)
        return self.emit.cast(code.keep(place.tensor.load([index[-1]])), value.tensor.dtype)

    # Results

    def _store_scalars(self, code: Code) -> None:
        """The first thread does; all know them."""
        found = {
            v: self._scalar(v) for v in self.region.terminator.operands if v.tensor.shape[-1] == 1
        }

        def store(scope: Code) -> None:
            for value, x in found.items():
                self.memory[value].store(scope, self.origin, x)

        code.when(tirx.EQ(self.team.thread, i64(0)), store)

    def _store_rows(self, code: Code) -> None:
        wide = [v for v in self.region.terminator.operands if v.tensor.shape[-1] != 1]

        def column(scope: Code, i: Expr) -> None:
            elements, index = self._elements(scope), [*self.outer, i]
            # All are computed before one is stored, which may have been kept in its place.
            found = [(v, elements.at(v, index)) for v in wide]
            for value, x in found:
                self.memory[value].store(scope, index, x)

        if wide:
            self.team.each(code, self.count, column)


def _wide(value: Value) -> DType:
    return accumulator(value.tensor.dtype)


def _where(code: Code, condition: Expr | None, body: Callable[[Code], None]) -> None:
    """``body`` where the condition holds, if there is one; there may be no barrier in it."""
    if condition is None:
        body(code)
    else:
        code.when(condition, body)
