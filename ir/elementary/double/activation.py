"""sigmoid, silu, softplus, mish, erf, gelu, gelu_tanh on f64, each as one function.

At -infinity silu, both gelus and mish give -0.
"""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    at_most,
    f64,
    greater,
    horner,
    less,
    nan_where_nan,
    with_sign_of,
)
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    divide,
    fast_two_sum,
    multiply,
    rounded,
    scale,
    select_pair,
    times,
    two_product,
    two_sum,
)
from aivmc.ir.elementary.double.coefficients import (
    ERF,
    GAUSS_TAIL,
    GELU_CUBIC,
    GELU_LINEAR,
)
from aivmc.ir.elementary.double.exponential import exp_pair
from aivmc.ir.elementary.double.logarithmic import log1p_pair
from aivmc.ir.emit import Emit, Scalar

_BOUND = 800.0  # e^-800 is 0, however large a factor it has here
_ONE_FROM = 40.0  # 1 + e^-40 is 1
_GELU_TANH_BOUND = 22.0  # 2 u there is some 795
_GELU_BOUND = 40.0  # its square is 1600
_ERF_IS_ONE = 6.0


def logistic(e: Emit, x: Scalar, a: Pair) -> tuple[Scalar, Pair]:
    """k and s with 2^k s = 1 / (1 + e^-a) for x >= 0, else 1 / (1 + e^a), for a within 800."""
    a_high, a_low = a
    k, power = exp_pair(e, (e.neg(a_high), e.neg(a_low)))
    u = scale_pair(e, power, k)
    u_high, u_low = u
    one, zero = f64(e, 1.0), f64(e, 0.0)
    high, low = fast_two_sum(e, one, u_high)
    negative = less(e, x, 0.0)
    numerator = select_pair(e, negative, power, (one, zero))
    return e.select(negative, k, zero), divide(e, numerator, (high, e.add(low, u_low)))


def scale_pair(e: Emit, a: Pair, k: Scalar) -> Pair:
    """a 2^k; the second part may lose bits to underflow."""
    high, low = a
    return scale(e, high, k), scale(e, low, k)


def weighted(e: Emit, x: Scalar, bounded: Scalar, k: Scalar, weight: Pair) -> Scalar:
    """|x| 2^k weight with the sign of x, given |x| with a bound; x itself from 40 on."""
    result = with_sign_of(e, x, scale(e, rounded(e, times(e, weight, bounded)), k))
    return nan_where_nan(e, x, e.select(greater(e, x, _ONE_FROM), x, result))


def sigmoid(e: Emit, x: Scalar) -> Scalar:
    """1 / (1 + e^-x)."""
    bounded = at_most(e, e.abs(x), _BOUND)
    k, s = logistic(e, x, (bounded, f64(e, 0.0)))
    return nan_where_nan(e, x, scale(e, rounded(e, s), k))


def silu(e: Emit, x: Scalar) -> Scalar:
    """x / (1 + e^-x)."""
    bounded = at_most(e, e.abs(x), _BOUND)
    k, s = logistic(e, x, (bounded, f64(e, 0.0)))
    return weighted(e, x, bounded, k, s)


