"""``Emit`` on TIR expressions, scalar or vector: op definitions become code.

Floats reach TVM only as opaque intrinsics, since its simplifier treats them as reals:
``a + b = fma(a, 1, b)``, ``a - b = fma(b, -1, a)``, ``a * b = fma(a, b, -0)`` are exact rewrites
that LLVM turns back into single instructions. Integer data wraps, so it goes through ``llvm.vp.*``
(TVM marks its own integer arithmetic as never overflowing); index arithmetic stays TVM's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tvm import tirx

from aivmc.backends import emit_float
from aivmc.ir import dims as ir_dims
from aivmc.ir.dims import Dim, FloorDiv, Max, Symbol
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType

Expr = Any  # a TIR expression

_TO_TIR = {
    DType.F64: "float64",
    DType.F32: "float32",
    DType.F16: "float16",
    DType.BF16: "bfloat16",
    DType.F8E4M3FN: "float8_e4m3fn",
    DType.F8E4M3FNUZ: "float8_e4m3fnuz",
    DType.F8E5M2: "float8_e5m2",
    DType.F8E5M2FNUZ: "float8_e5m2fnuz",
    DType.F8E8M0: "float8_e8m0fnu",
    DType.F4E2M1: "float4_e2m1fn",
    DType.I64: "int64",
    DType.I32: "int32",
    DType.I16: "int16",
    DType.I8: "int8",
    DType.I4: "int4",
    DType.I2: "int2",
    DType.U64: "uint64",
    DType.U32: "uint32",
    DType.U16: "uint16",
    DType.U8: "uint8",
    DType.U4: "uint4",
    DType.U2: "uint2",
    DType.BOOL: "bool",
}
_FROM_TIR = {name: dtype for dtype, name in _TO_TIR.items()}
# Types that TVM can't generate code on. Their elements are held as their bits, in these integers;
# what is beyond a type's width is 0.
CODES: dict[DType, DType] = {
    t: DType.U16 if t is DType.BF16 else DType.U8
    for t in _TO_TIR
    if t.wide is not t and t is not DType.F16
}


def is_emittable(dtype: DType) -> bool:
    """Whether code can be made for elements of this dtype."""
    return dtype in _TO_TIR


def tir_type(dtype: DType, lanes: int = 1) -> str:
    """TIR's name of a scalar or vector type."""
    return _TO_TIR[dtype] + (f"x{lanes}" if lanes > 1 else "")


def lanes_of(x: Expr) -> int:
    """Number of vector lanes; 1 for a scalar."""
    return int(x.ty.dtype.partition("x")[2] or 1) if "x" in x.ty.dtype else 1


def dtype_of(x: Expr) -> DType:
    """The dtype of an expression's elements."""
    return _FROM_TIR[x.ty.dtype.partition("x")[0]]


def splat(x: Expr, lanes: int) -> Expr:
    """``x`` with ``lanes`` lanes: repeated if it is a scalar."""
    if dtype_of(x) in CODES:
        return coded(splat(code_of(x), lanes), dtype_of(x))
    return x if lanes_of(x) == lanes else tirx.Broadcast(x, lanes)


def coded(code: Expr, dtype: DType) -> Expr:
    """An expression of one of ``CODES``. TVM can't generate code on these: every one is made here,
    and taken apart again before it gets to be code."""
    return tirx.call_intrin(tir_type(dtype, lanes_of(code)), "tirx.reinterpret", code)


def code_of(x: Expr) -> Expr:
    """What :func:`coded` was given."""
    return x.args[0]


def i64(value: int) -> Expr:
    return tirx.IntImm("int64", value)


def _numbers(values: Iterable[int]) -> list[Expr]:
    return [tirx.IntImm("int32", value) for value in values]


def quotient(a: Expr, b: Expr | int) -> Expr:
    """``a // b`` of numbers that are not negative, whether or not TVM can tell: else it would test
    their signs."""
    return tirx.floordiv(a, b) if isinstance(b, int | tirx.IntImm) else tirx.truncdiv(a, b)


def remainder(a: Expr, b: Expr | int) -> Expr:
    """``a % b`` of numbers that are not negative."""
    return tirx.floormod(a, b) if isinstance(b, int | tirx.IntImm) else tirx.truncmod(a, b)


