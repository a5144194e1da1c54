"""Contractions by tiles in shared memory: a task is a tile of the result, a block of threads.

Each thread has a register tile. Two buffers of shared memory take turns: while one is multiplied,
what the next step needs is on its way to registers, and a step has one barrier. Blocks of k are
summed as docs/numerics.md, clauses 8 and 9, say: each accumulator runs over k in ascending order,
so how k is cut into steps changes nothing. Where the tiles are few, groups of threads take a block
of k each, and the blocks' sums are added in ascending order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import gcd

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel
from aivmc.backends.cuda.schedules.block import Block, barrier
from aivmc.backends.cuda.schedules.copies import Copies, copies
from aivmc.backends.cuda.schedules.operands import Contraction, blocks_of, index_type
from aivmc.backends.cuda.schedules.position import Position, Positions
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR, Tile
from aivmc.backends.cuda.schedules.waiting import Waiting
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder, splat
from aivmc.ir.dims import ceil_div, floor_div, product
from aivmc.ir.types import Shape

# Of a step, by the side of a thread's sums: in how many the next one is copied, for there are few
# registers for what is on its way.
_PARTS = {8: 1, 4: 2}

Copy = tuple[Copies, int]  # a vector of an operand
Loaded = tuple[Copies, int, Array]  # and its registers


def lower_tiles(kernel: Kernel, contraction: Contraction, tile: Tile) -> Block:
    """Fill in the function of a ``kernel.contract``. ``kernel.scratch`` is shared memory, ``begin``
    the task and ``end`` the thread."""
    across = ceil_div(contraction.rows, tile.rows), ceil_div(contraction.columns, tile.columns)
    grid = (contraction.lines, *across)
    kernel.tasks = product(grid)
    tiles = _Tiles(kernel, contraction, tile, grid)
    tiles.lower()
    return Block(tile.threads, tile.shared_bytes(tiles.blocks), tile.registers)


class _Tiles:
    def __init__(self, kernel: Kernel, contraction: Contraction, tile: Tile, grid: Shape) -> None:
        self.emit, self.contraction, self.tile = kernel.emit, contraction, tile
        self.product = contraction.product
        self.shared = kernel.scratch_as(self.product.dtype)
        code = self.code = kernel.code
        # Integers may be summed in any order: they have blocks only for groups.
        is_one = tile.groups == 1 and not self.product.dtype.is_float
        self.block = 0 if is_one else contraction.block
        self.blocks = blocks_of(contraction.depth, self.block)
        at = tile.position_at(self.blocks)
        self.positions = Positions(kernel, contraction, tile, grid, at)
        position = self.positions.first
        self.thread, self.group = position.thread, position.group
        self.y, self.x = position.y, position.x
        a, b = copies(code, self.emit, contraction, tile, position)
        self.copies = [(operand, n) for operand in (a, b) for n in range(operand.count)]
        self.parts = _in_parts(self.copies, _PARTS[tile.side])
        self.vectors = tile.side**2 // VECTOR
        # So many results at once: long epilogues need many registers for each.
        self.is_heavy = contraction.epilogue.is_heavy
        self.width = VECTOR // 2 if tile.is_crowded and self.is_heavy else VECTOR
        registers = code.array(tile.side**2, self.product.dtype)
        self.sums = Waiting(registers, i64(0))
        self.totals = code.array(tile.side**2, self.product.dtype)  # if they are in registers
        self.rounds = ceil_div(self.blocks, tile.groups)
        self.last = floor_div(contraction.depth - 1, tile.depth)  # unit
        self.unit_type = index_type(contraction.depth)

    def lower(self) -> None:
        code = self.code
        if self.tile.groups > 1:
            self._lower_groups()
            return
        self._prepare(code, self._unit(code, 0))
        if self.blocks == 1:
            self._block(code, self._unit(code, 0))
        else:
            self._fill(code, self._total(code, self.thread), -0.0)
            # One block at least: the sum of nothing is +0.
            rounds = self._unit(code, self.emit.narrow(self.rounds))
            count = code.bind(tirx.max(rounds, self._unit(code, 1)))
            code.loop(count, self._add_block)
        self._finish()

    def _total(self, code: Code, thread: Expr) -> Waiting:
        """A thread's totals: in shared memory, or in registers."""
        if self.tile.is_crowded:
            return self._in_shared(code, thread, self.tile.total_at)
        return Waiting(self.totals, i64(0))

    def _in_shared(self, code: Code, thread: Expr, start: int) -> Waiting:
        first = code.bind(tirx.Cast("int64", thread + start))
        threads = min(self.tile.threads, self.tile.size // VECTOR)  # that have any
        return Waiting(self.shared, first, threads)

    def _add_block(self, code: Code, number: Expr) -> None:
        self._block(code, self._unit(code, number * (self.block // self.tile.depth)))
        total = self._total(code, self.positions.again(code).thread)
        for n in range(self.vectors):
            total.store(code, n, self.emit.add(total.load(n), self.sums.load(n)))

    def _block(self, code: Code, first: Expr) -> None:
        """Sums of the block of k that starts with that unit; the buffers take turns with units."""
        self._fill(code, self.sums, 0.0)
        count, grouped = self._count(code, first), self.tile.groups > 1

        def step(scope: Code, number: Expr) -> None:
            own = partial(self._step, unit=scope.bind(first + number))
            # Barriers are for all groups, though some have fewer units.
            scope.when(number < count, own) if grouped else own(scope)
            barrier(scope)

        code.loop(self._unit(code, self.block // self.tile.depth) if grouped else count, step)

    def _step(self, code: Code, unit: Expr) -> None:
        """Multiply a unit; meanwhile the next one is copied, or again the last one there is."""
        following = code.bind(tirx.min(unit + 1, self._last(code)))
        now, then = self._buffer(code, unit), self._buffer(code, code.bind(unit + 1))
        steps, parts = self.tile.depth, len(self.parts)
        for n, part in enumerate(self.parts):
            own = [(*copy, copy[0].registers(code)) for copy in part]
            self._load(code, own, following)
            self._multiply(code, now, range(steps * n // parts, steps * (n + 1) // parts))
            self._put(code, own, then)

    def _count(self, code: Code, first: Expr) -> Expr:
        """Of the units of the block that starts with the ``first`` one."""
        if self.blocks == 1:
            return code.bind(self._last(code) + 1)
        left = tirx.min(self._last(code) - first, self.block // self.tile.depth - 1)
        return code.bind(tirx.max(left, self._unit(code, -1)) + 1)

    def _last(self, code: Code) -> Expr:
        """The number of the last unit."""
        return self._unit(code, self.emit.narrow(self.last))

    def _unit(self, code: Code, number: Expr | int) -> Expr:
        """The number of a unit, or how many."""
        if isinstance(number, int):
            return tirx.const(number, self.unit_type)
        return code.bind(tirx.Cast(self.unit_type, number))

    def _prepare(self, code: Code, unit: Expr) -> None:
        """Fill the buffer of a first unit."""

        def fill(scope: Code) -> None:
            own = [(*copy, copy[0].registers(scope)) for copy in self.copies]
            self._load(scope, own, unit)
            self._put(scope, own, self._buffer(scope, unit))

        depth = self.contraction.depth
        if isinstance(depth, int):
            fill(code) if depth else None
        else:
            code.when(tirx.LT(i64(0), self.emit.dim(depth)), fill)
        barrier(code)

    def _load(self, code: Code, vectors: list[Loaded], unit: Expr) -> None:
        for operand, n, vector in vectors:
            operand.load(code, n, unit, vector)

    def _put(self, code: Code, vectors: list[Loaded], buffer: Expr) -> None:
        for operand, n, vector in vectors:
            operand.store(code, n, vector, self.shared, buffer)

    def _buffer(self, code: Code, unit: Expr) -> Expr:
        """The group's buffer of a unit."""
        buffer = (self.group * 2 + remainder(unit, 2)) * self.tile.buffer
        return code.bind(tirx.Cast("int64", buffer))

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

    def _finish(self) -> None:
        """Store what becomes of the thread's results: of many at once, or by a loop that leaves
        registers free."""
        code, across = self.code, self.tile.side // VECTOR
        position = self.positions.again(code)
        total = self.sums if self.blocks == 1 else self._total(code, position.thread)
        is_long = self.is_heavy or self.contraction.lanes % VECTOR
        if not (self.tile.is_crowded or is_long):
            for n in range(self.vectors):
                row = self.tile.row(position.y, n // across)
                column = self.tile.column(position.x, n % across * VECTOR)
                self._store(code, position, row, column, total.load(n))
            return
        if total.array is not self.shared:  # a loop can't tell registers apart
            total = self._set_aside(code, total, position)

        parts = VECTOR // self.width

        def one(scope: Code, number: Expr) -> None:
            own = self._next(scope, position)
            n, at = quotient(number, parts), remainder(number, parts) * self.width
            i, j = (scope.bind(f(n, across)) for f in (quotient, remainder))
            row, column = self.tile.row(own.y, i), self.tile.column(own.x, j * VECTOR) + at
            sums = total.load(n, at, self.width)
            self._store(scope, own, scope.bind(row), scope.bind(column), sums)

        code.loop(tirx.const(self.vectors * parts, "int32"), one)

    def _next(self, code: Code, position: Position) -> Position:
        """Where the thread is, for further results: found again, if an epilogue needs all registers
        there are."""
        if not (self.tile.is_crowded and self.is_heavy):
            return position
        barrier(code)
        return self.positions.again(code)

    def _set_aside(self, code: Code, total: Waiting, position: Position) -> Waiting:
        """Totals in memory: where the buffers were, or the thread's own."""
        if self.tile.is_crowded:
            aside = self._in_shared(code, position.thread, 0)
        else:
            aside = Waiting(code.array(VECTOR * self.vectors, self.product.dtype), i64(0))
        for n in range(self.vectors):
            aside.store(code, n, total.load(n))
        return aside

    def _store(self, code: Code, position: Position, row: Expr, column: Expr, sums: Expr) -> None:
        """Store neighbours of a tile's results, of which those outside are left out."""
        contraction = self.contraction
        lanes = gcd(contraction.lanes, self.width)
        row, column = code.bind(position.row + row), code.bind(position.column + column)
        own = code.array(self.width, self.product.dtype)
        own.store(code, i64(0), sums)
        for n in range(0, self.width, lanes):
            at = code.bind(column + n)
            rows, columns = (self.emit.narrow(d) for d in (contraction.rows, contraction.columns))
            inside = tirx.And(row < rows, at < columns)
            x = own.load(i64(n), lanes)
            write = partial(contraction.store, line=position.line, row=row, column=at, sums=x)
            code.when(inside, write)

    # Groups

    def _lower_groups(self) -> None:
        """A block of k for each group of threads, and again, where there are more blocks."""
        code, tile = self.code, self.tile
        total = self._total(code, self.thread)
        nothing = splat(self.emit.const(-0.0, self.product.dtype), VECTOR)
        for n in range(tile.share):
            _, there = self._own_vector(code, self.thread, n)
            code.when(there, partial(total.store, n=n, x=nothing))

        def one(scope: Code, number: Expr) -> None:
            block = scope.bind(number * tile.groups + self.group)
            first = self._unit(scope, block * (self.block // tile.depth))
            self._prepare(scope, scope.bind(tirx.min(first, self._last(scope))))
            self._block(scope, first)
            position = self.positions.again(scope)
            self._show_sums(scope, position)
            total = self._total(scope, position.thread)
            for n in range(tile.share):
                vector, there = self._own_vector(scope, position.thread, n)
                add = partial(self._add_groups, total=total, number=number, n=n, vector=vector)
                scope.when(there, add)
            barrier(scope)

        code.loop(self._unit(code, self.rounds), one)
        position = self.positions.again(code)
        for n in range(tile.share):
            for at in range(0, VECTOR, self.width):
                position = self._next(code, position)
                vector, there = self._own_vector(code, position.thread, n)
                sums = self._total(code, position.thread).load(n, at, self.width)
                own = {"place": vector * VECTOR + at, "sums": sums}
                code.when(there, partial(self._store_own, position=position, **own))

    def _own_vector(self, code: Code, thread: Expr, n: int) -> tuple[Expr, Expr]:
        """The ``n``-th vector of the tile that is this thread's among those of all groups, and
        whether there is one."""
        vector = code.bind(tirx.Cast("int64", thread + n * self.tile.threads))
        return vector, vector < self.tile.size // VECTOR

    def _store_own(self, code: Code, position: Position, place: Expr, sums: Expr) -> None:
        row, column = (f(place, i64(self.tile.columns)) for f in (quotient, remainder))
        self._store(code, position, code.bind(row), code.bind(column), sums)

    def _show_sums(self, code: Code, position: Position) -> None:
        """Put all groups' sums where any thread can read them: in the place of the buffers."""
        tile, across = self.tile, self.tile.side // VECTOR
        base = code.bind(position.group * tile.size)
        for n in range(self.vectors):
            row = tile.row(position.y, n // across)
            column = tile.column(position.x, n % across * VECTOR)
            at = code.bind(base + row * tile.columns + column)
            self.shared.store(code, at, self.sums.load(n))
        barrier(code)

    def _add_groups(self, code: Code, total: Waiting, number: Expr, n: int, vector: Expr) -> None:
        """Add what there is of a round's blocks to a vector of totals, in ascending order."""
        tile, blocks = self.tile, self._unit(code, self.emit.narrow(self.blocks))

        def add(scope: Code, group: int) -> None:
            sums = self.shared.load(scope.bind(vector * VECTOR + group * tile.size), VECTOR)
            total.store(scope, n, self.emit.add(total.load(n), sums))

        for group in range(tile.groups):
            there = tirx.LT(number * tile.groups + group, blocks)
            code.when(there, partial(add, group=group))


def _in_parts(all: Sequence[Copy], count: int) -> list[list[Copy]]:
    """Neighbours together, so that no part has many more registers than the others."""
    parts: list[list[Copy]] = [[] for _ in range(count)]
    total, before = sum(operand.lanes for operand, _ in all), 0
    for operand, n in all:
        middle = before + operand.lanes / 2
        parts[int(count * middle / total)].append((operand, n))
        before += operand.lanes
    return parts
