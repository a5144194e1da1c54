"""Contractions by tiles in shared memory: a task is a tile of the result, a block of threads.

Each thread has a register tile. Two buffers of shared memory take turns: while one is multiplied,
what the next step needs is on its way to registers, and a step has one barrier. Blocks of k are
summed as docs/numerics.md, clauses 8 and 9, say: each accumulator runs over k in ascending order,
so how k is cut into steps changes nothing. Where the tiles are few, groups of threads take a block
of k each, and the blocks' sums are added in ascending order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel, delinearize
from aivmc.backends.cuda.schedules.block import barrier
from aivmc.backends.cuda.schedules.copies import Copies, Place, copies
from aivmc.backends.cuda.schedules.operands import Contraction, blocks_of, index_type
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR, Tile
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder, splat
from aivmc.ir.dims import ceil_div, product
from aivmc.ir.types import Shape

_WARP_DOWN, _WARP_ALONG = 4, 8  # threads of a warp, where a tile has as many
# Of a step, by the side of a thread's sums: in how many the next one is copied, for there are as
# many registers for what is on its way.
_PARTS = {8: 1, 4: 2}

T = TypeVar("T")
Loaded = tuple[Copies, int, Array]  # a vector of an operand, and its registers


def lower_tiles(kernel: Kernel, contraction: Contraction, tile: Tile) -> None:
    """Fill in the function of a ``kernel.contract``. ``kernel.scratch`` is shared memory, ``begin``
    the task and ``end`` the thread."""
    across = ceil_div(contraction.rows, tile.rows), ceil_div(contraction.columns, tile.columns)
    grid = (contraction.lines, *across)
    kernel.tasks = product(grid)
    _Tiles(kernel, contraction, tile, grid).lower()


@dataclass(frozen=True)
class Waiting:
    """A thread's vectors in an array: from ``first`` on, one every ``step`` elements."""

    array: Array
    first: Expr
    step: int

    def load(self, n: Expr | int) -> Expr:
        return self.array.load(self.first + n * self.step, VECTOR)

    def store(self, code: Code, n: int, x: Expr) -> None:
        self.array.store(code, self.first + n * self.step, x)


