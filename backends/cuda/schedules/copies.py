"""What a group of threads copies to shared memory in a step: A's tile, transposed, and B's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code
from aivmc.backends.cuda.schedules.convolution import Convolution
from aivmc.backends.cuda.schedules.operands import Contraction, index_type
from aivmc.backends.cuda.schedules.position import Position
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR, Tile
from aivmc.backends.tir_emit import Expr, TirEmit, i64, quotient, remainder, splat
from aivmc.ir.dims import Dim


class Copies(ABC):
    """Of one operand: a thread loads ``count`` vectors to registers, and stores them from there to
    shared memory.

    Rows, columns and steps outside are read where the last one is. What is computed of the first
    two is not stored; steps beyond the end are replaced by what changes no sum.
    """

    count = 1
    lanes = 1  # of a vector

    def __init__(self, emit: TirEmit, contraction: Contraction, tile: Tile) -> None:
        self.emit, self.contraction, self.tile = emit, contraction, tile
        depth = contraction.depth
        self._last = emit.narrow(depth - 1)  # step
        self._k_type = index_type(depth * contraction.product.group)
        self._is_whole = _divides(tile.depth, depth)

    def registers(self, code: Code) -> Array:
        """For a vector."""
        return code.array(self.lanes, self.contraction.product.dtype)

    @abstractmethod
    def load(self, code: Code, n: int, unit: Expr, to: Array) -> None:
        """This thread's ``n``-th vector of a unit of k, to registers."""

    @abstractmethod
    def store(self, code: Code, n: int, vector: Array, shared: Array, buffer: Expr) -> None:
        """Put what was loaded into a buffer."""

    def _clamped(self, code: Code, i: Expr, size: Dim, step: int, lanes: int = 1) -> Expr:
        if _divides(step, size):
            return i
        return code.bind(tirx.min(i, self.emit.narrow(size) - lanes))

    def _narrow(self, code: Code, k: Expr) -> Expr:
        return code.bind(tirx.Cast(self._k_type, k))

    def _keep(self, code: Code, to: Array, x: Expr, k: Expr, operand: int) -> None:
        """Put ``x`` in registers, if step ``k`` is one."""
        product = self.contraction.product
        if not self._is_whole:
            x = code.keep(x)  # or TVM takes the step for one, and reads beyond the end
            nothing = self.emit.const(product.nothing[operand], product.dtype)
            x = self.emit.select(k <= self._last, x, nothing)
        to.store(code, i64(0), splat(x, self.lanes))


