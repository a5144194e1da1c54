"""sin, cos, tan and their inverses: correctly rounded for every argument, however large."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aivmc.ir.elementary._common import (
    ROUNDER,
    f64,
    flip_by_sign_of,
    greater,
    horner,
    less,
    one_nan,
    patch,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import (
    ASIN,
    ATAN,
    COS_HALF_PI,
    INVERSE_PI,
    INVERSE_PI_REST,
    SIN_HALF_PI,
    SIN_PI,
    SIN_PI_FOR_COS,
    TWO_OVER_PI,
    TWO_OVER_PI_REST,
)
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

_TAN_OCTANT = 0.41421356  # tan(pi/8)
_TAN_THREE_OCTANTS = 2.4142135
_ACOS_PATCHES = {0x328885A3: 0x3FC90FDB, 0x39826222: 0x3FC907B5}


def sin(e: Emit, x: Scalar) -> Scalar:
    """(-1)^k sin(pi r), |x| / pi = k + r."""
    parity, r = _reduce(e, to_f64(e, e.abs(x)), INVERSE_PI, INVERSE_PI_REST)
    y = _negate_if_odd(e, _odd_polynomial(e, SIN_PI, r), parity)
    return one_nan(e, flip_by_sign_of(e, x, to_f32(e, y)))


def cos(e: Emit, x: Scalar) -> Scalar:
    """-(-1)^k sin(pi r), |x| / pi - 1/2 = k + r."""
    parity, r = _reduce(e, to_f64(e, e.abs(x)), INVERSE_PI, INVERSE_PI_REST, offset=0.5)
    other = e.xor(parity, e.const(1, DType.U64))
    return one_nan(e, to_f32(e, _negate_if_odd(e, _odd_polynomial(e, SIN_PI_FOR_COS, r), other)))


def tan(e: Emit, x: Scalar) -> Scalar:
    """sin / cos of pi/2 r for even k and -cos / sin for odd, 2 |x| / pi = k + r."""
    parity, r = _reduce(e, to_f64(e, e.abs(x)), TWO_OVER_PI, TWO_OVER_PI_REST)
    sine = _odd_polynomial(e, SIN_HALF_PI, r)
    cosine = horner(e, COS_HALF_PI, e.mul(r, r))
    even = e.eq(e.and_(parity, e.const(1, DType.U64)), e.const(0, DType.U64))
    numerator = e.select(even, sine, e.neg(cosine))
    denominator = e.select(even, cosine, sine)
    return one_nan(e, flip_by_sign_of(e, x, to_f32(e, e.div(numerator, denominator))))


def asin(e: Emit, x: Scalar) -> Scalar:
    """NaN beyond [-1, 1]."""
    large, series = _half_angle_asin(e, x)
    result = e.select(large, e.fma(f64(e, -2.0), series, f64(e, math.pi / 2)), series)
    return one_nan(e, with_sign_of(e, x, to_f32(e, result)))


def acos(e: Emit, x: Scalar) -> Scalar:
    """NaN beyond [-1, 1]."""
    large, series = _half_angle_asin(e, x)
    negative = less(e, x, 0.0)
    series = e.select(negative, e.neg(series), series)
    edge = e.select(negative, f64(e, math.pi), f64(e, 0.0))
    base = e.select(large, edge, f64(e, math.pi / 2))
    factor = e.select(large, f64(e, 2.0), f64(e, -1.0))
    return one_nan(e, patch(e, x, to_f32(e, e.fma(factor, series, base)), _ACOS_PATCHES))


def atan(e: Emit, x: Scalar) -> Scalar:
    """Around 0, 1 and infinity: base + atan(numerator / denominator)."""
    a = to_f64(e, e.abs(x))
    one = f64(e, 1.0)
    middle = greater(e, a, _TAN_OCTANT)
    numerator = e.select(middle, e.sub(a, one), a)
    denominator = e.select(middle, e.add(a, one), one)
    base = e.select(middle, f64(e, math.pi / 4), f64(e, 0.0))
    large = greater(e, a, _TAN_THREE_OCTANTS)
    numerator = e.select(large, f64(e, -1.0), numerator)
    denominator = e.select(large, a, denominator)
    base = e.select(large, f64(e, math.pi / 2), base)
    y = e.add(base, _odd_polynomial(e, ATAN, e.div(numerator, denominator)))
    return one_nan(e, with_sign_of(e, x, to_f32(e, y)))


def _odd_polynomial(e: Emit, coefficients: Sequence[float], r: Scalar) -> Scalar:
    return e.mul(r, horner(e, coefficients, e.mul(r, r)))


def _half_angle_asin(e: Emit, x: Scalar) -> tuple[Scalar, Scalar]:
    """Whether |x| > 1/2, and asin of |x|, or there of sqrt((1 - |x|) / 2): half its complement."""
    a = to_f64(e, e.abs(x))
    half = f64(e, 0.5)
    large = e.lt(half, a)
    complement = e.sub(half, e.mul(half, a))
    square = e.select(large, complement, e.mul(a, a))
    s = e.select(large, e.sqrt(complement), a)
    return large, e.mul(s, horner(e, ASIN, square))


def _reduce(
    e: Emit, a: Scalar, chunks: Sequence[float], rests: Sequence[float], offset: float = 0.0
) -> tuple[Scalar, Scalar]:
    """``a * constant - offset`` as k + r, |r| <= 1/2: an integer as odd as k, and r.

    The constant is given in chunks of 26 bits, so that the products with the first two are
    exact; chunks that make whole periods of a large ``a`` are left out, and the rest is ample.
    """
    first, second, rest = (f64(e, c) for c in (chunks[0], chunks[1], rests[2]))
    for j, bound in enumerate((2.0**51, 2.0**77, 2.0**103), 1):
        large = e.le(f64(e, bound), a)
        first = e.select(large, f64(e, chunks[j]), first)
        second = e.select(large, f64(e, chunks[j + 1]), second)
        rest = e.select(large, f64(e, rests[j + 2]), rest)
    rounder = f64(e, ROUNDER)
    k_first = e.add(e.fma(a, first, f64(e, -offset)), rounder)
    whole = e.add(e.sub(k_first, rounder), f64(e, offset))
    part = e.fma(a, second, e.fma(a, first, e.neg(whole)))
    k_second = e.add(part, rounder)
    r = e.fma(a, rest, e.sub(part, e.sub(k_second, rounder)))
    parity = e.xor(e.bitcast(k_first, DType.U64), e.bitcast(k_second, DType.U64))
    return parity, r


def _negate_if_odd(e: Emit, y: Scalar, parity: Scalar) -> Scalar:
    sign = e.shl(parity, e.const(63, DType.U64))
    return e.bitcast(e.xor(e.bitcast(y, DType.U64), sign), DType.F64)
