"""The register tile: rows times panels of 16 columns, each element one fma chain per block of k.

``total = total + acc`` after each block, where ``acc`` starts from +0 and takes
``fma(a, b, acc)`` for k = (channel, tap) ascending (numerics, clauses 8 and 9). ``total`` starts
from -0, to which adding the first block's sum gives that sum, whatever its sign. Integers are one
block, in which several channels may enter together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Code
from aivmc.backends.cpu.schedules.inner_product import InnerProduct
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import Expr, TirEmit, i64, splat
from aivmc.ir import dims as ir_dims
from aivmc.ir.dims import Dim

_NOMINAL_ROWS, _NOMINAL_PANELS = 120, 12  # where the shape is symbolic
_WORTHWHILE = 16  # rows: fewer are not what tiles should fit
_SHARES = 8  # tasks that a single row is split into, at least
_UNROLL = 4  # channels at a time, where there is one tap


@dataclass(frozen=True)
class Chain:
    """The k axis: channels in blocks, ``taps`` for each. A block of 0 is all of them."""

    channels: Dim
    taps: int
    block: int

    def unroll(self, group: int) -> int:
        """Steps of ``group`` channels in one iteration of the inner loop."""
        if self.taps > 1 or not isinstance(self.channels, int):
            return 1
        even = self.channels // group % _UNROLL == 0 and self.block % _UNROLL == 0
        return _UNROLL if even else 1


@dataclass(frozen=True)
class Operands:
    """What step ``k`` of a tap takes: ``a(code, row, k, tap, count)`` so many channels of a row, 0
    beyond them; ``b(panel, piece, k, tap)`` a vector."""

    a: Callable[[Code, int, Expr, int, int], Expr]
    b: Callable[[int, int, Expr, int], Expr]


@dataclass(frozen=True)
class TileShape:
    rows: int
    panels: int


class _Accumulators:
    """A vector for each row, panel and piece."""

    def __init__(self, code: Code, shape: TileShape, product: InnerProduct) -> None:
        self.shape, self.product = shape, product
        self.array = code.array(len(self.places()) * product.lanes, product.dtype)

    def places(self) -> list[tuple[int, int, int]]:
        rows, panels, pieces = self.shape.rows, self.shape.panels, self.product.pieces
        return list(itertools.product(range(rows), range(panels), range(pieces)))

    def _at(self, row: int, panel: int, piece: int) -> Expr:
        pieces = (row * self.shape.panels + panel) * self.product.pieces + piece
        return i64(pieces * self.product.lanes)

    def load(self, *place: int) -> Expr:
        return self.array.load(self._at(*place), self.product.lanes)

    def store(self, code: Code, x: Expr, *place: int) -> None:
        self.array.store(code, self._at(*place), x)

    def fill(self, code: Code, emit: TirEmit, value: float) -> None:
        vector = splat(emit.const(value, self.product.dtype), self.product.lanes)
        for place in self.places():
            self.store(code, vector, *place)

    def sums(self, row: int, panel: int) -> Expr:
        return self.product.sums([self.load(row, panel, p) for p in range(self.product.pieces)])


def compute_tile(
    code: Code,
    emit: TirEmit,
    shape: TileShape,
    chain: Chain,
    operands: Operands,
    product: InnerProduct,
) -> Callable[[int, int], Expr]:
    """Compute a tile; the result gives the vector of a row and panel."""
    accumulators = _Accumulators(code, shape, product)
    start = 0.0 if product.dtype.is_float else 0
    channels = emit.dim(chain.channels)
    if not chain.block or (isinstance(chain.channels, int) and chain.channels <= chain.block):
        accumulators.fill(code, emit, start)
        _block(code, accumulators, chain, operands, i64(0), channels)
        return accumulators.sums
    total = _Accumulators(code, shape, product)
    total.fill(code, emit, -0.0)
    # One block at least: the sum of nothing is +0.
    blocks = tirx.max(tirx.floordiv(channels + (chain.block - 1), i64(chain.block)), i64(1))

    def block(scope: Code, number: Expr) -> None:
        start = scope.bind(number * chain.block)
        count = scope.bind(tirx.min(i64(chain.block), channels - start))
        accumulators.fill(scope, emit, 0.0)
        _block(scope, accumulators, chain, operands, start, count)
        for place in total.places():
            summed = emit.add(total.load(*place), accumulators.load(*place))
            total.store(scope, summed, *place)

    code.loop(code.bind(blocks), block)
    return total.sums


def _block(
    code: Code,
    accumulators: _Accumulators,
    chain: Chain,
    operands: Operands,
    start: Expr,
    count: Expr,
) -> None:
    group = accumulators.product.group
    unroll = chain.unroll(group)

    def step(scope: Code, number: Expr) -> None:
        for u in range(unroll):
            k = scope.bind(start + (number * unroll + u))
            for tap in range(chain.taps):
                _multiply_add(scope, accumulators, operands, k, tap, group)

    code.loop(_divided(count, unroll * group), step)
    if group > 1 and count.value % group:
        for tap in range(chain.taps):
            k = i64(count.value // group)
            _multiply_add(code, accumulators, operands, k, tap, count.value % group)


def _divided(count: Expr, by: int) -> Expr:
    if isinstance(count, tirx.IntImm):
        return i64(count.value // by)
    return tirx.floordiv(count, i64(by)) if by > 1 else count


def _multiply_add(
    code: Code, accumulators: _Accumulators, operands: Operands, k: Expr, tap: int, count: int
) -> None:
    shape, product = accumulators.shape, accumulators.product
    columns = list(itertools.product(range(shape.panels), range(product.pieces)))
    b = {place: code.bind(operands.b(*place, k, tap)) for place in columns}
    for row in range(shape.rows):
        a = code.bind(product.spread(operands.a(code, row, k, tap, count)))
        for place in columns:
            new = product.step(accumulators.load(row, *place), a, b[place])
            accumulators.store(code, new, row, *place)


def choose_tile(target: CpuTarget, rows: Dim, panels: Dim, bits: int = LANES * 32) -> TileShape:
    """The tile that covers ``rows`` times ``panels``, whose accumulators have so many ``bits``, in
    the fewest cycles of a simple model: two fma a cycle of four cycles' latency, two loads of a row
    a cycle, or one of a panel, which comes from further away. A single row leaves panels for all
    threads."""
    wide = bits // target.vector_bits  # registers of a panel's accumulator
    best, best_cost = TileShape(1, 1), float("inf")
    most = max(panels // _SHARES, 1) if rows == 1 and isinstance(panels, int) else 16
    for p in range(1, min(most, 16) + 1):
        for r in range(1, 29):
            if not _fits(target.registers, r, p * wide):
                break
            tile = TileShape(r, p)
            cost = _cost(tile, rows, panels, wide)
            if cost < best_cost:
                best, best_cost = tile, cost
    return best


def _fits(registers: int, rows: int, width: int) -> bool:
    held = 1 if rows == 1 else width  # a single row takes b straight from memory
    return rows * width + held + 1 <= registers * 15 // 16  # the rest is for what comes around


def _cost(tile: TileShape, rows: Dim, panels: Dim, wide: int) -> float:
    rows = rows if isinstance(rows, int) else _nominal_rows(rows)
    panels = panels if isinstance(panels, int) else _NOMINAL_PANELS
    row_tiles = [(tile.rows, rows // tile.rows), (rows % tile.rows, 1)]
    panel_tiles = [(tile.panels, panels // tile.panels), (panels % tile.panels, 1)]
    return sum(
        _cycles(r, p * wide) * n * m for r, n in row_tiles for p, m in panel_tiles if r and p
    )


def _nominal_rows(rows: ir_dims.Expr) -> int:
    """What every size of the symbols is a multiple of, or else a size like any other."""
    common = gcd(*(c for _, c in rows.terms))
    return common if common >= _WORTHWHILE else _NOMINAL_ROWS


def _cycles(rows: int, width: int) -> float:
    return max(rows * width / 2, rows / 2 + width, 4.0) + 0.3 * (rows + width)
