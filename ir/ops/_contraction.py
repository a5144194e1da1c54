"""What matrix products and convolutions share: dtypes, and blocks of k (numerics, clauses 8, 12).

Floats keep their dtype and accumulate in at least f32; integers of up to 32 bits give exact i32.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._elementwise import same_dtype
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.types import DType

BLOCK = 512


def contraction_dtype(a: DType, b: DType) -> DType:
    """The dtype of a contraction's result."""
    if a.is_float or b.is_float:
        return same_dtype((a, b))
    if a is b and a in (DType.U32, DType.I64, DType.U64):
        return a
    for dtype in (a, b):
        if not dtype.is_integer or dtype.bits > 32 or dtype is DType.U32:
            raise IRError(f"no contraction is defined on {a.value} and {b.value}")
    return DType.I32


def check_block(block: int, dtype: DType) -> None:
    """Floats need blocks, 0 where they are not fixed yet; integers have none."""
    if block < 0 or (block > 0 and not dtype.is_float):
        raise IRError(f"a block of {block} does not fit {dtype.value}")


def multiply_add(emit: Emit, a: Scalar, b: Scalar, total: Scalar) -> Scalar:
    """One step of an accumulator: fused for floats, wrapping for integers."""
    if emit.dtype(a).is_float:
        return emit.fma(a, b, total)
    return emit.add(total, emit.mul(a, b))


def blocks_of(length: int, block: int, dtype: DType) -> list[range]:
    """``range(length)`` cut into blocks; ``IRError`` if a float's block is not fixed."""
    if not dtype.is_float:
        block = max(length, 1)
    elif block == 0:
        raise IRError("a block of 0 fixes no bits: run fix-reduction-order first")
    return [range(k, min(k + block, length)) for k in range(0, length, block)]


def widen(dtype: DType, *operands: Array) -> list[Array]:
    """Operands in the dtype in which a contraction to ``dtype`` accumulates."""
    return [cast(x, accumulator(dtype)) for x in operands]


def sum_blocks(sums: Iterable[Array], shape: tuple[int, ...], dtype: DType) -> Array:
    """Block sums added in ascending order; the first is the first total, none give +0."""
    emit = NumpyEmit()
    total = None
    for block_sum in sums:
        total = block_sum if total is None else emit.add(total, block_sum)
    return np.zeros(shape, accumulator(dtype).numpy) if total is None else total
