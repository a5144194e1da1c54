"""sinh, cosh, tanh and their inverses on f64."""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    at_most,
    f64,
    greater,
    like,
    nan_where_nan,
    with_sign_of,
)
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    divide,
    fast_two_sum,
    power_of_two,
    rounded,
    scale,
    square_root,
    two_product,
    two_sum,
)
from aivmc.ir.elementary.double.coefficients import LOG_2
from aivmc.ir.elementary.double.exponential import exp_pair, expm1_pair
from aivmc.ir.elementary.double.logarithmic import (
    log1p_of_fraction,
    log1p_pair,
    split,
    with_exponent,
)
from aivmc.ir.emit import Emit, Scalar

_ROOT_IS_X = 2.0**60  # from here on sqrt(x^2 +- 1) is x


def sinh(e: Emit, x: Scalar) -> Scalar:
    """(m + m / (m + 1)) / 2 with m = e^|x| - 1."""
    k, m = expm1_pair(e, at_most(e, e.abs(x), 711.0))
    m_high, m_low = m
    unit = power_of_two(e, e.neg(at_most(e, k, 1000.0)))
    high, low = two_sum(e, m_high, unit)
    quotient_high, quotient_low = divide(e, m, (high, e.add(low, m_low)))
    high, low = fast_two_sum(e, m_high, e.mul(quotient_high, unit))
    low = e.add(low, e.fma(quotient_low, unit, m_low))
    result = scale(e, e.add(high, low), e.sub(k, f64(e, 1.0)))
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def cosh(e: Emit, x: Scalar) -> Scalar:
    """(p + 1 / p) / 2 with p = e^|x|."""
    k, power = exp_pair(e, (at_most(e, e.abs(x), 711.0), f64(e, 0.0)))
    p_high, p_low = power
    bounded = at_most(e, k, 500.0)
    unit = power_of_two(e, e.neg(e.add(bounded, bounded)))
    high, low = fast_two_sum(e, p_high, e.div(unit, p_high))
    result = scale(e, e.add(high, e.add(low, p_low)), e.sub(k, f64(e, 1.0)))
    return nan_where_nan(e, x, result)


def tanh(e: Emit, x: Scalar) -> Scalar:
    """m / (m + 2) with m = e^(2|x|) - 1; from 22 on the result is 1."""
    a = at_most(e, e.abs(x), 22.0)
    k, m = expm1_pair(e, e.add(a, a))
    m_high, m_low = m
    high, low = two_sum(e, m_high, power_of_two(e, e.sub(f64(e, 1.0), k)))
    result = rounded(e, divide(e, m, (high, e.add(low, m_low))))
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def log1p_or_log(e: Emit, a: Pair, large: Scalar) -> Pair:
    """log(1 + a), but log(2 large) from 2^60 on."""
    a_high, a_low = a
    high, low = two_sum(e, f64(e, 1.0), a_high)
    is_large = greater(e, large, _ROOT_IS_X)
    high = e.select(is_large, large, high)
    low = e.select(is_large, f64(e, 0.0), e.add(low, a_low))
    k, f = split(e, (high, low))
    k = e.add(k, e.select(is_large, f64(e, 1.0), f64(e, 0.0)))
    return with_exponent(e, k, constant_pair(e, LOG_2), log1p_of_fraction(e, f))


def asinh(e: Emit, x: Scalar) -> Scalar:
    """log1p(a + a^2 / (1 + sqrt(a^2 + 1))), a = |x|; log(2 a) from 2^60 on."""
    magnitude = e.abs(x)
    a = at_most(e, magnitude, _ROOT_IS_X)
    square = two_product(e, a, a)
    square_high, square_low = square
    high, low = two_sum(e, square_high, f64(e, 1.0))
    root_high, root_low = square_root(e, (high, e.add(low, square_low)))
    high, low = fast_two_sum(e, root_high, f64(e, 1.0))
    rest_high, rest_low = divide(e, square, (high, e.add(low, root_low)))
    high, low = fast_two_sum(e, a, rest_high)
    y = rounded(e, log1p_or_log(e, (high, e.add(low, rest_low)), magnitude))
    result = with_sign_of(e, x, y)
    result = e.select(e.eq(magnitude, like(e, x, math.inf)), x, result)
    return nan_where_nan(e, x, result)


def acosh(e: Emit, x: Scalar) -> Scalar:
    """log1p(d + sqrt(d (d + 2))), d = x - 1; log(2 x) from 2^60 on; NaN below 1."""
    bounded = at_most(e, x, _ROOT_IS_X)
    d = e.sub(bounded, f64(e, 1.0))
    square, error = two_product(e, d, d)
    high, low = two_sum(e, square, e.add(d, d))
    root_high, root_low = square_root(e, (high, e.add(low, error)))
    high, low = two_sum(e, d, root_high)
    y = rounded(e, log1p_or_log(e, (high, e.add(low, root_low)), x))
    result = e.select(e.eq(x, like(e, x, math.inf)), x, y)
    return e.select(e.le(like(e, x, 1.0), x), result, like(e, x, math.nan))


def atanh(e: Emit, x: Scalar) -> Scalar:
    """log1p(2 a / (1 - a)) / 2, a = |x|; infinite at 1, NaN beyond."""
    magnitude = e.abs(x)
    denominator = two_sum(e, f64(e, 1.0), e.neg(magnitude))
    ratio = divide(e, (e.add(magnitude, magnitude), f64(e, 0.0)), denominator)
    result = e.mul(f64(e, 0.5), rounded(e, log1p_pair(e, ratio)))
    result = e.select(e.eq(magnitude, like(e, x, 1.0)), like(e, x, math.inf), result)
    inside = e.le(magnitude, like(e, x, 1.0))
    return e.select(inside, with_sign_of(e, x, result), like(e, x, math.nan))
