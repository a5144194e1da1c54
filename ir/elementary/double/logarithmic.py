"""log, log2, log10, log1p on f64; -infinity at 0, NaN below it."""

from __future__ import annotations

from aivmc.ir.elementary._common import (
    at_domain_edges,
    clamp,
    f64,
    horner,
    less,
    split_logarithm,
    with_sign_of,
)
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    divide,
    fast_two_sum,
    multiply,
    power_of_two,
    rounded,
    two_product,
    two_sum,
)
from aivmc.ir.elementary.double.coefficients import (
    LOG,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    LOG_2,
    TWELFTH,
)
from aivmc.ir.emit import Emit, Scalar


def split(e: Emit, a: Pair) -> tuple[Scalar, Pair]:
    """A positive a as 2^k (1 + f), 1 + f in [sqrt 1/2, sqrt 2]: k and f.

    a_low may be large only where a_high is 1; it is 0 where a_high is subnormal.
    """
    high, low = a
    tiny = less(e, high, 2.0**-1022)
    normal = e.select(tiny, e.mul(high, f64(e, 2.0**54)), high)
    exponent, f = split_logarithm(e, normal)
    k = e.sub(exponent, e.select(tiny, f64(e, 54.0), f64(e, 0.0)))
    unit = power_of_two(e, e.neg(clamp(e, k, -1000.0, 1000.0)))
    return k, two_sum(e, f, e.mul(low, unit))


def log1p_of_fraction(e: Emit, f: Pair) -> Pair:
    """log(1 + f) = 2 atanh(s / 2) = s + s^3 (1/12 + s^2 LOG(s^2)), s = f / (1 + f/2), for f as
    :func:`split` gives it, with an error of some 2^-65."""
    f_high, f_low = f
    half = e.mul(f_high, f64(e, 0.5))
    high, low = fast_two_sum(e, f64(e, 1.0), half)
    s = divide(e, f, (high, e.fma(f_low, f64(e, 0.5), low)))
    square = multiply(e, s, s)
    square_high, square_low = square
    series = horner(e, LOG, square_high)
    product, error = two_product(e, square_high, series)
    twelfth_high, twelfth_low = constant_pair(e, TWELFTH)
    high, low = fast_two_sum(e, twelfth_high, product)
    low = e.add(low, e.add(error, e.fma(square_low, series, twelfth_low)))
    cubic_high, cubic_low = multiply(e, s, multiply(e, square, (high, low)))
    s_high, s_low = s
    high, low = fast_two_sum(e, s_high, cubic_high)
    return high, e.add(low, e.add(s_low, cubic_low))


def with_exponent(e: Emit, k: Scalar, unit: Pair, fraction: Pair) -> Pair:
    """k unit + fraction, where k times the first part of the unit is exact."""
    unit_high, unit_low = unit
    fraction_high, fraction_low = fraction
    high, low = fast_two_sum(e, e.mul(k, unit_high), fraction_high)
    return fast_two_sum(e, high, e.add(low, e.fma(k, unit_low, fraction_low)))


def log_pair(e: Emit, a: Pair) -> Pair:
    """log a, for a as :func:`split` takes it."""
    k, f = split(e, a)
    return with_exponent(e, k, constant_pair(e, LOG_2), log1p_of_fraction(e, f))


def log1p_pair(e: Emit, a: Pair) -> Pair:
    """log(1 + a) for a > -1."""
    a_high, a_low = a
    high, low = two_sum(e, f64(e, 1.0), a_high)
    return log_pair(e, (high, e.add(low, a_low)))


def log(e: Emit, x: Scalar) -> Scalar:
    """The natural logarithm."""
    return at_domain_edges(e, x, rounded(e, log_pair(e, (x, f64(e, 0.0)))), 0.0)


def log2(e: Emit, x: Scalar) -> Scalar:
    """k + log(1 + f) / log 2."""
    k, f = split(e, (x, f64(e, 0.0)))
    fraction = multiply(e, log1p_of_fraction(e, f), constant_pair(e, LOG2_E))
    whole = (f64(e, 1.0), f64(e, 0.0))
    return at_domain_edges(e, x, rounded(e, with_exponent(e, k, whole, fraction)), 0.0)


def log10(e: Emit, x: Scalar) -> Scalar:
    """k log10 2 + log(1 + f) / log 10."""
    k, f = split(e, (x, f64(e, 0.0)))
    fraction = multiply(e, log1p_of_fraction(e, f), constant_pair(e, LOG10_E))
    result = rounded(e, with_exponent(e, k, constant_pair(e, LOG10_2), fraction))
    return at_domain_edges(e, x, result, 0.0)


def log1p(e: Emit, x: Scalar) -> Scalar:
    """log(1 + x); log1p(-0) = -0."""
    result = rounded(e, log1p_pair(e, (x, f64(e, 0.0))))
    return at_domain_edges(e, x, with_sign_of(e, x, result), -1.0)
