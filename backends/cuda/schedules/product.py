"""What one step along k does to a GPU thread's sums, which are elements of 32 bits.

Floats take one ``fma``. Integers sum modulo 2^32, in which any order is exact (numerics, clause
12): four neighbours of k, bytes in a word, enter together by ``dp4a``, where the target has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.targets import CodeTarget
from aivmc.backends.tir_emit import Expr, TirEmit, lanes_of, tir_type
from aivmc.ir.core import Op
from aivmc.ir.types import DType

GROUP = 4  # bytes of a word
SUMS = (DType.F32, DType.I32, DType.U32)  # what sums may be
_BYTES = (DType.U8, DType.I8)


@dataclass(frozen=True)
class Product:
    """``step(sums, a, b)`` are the sums, of ``dtype``, after a step; vectors of one width.

    A step takes ``group`` neighbours of k: an element, converted to ``dtype``, or a word of bytes.
    ``nothing`` is an a and a b with which a step changes no sum, not even the sign of a zero.
    """

    dtype: DType
    group: int
    step: Callable[[Expr, Expr, Expr], Expr]
    nothing: tuple[float, float]


def takes_words(root: Op, target: CodeTarget) -> bool:
    """Whether a contraction's steps take four bytes, where its weights are packed."""
    operands = all(v.tensor.dtype in _BYTES for v in root.operands)
    return operands and target.has_dot_products and root.result.tensor.dtype is DType.I32


def one_by_one(emit: TirEmit, root: Op) -> Product:
    """A step of a contraction is an element of each operand, fused for floats."""
    dtype = root.result.tensor.dtype.wide
    if dtype.is_float:
        return Product(dtype, 1, lambda sums, x, y: emit.fma(x, y, sums), (-0.0, 0.0))
    return Product(dtype, 1, lambda sums, x, y: emit.add(sums, emit.mul(x, y)), (0, 0))


def of_words(root: Op) -> Product:
    """A step is a word of each operand."""
    a, b = (v.tensor.dtype for v in root.operands)
    return Product(DType.I32, GROUP, lambda sums, x, y: _dot(sums, x, y, a, b), (0, 0))


def _dot(sums: Expr, x: Expr, y: Expr, a: DType, b: DType) -> Expr:
    """``dp4a``: sums plus the four products of the bytes of two words, modulo 2^32."""
    name = f"llvm.nvvm.idp4a.{'s' if a.is_signed else 'u'}.{'s' if b.is_signed else 'u'}"
    count = lanes_of(sums)

    def lane(v: Expr, i: int) -> Expr:
        return tirx.Shuffle([v], [tirx.IntImm("int32", i)]) if count > 1 else v

    found = [
        tirx.call_llvm_pure_intrin(tir_type(DType.I32), name, lane(x, i), lane(y, i), lane(sums, i))
        for i in range(count)
    ]
    numbers = [tirx.IntImm("int32", i) for i in range(count)]
    return tirx.Shuffle(found, numbers) if count > 1 else found[0]
