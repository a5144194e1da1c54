"""Contractions by tiles in shared memory: a task is a tile of the result, a block of threads.

Each thread has a register tile. Blocks of k are summed as docs/numerics.md, clauses 8 and 9, say:
each accumulator runs over k in ascending order, so how k is cut into tiles changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel, delinearize
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.types import DType, Shape

_SIDE = 16  # threads along each side of a tile
THREADS = _SIDE * _SIDE
_DEPTH = 8  # of a tile, along k
_VECTOR = 4  # elements that a thread has side by side

Index = list[Expr]


class Contraction(Protocol):
    """``rows`` by ``columns`` sums over k, for each of ``batch``; in f32.

    k is summed in blocks of ``block``. ``a_lanes`` and ``b_lanes`` divide what can be loaded at
    once, along k and along columns; ``lanes`` is what can be stored along columns.
    """

    batch: Shape
    rows: Dim
    columns: Dim
    depth: Dim
    block: int
    a_lanes: int
    b_lanes: int
    lanes: int

    def a(self, code: Code, batch: Index, row: Expr, k: Expr, lanes: int) -> Expr:
        """Elements at ``row`` from ``k`` on."""

    def b(self, code: Code, batch: Index, k: Expr, column: Expr, lanes: int) -> Expr:
        """Elements at ``k`` from ``column`` on."""

    def store(self, code: Code, batch: Index, row: Expr, column: Expr, total: Expr) -> None:
        """Store what becomes of sums at ``row`` from ``column`` on."""


@dataclass(frozen=True)
class Tile:
    """A tile of ``side`` rows and columns, of which each thread has ``own`` by ``own``."""

    side: int

    @property
    def own(self) -> int:
        return self.side // _SIDE

    @property
    def share(self) -> int:
        """How many elements of each operand's tile a thread loads."""
        return _DEPTH * self.side // THREADS

    @property
    def shared_bytes(self) -> int:
        return 2 * _DEPTH * self.side * 4

    def place(self, thread: Expr, i: int) -> Expr:
        """Which row or column of the tile is a thread's ``i``-th: vectors of neighbours, the
        threads' vectors side by side."""
        return thread * _VECTOR + (i // _VECTOR * _SIDE * _VECTOR + i % _VECTOR)


def tile_for(rows: Dim, columns: Dim) -> Tile | None:
    """The tile for a result of this size; None if most of it would be outside."""
    least = min((d for d in (rows, columns) if isinstance(d, int)), default=64)
    if least < 32:
        return None
    return Tile(128 if least >= 256 else 64)


def lower_tiles(kernel: Kernel, contraction: Contraction, tile: Tile) -> None:
    """Fill in the function of a ``kernel.contract``. ``kernel.scratch`` is shared memory, ``begin``
    the task and ``end`` the thread."""
    across = ceil_div(contraction.rows, tile.side), ceil_div(contraction.columns, tile.side)
    grid = (*contraction.batch, *across)
    kernel.tasks = product(grid)
    _Tiles(kernel, contraction, tile).lower(grid)


class _Tiles:
    def __init__(self, kernel: Kernel, contraction: Contraction, tile: Tile) -> None:
        self.emit, self.shared = kernel.emit, kernel.scratch
        self.contraction, self.tile = contraction, tile
        code = self.code = kernel.code
        self.chain, self.total = (code.array(tile.own**2, DType.F32) for _ in range(2))
        self.begin = kernel.begin
        self.thread = code.bind(tirx.max(kernel.end, i64(0)))
        self.x = code.bind(remainder(self.thread, i64(_SIDE)))
        self.y = code.bind(quotient(self.thread, i64(_SIDE)))

    def lower(self, grid: Shape) -> None:
        code, side = self.code, self.tile.side
        *self.batch, down, along = delinearize(code, self.emit, self.begin, grid)
        self.row, self.column = code.bind(down * side), code.bind(along * side)
        self._fill(code, self.total, -0.0)
        block, depth = i64(self.contraction.block), self.emit.dim(self.contraction.depth)
        # One block at least: the sum of nothing is +0.
        blocks = tirx.max(tirx.floordiv(depth + (block - 1), block), i64(1))
        code.loop(code.bind(blocks), lambda scope, number: self._block(scope, number * block))
        lanes = _VECTOR if self.contraction.lanes % _VECTOR == 0 else 1
        for i in range(self.tile.own):
            for j in range(0, self.tile.own, lanes):
                self._store(code, i, j, lanes)

    def _block(self, code: Code, first: Expr) -> None:
        """One block of k, added to the total."""
        first = code.bind(first)
        depth = self.emit.dim(self.contraction.depth)
        last = code.bind(tirx.min(first + self.contraction.block, depth))
        self._fill(code, self.chain, 0.0)
        # TVM can't tell that the last block is not empty.
        count = code.bind(tirx.max(last - first, i64(0)))
        whole = code.bind(quotient(count, i64(_DEPTH)))
        code.loop(whole, lambda scope, n: self._step(scope, scope.bind(first + n * _DEPTH), last))
        done = code.bind(first + whole * _DEPTH)
        code.when(tirx.LT(done, last), lambda scope: self._rest(scope, done, last))
        for n in range(self.tile.own**2):
            total = self.emit.add(self.total.load(i64(n)), self.chain.load(i64(n)))
            self.total.store(code, i64(n), total)

    def _step(self, code: Code, k: Expr, last: Expr) -> None:
        self._load(code, k, last)
        for depth in range(_DEPTH):
            self._multiply(code, i64(depth))
        _barrier(code)

    def _rest(self, code: Code, k: Expr, last: Expr) -> None:
        """A tile that is not whole along k: only what is there is multiplied."""
        self._load(code, k, last)
        code.loop(code.bind(last - k), self._multiply)
        _barrier(code)

    def _load(self, code: Code, k: Expr, last: Expr) -> None:
        """Both tiles, from k on, into shared memory; A transposed. What is outside is a copy of the
        last row, column or k, and is not used."""
        self._load_a(code, k, last)
        self._load_b(code, k, last)
        _barrier(code)

    def _load_a(self, code: Code, k: Expr, last: Expr) -> None:
        side, share = self.tile.side, self.tile.share
        lanes = share if self.contraction.a_lanes % share == 0 else 1
        for i in range(0, share, lanes):
            number = code.bind(self.thread * share + i)
            row, depth = quotient(number, i64(_DEPTH)), code.bind(remainder(number, i64(_DEPTH)))
            at = code.bind(self._clamp(self.row + row, self.contraction.rows))
            from_k = code.bind(tirx.min(k + depth, last - lanes))
            found = code.array(lanes, DType.F32)
            x = self.contraction.a(code, self.batch, at, from_k, lanes)
            found.store(code, i64(0), x)
            for n in range(lanes):
                self.shared.store(code, code.bind((depth + n) * side + row), found.load(i64(n)))

    def _load_b(self, code: Code, k: Expr, last: Expr) -> None:
        side, share = self.tile.side, self.tile.share
        lanes = share if self.contraction.b_lanes % share == 0 else 1
        for i in range(0, share, lanes):
            # Neighbouring threads take neighbours.
            number = code.bind(self.thread * lanes + i * THREADS)
            depth, column = quotient(number, i64(side)), code.bind(remainder(number, i64(side)))
            from_k = code.bind(tirx.min(k + depth, last - 1))
            at = code.bind(self._clamp(self.column + column, self.contraction.columns, lanes))
            x = self.contraction.b(code, self.batch, from_k, at, lanes)
            self.shared.store(code, code.bind(_DEPTH * side + depth * side + column), x)

    def _clamp(self, i: Expr, size: Dim, lanes: int = 1) -> Expr:
        if isinstance(size, int) and size % self.tile.side == 0:
            return i
        return tirx.min(i, self.emit.dim(size) - lanes)

    def _multiply(self, code: Code, depth: Expr) -> None:
        """One k of both tiles, for all of the thread's results."""
        own, side = self.tile.own, self.tile.side
        down = self._own(code, code.bind(depth * side), self.y)
        along = self._own(code, code.bind(depth * side + _DEPTH * side), self.x)
        for i in range(own):
            for j in range(own):
                n = i64(i * own + j)
                a, b = down.load(i64(i)), along.load(i64(j))
                self.chain.store(code, n, self.emit.fma(a, b, self.chain.load(n)))

    def _own(self, code: Code, start: Expr, thread: Expr) -> Array:
        """What a thread needs of a line of a tile, which starts at ``start``."""
        found = code.array(self.tile.own, DType.F32)
        for i in range(0, self.tile.own, _VECTOR):
            vector = self.shared.load(start + self.tile.place(thread, i), _VECTOR)
            found.store(code, i64(i), vector)
        return found

    def _fill(self, code: Code, array: Array, value: float) -> None:
        for n in range(self.tile.own**2):
            array.store(code, i64(n), self.emit.const(value, DType.F32))

    def _store(self, code: Code, i: int, j: int, lanes: int) -> None:
        """Results of a row of the thread, from the ``j``-th column on."""
        row = code.bind(self.row + self.tile.place(self.y, i))
        column = code.bind(self.column + self.tile.place(self.x, j))
        inside = tirx.And(
            tirx.LT(row, self.emit.dim(self.contraction.rows)),
            tirx.LT(column, self.emit.dim(self.contraction.columns)),
        )
        total = self.total.load(i64(i * self.tile.own + j), lanes)
        code.when(
            inside, lambda scope: self.contraction.store(scope, self.batch, row, column, total)
        )


def neighbours(first: Expr, lanes: int) -> Expr:
    """The index of so many elements from ``first`` on."""
    return tirx.Ramp(first, i64(1), lanes) if lanes > 1 else first


def _barrier(code: Code) -> None:
    """All threads of the block meet here."""
    code.statements.append(
        tirx.Evaluate(
            tirx.call_llvm_intrin(
                "void", "llvm.nvvm.barrier.cta.sync.aligned.all", tirx.const(0, "int32")
            )
        )
    )
