"""Which tile of threads does a contraction, by the shape of its result and the blocks of k."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aivmc.backends.cuda.occupancy import GPUS, MULTIPROCESSORS, occupancy, resident_blocks
from aivmc.backends.cuda.schedules.block import ALL_REGISTERS, REGISTERS
from aivmc.backends.tir_emit import Expr
from aivmc.ir.dims import Dim, ceil_div, evaluate, symbols

VECTOR = 4  # elements that a thread has side by side
DEPTH = 8  # steps of k that are in a buffer, if they aren't taps of windows
POSITION = 4  # words that say where a tile is
_PADDING = 4  # elements after a row of A in shared memory, against bank conflicts
_MOST_SHARED = 48 << 10  # bytes of a block
_NOMINAL = 128  # where a dim is symbolic
_GPU = GPUS["A100"]  # that tiles are chosen for
_PROCESSOR = MULTIPROCESSORS[_GPU.architecture]


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
    def registers(self) -> int:
        """The most of a thread: half of a multiprocessor's threads have room, or else have so many
        sums that few threads keep it busy."""
        return REGISTERS if self.side == VECTOR else 255

    @property
    def is_crowded(self) -> bool:
        """Whether registers are few: totals of several blocks, and where the tile is, wait in
        shared memory."""
        return self.side == VECTOR

    def position_at(self, blocks: Dim) -> int:
        """Where in shared memory that is, of a contraction with so many blocks of k: after the
        first row of A, where the buffers are not needed for sums."""
        if blocks == 1:
            return max(self.total_at, self.size)
        return self.rows if self.groups == 1 else self.total_at + self.size

    def shared_bytes(self, blocks: Dim) -> int:
        if not self.is_crowded:
            return 4 * self.total_at
        totals = 0 if blocks == 1 else self.total_at + self.size
        return 4 * max(totals, self.position_at(blocks) + POSITION)

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
_MOST_LOADS = 4  # of an operand, that a thread with few registers has on their way


@dataclass(frozen=True)
class Loads:
    """How many registers an element of A, and of B, takes until it is in shared memory; 0 where a
    thread copies vectors, or one row."""

    a: int = 0
    b: int = 0


def tile_for(
    lines: Dim, rows: Dim, columns: Dim, blocks: Dim, depth: int = DEPTH, loads: Loads = Loads()
) -> Tile:
    """The tile that is fastest for ``lines`` results of ``rows`` by ``columns`` sums over so many
    blocks of k: the one with the least to do for the busiest multiprocessor.

    Buffers have ``depth`` steps.
    """
    count = max(blocks, 1) if isinstance(blocks, int) else 1
    shapes = [replace(tile, depth=depth) for tile in TILES]
    candidates = [replace(tile, groups=n) for tile in shapes for n in _GROUPS if n < 2 * count]

    def cost(tile: Tile) -> tuple[float, int]:
        tasks = _nominal(lines * ceil_div(rows, tile.rows) * ceil_div(columns, tile.columns))
        each = tile.side**2 * -(-count // tile.groups)
        threads = max(-(-tasks // _GPU.multiprocessors) * tile.threads, _BUSY[tile.side])
        return each * threads / _RATE[tile.side], tasks * tile.size

    return min((c for c in candidates if _fits(c, blocks, loads)), key=cost)


def _fits(tile: Tile, blocks: Dim, loads: Loads) -> bool:
    shared = tile.shared_bytes(blocks)
    if tile.threads * tile.registers > ALL_REGISTERS or shared > _MOST_SHARED:
        return False
    if not tile.is_crowded:
        return True
    a, b = (tile.depth * n // tile.members for n in (tile.rows, tile.columns))
    resident = resident_blocks(_PROCESSOR, tile.threads, shared, tile.registers)
    half = occupancy(_PROCESSOR, tile.threads, resident) >= 0.5
    return half and max(a * loads.a, b * loads.b) <= _MOST_LOADS


def _nominal(dim: Dim) -> int:
    return evaluate(dim, dict.fromkeys(symbols(dim), _NOMINAL))
