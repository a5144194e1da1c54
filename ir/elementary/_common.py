"""Building blocks of the elementary functions.

Arguments named ``x`` and ``result`` are of the function's dtype, all others f64. Nothing branches,
integers and floats are never converted to each other, and no integer operation overflows for an
argument whose result is used.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import reduce

from aivmc.ir.elementary.coefficients import EIGHTHS, EXP2, EXP2_EIGHTH, LOG1P
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

# Adding 1.5 * 2^52 rounds an f64 of magnitude below 2^51 to an integer, which then also is the
# low end of the sum's bit pattern.
ROUNDER = 1.5 * 2.0**52
LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
_MANTISSA_BITS = 52
_SQRT_HALF_BITS = 0x3FE6_A09E_667F_3BCD
_EXPONENT_OFFSET = 1024  # makes the exponent, and all of the bits below, a positive number


def f32(e: Emit, value: float) -> Scalar:
    return e.const(float(value), DType.F32)


def f64(e: Emit, value: float) -> Scalar:
    return e.const(float(value), DType.F64)


def like(e: Emit, x: Scalar, value: float) -> Scalar:
    """A constant of the dtype of ``x``; NaN is the canonical one."""
    return e.const(float(value), e.dtype(x))


def to_f64(e: Emit, x: Scalar) -> Scalar:
    return e.cast(x, DType.F64)


def to_f32(e: Emit, y: Scalar) -> Scalar:
    """The one rounding of a result."""
    return e.cast(y, DType.F32)


def less(e: Emit, x: Scalar, bound: float) -> Scalar:
    return e.lt(x, like(e, x, bound))


def greater(e: Emit, x: Scalar, bound: float) -> Scalar:
    return e.lt(like(e, x, bound), x)


def at_most(e: Emit, x: Scalar, bound: float) -> Scalar:
    """min(x, bound); a NaN stays."""
    return e.select(greater(e, x, bound), like(e, x, bound), x)


def at_least(e: Emit, x: Scalar, bound: float) -> Scalar:
    """max(x, bound); a NaN stays."""
    return e.select(less(e, x, bound), like(e, x, bound), x)


def clamp(e: Emit, x: Scalar, low: float, high: float) -> Scalar:
    return at_least(e, at_most(e, x, high), low)


def horner(e: Emit, coefficients: Sequence[float], y: Scalar) -> Scalar:
    """c[0] + c[1] y + c[2] y^2 + ..., one fma per degree."""
    *rest, last = (f64(e, c) for c in coefficients)
    return reduce(lambda value, c: e.fma(value, y, c), reversed(rest), last)


def horner_by_parity(e: Emit, coefficients: Sequence[float], y: Scalar) -> Scalar:
    """The even powers of y and the odd ones apart: one operation more, half the latency."""
    square = e.mul(y, y)
    odd, even = (horner(e, coefficients[first::2], square) for first in (1, 0))
    return e.fma(odd, y, even)


def bits_of(e: Emit, x: Scalar) -> Scalar:
    return e.bitcast(x, DType(f"u{e.dtype(x).bits}"))


def from_bits(e: Emit, bits: Scalar) -> Scalar:
    return e.bitcast(bits, DType(f"f{e.dtype(bits).bits}"))


def sign_bit_of(e: Emit, x: Scalar) -> Scalar:
    bits = bits_of(e, x)
    return e.and_(bits, e.const(1 << (e.dtype(x).bits - 1), e.dtype(bits)))


def with_sign_of(e: Emit, x: Scalar, result: Scalar) -> Scalar:
    """``result``, which is not negative where ``x`` is not, with the sign of ``x``."""
    return from_bits(e, e.or_(bits_of(e, result), sign_bit_of(e, x)))


def flip_by_sign_of(e: Emit, x: Scalar, result: Scalar) -> Scalar:
    """``result``, negated where the sign of ``x`` is."""
    return from_bits(e, e.xor(bits_of(e, result), sign_bit_of(e, x)))


def nan_where_nan(e: Emit, x: Scalar, result: Scalar) -> Scalar:
    """``result``, or the canonical NaN where ``x`` is a NaN."""
    return e.select(e.is_nan(x), like(e, result, math.nan), result)


def one_nan(e: Emit, result: Scalar) -> Scalar:
    """``result`` with its NaNs made the canonical one."""
    return nan_where_nan(e, result, result)


def at_domain_edges(e: Emit, x: Scalar, result: Scalar, edge: float) -> Scalar:
    """-infinity at the ``edge`` of a logarithm's domain, NaN below it and for NaN, infinity at
    infinity."""
    result = e.select(e.eq(x, like(e, x, math.inf)), x, result)
    outside = e.select(e.eq(x, like(e, x, edge)), like(e, x, -math.inf), like(e, x, math.nan))
    return e.select(greater(e, x, edge), result, outside)


def one_nan_of_positive(e: Emit, result: Scalar) -> Scalar:
    """:func:`one_nan` of what has no sign: of the bits of quiet NaNs the canonical are the least,
    and those of all other numbers are less."""
    return from_bits(e, e.minimum(bits_of(e, result), bits_of(e, like(e, result, math.nan))))


def patch(e: Emit, x: Scalar, result: Scalar, table: Mapping[int, int]) -> Scalar:
    """``result``, but where the bits of ``x`` are a key of ``table``, the bits given there.

    Masks keep this vectorizable: a compiler may make a jump table of a chain of selects.
    """
    return from_bits(e, _patched(e, bits_of(e, x), bits_of(e, result), table))


def patch_odd(e: Emit, x: Scalar, result: Scalar, table: Mapping[int, int]) -> Scalar:
    """:func:`patch` before the sign is set: keys and values are magnitudes."""
    return patch(e, e.abs(x), result, table)


def _patched(e: Emit, key: Scalar, bits: Scalar, table: Mapping[int, int]) -> Scalar:
    ones, zero = e.const(0xFFFF_FFFF, DType.U32), e.const(0, DType.U32)
    for source, target in table.items():
        mask = e.select(e.eq(key, e.const(source, DType.U32)), ones, zero)
        difference = e.xor(bits, e.const(target, DType.U32))
        bits = e.xor(bits, e.and_(difference, mask))
    return bits


def split_exponent(e: Emit, y: Scalar, factor: float) -> tuple[Scalar, Scalar]:
    """``y * factor`` as k + r, |r| <= 1/2: k as its sum with ROUNDER, and r."""
    constant = f64(e, factor)
    k = e.fma(y, constant, f64(e, ROUNDER))
    return k, e.fma(y, constant, e.neg(e.sub(k, f64(e, ROUNDER))))


def scale_by_power_of_two(e: Emit, y: Scalar, k: Scalar) -> Scalar:
    """``y * 2^k`` for k as :func:`split_exponent` gives it, by adding to the exponent of ``y``."""
    shift = e.const(_MANTISSA_BITS, DType.I64)
    exponent = e.shl(e.bitcast(k, DType.I64), shift)
    return e.bitcast(e.add(e.bitcast(y, DType.I64), exponent), DType.F64)


def exp2_of_product(
    e: Emit, y: Scalar, factor: float, coefficients: Sequence[float] = EXP2
) -> Scalar:
    """2^(y * factor) for a product within the exponents of f64."""
    k, r = split_exponent(e, y, factor)
    return scale_by_power_of_two(e, horner(e, coefficients, r), k)


def _less_eighths(value: float, eighths: int) -> float:
    """``value`` with so many eighths of a binade subtracted from its bits."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    (result,) = struct.unpack("<d", struct.pack("<q", bits - (eighths << _MANTISSA_BITS - 3)))
    return float(result)