class _Vectors(Copies):
    """A's: neighbouring threads take neighbouring vectors along k."""

    def __init__(
        self, code: Code, emit: TirEmit, contraction: Contraction, tile: Tile, position: Position
    ) -> None:
        super().__init__(emit, contraction, tile)
        share = tile.depth * tile.rows // tile.members
        sizes = (n for n in (VECTOR, 2, 1) if contraction.a_lanes % n == share % n == 0)
        self.lanes = lanes = next(sizes)
        vectors = tile.depth // lanes
        self._k = self._narrow(code, remainder(position.member, vectors) * lanes)
        first = code.bind(quotient(position.member, vectors))
        self._step = tile.members // vectors  # rows between a thread's vectors
        self.count = share // lanes
        rows = [code.bind(position.row + first + i * self._step) for i in range(self.count)]
        self._starts = [
            contraction.row(
                code, position.line, self._clamped(code, row, contraction.rows, tile.rows)
            )
            for row in rows
        ]
        self._at = code.bind(self._k * tile.a_row + first)

    def load(self, code: Code, n: int, unit: Expr, to: Array) -> None:
        own = code.bind(self._narrow(code, unit) * self.tile.depth + self._k)
        x = self.contraction.a(code, self._starts[n], self._inside(code, own), self.lanes)
        self._keep(code, to, x, own, 0)

    def _inside(self, code: Code, k: Expr) -> Expr:
        """Where to read step ``k``, which may be beyond the end."""
        lanes = self.lanes
        if self._is_whole:
            return k
        if lanes == 1:
            return code.bind(tirx.min(k, self._last))
        # In this form LLVM sees that it is aligned.
        return code.bind(tirx.min(quotient(k, lanes), self._last // lanes)) * lanes

    def store(self, code: Code, n: int, vector: Array, shared: Array, buffer: Expr) -> None:
        for lane in range(self.lanes):
            at = buffer + self._at + (lane * self.tile.a_row + n * self._step)
            shared.store(code, code.bind(at), vector.load(i64(lane)))


class _Windows(Copies):
    """A's, where the steps are taps of a window, apart in memory: a thread has one row, and some
    taps of all of its windows, so that it knows before where they are."""

    def __init__(
        self, code: Code, emit: TirEmit, convolution: Convolution, tile: Tile, position: Position
    ) -> None:
        super().__init__(emit, convolution, tile)
        self._convolution = convolution
        row = code.bind(remainder(position.member, tile.rows))
        at = self._clamped(code, code.bind(position.row + row), convolution.rows, tile.rows)
        start = convolution.row(code, position.line, at)
        self._parts = tile.members // tile.rows
        part = quotient(position.member, tile.rows)
        part = self._narrow(code, part) if self._parts > 1 else tirx.const(0, self._k_type)
        self.count = -(-tile.depth // self._parts)
        self._steps = [part + i * self._parts for i in range(self.count)]
        of_part = convolution.tested(code, start, part)
        self._starts = []
        for i, step in enumerate(self._steps):
            own = convolution.tested(code, of_part, i * self._parts)
            if (i + 1) * self._parts > tile.depth:  # perhaps beyond the last one
                step = code.bind(tirx.min(step, tile.depth - 1))
                own = convolution.tested(code, start, step)
            self._starts.append(convolution.moved(code, own, step))
        self._at = code.bind(part * tile.a_row + row)

    def load(self, code: Code, n: int, unit: Expr, to: Array) -> None:
        # No step is beyond the end: units divide the depth.
        to.store(code, i64(0), self._convolution.first(code, self._starts[n], unit))

    def store(self, code: Code, n: int, vector: Array, shared: Array, buffer: Expr) -> None:
        at = code.bind(buffer + self._at + n * self._parts * self.tile.a_row)
        write = partial(shared.store, offset=at, x=vector.load(i64(0)))
        _where_inside(code, self._steps[n], (n + 1) * self._parts, self.tile.depth, write)


class _Columns(Copies):
    """B's: neighbouring threads take neighbouring vectors of columns."""

    def __init__(
        self, code: Code, emit: TirEmit, contraction: Contraction, tile: Tile, position: Position
    ) -> None:
        super().__init__(emit, contraction, tile)
        sizes = [n for n in (1, 2, VECTOR) if contraction.b_lanes % n == 0]
        self.lanes = lanes = min(sizes, key=lambda n: _rounds(tile, n) * (n + 2))
        vectors = tile.columns // lanes
        column = code.bind(remainder(position.member, vectors) * lanes)
        first = self._narrow(code, quotient(position.member, vectors))
        self._step = tile.members // vectors  # steps between a thread's vectors
        self.count = _rounds(tile, lanes)
        self._steps = [first + i * self._step for i in range(self.count)]
        width = contraction.columns
        last = -(-width // lanes) * lanes if isinstance(width, int) else width
        at = self._clamped(code, code.bind(position.column + column), last, tile.columns, lanes)
        self._start = contraction.column(code, position.line, at)
        self._at = code.bind(first * tile.columns + (tile.depth * tile.a_row) + column)

    def load(self, code: Code, n: int, unit: Expr, to: Array) -> None:
        own = code.bind(self._narrow(code, unit) * self.tile.depth + self._steps[n])
        are_in = self._is_whole and (n + 1) * self._step <= self.tile.depth
        at = own if are_in else code.bind(tirx.min(own, self._last))
        self._keep(code, to, self.contraction.b(code, self._start, at, self.lanes), own, 1)

    def store(self, code: Code, n: int, vector: Array, shared: Array, buffer: Expr) -> None:
        at = code.bind(buffer + self._at + n * self._step * self.tile.columns)
        write = partial(shared.store, offset=at, x=vector.load(i64(0), self.lanes))
        _where_inside(code, self._steps[n], (n + 1) * self._step, self.tile.depth, write)


def copies(
    code: Code, emit: TirEmit, contraction: Contraction, tile: Tile, position: Position
) -> tuple[Copies, Copies]:
    """Of A and of B, of a thread in its group."""
    columns = _Columns(code, emit, contraction, tile, position)
    if isinstance(contraction, Convolution) and contraction.by_windows:
        return _Windows(code, emit, contraction, tile, position), columns
    return _Vectors(code, emit, contraction, tile, position), columns


def _rounds(tile: Tile, lanes: int) -> int:
    """How many vectors of B's tile are a thread's, at most."""
    return -(-tile.depth * tile.columns // (lanes * tile.members))


def _where_inside(
    code: Code, step: Expr, most: int, depth: int, write: Callable[[Code], None]
) -> None:
    """``write`` for one of ``depth`` steps; ``step`` is less than ``most``."""
    if most <= depth:
        write(code)
    else:
        code.when(step < depth, write)


def _divides(step: int, size: Dim) -> bool:
    return isinstance(size, int) and size % step == 0