class TirEmit:
    """Implements ``Emit``; operands may mix scalars and vectors of one width.

    ``bind`` makes a variable of an expression, once for a whole function: dims go through it.
    ``sizes`` are dims that are never negative.
    """

    def __init__(
        self,
        symbols: Mapping[str, Expr],
        bind: Callable[[Expr], Expr] = lambda x: x,
        sizes: Collection[Dim] = (),
        lacks: Collection[str] = (),
        permute: str = "",
    ) -> None:
        self.symbols = symbols
        self._bind = bind
        self._sizes = sizes
        self._lacks, self._permute = lacks, permute  # of CpuTarget
        self._dims: dict[Dim, Expr] = {}  # one object for each, so that equal indexes are equal

    def rebind(self, symbols: Mapping[str, Expr], bind: Callable[[Expr], Expr]) -> None:
        """Compute dims anew, of other variables, in another scope."""
        self.symbols, self._bind, self._dims = symbols, bind, {}

    def dtype(self, x: Expr) -> DType:
        return dtype_of(x)

    def const(self, value: float | int | bool, dtype: DType) -> Expr:
        if dtype in CODES:
            code = NumpyEmit().const(value, dtype).view(CODES[dtype].numpy)
            return coded(tirx.const(int(code), tir_type(CODES[dtype])), dtype)
        if dtype is DType.F16:
            value = float(NumpyEmit().const(value, dtype))
        if dtype.is_float:
            return tirx.const(float(value), tir_type(dtype))
        return tirx.const(value, tir_type(dtype))

    def size(self, dim: Dim) -> Expr | int:
        """A dim for index arithmetic of any width: in the other operand's, if it is known."""
        return dim if isinstance(dim, int) else self.dim(dim)

    def narrow(self, dim: Dim) -> Expr | int:
        """A dim for index arithmetic of 32 bits."""
        return dim if isinstance(dim, int) else tirx.Cast("int32", self.dim(dim))

    def dim(self, dim: Dim) -> Expr:
        if dim not in self._dims:
            self._dims[dim] = i64(dim) if isinstance(dim, int) else self._bind(self._value(dim))
        return self._dims[dim]

    def _value(self, dim: ir_dims.Expr) -> Expr:
        return tirx.max(self._sum(dim), i64(0)) if dim in self._sizes else self._sum(dim)

    def _sum(self, dim: ir_dims.Expr) -> Expr:
        total: Expr = i64(0)
        for monomial, c in dim.terms:
            product: Expr = i64(c)
            for atom in monomial:
                product = product * self._atom(atom)
            total = total + product
        return total

    def _atom(self, atom: ir_dims.Atom) -> Expr:
        match atom:
            case Symbol(name):
                return self.symbols[name]
            case FloorDiv(a, b):
                return tirx.floordiv(self.dim(a), self.dim(b))
            case Max(a, b):
                return tirx.max(self.dim(a), self.dim(b))

    # Arithmetic

    def add(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_float:
            return self.fma(a, self.const(1.0, self.dtype(a)), b)
        return self._wrapping("add", a, b)

    def sub(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_float:
            return self.fma(b, self.const(-1.0, self.dtype(a)), a)
        return self._wrapping("sub", a, b)

    def mul(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_float:
            return self.fma(a, b, self.const(-0.0, self.dtype(a)))
        return self._wrapping("mul", a, b)

    def div(self, a: Expr, b: Expr) -> Expr:
        a, b = self._match(a, b)
        dtype = self.dtype(a)
        if dtype.is_float:
            return tirx.Div(self._opaque(a), self._opaque(b))
        quotient = tirx.Div(a, self._safe_divisor(a, b))
        zero = self._like(0, a)
        if dtype.is_signed:
            minus_one = tirx.EQ(b, self._like(-1, a))
            quotient = tirx.Select(minus_one, self.neg(a), quotient)
        return tirx.Select(tirx.EQ(b, zero), zero, quotient)

    def rem(self, a: Expr, b: Expr) -> Expr:
        a, b = self._match(a, b)
        dtype = self.dtype(a)
        if dtype.is_float:
            return emit_float.remainder(self, a, b)
        zero = self._like(0, a)
        remainder = tirx.truncmod(a, self._safe_divisor(a, b))
        if dtype.is_signed:
            remainder = tirx.Select(tirx.EQ(b, self._like(-1, a)), zero, remainder)
        return tirx.Select(tirx.EQ(b, zero), a, remainder)

    def _safe_divisor(self, a: Expr, b: Expr) -> Expr:
        """``b`` with the divisors that would trap, 0 and -1, made 1."""
        one = self._like(1, a)
        b = tirx.Select(tirx.EQ(b, self._like(0, a)), one, b)
        if self.dtype(a).is_signed:
            b = tirx.Select(tirx.EQ(b, self._like(-1, a)), one, b)
        return b

    def fma(self, a: Expr, b: Expr, c: Expr) -> Expr:
        return self._call("llvm.fma", a, b, c)

    def sqrt(self, x: Expr) -> Expr:
        return self._call("llvm.sqrt", x)

    def neg(self, x: Expr) -> Expr:
        if self.dtype(x).is_float:
            return self._on_bits(x, "xor", 1 << (self.dtype(x).bits - 1))
        return self._wrapping("sub", self._like(0, x), x)

    def abs(self, x: Expr) -> Expr:
        dtype = self.dtype(x)
        if dtype.is_float:
            return self._on_bits(x, "and_", (1 << (dtype.bits - 1)) - 1)
        if dtype.is_unsigned:
            return x
        return self.select(self.lt(x, self._like(0, x)), self.neg(x), x)

    def floor(self, x: Expr) -> Expr:
        return self._to_whole(emit_float.floor, "llvm.floor", x)

    def ceil(self, x: Expr) -> Expr:
        return self._to_whole(emit_float.ceil, "llvm.ceil", x)

    def trunc(self, x: Expr) -> Expr:
        return self._to_whole(emit_float.trunc, "llvm.trunc", x)

    def rint(self, x: Expr) -> Expr:
        return self._to_whole(emit_float.rint, "llvm.roundeven", x)

    def _to_whole(self, definition: Callable[..., Expr], intrinsic: str, x: Expr) -> Expr:
        return definition(self, x) if "rounding" in self._lacks else self._call(intrinsic, x)

    def maximum(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_float:
            return self._call("llvm.maximum", a, b)
        return self._call("llvm.smax" if self.dtype(a).is_signed else "llvm.umax", a, b)

    def minimum(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_float:
            return self._call("llvm.minimum", a, b)
        return self._call("llvm.smin" if self.dtype(a).is_signed else "llvm.umin", a, b)

    # Comparisons

    def lt(self, a: Expr, b: Expr) -> Expr:
        return tirx.LT(*self._comparable(a, b))

    def le(self, a: Expr, b: Expr) -> Expr:
        return tirx.LE(*self._comparable(a, b))

    def eq(self, a: Expr, b: Expr) -> Expr:
        return tirx.EQ(*self._comparable(a, b))

    def _comparable(self, a: Expr, b: Expr) -> tuple[Expr, Expr]:
        """Operands that TVM does not know to be the same expression (``x == x`` is not true of
        NaN), and narrow types as wide ones."""
        a, b = self._match(a, b)
        wide = self.dtype(a).wide
        if wide is not self.dtype(a):
            a, b = self.cast(a, wide), self.cast(b, wide)
        if self.dtype(a).is_float:
            return self._opaque(a), b
        if self.dtype(a) is DType.BOOL:
            return self.cast(a, DType.U8), self.cast(b, DType.U8)
        return a, b

    def _opaque(self, x: Expr) -> Expr:
        """A float that TVM knows nothing of: it would take 0 / x for 0."""
        one, zero = self.const(1.0, self.dtype(x)), self.const(-0.0, self.dtype(x))
        return self._call("llvm.fma", x, one, zero)

    def is_nan(self, x: Expr) -> Expr:
        if self.dtype(x) not in _INFINITY_BITS:
            x = self.cast(x, DType.F32)
        dtype = self.dtype(x)
        bits = self._bits_type(dtype)
        magnitude = self.and_(self.bitcast(x, bits), self.const((1 << (dtype.bits - 1)) - 1, bits))
        return self.lt(self.const(_INFINITY_BITS[dtype], bits), magnitude)

    # Bits

    def and_(self, a: Expr, b: Expr) -> Expr:
        return self._bitwise(tirx.bitwise_and, a, b)

    def or_(self, a: Expr, b: Expr) -> Expr:
        return self._bitwise(tirx.bitwise_or, a, b)

    def xor(self, a: Expr, b: Expr) -> Expr:
        return self._bitwise(tirx.bitwise_xor, a, b)

    def not_(self, x: Expr) -> Expr:
        if self.dtype(x) is DType.BOOL:
            return self.xor(x, self.const(True, DType.BOOL))
        return tirx.bitwise_not(x)

    def shl(self, a: Expr, b: Expr) -> Expr:
        return self._shift(tirx.shift_left, a, b, self._like(0, a))

    def shr(self, a: Expr, b: Expr) -> Expr:
        if self.dtype(a).is_signed:
            # A count of width - 1 already leaves nothing but the sign.
            last = self._like(self.dtype(a).bits - 1, a)
            a, b = self._match(a, b)
            return tirx.shift_right(a, self.select(self._count_fits(a, b), b, last))
        return self._shift(tirx.shift_right, a, b, self._like(0, a))

    def _shift(self, shift: Any, a: Expr, b: Expr, beyond: Expr) -> Expr:
        a, b = self._match(a, b)
        count = b.value if isinstance(b, tirx.Broadcast) else b
        if isinstance(count, tirx.IntImm):
            return shift(a, b) if 0 <= count.value < self.dtype(a).bits else beyond
        fits = self._count_fits(a, b)
        return self.select(fits, shift(a, self.select(fits, b, self._like(0, a))), beyond)

    def _count_fits(self, a: Expr, b: Expr) -> Expr:
        fits = tirx.LT(b, self._like(self.dtype(a).bits, a))
        if self.dtype(b).is_signed:
            fits = self.and_(fits, tirx.LE(self._like(0, a), b))
        return fits

    def _bitwise(self, op: Any, a: Expr, b: Expr) -> Expr:
        """Bools go through integers: TVM would turn a negated ``<`` into ``>=``, which is not its
        negation where an operand is NaN."""
        a, b = self._match(a, b)
        if self.dtype(a) is not DType.BOOL:
            return op(a, b)
        wide = op(self.cast(a, DType.U8), self.cast(b, DType.U8))
        return tirx.NE(wide, self._like(0, wide))

    def select(self, condition: Expr, a: Expr, b: Expr) -> Expr:
        a, b = self._match(a, b)
        lanes = max(lanes_of(condition), lanes_of(a))
        if self.dtype(a) in CODES:
            return coded(self.select(condition, code_of(a), code_of(b)), self.dtype(a))
        return tirx.Select(splat(condition, lanes), splat(a, lanes), splat(b, lanes))

    def lookup(self, table: Sequence[float], index: Expr) -> Expr:
        lanes = lanes_of(index)
        if self._permute and lanes % len(table) == 0:
            return self._permuted(table, index)
        values: list[Expr] = [splat(self.const(x, DType.F64), lanes) for x in table]
        for bit in range(3):
            mask = self.const(1 << bit, DType.I64)
            even = self.eq(self.and_(index, mask), self.const(0, DType.I64))
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [self.select(even, a, b) for a, b in pairs]
        return values[0]

    def _permuted(self, table: Sequence[float], index: Expr) -> Expr:
        """A permutation of a register that holds the table, for each eight of the indexes."""
        size, lanes = len(table), lanes_of(index)
        register = tirx.Shuffle([self.const(x, DType.F64) for x in table], _numbers(range(size)))
        eights = (
            tirx.Shuffle([index], _numbers(range(start, start + size)))
            for start in range(0, lanes, size)
        )
        found = [
            tirx.call_llvm_pure_intrin(tir_type(DType.F64, size), self._permute, register, eight)
            for eight in eights
        ]
        return tirx.Shuffle(found, _numbers(range(lanes)))

    def elementary(self, name: str, *xs: Expr) -> Expr:
        return ELEMENTARY[name, self.dtype(xs[0])](self, *xs)

    def cast(self, x: Expr, dtype: DType) -> Expr:
        source = self.dtype(x)
        if source is dtype:
            return x
        if source in CODES:
            return self.cast(self._decoded(x), dtype)
        if dtype.is_integer and dtype.is_sub_byte:
            return self._narrow_integer(x, dtype)
        if dtype is DType.BOOL and not source.is_float:
            return tirx.NE(x, self._like(0, x))
        if dtype is DType.BOOL:
            return self.not_(self.eq(x, self._like(0, x)))
        if source.is_float and dtype.is_integer:
            return self._saturating(x, dtype)
        if source is DType.F16 and "half" in self._lacks:
            return self.cast(self._decoded(x), dtype)
        if dtype.is_float and dtype.bits < 32:
            return self._narrowed(x, dtype)
        return tirx.Cast(tir_type(dtype, lanes_of(x)), x)

    def _decoded(self, x: Expr) -> Expr:
        """An element of a narrow type as its wide one; exact."""
        dtype = self.dtype(x)
        if dtype is DType.BF16:
            return emit_float.from_bf16(self, x)
        if dtype.is_float:
            code = self.cast(self.bitcast(x, CODES.get(dtype, DType.U16)), DType.U32)
            return emit_float.decode(self, code, dtype)
        code = code_of(x)
        if dtype.is_unsigned:
            return code
        sign = self.const(1 << (dtype.bits - 1), DType.I8)
        return self.sub(self.xor(self.bitcast(code, DType.I8), sign), sign)

    def _narrow_integer(self, x: Expr, dtype: DType) -> Expr:
        """Of less than a byte: floats saturate at the byte's limits and then at its own."""
        wide, is_float = self.cast(x, dtype.wide), self.dtype(x).is_float
        if is_float:
            high = (1 << (dtype.bits - dtype.is_signed)) - 1
            wide = self.minimum(wide, self.const(high, dtype.wide))
        if is_float and dtype.is_signed:
            wide = self.maximum(wide, self.const(-(1 << (dtype.bits - 1)), dtype.wide))
        mask = self.const((1 << dtype.bits) - 1, DType.U8)
        return coded(self.and_(self.bitcast(wide, DType.U8), mask), dtype)

    def _narrowed(self, x: Expr, dtype: DType) -> Expr:
        """A narrow float from anything that isn't one of ``CODES``, rounded once."""
        source = self.dtype(x)
        if source.is_integer and source.bits == 64:
            x = emit_float.integer_to_odd(self, x)
        elif not source.is_float or source.bits < 32:
            x = self.cast(x, DType.F64 if source.bits == 32 else DType.F32)
        if self.dtype(x) is DType.F64:
            x = emit_float.to_odd(self, x)
        if dtype is DType.BF16:
            return emit_float.to_bf16(self, x)
        if dtype is not DType.F16 or "half" in self._lacks:
            code = emit_float.encode(self, x, dtype)
            return self.bitcast(self.cast(code, CODES.get(dtype, DType.U16)), dtype)
        return x if self.dtype(x) is dtype else tirx.Cast(tir_type(dtype, lanes_of(x)), x)

    def _saturating(self, x: Expr, dtype: DType) -> Expr:
        name = "llvm.fptosi.sat" if dtype.is_signed else "llvm.fptoui.sat"
        if self.dtype(x).bits < 32:
            x = self.cast(x, DType.F32)
        if self.dtype(x) is DType.F32 and dtype.bits <= 16 and "rounding" not in self._lacks:
            return emit_float.to_small_integer(self, x, dtype)
        return tirx.call_llvm_pure_intrin(tir_type(dtype, lanes_of(x)), name, x)

    def bitcast(self, x: Expr, dtype: DType) -> Expr:
        if self.dtype(x) is dtype:
            return x
        if self.dtype(x) in CODES:
            x = code_of(x)
        if dtype in CODES:
            return coded(self.bitcast(x, CODES[dtype]), dtype)
        if self.dtype(x) is dtype:
            return x
        return tirx.reinterpret(tir_type(dtype, lanes_of(x)), x)

    # Helpers

    def _like(self, value: float | int, x: Expr) -> Expr:
        return splat(self.const(value, self.dtype(x)), lanes_of(x))

    def _match(self, *xs: Expr) -> Sequence[Expr]:
        lanes = max(map(lanes_of, xs))
        return [splat(x, lanes) for x in xs]

    def _call(self, intrinsic: str, *xs: Expr) -> Expr:
        xs = tuple(self._match(*xs))
        return tirx.call_llvm_pure_intrin(xs[0].ty.dtype, intrinsic, *xs)

    def _wrapping(self, name: str, a: Expr, b: Expr) -> Expr:
        a, b = self._match(a, b)
        lanes, dtype = lanes_of(a), self.dtype(a)
        if dtype.bits < 32 and "bytes" in self._lacks:
            wide = self._wrapping(name, self.cast(a, DType.I32), self.cast(b, DType.I32))
            return self.cast(wide, dtype)
        if lanes == 1:  # the intrinsics take vectors only
            pair = self._wrapping(name, splat(a, 2), splat(b, 2))
            return tirx.Shuffle([pair], [tirx.IntImm("int32", 0)])
        mask = splat(tirx.const(True, "bool"), lanes)
        width = tirx.const(lanes, "int32")
        return tirx.call_llvm_pure_intrin(a.ty.dtype, f"llvm.vp.{name}", a, b, mask, width)

    def _bits_type(self, dtype: DType) -> DType:
        return DType(f"u{dtype.bits}")

    def _on_bits(self, x: Expr, op: str, mask: int) -> Expr:
        dtype = self.dtype(x)
        bits = self._bits_type(dtype)
        changed = getattr(self, op)(self.bitcast(x, bits), self.const(mask, bits))
        return self.bitcast(changed, dtype)


_INFINITY_BITS = {
    DType.F64: 0x7FF0_0000_0000_0000,
    DType.F32: 0x7F80_0000,
    DType.F16: 0x7C00,
    DType.BF16: 0x7F80,
}
