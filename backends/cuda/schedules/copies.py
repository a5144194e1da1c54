"""What a group of threads copies to shared memory in a step: A's tile, transposed, and B's."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code
from aivmc.backends.cuda.schedules.operands import Contraction, index_type
from aivmc.backends.cuda.schedules.tile_shapes import DEPTH, VECTOR, Tile
from aivmc.backends.tir_emit import Expr, TirEmit, i64, quotient, remainder, splat
from aivmc.ir.dims import Dim


@dataclass(frozen=True)
class Place:
    """Of a tile in the contraction, and of a thread in its group."""

    line: Expr
    row: Expr
    column: Expr
    member: Expr


class Copies:
    """Loads to registers, and from there to shared memory.

    Rows, columns and steps outside are read where the last one is. What is computed of the first
    two is not stored; steps beyond the end are replaced by what changes no sum.
    """

    def __init__(
        self, code: Code, emit: TirEmit, contraction: Contraction, tile: Tile, place: Place
    ) -> None:
        self.emit, self.contraction, self.tile = emit, contraction, tile
        depth = contraction.depth
        self.depth = depth if isinstance(depth, int) else emit.dim(depth)
        self.k_type = index_type(contraction.depth)
        # Groups all take as many steps.
        unit = contraction.block * tile.groups if tile.groups > 1 else DEPTH
        self.is_whole = _divides(unit, contraction.depth)
        self._place_a(code, place)
        self._place_b(code, place)

    def _place_a(self, code: Code, place: Place) -> None:
        """Neighbouring threads take neighbouring vectors along k; or where those are not together
        in memory, and a thread's share is as long, a row each."""
        tile, contraction = self.tile, self.contraction
        share = DEPTH * tile.rows // tile.members
        self.a_lanes = lanes = _lanes(contraction.a_lanes, share)
        self.a_length = share if contraction.is_scattered else lanes
        parts = DEPTH // self.a_length  # of a row
        self.a_k = self._narrow(code, remainder(place.member, parts) * self.a_length)
        first = code.bind(quotient(place.member, parts))
        self.a_step = tile.members // parts  # rows between a thread's
        rows = [
            code.bind(place.row + first + i * self.a_step) for i in range(share // self.a_length)
        ]
        self.a_starts = [
            contraction.row(code, place.line, self._clamped(code, row, contraction.rows, tile.rows))
            for row in rows
        ]
        self.a_at = code.bind(self.a_k * tile.a_row + first)

    def _place_b(self, code: Code, place: Place) -> None:
        """Neighbouring threads take neighbouring vectors of columns."""
        tile, contraction = self.tile, self.contraction
        self.b_count = share = DEPTH * tile.columns // tile.members
        self.b_lanes = lanes = _lanes(contraction.b_lanes, share)
        vectors = i64(tile.columns // lanes)
        column = code.bind(remainder(place.member, vectors) * lanes)
        self.b_k = self._narrow(code, quotient(place.member, vectors))
        self.b_step = tile.members * lanes // tile.columns  # steps between a thread's vectors
        width = contraction.columns
        last = -(-width // lanes) * lanes if isinstance(width, int) else width
        at = self._clamped(code, code.bind(place.column + column), last, tile.columns, lanes)
        self.b_start = contraction.column(code, place.line, at)
        self.b_at = code.bind(self.b_k * tile.columns + (DEPTH * tile.a_row) + column)

    def _clamped(self, code: Code, i: Expr, size: Dim, step: int, lanes: int = 1) -> Expr:
        if _divides(step, size):
            return i
        return code.bind(tirx.min(i, self.emit.dim(size) - lanes))

    def load(self, code: Code, k: Expr) -> tuple[list[Array], list[Array]]:
        """What this thread copies of the steps from ``k`` on."""
        contraction, k = self.contraction, self._narrow(code, k)
        a, b = [], []
        for n in range(0, self.a_length, self.a_lanes):
            own = code.bind(k + (self.a_k + n))
            at = self._step(code, own, self.a_lanes)
            for start in self.a_starts:
                x = contraction.a(code, start, at, self.a_lanes)
                a.append(self._kept(code, x, own, 0))
        for i in range(self.b_count // self.b_lanes):
            own = code.bind(k + (self.b_k + i * self.b_step))
            at = self._step(code, own, 1)
            x = contraction.b(code, self.b_start, at, self.b_lanes)
            b.append(self._kept(code, x, own, 1))
        return a, b

    def _narrow(self, code: Code, k: Expr) -> Expr:
        return code.bind(tirx.Cast(self.k_type, k))

    def _step(self, code: Code, k: Expr, lanes: int) -> Expr:
        """Where to read step ``k``, which may be beyond the end."""
        if lanes == 1:
            return code.bind(tirx.min(k, self.depth - 1))
        # In this form LLVM sees that it is aligned.
        return code.bind(tirx.min(quotient(k, lanes), self.depth // lanes - 1)) * lanes

    def _kept(self, code: Code, x: Expr, k: Expr, operand: int) -> Array:
        """``x`` in registers, if step ``k`` is one."""
        product = self.contraction.product
        lanes = self.b_lanes if operand else self.a_lanes
        if not self.is_whole:
            x = code.keep(x)  # or TVM takes the step for one, and reads beyond the end
            nothing = self.emit.const(product.nothing[operand], product.dtype)
            inside = tirx.LT(k, self.depth)
            x = self.emit.select(inside, x, nothing)
        kept = code.array(lanes, product.dtype)
        kept.store(code, i64(0), splat(x, lanes))
        return kept

    def store(
        self, code: Code, loaded: tuple[list[Array], list[Array]], shared: Array, buffer: Expr
    ) -> None:
        """Put what was loaded into a buffer."""
        a, b = loaded
        for i, array in enumerate(a):
            vector, row = divmod(i, len(self.a_starts))
            for n in range(self.a_lanes):
                step = vector * self.a_lanes + n
                at = buffer + self.a_at + (step * self.tile.a_row + row * self.a_step)
                shared.store(code, code.bind(at), array.load(i64(n)))
        for i, array in enumerate(b):
            at = buffer + self.b_at + i * self.b_step * self.tile.columns
            shared.store(code, code.bind(at), array.load(i64(0), self.b_lanes))


def _lanes(possible: int, share: int) -> int:
    return next(n for n in (VECTOR, 2, 1) if possible % n == 0 and share % n == 0)


def _divides(step: int, size: Dim) -> bool:
    return isinstance(size, int) and size % step == 0
