"""Where a tile is in its contraction, and a thread in its tile: for the sums, and for the results
again, for nothing that only they need should wait in registers while there are sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize
from aivmc.backends.cuda.schedules.operands import Contraction, index_type
from aivmc.backends.cuda.schedules.tile_shapes import POSITION, Tile
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.types import DType, Shape

_WARP_DOWN, _WARP_ALONG = 4, 8  # threads of a warp, where a tile has as many


@dataclass(frozen=True)
class Position:
    """A tile starts at a ``row`` and ``column`` of a ``line``. A ``thread`` is a ``member`` of its
    ``group``, the ``y``-th of the tile's threads down and the ``x``-th along."""

    line: Expr
    row: Expr
    column: Expr
    thread: Expr
    group: Expr
    member: Expr
    y: Expr
    x: Expr


class Positions:
    """Of one thread: ``first``, as long as there are sums, and ``again`` afterwards.

    Where registers are few, four words of shared memory, from ``at`` on, hold where the tile is,
    which is the same for all threads, and 0. With that added, which no compiler sees to be 0, the
    thread's number is one of which all is computed again.
    """

    def __init__(
        self, kernel: Kernel, contraction: Contraction, tile: Tile, grid: Shape, at: int
    ) -> None:
        self._kernel, self._contraction, self._tile, self._at = kernel, contraction, tile, at
        self._words = kernel.scratch_as(DType.I32)
        code = kernel.code
        begin = code.bind(tirx.Cast(index_type(kernel.tasks), kernel.begin))
        numbers = delinearize(code, kernel.emit, begin, grid)
        _, *divisors = [dim for dim in grid if dim != 1] or [1]
        if not all(isinstance(dim, int) for dim in divisors):
            # TVM would divide by symbolic dims wherever a number is used.
            numbers = [code.hide(n) for n in numbers]
        thread = code.bind(tirx.Cast("int32", tirx.max(kernel.end, i64(0))))
        self.first = self._position(code, numbers, thread)
        if tile.is_crowded:
            words = [*(tirx.Cast("int32", n) for n in numbers), tirx.const(0, "int32")]
            code.when(tirx.EQ(thread, 0), lambda scope: self._write(scope, words))

    def again(self, code: Code) -> Position:
        """After a barrier: all of it, and dims, of what was read in this scope."""
        if not self._tile.is_crowded:
            return self.first
        words = (code.keep(self._words.load(i64(self._at + n))) for n in range(POSITION))
        *numbers, zero = (code.bind(word) for word in words)
        self._kernel.again(code, zero)
        thread = code.bind(self.first.thread + zero)
        return self._position(code, numbers, thread)

    def _write(self, code: Code, words: Sequence[Expr]) -> None:
        for n, word in enumerate(words):
            self._words.store(code, i64(self._at + n), word)

    def _position(self, code: Code, numbers: Sequence[Expr], thread: Expr) -> Position:
        contraction, tile, (line, down, along) = self._contraction, self._tile, numbers
        row = code.bind(tirx.Cast(index_type(contraction.rows), down) * tile.rows)
        column = code.bind(tirx.Cast(index_type(contraction.columns), along) * tile.columns)
        group = code.bind(quotient(thread, tile.members))
        member = code.bind(remainder(thread, tile.members))
        y, x = (code.bind(n) for n in _in_tile(tile, member))
        return Position(line, row, column, thread, group, member, y, x)


def _in_tile(tile: Tile, member: Expr) -> tuple[Expr, Expr]:
    """Warps are nearly square, so that they read little."""
    if tile.along % _WARP_ALONG or tile.down % _WARP_DOWN:
        return quotient(member, tile.along), remainder(member, tile.along)
    warp, lane = (f(member, _WARP_DOWN * _WARP_ALONG) for f in (quotient, remainder))
    across = tile.along // _WARP_ALONG
    y = quotient(warp, across) * _WARP_DOWN + quotient(lane, _WARP_ALONG)
    return y, remainder(warp, across) * _WARP_ALONG + remainder(lane, _WARP_ALONG)
