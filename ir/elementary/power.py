"""rsqrt, correctly rounded, and pow, a fixed sequence."""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    LOG2_E,
    ROUNDER,
    clamp,
    f32,
    f64,
    flip_by_sign_of,
    horner,
    less,
    like,
    log1p_fraction,
    scale_by_power_of_two,
    split_logarithm,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import EXP2
from aivmc.ir.emit import Emit, Scalar

# Any exponent this large overflows or underflows every base but 1, and is an even integer.
_POW_HUGE_EXPONENT = 2.0**40
# In place of the logarithms of infinity and 0: times the smallest exponent it is still huge.
_POW_HUGE_LOGARITHM = 2.0**200
_POW_BOUND = 200.0  # 2^200 rounds to infinity and 2^-200 to 0 in f32


def rsqrt(e: Emit, x: Scalar) -> Scalar:
    """1 / sqrt(x): an f32 seed and one third-order step in f64; +-infinity at +-0."""
    small = less(e, x, 2.0**-100)
    scaled = e.select(small, e.mul(x, f32(e, 2.0**48)), x)
    unscale = e.select(small, f64(e, 2.0**24), f64(e, 1.0))
    seed = to_f64(e, e.div(f32(e, 1.0), e.sqrt(scaled)))
    y = to_f64(e, scaled)
    error = e.fma(e.mul(e.neg(y), seed), seed, f64(e, 1.0))
    series = e.fma(error, f64(e, 0.375), f64(e, 0.5))
    refined = e.fma(e.mul(seed, error), series, seed)
    result = to_f32(e, e.mul(refined, unscale))
    zero = e.eq(x, f32(e, 0.0))
    result = e.select(zero, with_sign_of(e, x, f32(e, math.inf)), result)
    result = e.select(e.eq(x, f32(e, math.inf)), f32(e, 0.0), result)
    return e.select(e.le(f32(e, 0.0), x), result, like(e, x, math.nan))


def pow(e: Emit, x: Scalar, y: Scalar) -> Scalar:
    """x^y = 2^(y log2 |x|), rounded once from f64, with the special cases of IEEE 754-2019.

    pow(x, 0) = pow(1, y) = 1 for all, also NaN; a negative finite base has integer exponents
    only. The bits are those of the operations written here; correct rounding is common but not
    promised. It holds for y = 2 (which is x * x, for the sake of its exact ties), 1, -1, 1/2.
    """
    magnitude = e.abs(x)
    return with_cases_of_pow(e, x, y, magnitude, to_f32(e, _power_of_magnitude(e, magnitude, y)))


def with_cases_of_pow(e: Emit, x: Scalar, y: Scalar, magnitude: Scalar, power: Scalar) -> Scalar:
    """x^y, given |x| and |x|^y."""
    integral = e.eq(e.trunc(y), y)
    half = e.mul(y, like(e, y, 0.5))
    odd = e.and_(integral, e.not_(e.eq(e.trunc(half), half)))
    result = e.select(odd, flip_by_sign_of(e, x, power), power)
    negative = e.and_(less(e, x, 0.0), e.not_(e.eq(magnitude, like(e, x, math.inf))))
    invalid = e.and_(negative, e.not_(integral))
    invalid = e.or_(invalid, e.or_(e.is_nan(x), e.is_nan(y)))
    result = e.select(e.eq(y, like(e, y, 2.0)), e.mul(x, x), result)
    result = e.select(invalid, like(e, x, math.nan), result)
    one = e.or_(e.eq(x, like(e, x, 1.0)), e.eq(y, like(e, y, 0.0)))
    return e.select(one, like(e, x, 1.0), result)


def _power_of_magnitude(e: Emit, magnitude: Scalar, y: Scalar) -> Scalar:
    """magnitude^y in f64: y times the exponent of the base is exact, the fraction follows."""
    k, f = split_logarithm(e, to_f64(e, magnitude))
    huge = f64(e, _POW_HUGE_LOGARITHM)
    k = e.select(e.eq(magnitude, f32(e, math.inf)), huge, k)
    k = e.select(e.eq(magnitude, f32(e, 0.0)), e.neg(huge), k)
    exponent = to_f64(e, clamp(e, y, -_POW_HUGE_EXPONENT, _POW_HUGE_EXPONENT))
    fraction = e.mul(log1p_fraction(e, f), f64(e, LOG2_E))
    whole = e.mul(exponent, k)
    total = clamp(e, e.fma(exponent, fraction, whole), -_POW_BOUND, _POW_BOUND)
    rounder = f64(e, ROUNDER)
    shifted = e.add(total, rounder)
    r = e.fma(exponent, fraction, e.sub(whole, e.sub(shifted, rounder)))
    power = horner(e, EXP2, clamp(e, r, -0.5, 0.5))
    return scale_by_power_of_two(e, power, shifted)
