"""Matrix products (numerics, clauses 8 and 12)."""

from __future__ import annotations

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.emit import Emit
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._contraction import (
    blocks_of,
    check_block,
    contraction_dtype,
    multiply_add,
    sum_blocks,
    widen,
)
from aivmc.ir.ops._elementwise import broadcast_shapes
from aivmc.ir.ops._orders import cast
from aivmc.ir.types import DType, TensorType


@define
class MatMul(OpDef):
    """[..., M, K] by [..., K, N] -> [..., M, N]; leading axes broadcast.

    Each element: k in blocks of ``block``, in each an fma chain from +0 with k ascending; block
    sums added in ascending order. 0 is a block not fixed yet, and what integers have.
    """

    name = "det.matmul"
    operands = ("a", "b")
    attributes = {"block": "int"}
    reduces = True

    def result_type(self, a: TensorType, b: TensorType, *, block: int) -> TensorType:
        dtype = contraction_dtype(a.dtype, b.dtype)
        check_block(block, dtype)
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise IRError(f"{a} and {b} are not matrices that can be multiplied")
        batch = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
        return TensorType(dtype, (*batch, a.shape[-2], b.shape[-1]))

    def reference(self, a: Array, b: Array, *, block: int) -> Array:
        dtype = contraction_dtype(DType.of(a.dtype), DType.of(b.dtype))
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = (*batch, a.shape[-2], b.shape[-1])
        a, b = widen(dtype, a, b)
        blocks = blocks_of(a.shape[-1], block, dtype)
        total = sum_blocks((_block_sum(a, b, ks, shape) for ks in blocks), shape, dtype)
        return cast(total, dtype)


def _block_sum(a: Array, b: Array, ks: range, shape: tuple[int, ...]) -> Array:
    emit: Emit = NumpyEmit()
    total = np.zeros(shape, a.dtype)
    for k in ks:
        total = multiply_add(emit, a[..., :, k, None], b[..., None, k, :], total)
    return total
