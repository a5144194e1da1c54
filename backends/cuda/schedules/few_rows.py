"""Contractions with few rows, which are bound by memory: every element of B is read once.

A warp has 32 neighbouring columns and all rows over one block of k, so that it reads whole lines of
B. The warps of a block of threads take a block of k each; their sums meet in shared memory and are
added in ascending order (docs/numerics.md, clauses 8 and 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize
from aivmc.backends.cuda.schedules.block import barrier
from aivmc.backends.cuda.schedules.operands import Contraction, blocks_of, index_type
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.dims import ceil_div, product

MOST_ROWS = 8
_COLUMNS = 32  # of a task: a warp's
_MOST_WARPS = 8
_UNROLL = 8  # steps whose loads are on their way at once


@dataclass(frozen=True)
class Warps:
    """So many of a block of threads, each with the sums of ``rows`` over one of the ``blocks``."""

    count: int
    rows: int
    blocks: int

    @property
    def threads(self) -> int:
        return _COLUMNS * self.count

    @property
    def sums(self) -> int:
        """Elements of a warp in shared memory."""
        return self.rows * _COLUMNS

    @property
    def shared_bytes(self) -> int:
        return 4 * self.sums * self.count


def warps_for(contraction: Contraction) -> Warps | None:
    """Those for a contraction of few rows; None if it has more, or a depth that isn't known."""
    rows, blocks = contraction.rows, blocks_of(contraction.depth, contraction.block)
    if not isinstance(rows, int) or rows > MOST_ROWS or not isinstance(blocks, int):
        return None
    return Warps(min(max(blocks, 1), _MOST_WARPS), rows, max(blocks, 1))


def lower_few_rows(kernel: Kernel, contraction: Contraction, warps: Warps) -> None:
    """Fill in the function of a ``kernel.contract``. ``kernel.scratch`` is shared memory, ``begin``
    the task and ``end`` the thread."""
    grid = contraction.lines, ceil_div(contraction.columns, _COLUMNS)
    kernel.tasks = product(grid)
    begin = kernel.code.bind(tirx.Cast(index_type(kernel.tasks), kernel.begin))
    line, task = delinearize(kernel.code, kernel.emit, begin, grid)
    _FewRows(kernel, contraction, warps, line, task).lower()


class _FewRows:
    def __init__(
        self, kernel: Kernel, contraction: Contraction, warps: Warps, line: Expr, task: Expr
    ) -> None:
        self.emit, self.contraction, self.warps = kernel.emit, contraction, warps
        self.product, self.line = contraction.product, line
        self.shared = kernel.scratch_as(self.product.dtype)
        code = self.code = kernel.code
        thread = code.bind(tirx.max(kernel.end, i64(0)))
        self.lane = code.bind(remainder(thread, i64(_COLUMNS)))
        self.warp = code.bind(quotient(thread, i64(_COLUMNS)))
        self.column = code.bind(task * _COLUMNS + self.lane)
        inside = tirx.min(self.column, self.emit.dim(contraction.columns) - 1)
        self.b = contraction.column(code, line, code.bind(inside))
        self.a = [contraction.row(code, line, i64(r)) for r in range(warps.rows)]
        self.sums = code.array(warps.rows, self.product.dtype)
        # Results of a thread: the rows from its warp's number on, by the number of warps.
        self.shares = -(-warps.rows // warps.count)
        self.totals = code.array(self.shares, self.product.dtype)

    def lower(self) -> None:
        code = self.code
        for n in range(self.shares):
            self.totals.store(code, i64(n), self.emit.const(-0.0, self.product.dtype))
        code.loop(-(-self.warps.blocks // self.warps.count), self._round)
        for n in range(self.shares):
            row = code.bind(self.warp + n * self.warps.count)
            inside = tirx.And(
                tirx.LT(row, i64(self.warps.rows)),
                tirx.LT(self.column, self.emit.dim(self.contraction.columns)),
            )
            total = self.totals.load(i64(n))
            code.when(inside, partial(self._store, row=row, total=total))

    def _store(self, code: Code, row: Expr, total: Expr) -> None:
        self.contraction.store(code, self.line, row, self.column, total)

    def _round(self, code: Code, number: Expr) -> None:
        """A block of k for each warp, and the sums added to the totals."""
        warps = self.warps
        self._block(code, code.bind((number * warps.count + self.warp) * self.contraction.block))
        first = code.bind(self.warp * warps.sums + self.lane)
        for r in range(warps.rows):
            at = code.bind(first + r * _COLUMNS)
            self.shared.store(code, at, self.sums.load(i64(r)))
        barrier(code)
        for n in range(self.shares):
            for warp in range(warps.count):
                there = tirx.And(
                    tirx.LT(number * warps.count + warp, i64(warps.blocks)),
                    tirx.LT(self.warp + n * warps.count, i64(warps.rows)),
                )
                code.when(there, partial(self._add, n=n, warp=warp))
        barrier(code)

    def _add(self, code: Code, n: int, warp: int) -> None:
        place = (self.warp + n * self.warps.count) * _COLUMNS + self.lane
        sums = self.shared.load(code.bind(place + warp * self.warps.sums))
        both = self.emit.add(self.totals.load(i64(n)), sums)
        self.totals.store(code, i64(n), both)

    def _block(self, code: Code, first: Expr) -> None:
        """The sums of the block of k that starts at ``first``."""
        zero = self.emit.const(0.0, self.product.dtype)
        for r in range(self.warps.rows):
            self.sums.store(code, i64(r), zero)
        left = tirx.min(self.emit.dim(self.contraction.depth) - first, i64(self.contraction.block))
        count = code.bind(tirx.max(left, i64(0)))
        whole = code.bind(quotient(count, i64(_UNROLL)))
        code.loop(whole, lambda s, n: self._steps(s, s.bind(first + n * _UNROLL), _UNROLL))
        done = code.bind(first + whole * _UNROLL)
        rest = code.bind(count - whole * _UNROLL)
        code.loop(rest, lambda s, n: self._steps(s, s.bind(done + n), 1))

    def _steps(self, code: Code, k: Expr, count: int) -> None:
        """``count`` steps from ``k`` on: first all loads, then the products."""
        b = code.array(count, self.product.dtype)
        for n in range(count):
            b.store(code, i64(n), self.contraction.b(code, self.b, code.bind(k + n), 1))
        lanes = VECTOR if count % VECTOR == 0 and self.contraction.a_lanes % VECTOR == 0 else 1
        for r, start in enumerate(self.a):
            a = code.array(count, self.product.dtype)
            for n in range(0, count, lanes):
                a.store(code, i64(n), self.contraction.a(code, start, code.bind(k + n), lanes))
            for n in range(count):
                step = self.product.step(self.sums.load(i64(r)), a.load(i64(n)), b.load(i64(n)))
                self.sums.store(code, i64(r), step)
