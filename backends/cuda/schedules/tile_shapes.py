"""Which tile of threads does a contraction, by the shape of its result and the blocks of k."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aivmc.backends.tir_emit import Expr
from aivmc.ir.dims import Dim, ceil_div, evaluate, symbols

VECTOR = 4  # elements that a thread has side by side
DEPTH = 8  # steps of k that are in a buffer, if they aren't taps of windows
_PADDING = 4  # elements after a row of A in shared memory, against bank conflicts
_MOST_SHARED = 48 << 10  # bytes of a block
_NOMINAL = 128  # where a dim is symbolic
_REGISTERS = 1 << 16  # of a multiprocessor, from sm_52 on; it has room for 2048 threads
_PROCESSORS = 108  # of a GPU that tiles are chosen for


@dataclass(frozen=True)
class Tile:
    """``down`` by ``along`` threads, each with ``side`` by ``side`` sums. ``groups`` such, in one
    block, take a block of k each. ``depth`` steps of k are in a buffer."""

    down: int
    along: int
    side: int
    groups: int = 1
    depth: int = DEPTH

    @property
    def rows(self) -> int:
        return self.down * self.side

    @property
    def columns(self) -> int:
        return self.along * self.side

    @property
    def members(self) -> int:
        """Threads of a group."""
        return self.down * self.along

    @property
    def threads(self) -> int:
        return self.members * self.groups

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @property
    def share(self) -> int:
        """Vectors of the tile that are one thread's among those of all groups, at most."""
        return -(-self.size // VECTOR // self.threads)

    @property
    def a_row(self) -> int:
        """From one k of A in shared memory to the next, in elements."""
        return self.rows + _PADDING

    @property
    def buffer(self) -> int:
        """Elements of both operands' tiles in shared memory."""
        return self.depth * (self.a_row + self.columns)

    @property
    def total_at(self) -> int:
        """The element of shared memory, after the two buffers of each group, or in their place the
        groups' sums, where totals may wait."""
        return self.groups * max(2 * self.buffer, self.size if self.groups > 1 else 0)

    @property
    def keeps_total(self) -> bool:
        """Whether totals of several blocks wait in registers."""
        return self.side > VECTOR

    def shared_bytes(self, blocks: Dim) -> int:
        """Of a contraction with so many blocks of k. The only one's sums may take the place of the
        buffers."""
        if self.keeps_total:
            return 4 * self.total_at
        return 4 * (max(self.total_at, self.size) if blocks == 1 else self.total_at + self.size)

    @property
    def registers(self) -> int:
        """The most of a thread: half of a multiprocessor's threads have room, or else have so many
        sums that few threads keep it busy."""
        return _REGISTERS // 1024 if self.side == VECTOR else 255

    def row(self, thread: Expr, i: int) -> Expr:
        """Which row of the tile is the ``i``-th of the ``thread``-th thread down: vectors of
        neighbours, the threads' vectors side by side."""
        return _place(thread, i, self.down)

    def column(self, thread: Expr, j: int) -> Expr:
        return _place(thread, j, self.along)


def _place(thread: Expr, i: int, threads: int) -> Expr:
    return thread * VECTOR + (i // VECTOR * threads * VECTOR + i % VECTOR)


TILES = (
    *(Tile(16, 16, 8), Tile(16, 8, 8), Tile(8, 16, 8), Tile(8, 8, 8)),
    *(Tile(16, 16, 4), Tile(16, 8, 4), Tile(8, 16, 4), Tile(8, 8, 4)),
    *(Tile(32, 4, 4), Tile(4, 16, 4)),
)
# By the side of a thread's sums: how many threads keep a multiprocessor busy, and how fast they are
# then, by what must be loaded for a sum.
_BUSY = {8: 256, 4: 512}
_RATE = {8: 1.0, 4: 0.7}
_GROUPS = (1, 2, 4, 8)
_MOST_LOADS = 4  # of A for a step that a thread with few registers has on their way


def tile_for(
    lines: Dim, rows: Dim, columns: Dim, blocks: Dim, depth: int = DEPTH, loads: int = 0
) -> Tile:
    """The tile that is fastest for ``lines`` results of ``rows`` by ``columns`` sums over so many
    blocks of k: the one with the least to do for the busiest multiprocessor.

    Buffers have ``depth`` steps. An element of A takes so many ``loads``, from a row of its own; 0
    if a thread copies vectors, or a row.
    """
    count = max(blocks, 1) if isinstance(blocks, int) else 1
    shapes = [replace(tile, depth=depth) for tile in TILES]
    candidates = [replace(tile, groups=n) for tile in shapes for n in _GROUPS if n < 2 * count]

    def cost(tile: Tile) -> tuple[float, int]:
        tasks = _nominal(lines * ceil_div(rows, tile.rows) * ceil_div(columns, tile.columns))
        each = tile.side**2 * -(-count // tile.groups)
        threads = max(-(-tasks // _PROCESSORS) * tile.threads, _BUSY[tile.side])
        return each * threads / _RATE[tile.side], tasks * tile.size

    return min((c for c in candidates if _fits(c, blocks, loads)), key=cost)


def _fits(tile: Tile, blocks: Dim, loads: int) -> bool:
    registers, own = tile.threads * tile.registers, tile.depth * tile.rows // tile.members
    return (
        registers <= _REGISTERS
        and tile.shared_bytes(blocks) <= _MOST_SHARED
        and (tile.side > VECTOR or own * loads <= _MOST_LOADS)
    )


def _nominal(dim: Dim) -> int:
    return evaluate(dim, dict.fromkeys(symbols(dim), _NOMINAL))
