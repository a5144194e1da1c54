"""exp, exp2, expm1 on f64."""

from __future__ import annotations

from aivmc.ir.elementary._common import (
    ROUNDER,
    at_most,
    clamp,
    f64,
    horner,
    nan_where_nan,
    with_sign_of,
)
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    fast_two_sum,
    power_of_two,
    rounded,
    scale,
    times,
    two_sum,
)
from aivmc.ir.elementary.double.coefficients import EXP, LOG2_E, LOG_2
from aivmc.ir.emit import Emit, Scalar


def exp_reduce(e: Emit, a: Pair) -> tuple[Scalar, Pair]:
    """k and r with a = k log 2 + r, |r| <= log 2 / 2, for a within +-2000."""
    high, low = a
    k = e.sub(e.fma(high, f64(e, LOG2_E[0]), f64(e, ROUNDER)), f64(e, ROUNDER))
    log_2_high, log_2_low = constant_pair(e, LOG_2)
    minus = e.neg(k)
    return k, fast_two_sum(e, e.fma(minus, log_2_high, high), e.fma(minus, log_2_low, low))


def exp_tail(e: Emit, r: Pair) -> Scalar:
    """e^r - 1 - r_high for |r| <= log 2 / 2, as one f64."""
    high, low = r
    linear = e.fma(low, high, low)
    return e.fma(e.mul(high, high), horner(e, EXP, high), linear)


def exp_of_reduced(e: Emit, r: Pair) -> Pair:
    """e^r for |r| <= log 2 / 2, with an error of some 2^-56."""
    r_high, _ = r
    high, low = fast_two_sum(e, f64(e, 1.0), r_high)
    return fast_two_sum(e, high, e.add(low, exp_tail(e, r)))


def exp_pair(e: Emit, a: Pair) -> tuple[Scalar, Pair]:
    """k and p with e^a = 2^k p."""
    k, r = exp_reduce(e, a)
    return k, exp_of_reduced(e, r)


def expm1_pair(e: Emit, x: Scalar) -> tuple[Scalar, Pair]:
    """k and m with e^x - 1 = 2^k m, m = (1 - 2^-k) + (e^r - 1), for x from -700 on."""
    k, r = exp_reduce(e, (x, f64(e, 0.0)))
    r_high, _ = r
    unit = power_of_two(e, e.neg(at_most(e, k, 1000.0)))
    one, one_low = two_sum(e, f64(e, 1.0), e.neg(unit))
    high, low = fast_two_sum(e, one, r_high)
    return k, fast_two_sum(e, high, e.add(low, e.add(one_low, exp_tail(e, r))))


def exp(e: Emit, x: Scalar) -> Scalar:
    """e^x. Beyond the bounds the result is 0 or infinity, as at them."""
    k, power = exp_pair(e, (clamp(e, x, -746.0, 710.0), f64(e, 0.0)))
    return nan_where_nan(e, x, scale(e, rounded(e, power), k))


def exp2(e: Emit, x: Scalar) -> Scalar:
    """2^k e^(r log 2), x = k + r."""
    bounded = clamp(e, x, -1076.0, 1025.0)
    k = e.sub(e.add(bounded, f64(e, ROUNDER)), f64(e, ROUNDER))
    high, low = times(e, constant_pair(e, LOG_2), e.sub(bounded, k))
    power = exp_of_reduced(e, fast_two_sum(e, high, low))
    return nan_where_nan(e, x, scale(e, rounded(e, power), k))


def expm1(e: Emit, x: Scalar) -> Scalar:
    """e^x - 1; below -40 the result is -1."""
    k, difference = expm1_pair(e, clamp(e, x, -40.0, 710.0))
    result = scale(e, rounded(e, difference), k)
    return nan_where_nan(e, x, with_sign_of(e, x, result))