def gelu_tanh(e: Emit, x: Scalar) -> Scalar:
    """x (1 + tanh(u)) / 2 = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    a = at_most(e, e.abs(x), _GELU_TANH_BOUND)
    cubic = multiply(e, two_product(e, a, a), constant_pair(e, GELU_CUBIC))
    cubic_high, cubic_low = cubic
    linear_high, linear_low = constant_pair(e, GELU_LINEAR)
    high, low = two_sum(e, linear_high, cubic_high)
    slope = (high, e.add(low, e.add(linear_low, cubic_low)))
    k, s = logistic(e, x, times(e, slope, a))
    return weighted(e, x, at_most(e, e.abs(x), _ONE_FROM), k, s)


def softplus(e: Emit, x: Scalar) -> Scalar:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    bounded = at_most(e, e.abs(x), _BOUND)
    k, power = exp_pair(e, (e.neg(bounded), f64(e, 0.0)))
    log_high, log_low = log1p_pair(e, scale_pair(e, power, k))
    positive = e.select(greater(e, x, 0.0), bounded, f64(e, 0.0))
    high, low = two_sum(e, positive, log_high)
    result = e.add(high, e.add(low, log_low))
    return nan_where_nan(e, x, e.select(greater(e, x, _ONE_FROM), x, result))


def mish(e: Emit, x: Scalar) -> Scalar:
    """x tanh(log(1 + e^x)) = x n / d; with u = e^-|x|, n = 1 + 2 u and d = n + 2 u^2 for x >= 0,
    else n = u (2 + u) and d = n + 2."""
    bounded = at_most(e, e.abs(x), _BOUND)
    k, power = exp_pair(e, (e.neg(bounded), f64(e, 0.0)))
    u = scale_pair(e, power, k)
    u_high, u_low = u
    square_high, square_low = multiply(e, u, u)
    two = f64(e, 2.0)
    high, low = fast_two_sum(e, f64(e, 1.0), e.add(u_high, u_high))
    n = (high, e.fma(two, u_low, low))
    n_high, n_low = n
    high, low = fast_two_sum(e, n_high, e.add(square_high, square_high))
    d = (high, e.add(low, e.fma(two, square_low, n_low)))
    high, low = fast_two_sum(e, two, u_high)
    shifted = (high, e.add(low, u_low))
    other_n = multiply(e, power, shifted)
    n_high, n_low = multiply(e, u, shifted)
    high, low = fast_two_sum(e, two, n_high)
    other_d = (high, e.add(low, n_low))
    negative = less(e, x, 0.0)
    ratio = divide(e, select_pair(e, negative, other_n, n), select_pair(e, negative, other_d, d))
    return weighted(e, x, bounded, e.select(negative, k, f64(e, 0.0)), ratio)


def gauss_tail(e: Emit, t: Scalar, half_square: Pair) -> tuple[Scalar, Pair]:
    """k and p with erfc(t / sqrt 2) / 2 = 2^k p, given t >= 0 and t^2 / 2: e^(-t^2/2) times
    GAUSS_TAIL at (t - 4) / (t + 4) = 2 t / (t + 4) - 1, over 1 + t."""
    square_high, square_low = half_square
    k, power = exp_pair(e, (e.neg(square_high), e.neg(square_low)))
    part = e.div(t, e.add(t, f64(e, 4.0)))
    q = e.sub(e.add(part, part), f64(e, 1.0))
    series = fast_two_sum(e, f64(e, GAUSS_TAIL[0]), e.mul(q, horner(e, GAUSS_TAIL[1:], q)))
    return k, divide(e, multiply(e, power, series), two_sum(e, f64(e, 1.0), t))


def erf(e: Emit, x: Scalar) -> Scalar:
    """x + x ERF(x^2) up to 3/4, 1 - 2 erfc(|x|) / 2 beyond."""
    a = at_most(e, e.abs(x), _ERF_IS_ONE)
    square, error = two_product(e, a, a)
    k, tail = gauss_tail(e, e.mul(a, f64(e, math.sqrt(2))), (square, error))
    tail_high, tail_low = scale_pair(e, tail, e.add(k, f64(e, 1.0)))
    high, low = fast_two_sum(e, f64(e, 1.0), e.neg(tail_high))
    near_one = e.add(high, e.sub(low, tail_low))
    result = e.select(greater(e, a, 0.75), near_one, e.fma(a, horner(e, ERF, square), a))
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def gelu(e: Emit, x: Scalar) -> Scalar:
    """x (1 + erf(x / sqrt 2)) / 2: x times the tail for x < 0, else x times 1 less the tail."""
    bounded = at_most(e, e.abs(x), _GELU_BOUND)
    square, error = two_product(e, bounded, bounded)
    half = f64(e, 0.5)
    k, tail = gauss_tail(e, bounded, (e.mul(half, square), e.mul(half, error)))
    tail_high, tail_low = scale_pair(e, tail, k)
    high, low = fast_two_sum(e, f64(e, 1.0), e.neg(tail_high))
    negative = less(e, x, 0.0)
    weight = select_pair(e, negative, tail, (high, e.sub(low, tail_low)))
    return weighted(e, x, bounded, e.select(negative, k, f64(e, 0.0)), weight)