# Of the index, which is added to the exponent with all its bits, the last three go again.
_EIGHTHS = tuple(_less_eighths(value, j) for j, value in enumerate(EIGHTHS))


def exp2_by_eighths(e: Emit, y: Scalar, factor: float) -> Scalar:
    """:func:`exp2_of_product` as 2^(k/8) 2^r, |r| <= 1/16.

    The last three bits of k choose from a table; the others are added to the exponent.
    """
    constant, rounder = f64(e, factor), f64(e, ROUNDER / 8)
    k = e.fma(y, constant, rounder)
    r = e.fma(y, constant, e.neg(e.sub(k, rounder)))
    fraction = e.mul(r, horner(e, EXP2_EIGHTH[1:], r))
    bits = e.bitcast(k, DType.I64)
    shifted = e.shl(bits, e.const(_MANTISSA_BITS - 3, DType.I64))
    power = e.bitcast(e.lookup(_EIGHTHS, bits), DType.I64)
    power = e.bitcast(e.add(power, shifted), DType.F64)
    return e.fma(power, fraction, power)


def exp2m1_of_product(e: Emit, y: Scalar, factor: float, coefficients: Sequence[float]) -> Scalar:
    """2^(y * factor) - 1 = 2^k (2^r - 1) + (2^k - 1), relatively exact near 0 too."""
    k, r = split_exponent(e, y, factor)
    power = scale_by_power_of_two(e, f64(e, 1.0), k)
    fraction = e.mul(r, horner(e, coefficients, r))
    return e.fma(power, fraction, e.sub(power, f64(e, 1.0)))


def split_logarithm(e: Emit, y: Scalar) -> tuple[Scalar, Scalar]:
    """A positive normal ``y`` as 2^k (1 + f), 1 + f in [sqrt 1/2, sqrt 2): k and f."""
    mantissa_mask = (1 << _MANTISSA_BITS) - 1
    bias = (_EXPONENT_OFFSET << _MANTISSA_BITS) - _SQRT_HALF_BITS
    two_to_52 = 0x4330_0000_0000_0000  # its low bits count units
    biased = e.add(e.bitcast(y, DType.U64), e.const(bias, DType.U64))
    high = e.shr(biased, e.const(_MANTISSA_BITS, DType.U64))
    high = e.bitcast(e.or_(high, e.const(two_to_52, DType.U64)), DType.F64)
    low = e.and_(biased, e.const(mantissa_mask, DType.U64))
    low = e.bitcast(e.add(low, e.const(_SQRT_HALF_BITS, DType.U64)), DType.F64)
    return e.sub(high, f64(e, 2.0**52 + _EXPONENT_OFFSET)), e.sub(low, f64(e, 1.0))


def log1p_fraction(e: Emit, f: Scalar) -> Scalar:
    """log(1 + f) for f as :func:`split_logarithm` gives it."""
    return e.mul(f, horner(e, LOG1P, f))


def log1p_of(e: Emit, y: Scalar) -> Scalar:
    """log(1 + y) for y > -1, relatively exact near 0: there f is y itself, not 1 + y - 1."""
    k, f = split_logarithm(e, e.add(f64(e, 1.0), y))
    f = e.select(e.eq(k, f64(e, 0.0)), y, f)
    return e.fma(k, f64(e, LN_2), log1p_fraction(e, f))
