"""Float operations that processors lack, each written with those of ``Emit`` that they have.

All are exact or rounded once, for every input.
"""

from __future__ import annotations

from dataclasses import dataclass

from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

_DIGIT = 51  # bits of the quotient that one step of a long division finds


def remainder(emit: Emit, a: Scalar, b: Scalar) -> Scalar:
    """C ``fmod`` of f32 or f64 by long division.

    From the largest ``b * 2^k`` that can be in ``|a|`` down to ``b``, as many as are in what is
    left are taken away: fewer than 2^51, so that the rounded quotient is at most one too large. A
    difference is a multiple of the smaller operand's last place and less than ``b * 2^k``: a
    float, which ``fma`` gives exactly.
    """
    dtype = emit.dtype(a)
    if dtype is DType.F32:
        a, b = emit.cast(a, DType.F64), emit.cast(b, DType.F64)
        return emit.cast(_remainder(emit, a, b, digits=6), dtype)
    return _remainder(emit, a, b, digits=42)


def _remainder(emit: Emit, a: Scalar, b: Scalar, digits: int) -> Scalar:
    rest, divisor = emit.abs(a), emit.abs(b)
    for digit in reversed(range(digits)):
        rest = _take_multiples(emit, rest, _scaled(emit, divisor, digit * _DIGIT))
    sign = emit.const(1 << 63, DType.U64)
    signed = emit.or_(emit.bitcast(rest, DType.U64), emit.and_(emit.bitcast(a, DType.U64), sign))
    return emit.select(emit.is_nan(b), b, emit.bitcast(signed, DType.F64))


def _scaled(emit: Emit, x: Scalar, exponent: int) -> Scalar:
    """``x * 2^exponent``; infinite where it overflows, and then in nothing finite."""
    while exponent > 0:
        step = min(exponent, 1020)
        x = emit.mul(x, emit.const(2.0**step, DType.F64))
        exponent -= step
    return x


def _take_multiples(emit: Emit, rest: Scalar, divisor: Scalar) -> Scalar:
    count = emit.trunc(emit.div(rest, divisor))
    left = emit.fma(emit.neg(count), divisor, rest)
    negative = emit.lt(left, emit.const(0.0, DType.F64))
    left = emit.select(negative, emit.add(left, divisor), left)
    return emit.select(emit.le(divisor, rest), left, rest)


def to_odd(emit: Emit, x: Scalar) -> Scalar:
    """f64 to f32, inexact results to the neighbour whose last bit is 1: rounding that again to
    fewer bits equals rounding ``x`` once (Boldo and Melquiond, 2008)."""
    nearest = emit.cast(x, DType.F32)
    back = emit.cast(nearest, DType.F64)
    bits = emit.bitcast(nearest, DType.U32)
    one = emit.const(1, DType.U32)
    above = emit.lt(emit.abs(x), emit.abs(back))
    stepped = emit.select(above, emit.sub(bits, one), emit.add(bits, one))
    even = emit.eq(emit.and_(bits, one), emit.const(0, DType.U32))
    exact = emit.or_(emit.eq(back, x), emit.is_nan(x))
    kept = emit.or_(exact, emit.not_(even))
    return emit.bitcast(emit.select(kept, bits, stepped), DType.F32)


def integer_to_odd(emit: Emit, x: Scalar) -> Scalar:
    """An integer of 64 bits as f64, with what doesn't fit kept in the last bit, as above."""
    dtype = emit.dtype(x)
    low = emit.const((1 << 11) - 1, dtype)
    zero = emit.const(0, dtype)
    lost = emit.not_(emit.eq(emit.and_(x, low), zero))
    odd = emit.or_(emit.and_(x, emit.not_(low)), emit.const(1 << 11, dtype))
    magnitude = emit.abs(x)
    fits = emit.lt(emit.shr(magnitude, emit.const(53, dtype)), emit.const(1, dtype))
    if dtype.is_signed:  # the least integer has no magnitude, and is exact
        fits = emit.and_(fits, emit.le(zero, magnitude))
    return emit.cast(emit.select(emit.and_(lost, emit.not_(fits)), odd, x), DType.F64)


def to_bf16(emit: Emit, x: Scalar) -> Scalar:
    """f32 to bf16: the upper half of the bits, nearest even."""
    bits, half = emit.bitcast(x, DType.U32), emit.const(16, DType.U32)
    last = emit.and_(emit.shr(bits, half), emit.const(1, DType.U32))
    rounded = emit.add(bits, emit.add(last, emit.const(0x7FFF, DType.U32)))
    rounded = emit.select(emit.is_nan(x), emit.const(0x7FC0_0000, DType.U32), rounded)
    return emit.bitcast(emit.cast(emit.shr(rounded, half), DType.U16), DType.BF16)