class _Tiles:
    def __init__(self, kernel: Kernel, contraction: Contraction, tile: Tile, grid: Shape) -> None:
        self.emit, self.contraction, self.tile = kernel.emit, contraction, tile
        self.product = contraction.product
        self.shared = kernel.scratch_as(self.product.dtype)
        code = self.code = kernel.code
        self.line, down, along = delinearize(code, self.emit, kernel.begin, grid)
        self.row = code.bind(tirx.Cast(index_type(contraction.rows), down * tile.rows))
        self.column = code.bind(tirx.Cast(index_type(contraction.columns), along * tile.columns))
        self.thread = code.bind(tirx.Cast("int32", tirx.max(kernel.end, i64(0))))
        self.group = code.bind(quotient(self.thread, tile.members))
        member = code.bind(remainder(self.thread, tile.members))
        self.y, self.x = self._place(code, member)
        place = Place(self.line, self.row, self.column, member)
        a, b = copies(code, self.emit, contraction, tile, place)
        self.copies = [(operand, n) for operand in (a, b) for n in range(operand.count)]
        self.vectors = tile.side**2 // VECTOR
        registers = code.array(tile.side**2, self.product.dtype)
        self.sums = Waiting(registers, i64(0), VECTOR)
        # Integers may be summed in any order: they have blocks only for groups.
        is_one = tile.groups == 1 and not self.product.dtype.is_float
        self.block = 0 if is_one else contraction.block
        self.blocks = blocks_of(contraction.depth, self.block)
        self.rounds = ceil_div(self.blocks, tile.groups)
        self.units = ceil_div(contraction.depth, tile.depth)
        self.parts = _PARTS[tile.side]

    def _place(self, code: Code, member: Expr) -> tuple[Expr, Expr]:
        """A thread's place in its tile: warps are nearly square, so that they read little."""
        along = self.tile.along
        if along % _WARP_ALONG or self.tile.down % _WARP_DOWN:
            return code.bind(quotient(member, along)), code.bind(remainder(member, along))
        warp, lane = (f(member, _WARP_DOWN * _WARP_ALONG) for f in (quotient, remainder))
        across = along // _WARP_ALONG
        y = quotient(warp, across) * _WARP_DOWN + quotient(lane, _WARP_ALONG)
        x = remainder(warp, across) * _WARP_ALONG + remainder(lane, _WARP_ALONG)
        return code.bind(y), code.bind(x)

    def lower(self) -> None:
        code = self.code
        if self.tile.groups > 1:
            self._lower_groups()
        elif self.rounds == 1:
            self._prepare(code, i64(0))
            self._block(code, i64(0))
            self._finish(self.sums)
        else:
            total = self._total(code, self.tile.side**2)
            self._fill(code, total, -0.0)
            self._prepare(code, i64(0))
            # One block at least: the sum of nothing is +0.
            count = code.bind(tirx.max(self.emit.dim(self.rounds), i64(1)))
            code.loop(count, lambda scope, number: self._add_block(scope, number, total))
            self._finish(total)

    def _total(self, code: Code, size: int) -> Waiting:
        """A thread's totals: in registers, or in shared memory."""
        if self.tile.keeps_total:
            return Waiting(code.array(size, self.product.dtype), i64(0), VECTOR)
        return self._in_shared(code, self.tile.total_at)

    def _in_shared(self, code: Code, start: int) -> Waiting:
        first = code.bind(tirx.Cast("int64", self.thread * VECTOR + start))
        return Waiting(self.shared, first, VECTOR * self.tile.threads)

    def _add_block(self, code: Code, number: Expr, total: Waiting) -> None:
        self._block(code, code.bind(number * (self.block // self.tile.depth)))
        for n in range(self.vectors):
            total.store(code, n, self.emit.add(total.load(n), self.sums.load(n)))

    def _block(self, code: Code, first: Expr) -> None:
        """Sums of the block of k that starts with that unit; the buffers take turns with units."""
        self._fill(code, self.sums, 0.0)
        end = self.emit.dim(self.units)
        if self.tile.groups > 1:  # all take as many, even beyond the last one
            end = code.bind(first + self.block // self.tile.depth)

        def step(scope: Code, number: Expr) -> None:
            unit = scope.bind(first + number)
            following = scope.bind(unit + 1)
            more = tirx.LT(following, end)
            now, then = self._buffer(scope, unit), self._buffer(scope, following)
            for part in range(self.parts):
                own = [(*copy, copy[0].registers(scope)) for copy in self._part(self.copies, part)]
                scope.when(more, partial(self._load, vectors=own, unit=following))
                self._multiply(scope, now, self._part(range(self.tile.depth), part))
                scope.when(more, partial(self._put, vectors=own, buffer=then))
            barrier(scope)

        code.loop(self._count(code, first), step)

    def _count(self, code: Code, first: Expr) -> Expr:
        """Of the units of the block that starts with the ``first`` one."""
        whole = i64(self.block // self.tile.depth)
        if self.tile.groups > 1:
            return whole
        units = self.emit.dim(self.units)
        if self.rounds == 1:
            return units
        return code.bind(tirx.max(tirx.min(units - first, whole), i64(0)))

    def _prepare(self, code: Code, unit: Expr) -> None:
        """Fill the buffer of a first unit."""

        def fill(scope: Code) -> None:
            own = [(*copy, copy[0].registers(scope)) for copy in self.copies]
            self._load(scope, own, unit)
            self._put(scope, own, self._buffer(scope, unit))
            barrier(scope)

        depth = self.contraction.depth
        if isinstance(depth, int):
            fill(code) if depth else None
        else:
            code.when(tirx.LT(i64(0), self.emit.dim(depth)), fill)

    def _part(self, all: Sequence[T], number: int) -> Sequence[T]:
        first, last = (len(all) * n // self.parts for n in (number, number + 1))
        return all[first:last]

    def _load(self, code: Code, vectors: list[Loaded], unit: Expr) -> None:
        for operand, n, vector in vectors:
            operand.load(code, n, unit, vector)

    def _put(self, code: Code, vectors: list[Loaded], buffer: Expr) -> None:
        for operand, n, vector in vectors:
            operand.store(code, n, vector, self.shared, buffer)

    def _buffer(self, code: Code, unit: Expr) -> Expr:
        """The group's buffer of a unit."""
        return code.bind((self.group * 2 + remainder(unit, 2)) * self.tile.buffer)

    def _multiply(self, code: Code, buffer: Expr, steps: Sequence[int]) -> None:
        """Some steps in a buffer, for all of the thread's sums."""
        tile = self.tile
        a = code.bind(buffer + tile.row(self.y, 0))
        b = code.bind(buffer + tile.column(self.x, 0) + tile.depth * tile.a_row)
        for k in steps:
            down = self._own(code, code.bind(a + k * tile.a_row), tile.down)
            along = self._own(code, code.bind(b + k * tile.columns), tile.along)
            for n in range(self.vectors):
                i, j = divmod(n * VECTOR, tile.side)
                x, y = splat(down.load(i64(i)), VECTOR), along.load(i64(j), VECTOR)
                self.sums.store(code, n, self.product.step(self.sums.load(n), x, y))

    def _own(self, code: Code, start: Expr, threads: int) -> Array:
        """What a thread needs of one k of a tile."""
        found = code.array(self.tile.side, self.product.dtype)
        for i in range(0, self.tile.side, VECTOR):
            found.store(code, i64(i), self.shared.load(code.bind(start + i * threads), VECTOR))
        return found

    def _fill(self, code: Code, waiting: Waiting, value: float) -> None:
        x = splat(self.emit.const(value, self.product.dtype), VECTOR)
        for n in range(self.vectors):
            waiting.store(code, n, x)

    # Results

    def _finish(self, total: Waiting) -> None:
        """Store what becomes of the thread's results: of many at once, or by a loop that leaves
        registers free."""
        code, across = self.code, self.tile.side // VECTOR
        is_long = self.contraction.epilogue.is_heavy or self.contraction.lanes % VECTOR
        if self.tile.keeps_total and not is_long:
            for n in range(self.vectors):
                row = self.tile.row(self.y, n // across)
                column = self.tile.column(self.x, n % across * VECTOR)
                self._store(code, row, column, total.load(n))
            return
        if total.array is not self.shared:  # a loop can't tell registers apart
            total = self._set_aside(code, total)

        def one(scope: Code, number: Expr) -> None:
            i, j = (scope.bind(f(number, i64(across))) for f in (quotient, remainder))
            row, column = self.tile.row(self.y, i), self.tile.column(self.x, j * VECTOR)
            self._store(scope, scope.bind(row), scope.bind(column), total.load(number))

        code.loop(self.vectors, one)

    def _set_aside(self, code: Code, total: Waiting) -> Waiting:
        """Totals in memory: where the buffers were, or the thread's own."""
        aside = self._in_shared(code, 0)
        if self.tile.keeps_total:
            own = code.array(VECTOR * self.vectors, self.product.dtype)
            aside = Waiting(own, i64(0), VECTOR)
        for n in range(self.vectors):
            aside.store(code, n, total.load(n))
        return aside

    def _store(self, code: Code, row: Expr, column: Expr, sums: Expr) -> None:
        """Store a vector of results, of which those outside are left out."""
        contraction = self.contraction
        lanes = VECTOR if contraction.lanes % VECTOR == 0 else 1
        row, column = code.bind(self.row + row), code.bind(self.column + column)
        own = code.array(VECTOR, self.product.dtype)
        own.store(code, i64(0), sums)
        for n in range(0, VECTOR, lanes):
            at = code.bind(column + n)
            rows, columns = (self.emit.dim(d) for d in (contraction.rows, contraction.columns))
            inside = tirx.And(row < rows, at < columns)
            x = own.load(i64(n), lanes)
            place = {"line": self.line, "row": row, "column": at}
            code.when(inside, partial(contraction.store, **place, sums=x))

    # Groups

    def _lower_groups(self) -> None:
        """A block of k for each group of threads, and again, where there are more blocks."""
        code, tile = self.code, self.tile
        total = self._total(code, VECTOR * tile.share)
        nothing = splat(self.emit.const(-0.0, self.product.dtype), VECTOR)
        self._share(code, lambda n, vector: partial(total.store, n=n, x=nothing))

        def one(scope: Code, number: Expr) -> None:
            block = scope.bind(number * tile.groups + self.group)
            first = scope.bind(block * (self.block // tile.depth))
            self._prepare(scope, first)
            self._block(scope, first)
            self._show_sums(scope)
            add = partial(self._add_groups, total=total, number=number)
            self._share(scope, lambda n, vector: partial(add, n=n, vector=vector))
            barrier(scope)

        def finish(scope: Code, n: int, vector: Expr) -> None:
            across = i64(tile.columns // VECTOR)
            row, column = quotient(vector, across), remainder(vector, across) * VECTOR
            self._store(scope, scope.bind(row), scope.bind(column), total.load(n))

        code.loop(self.rounds, one)
        self._share(code, lambda n, vector: partial(finish, n=n, vector=vector))

    def _share(self, code: Code, body: Callable[[int, Expr], Callable[[Code], None]]) -> None:
        """``body`` for each vector of the tile that is this thread's among those of all groups."""
        tile = self.tile
        for n in range(tile.share):
            vector = code.bind(tirx.Cast("int64", self.thread + n * tile.threads))
            code.when(vector < tile.size // VECTOR, body(n, vector))

    def _show_sums(self, code: Code) -> None:
        """Put all groups' sums where any thread can read them: in the place of the buffers."""
        tile, across = self.tile, self.tile.side // VECTOR
        base = code.bind(self.group * tile.size)
        for n in range(self.vectors):
            row = tile.row(self.y, n // across)
            column = tile.column(self.x, n % across * VECTOR)
            at = code.bind(base + row * tile.columns + column)
            self.shared.store(code, at, self.sums.load(n))
        barrier(code)

    def _add_groups(self, code: Code, total: Waiting, number: Expr, n: int, vector: Expr) -> None:
        """Add what there is of a round's blocks to a vector of totals, in ascending order."""
        tile, blocks = self.tile, self.emit.dim(self.blocks)

        def add(scope: Code, group: int) -> None:
            sums = self.shared.load(scope.bind(vector * VECTOR + group * tile.size), VECTOR)
            total.store(scope, n, self.emit.add(total.load(n), sums))

        for group in range(tile.groups):
            there = tirx.LT(number * tile.groups + group, blocks)
            code.when(there, partial(add, group=group))
