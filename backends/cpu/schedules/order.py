"""The canonical orders of reductions as code (numerics, clause 10).

``lanes16``: in each block of 512 elements, element i goes to lane i mod 16; lanes start from the
neutral element and take their elements in ascending order; then lane l is combined with l+8, l+4,
l+2, l+1. The blocks' results are reduced by the same rule. One block's result is unchanged by
another round (it is never -0: a lane starts from +0), so rounds beyond the last do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Array, Code
from aivmc.backends.tir_emit import Expr, TirEmit, i64, splat
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType

BLOCK = 512
SYMBOLIC_LEVELS = 3  # 512^4 elements are more than memory holds
Read = Callable[[Code, Expr, int], Expr]  # so many elements from an index on
Block = Callable[[Code, Expr, int | Expr], Expr]  # result of so many elements from a start on


@dataclass(frozen=True)
class Combine:
    """A reduction: its neutral element, how an element enters, how partial results combine."""

    neutral: float | int
    enter: Callable[[TirEmit, Expr, Expr], Expr]
    merge: Callable[[TirEmit, Expr, Expr], Expr]


def combine_of(op: Op) -> Combine:
    """What a reduction op does."""
    dtype = op.operands[0].tensor.dtype
    add = Combine(0, lambda e, acc, x: e.add(acc, x), lambda e, a, b: e.add(a, b))
    match op.name:
        case "det.reduce_sum" | "det.window_sum":
            return add
        case "det.reduce_square_sum":
            return Combine(0, lambda e, acc, x: _square(e, acc, x, dtype), add.merge)
        case "det.reduce_product":
            return Combine(1, lambda e, acc, x: e.mul(acc, x), lambda e, a, b: e.mul(a, b))
        case "det.reduce_any":
            return Combine(0, lambda e, acc, x: e.or_(acc, x), lambda e, a, b: e.or_(a, b))
        case "det.reduce_all":
            return Combine(1, lambda e, acc, x: e.and_(acc, x), lambda e, a, b: e.and_(a, b))
        case "det.reduce_max" | "det.window_max":
            low = -inf if dtype.is_float else _lowest(dtype)
            return Combine(
                low, lambda e, acc, x: e.maximum(acc, x), lambda e, a, b: e.maximum(a, b)
            )
    high = inf if dtype.is_float else _highest(dtype)
    return Combine(high, lambda e, acc, x: e.minimum(acc, x), lambda e, a, b: e.minimum(a, b))


def _square(emit: TirEmit, acc: Expr, x: Expr, dtype: DType) -> Expr:
    return emit.fma(x, x, acc) if dtype.is_float else emit.add(acc, emit.mul(x, x))


def _lowest(dtype: DType) -> int:
    return -(1 << (dtype.bits - 1)) if dtype.is_signed else 0


def _highest(dtype: DType) -> int:
    return (1 << (dtype.bits - dtype.is_signed)) - 1


def accumulator(dtype: DType) -> DType:
    """The dtype in which elements are reduced (numerics, clause 5); bools are bytes."""
    if dtype is DType.BOOL:
        return DType.U8
    return dtype.wide


def reduce_row(code: Code, emit: TirEmit, op: Op, length: Dim, read: Read) -> Expr:
    """The reduction that ``op`` names of ``length`` elements that ``read`` gives."""
    combine, dtype = combine_of(op), accumulator(op.operands[0].tensor.dtype)
    order = op.attributes.get("order")
    if order == "seq":
        return _in_sequence(code, emit, combine, dtype, length, read)

    def block(scope: Code, start: Expr, count: int | Expr) -> Expr:
        return _row_block(scope, emit, combine, dtype, start, count, read)

    if order != "lanes16":  # the order is free: one pass
        return block(code, i64(0), length if isinstance(length, int) else emit.dim(length))
    return reduce_blocks(code, emit, combine, dtype, length, 1, block)


def reduce_blocks(
    code: Code,
    emit: TirEmit,
    combine: Combine,
    dtype: DType,
    length: Dim,
    width: int,
    block: Block,
) -> Expr:
    """``length`` elements by blocks, and the blocks' results by the same rule; ``width``
    reductions side by side."""
    if isinstance(length, int) and length <= BLOCK:
        return block(code, i64(0), length)
    levels = SYMBOLIC_LEVELS
    if isinstance(length, int):
        levels = next(n for n in range(1, 9) if BLOCK ** (n + 1) >= length)

    def level(scope: Code, depth: int, start: Expr, count: Expr) -> Expr:
        if depth == 0:
            return block(scope, start, count)
        lanes = new_lanes(scope, emit, combine, dtype, width)
        size = BLOCK**depth

        def part(inner: Code, number: Expr) -> None:
            offset = inner.bind(number * size)
            inside = inner.bind(tirx.min(i64(size), count - offset))
            result = level(inner, depth - 1, inner.bind(start + offset), inside)
            lane = inner.bind(tirx.floormod(number, i64(LANES)) * width)
            lanes.store(inner, lane, combine.merge(emit, lanes.load(lane, width), result))

        scope.loop(scope.bind(tirx.floordiv(count + (size - 1), i64(size))), part)
        return merge_lanes(scope, emit, combine, lanes, width)

    return level(code, levels, i64(0), code.bind(emit.dim(length)))


def new_lanes(code: Code, emit: TirEmit, combine: Combine, dtype: DType, width: int) -> Array:
    """The 16 lanes of ``width`` reductions side by side, neutral."""
    lanes = code.array(LANES * width, dtype)
    neutral = splat(emit.const(combine.neutral, dtype), LANES)
    for i in range(width):
        lanes.store(code, i64(i * LANES), neutral)
    return lanes


def merge_lanes(code: Code, emit: TirEmit, combine: Combine, lanes: Array, width: int) -> Expr:
    """Lane l with l+8, then +4, +2, +1."""
    if width == 1:
        return _merge_vector(code, emit, combine, lanes.load(i64(0), LANES))
    rest = [lanes.load(i64(lane * width), width) for lane in range(LANES)]
    while len(rest) > 1:
        half = len(rest) // 2
        rest = [code.bind(combine.merge(emit, a, b)) for a, b in zip(rest[:half], rest[half:])]
    return rest[0]


def _merge_vector(code: Code, emit: TirEmit, combine: Combine, lanes: Expr) -> Expr:
    lanes, width = code.bind(lanes), LANES
    while width > 1:
        width //= 2
        low, high = (
            tirx.Shuffle([lanes], [tirx.IntImm("int32", at + k) for k in range(width)])
            for at in (0, width)
        )
        lanes = code.bind(combine.merge(emit, low, high))
    return lanes


def _in_sequence(
    code: Code, emit: TirEmit, combine: Combine, dtype: DType, length: Dim, read: Read
) -> Expr:
    total = code.array(1, dtype)
    total.store(code, i64(0), emit.const(combine.neutral, dtype))

    def step(scope: Code, i: Expr) -> None:
        total.store(scope, i64(0), combine.enter(emit, total.load(i64(0)), read(scope, i, 1)))

    code.loop(emit.dim(length), step)
    return code.bind(total.load(i64(0)))


def _row_block(
    code: Code,
    emit: TirEmit,
    combine: Combine,
    dtype: DType,
    start: Expr,
    count: int | Expr,
    read: Read,
) -> Expr:
    """One block of a row. The elements left over go through an array padded with what changes
    nothing, so that the lanes stay in registers."""
    lanes = new_lanes(code, emit, combine, dtype, 1)

    def enter(scope: Code, x: Expr) -> None:
        lanes.store(scope, i64(0), combine.enter(emit, lanes.load(i64(0), LANES), x))

    total = i64(count) if isinstance(count, int) else count
    vectors = code.bind(tirx.floordiv(total, i64(LANES)))
    vectors = i64(count // LANES) if isinstance(count, int) else vectors
    code.loop(vectors, lambda s, i: enter(s, read(s, s.bind(start + i * LANES), LANES)))
    rest = i64(count % LANES) if isinstance(count, int) else code.bind(total - vectors * LANES)
    if not (isinstance(rest, tirx.IntImm) and rest.value == 0):
        last = new_lanes(code, emit, combine, dtype, 1)
        begin = code.bind(start + vectors * LANES)
        code.loop(rest, lambda s, i: last.store(s, i, read(s, s.bind(begin + i), 1)))
        enter(code, last.load(i64(0), LANES))
    return merge_lanes(code, emit, combine, lanes, 1)