def from_bf16(emit: Emit, x: Scalar) -> Scalar:
    """bf16 to f32, exactly."""
    bits = emit.cast(emit.bitcast(x, DType.U16), DType.U32)
    return emit.bitcast(emit.shl(bits, emit.const(16, DType.U32)), DType.F32)


@dataclass(frozen=True)
class Format:
    """A float narrower than f32: a sign, an exponent, ``mantissa`` bits; subnormals below."""

    mantissa: int
    bias: int
    largest: int  # code of the largest number, without the sign like the next
    beyond: int  # code of what doesn't fit: infinity, NaN, or the largest number
    nan: int  # code that NaN gets
    sign: int = 0x80

    @property
    def unsigned_zero(self) -> bool:
        """Whether what would be -0 is NaN."""
        return self.nan == self.sign


FORMATS = {
    DType.F16: Format(10, 15, largest=0x7BFF, beyond=0x7C00, nan=0x7E00, sign=0x8000),
    DType.F8E5M2: Format(2, 15, largest=0x7B, beyond=0x7C, nan=0x7E),
    DType.F8E5M2FNUZ: Format(2, 16, largest=0x7F, beyond=0x80, nan=0x80),
    DType.F8E4M3FN: Format(3, 7, largest=0x7E, beyond=0x7F, nan=0x7F),
    DType.F8E4M3FNUZ: Format(3, 8, largest=0x7F, beyond=0x80, nan=0x80),
    DType.F4E2M1: Format(1, 1, largest=0x7, beyond=0x7, nan=0x0, sign=0x8),
}


def encode(emit: Emit, x: Scalar, dtype: DType) -> Scalar:
    """f32 to the bits of a narrower float, as u32, nearest even."""
    if dtype is DType.F8E8M0:
        return _to_exponent(emit, x)
    f = FORMATS[dtype]
    bits, lost = emit.bitcast(x, DType.U32), 23 - f.mantissa
    size = emit.and_(bits, _u32(emit, 0x7FFF_FFFF))
    last = emit.and_(emit.shr(size, _u32(emit, lost)), _u32(emit, 1))
    # An exponent less by the biases' difference, and what carries into the bits that are kept.
    change = (1 << (lost - 1)) - 1 - ((127 - f.bias) << 23)
    normal = emit.add(size, emit.add(last, _u32(emit, change % 2**32)))
    normal = emit.shr(normal, _u32(emit, lost))
    # A float whose last place is the format's smallest number: this addition rounds.
    unit = 24 - f.bias - f.mantissa
    moved = emit.add(emit.bitcast(size, DType.F32), emit.const(2.0**unit, DType.F32))
    tiny = emit.sub(emit.bitcast(moved, DType.U32), _u32(emit, (unit + 127) << 23))
    result = emit.select(emit.lt(size, _u32(emit, (128 - f.bias) << 23)), tiny, normal)
    result = emit.select(emit.lt(_u32(emit, f.largest), result), _u32(emit, f.beyond), result)
    sign = emit.shr(emit.xor(bits, size), _u32(emit, 32 - f.sign.bit_length()))
    if f.unsigned_zero:
        sign = emit.select(emit.eq(result, _u32(emit, 0)), result, sign)
    return emit.select(emit.is_nan(x), _u32(emit, f.nan), emit.or_(result, sign))


def decode(emit: Emit, code: Scalar, dtype: DType) -> Scalar:
    """The f32 that a narrower float's bits, as u32, mean; exact."""
    if dtype is DType.F8E8M0:
        return _from_exponent(emit, code)
    f = FORMATS[dtype]
    size, lost = emit.and_(code, _u32(emit, f.sign - 1)), 23 - f.mantissa
    places = emit.shl(size, _u32(emit, lost))
    normal = emit.add(places, _u32(emit, (127 - f.bias) << 23))
    count = emit.cast(emit.bitcast(size, DType.I32), DType.F32)
    tiny = emit.mul(count, emit.const(2.0 ** (1 - f.bias - f.mantissa), DType.F32))
    few = emit.lt(size, _u32(emit, 1 << f.mantissa))
    result = emit.select(few, emit.bitcast(tiny, DType.U32), normal)
    if f.largest < f.sign - 1:  # infinity and NaN, or NaN alone
        special = emit.or_(places, _u32(emit, 0x7F80_0000))
        result = emit.select(emit.lt(_u32(emit, f.largest), size), special, result)
    sign = emit.shl(emit.xor(code, size), _u32(emit, 32 - f.sign.bit_length()))
    result = emit.or_(result, sign)
    if f.unsigned_zero:
        result = emit.select(emit.eq(code, _u32(emit, f.nan)), _u32(emit, 0x7FC0_0000), result)
    return emit.bitcast(result, DType.F32)


