"""sin, cos, tan and their inverses on f64."""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    at_most,
    f64,
    flip_by_sign_of,
    greater,
    horner,
    less,
    like,
    one_nan,
    with_sign_of,
)
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    divide,
    fast_two_sum,
    rounded,
    select_pair,
    square_root,
    two_sum,
)
from aivmc.ir.elementary.double._reduction import has_bit, reduce_quarter_turns, u64
from aivmc.ir.elementary.double.coefficients import (
    ASIN,
    ATAN,
    COS,
    HALF_PI,
    PI,
    QUARTER_PI,
    SIN,
)
from aivmc.ir.emit import Emit, Scalar

_TAN_OCTANT = 0.41421356  # tan(pi/8)
_TAN_THREE_OCTANTS = 2.4142135
_ATAN_BOUND = 2.0**60  # from here on atan is pi/2


def sin_pair(e: Emit, r: Pair) -> Pair:
    """sin r for |r| <= pi/4."""
    high, low = r
    square = e.mul(high, high)
    cubic = e.mul(e.mul(square, high), horner(e, SIN, square))
    # cos(r) times the low part, to first order.
    linear = e.fma(e.mul(f64(e, -0.5), square), low, low)
    return fast_two_sum(e, high, e.add(cubic, linear))


def cos_pair(e: Emit, r: Pair) -> Pair:
    """cos r for |r| <= pi/4."""
    high, low = r
    square = e.mul(high, high)
    error = e.fma(high, high, e.neg(square))
    one, rest = fast_two_sum(e, f64(e, 1.0), e.mul(f64(e, -0.5), square))
    quartic = e.fma(e.mul(square, square), horner(e, COS, square), e.mul(f64(e, -0.5), error))
    return fast_two_sum(e, one, e.add(rest, e.fma(e.neg(high), low, quartic)))


def sin_or_cos(e: Emit, quarter: Scalar, r: Pair) -> Scalar:
    """sin r, cos r, -sin r, -cos r by the quarter mod 4."""
    odd = has_bit(e, quarter, 1)
    y = rounded(e, select_pair(e, odd, cos_pair(e, r), sin_pair(e, r)))
    return e.select(has_bit(e, quarter, 2), e.neg(y), y)


def nan_unless_finite(e: Emit, x: Scalar, result: Scalar) -> Scalar:
    """``result``, or NaN where x is infinite or NaN."""
    finite = less(e, e.abs(x), math.inf)
    return e.select(finite, result, like(e, x, math.nan))


def sin(e: Emit, x: Scalar) -> Scalar:
    """sin, cos, -sin, -cos of r in the quarters 0 to 3."""
    quarter, r = reduce_quarter_turns(e, e.abs(x))
    y = sin_or_cos(e, quarter, r)
    return nan_unless_finite(e, x, flip_by_sign_of(e, x, y))


def cos(e: Emit, x: Scalar) -> Scalar:
    """The sine a quarter further on."""
    quarter, r = reduce_quarter_turns(e, e.abs(x))
    y = sin_or_cos(e, e.add(quarter, u64(e, 1)), r)
    return nan_unless_finite(e, x, y)


def tan(e: Emit, x: Scalar) -> Scalar:
    """sin / cos of r in even quarters and -cos / sin in odd ones."""
    quarter, r = reduce_quarter_turns(e, e.abs(x))
    sine, cosine = sin_pair(e, r), cos_pair(e, r)
    odd = has_bit(e, quarter, 1)
    numerator = select_pair(e, odd, cosine, sine)
    denominator = select_pair(e, odd, sine, cosine)
    y = rounded(e, divide(e, numerator, denominator))
    y = e.select(odd, e.neg(y), y)
    return nan_unless_finite(e, x, flip_by_sign_of(e, x, y))


def half_angle_asin(e: Emit, a: Scalar) -> tuple[Scalar, Pair]:
    """Whether a > 1/2, and asin of a, or there of sqrt((1 - a) / 2): half its complement."""
    half = f64(e, 0.5)
    large = e.lt(half, a)
    complement = e.fma(e.neg(half), a, half)
    square = e.select(large, complement, e.mul(a, a))
    s, s_low = select_pair(e, large, square_root(e, (complement, f64(e, 0.0))), (a, f64(e, 0.0)))
    cubic = e.mul(e.mul(square, s), horner(e, ASIN, square))
    return large, fast_two_sum(e, s, e.add(cubic, s_low))


def asin(e: Emit, x: Scalar) -> Scalar:
    """pi/2 - 2 asin(sqrt((1 - |x|) / 2)) beyond 1/2; NaN beyond [-1, 1]."""
    large, angle = half_angle_asin(e, e.abs(x))
    angle_high, angle_low = angle
    half_pi, half_pi_low = constant_pair(e, HALF_PI)
    high, low = fast_two_sum(e, half_pi, e.neg(e.add(angle_high, angle_high)))
    low = e.add(low, e.fma(f64(e, -2.0), angle_low, half_pi_low))
    result = rounded(e, select_pair(e, large, (high, low), angle))
    return one_nan(e, with_sign_of(e, x, result))


def acos(e: Emit, x: Scalar) -> Scalar:
    """pi/2 - asin x, and 2 asin(sqrt((1 - |x|) / 2)) or pi less that beyond 1/2; NaN beyond
    [-1, 1]."""
    large, angle = half_angle_asin(e, e.abs(x))
    negative = less(e, x, 0.0)
    zero = (f64(e, 0.0), f64(e, 0.0))
    edge = select_pair(e, negative, constant_pair(e, PI), zero)
    base_high, base_low = select_pair(e, large, edge, constant_pair(e, HALF_PI))
    factor = e.select(large, f64(e, 2.0), f64(e, -1.0))
    factor = e.select(negative, e.neg(factor), factor)
    angle_high, angle_low = angle
    high, low = fast_two_sum(e, base_high, e.mul(factor, angle_high))
    return one_nan(e, e.add(high, e.add(low, e.fma(factor, angle_low, base_low))))


def atan(e: Emit, x: Scalar) -> Scalar:
    """Around 0, 1 and infinity: base + atan t, t = a, (a - 1) / (a + 1), -1 / a, a = |x|."""
    a = at_most(e, e.abs(x), _ATAN_BOUND)
    one, zero = f64(e, 1.0), f64(e, 0.0)
    middle, large = greater(e, a, _TAN_OCTANT), greater(e, a, _TAN_THREE_OCTANTS)
    numerator = select_pair(e, middle, two_sum(e, a, f64(e, -1.0)), (a, zero))
    denominator = select_pair(e, middle, two_sum(e, a, one), (one, zero))
    numerator = select_pair(e, large, (f64(e, -1.0), zero), numerator)
    denominator = select_pair(e, large, (a, zero), denominator)
    base = select_pair(e, middle, constant_pair(e, QUARTER_PI), (zero, zero))
    base_high, base_low = select_pair(e, large, constant_pair(e, HALF_PI), base)
    t_high, t_low = divide(e, numerator, denominator)
    square = e.mul(t_high, t_high)
    cubic = e.mul(e.mul(square, t_high), horner(e, ATAN, square))
    high, low = fast_two_sum(e, base_high, t_high)
    result = e.add(high, e.add(low, e.add(cubic, e.add(t_low, base_low))))
    return one_nan(e, with_sign_of(e, x, result))
