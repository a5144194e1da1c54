"""What one step along k does to the accumulators of a panel of 16 columns.

Floats take one ``fma``. Integers sum modulo 2^n, in which any order is exact (numerics, clause 12),
so neighbours of k enter together, by instructions that keep every bit of every product: pairs of
16 bits (``vpmaddwd``), or four bytes, unsigned by signed (``vpdpbusd``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import LANES
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import Expr, TirEmit, dtype_of, splat, tir_type
from aivmc.ir.types import DType

GROUP = 4  # neighbours of k that packed integers have side by side
PACKED_INTEGERS = (DType.U8, DType.I8, DType.I16)

_MULTIPLY_PAIRS = {  # by the bits of x86-64's vectors
    512: "llvm.x86.avx512.pmaddw.d.512",
    256: "llvm.x86.avx2.pmadd.wd",
    128: "llvm.x86.sse2.pmadd.wd",
}
_DOT_BYTES, _DOT_PAIRS = "llvm.x86.avx512.vpdpbusd.512", "llvm.x86.avx512.vpdpwssd.512"


@dataclass(frozen=True)
class InnerProduct:
    """A panel has ``pieces`` accumulators of ``lanes`` elements of ``dtype``. A step takes
    ``group`` neighbours of k: of a row as a vector of so many, or a scalar; of each piece of b as
    they lie in memory.

    ``spread(a)`` makes a piece's operand of a row's elements; ``step(old, a, b)`` is the
    accumulator after a step with that operand; ``sums(pieces)`` are a panel's 16 results.
    """

    dtype: DType
    spread: Callable[[Expr], Expr]
    step: Callable[[Expr, Expr, Expr], Expr]
    group: int = 1
    pieces: int = 1
    lanes: int = LANES
    sums: Callable[[Sequence[Expr]], Expr] = lambda pieces: pieces[0]

    @property
    def width(self) -> int:
        """Elements of b that a piece takes in a step."""
        return LANES * self.group // self.pieces


def inner_product(
    emit: TirEmit, target: CpuTarget, a: DType, b: DType, result: DType, packed: bool
) -> InnerProduct:
    """How ``target`` multiplies operands of these dtypes best. Integers that are ``packed`` lie in
    groups of four."""
    if result.is_float or not packed:
        return one_by_one(emit, result)
    if target.has_dot_products and (a, b) == (DType.U8, DType.I8):
        return InnerProduct(result, lambda x: _groups(x, LANES), _dot(_DOT_BYTES), GROUP)
    return _of_pairs(emit, target)


def one_by_one(emit: TirEmit, dtype: DType) -> InnerProduct:
    """One element of k in a step: fused for floats, in the result's ``dtype`` for integers."""

    def spread(a: Expr) -> Expr:
        return splat(emit.cast(a, dtype), LANES)

    if dtype.is_float:
        return InnerProduct(dtype, spread, lambda old, a, b: emit.fma(a, b, old))
    return InnerProduct(
        dtype,
        spread,
        lambda old, a, b: _less(emit, old, emit.mul(a, emit.cast(b, dtype))),
        sums=lambda pieces: emit.neg(pieces[0]),
    )


def _less(emit: TirEmit, old: Expr, product: Expr) -> Expr:
    """Accumulators of integers are negative sums: LLVM reorders chains of additions, and then
    spills, but none of subtractions."""
    return emit.sub(old, product)


def _of_pairs(emit: TirEmit, target: CpuTarget) -> InnerProduct:
    """16-bit integers two by two: accumulators hold, for each column, the sums over the first and
    over the last two of each four."""
    lanes = max(target.vector_bits // 32, 4)
    pieces = 2 * LANES // lanes

    def spread(a: Expr) -> Expr:
        return emit.cast(_groups(a, 2 * lanes // GROUP), DType.I16)

    def sums(accumulators: Sequence[Expr]) -> Expr:
        total = emit.add(*(_every_second(accumulators, at) for at in (0, 1)))
        return total if target.has_dot_products else emit.neg(total)

    def step(old: Expr, a: Expr, b: Expr) -> Expr:
        b = emit.cast(b, DType.I16)
        if target.has_dot_products:
            return _dot(_DOT_PAIRS)(old, a, b)
        return _less(emit, old, _multiplied_pairs(emit, target, a, b))

    return InnerProduct(DType.I32, spread, step, GROUP, pieces, lanes, sums)


def _multiplied_pairs(emit: TirEmit, target: CpuTarget, a: Expr, b: Expr) -> Expr:
    """``a[2i] * b[2i] + a[2i + 1] * b[2i + 1]`` of 16-bit integers, in 32 bits."""
    if target.triple.startswith("x86_64"):
        lanes, name = target.vector_bits // 32, _MULTIPLY_PAIRS[target.vector_bits]
        return tirx.call_llvm_pure_intrin(tir_type(DType.I32, lanes), name, a, b)
    products = emit.mul(emit.cast(a, DType.I32), emit.cast(b, DType.I32))
    return emit.add(*(_every_second([products], at) for at in (0, 1)))


def _dot(name: str) -> Callable[[Expr, Expr, Expr], Expr]:
    """An instruction that adds dot products to 16 accumulators, modulo 2^32."""
    return lambda old, a, b: tirx.call_llvm_pure_intrin(old.ty.dtype, name, old, a, b)


def _every_second(vectors: Sequence[Expr], start: int) -> Expr:
    count = len(vectors) * int(vectors[0].ty.dtype.partition("x")[2])
    return tirx.Shuffle(list(vectors), [tirx.IntImm("int32", i) for i in range(start, count, 2)])


def _groups(x: Expr, count: int) -> Expr:
    """A vector of a group's elements, ``count`` times over."""
    dtype = dtype_of(x)
    whole = DType(f"i{dtype.bits * GROUP}")
    repeated = tirx.Broadcast(tirx.reinterpret(tir_type(whole), x), count)
    return tirx.reinterpret(tir_type(dtype, GROUP * count), repeated)