def _to_exponent(emit: Emit, x: Scalar) -> Scalar:
    """To f8e8m0, a power of two without sign or zero: nearest, ties up. Half a place carries into
    the exponent; among subnormals, the least power 2^-127 has the second bit as its place."""
    bits, least = emit.bitcast(x, DType.U32), _u32(emit, 0x0080_0000)
    half = emit.select(emit.lt(bits, least), _u32(emit, 1 << 21), _u32(emit, 1 << 22))
    code = emit.shr(emit.add(bits, half), _u32(emit, 23))
    return emit.select(emit.lt(emit.const(0.0, DType.F32), x), code, _u32(emit, 0xFF))


def _from_exponent(emit: Emit, code: Scalar) -> Scalar:
    bits = emit.shl(code, _u32(emit, 23))
    bits = emit.select(emit.eq(code, _u32(emit, 0)), _u32(emit, 1 << 22), bits)
    bits = emit.select(emit.eq(code, _u32(emit, 0xFF)), _u32(emit, 0x7FC0_0000), bits)
    return emit.bitcast(bits, DType.F32)


def to_small_integer(emit: Emit, x: Scalar, dtype: DType) -> Scalar:
    """f32 to an integer of at most 16 bits: truncated, saturating, 0 for NaN. What a sum with 2^23
    and more rounds to has the integer as its last bits; LLVM would convert lane by lane."""
    largest = (1 << (dtype.bits - dtype.is_signed)) - 1
    low = _f32(emit, -largest - 1 if dtype.is_signed else 0)
    high, large = _f32(emit, largest), _f32(emit, 3 << 22)
    if dtype.is_signed:
        x = emit.select(emit.is_nan(x), _f32(emit, 0), x)
    x = emit.select(emit.lt(low, x), x, low)  # the least for NaN, too
    x = emit.trunc(emit.select(emit.lt(x, high), x, high))
    bits = emit.bitcast(emit.add(x, large), DType.I32)
    return emit.cast(emit.sub(bits, emit.bitcast(large, DType.I32)), dtype)


def rint(emit: Emit, x: Scalar) -> Scalar:
    """To the nearest integer, ties to even: a sum with 2^23 (2^52 in f64) has no room for less."""
    size = emit.abs(x)
    limit = emit.const(2.0 ** (23 if emit.dtype(x) is DType.F32 else 52), emit.dtype(x))
    whole = _with_sign(emit, emit.sub(emit.add(size, limit), limit), x)
    return emit.select(emit.lt(size, limit), whole, x)


def floor(emit: Emit, x: Scalar) -> Scalar:
    return _with_sign(emit, _not_above(emit, rint(emit, x), x), x)


def ceil(emit: Emit, x: Scalar) -> Scalar:
    return emit.neg(floor(emit, emit.neg(x)))


def trunc(emit: Emit, x: Scalar) -> Scalar:
    size = emit.abs(x)
    return _with_sign(emit, _not_above(emit, rint(emit, size), size), x)


def _not_above(emit: Emit, whole: Scalar, x: Scalar) -> Scalar:
    """``whole``, or one less if it is more than ``x``."""
    less = emit.sub(whole, emit.const(1.0, emit.dtype(x)))
    return emit.select(emit.lt(x, whole), less, whole)


def _with_sign(emit: Emit, x: Scalar, of: Scalar) -> Scalar:
    """``x`` with the sign of the number ``of``; a NaN as it is."""
    dtype = emit.dtype(x)
    bits = DType(f"u{dtype.bits}")
    sign = emit.and_(emit.bitcast(of, bits), emit.const(1 << (dtype.bits - 1), bits))
    return emit.bitcast(emit.or_(emit.bitcast(emit.abs(x), bits), sign), dtype)


def _f32(emit: Emit, value: float) -> Scalar:
    return emit.const(float(value), DType.F32)


def _u32(emit: Emit, value: int) -> Scalar:
    return emit.const(value, DType.U32)
