"""The register tile: rows times panels of 16 columns, each element one fma chain per block of k.

``total = total + acc`` after each block, where ``acc`` starts from +0 and takes
``fma(a, b, acc)`` for k = (channel, tap) ascending (numerics, clauses 8 and 9). ``total`` starts
from -0, to which adding the first block's sum gives that sum, whatever its sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Array, Code
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import Expr, TirEmit, i64, splat
from aivmc.ir import dims as ir_dims
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType

_NOMINAL_ROWS, _NOMINAL_PANELS = 120, 12  # where the shape is symbolic
_WORTHWHILE = 16  # rows: fewer are not what tiles should fit
_SHARES = 8  # tasks that a single row is split into, at least
_UNROLL = 4  # channels at a time, where there is one tap


@dataclass(frozen=True)
class Chain:
    """The k axis: channels in blocks, ``taps`` for each."""

    channels: Dim
    taps: int
    block: int

    @property
    def unroll(self) -> int:
        """Channels taken in one iteration of the inner loop."""
        if self.taps > 1 or not isinstance(self.channels, int):
            return 1
        return _UNROLL if self.channels % _UNROLL == 0 and self.block % _UNROLL == 0 else 1


@dataclass(frozen=True)
class Operands:
    """``a(row, channel, tap)`` is a scalar; ``b(panel, channel, tap)`` a vector of 16."""

    a: Callable[[int, Expr, int], Expr]
    b: Callable[[int, Expr, int], Expr]


@dataclass(frozen=True)
class TileShape:
    rows: int
    panels: int


def compute_tile(
    code: Code, emit: TirEmit, shape: TileShape, chain: Chain, operands: Operands
) -> Callable[[int, int], Expr]:
    """Compute a tile; the result gives the vector of a row and panel."""
    accumulator = code.array(shape.rows * shape.panels * LANES, DType.F32)
    if isinstance(chain.channels, int) and chain.channels <= chain.block:
        _fill(code, emit, accumulator, shape, 0.0)
        _block(code, emit, shape, chain, operands, accumulator, i64(0), i64(chain.channels))
        return lambda row, panel: _vector(accumulator, shape, row, panel)
    total = code.array(shape.rows * shape.panels * LANES, DType.F32)
    _fill(code, emit, total, shape, -0.0)
    channels = emit.dim(chain.channels)
    # One block at least: the sum of nothing is +0.
    blocks = tirx.max(tirx.floordiv(channels + (chain.block - 1), i64(chain.block)), i64(1))

    def block(scope: Code, number: Expr) -> None:
        start = scope.bind(number * chain.block)
        count = scope.bind(tirx.min(i64(chain.block), channels - start))
        _fill(scope, emit, accumulator, shape, 0.0)
        _block(scope, emit, shape, chain, operands, accumulator, start, count)
        for row in range(shape.rows):
            for panel in range(shape.panels):
                summed = emit.add(
                    _vector(total, shape, row, panel), _vector(accumulator, shape, row, panel)
                )
                total.store(scope, _at(shape, row, panel), summed)

    code.loop(code.bind(blocks), block)
    return lambda row, panel: _vector(total, shape, row, panel)


def _block(
    code: Code,
    emit: TirEmit,
    shape: TileShape,
    chain: Chain,
    operands: Operands,
    accumulator: Array,
    start: Expr,
    count: Expr,
) -> None:
    unroll = chain.unroll

    def step(scope: Code, number: Expr) -> None:
        for u in range(unroll):
            channel = scope.bind(start + (number * unroll + u))
            for tap in range(chain.taps):
                _multiply_add(scope, emit, shape, operands, accumulator, channel, tap)

    code.loop(_divided(count, unroll), step)


def _divided(count: Expr, by: int) -> Expr:
    if isinstance(count, tirx.IntImm):
        return i64(count.value // by)
    return tirx.floordiv(count, i64(by)) if by > 1 else count


def _multiply_add(
    code: Code,
    emit: TirEmit,
    shape: TileShape,
    operands: Operands,
    accumulator: Array,
    channel: Expr,
    tap: int,
) -> None:
    b = [code.bind(operands.b(panel, channel, tap)) for panel in range(shape.panels)]
    for row in range(shape.rows):
        a = code.bind(splat(operands.a(row, channel, tap), LANES))
        for panel in range(shape.panels):
            old = _vector(accumulator, shape, row, panel)
            accumulator.store(code, _at(shape, row, panel), emit.fma(a, b[panel], old))


def _at(shape: TileShape, row: int, panel: int) -> Expr:
    return i64((row * shape.panels + panel) * LANES)


def _vector(array: Array, shape: TileShape, row: int, panel: int) -> Expr:
    return array.load(_at(shape, row, panel), LANES)


def _fill(code: Code, emit: TirEmit, array: Array, shape: TileShape, value: float) -> None:
    vector = splat(emit.const(value, DType.F32), LANES)
    for row in range(shape.rows):
        for panel in range(shape.panels):
            array.store(code, _at(shape, row, panel), vector)


def choose_tile(target: CpuTarget, rows: Dim, panels: Dim) -> TileShape:
    """The tile that covers ``rows`` times ``panels`` in the fewest cycles of a simple model: two
    fma a cycle of four cycles' latency, two loads of a row a cycle, or one of a panel, which comes
    from further away. A single row leaves panels for all threads."""
    wide = LANES * 32 // target.vector_bits  # registers of a panel's vector
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
