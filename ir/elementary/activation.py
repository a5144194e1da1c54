"""sigmoid, silu, softplus, mish, erf, gelu, gelu_tanh: correctly rounded, each as one function.

At -infinity silu, both gelus and mish give -0.
"""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    LN_2,
    LOG2_E,
    at_least,
    at_most,
    clamp,
    exp2_by_eighths,
    exp2_of_product,
    f32,
    f64,
    greater,
    horner,
    horner_by_parity,
    less,
    nan_where_nan,
    patch,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import ATANH, ERF, EXP2_SIGMOID, GELU_TAIL
from aivmc.ir.emit import Emit, Scalar

# 1, a little away from it on the side that breaks the exact ties of 1/2 + x/4 the right way.
_ONE_ABOVE = float.fromhex("0x1.0000000000003p+0")
_ONE_BELOW = float.fromhex("0x1.ffffffffffffcp-1")
_SQRT_2_MINUS_1 = 0.41421356
_ERF_IS_ONE = 3.9375
_GELU_BOUND = 14.5
_GELU_TANH_BOUND = 12.0
_GELU_TANH_SLOPE = 2 * LOG2_E * math.sqrt(2 / math.pi)
_SOFTPLUS_PATCHES = {0x39EA41D0: 0x3F3180BD}
_GELU_PATCHES = {0x37B0A46F: 0x3730A531}
_GELU_TANH_PATCHES = {0xB7B0A46F: 0xB730A3AD}


def sigmoid(e: Emit, x: Scalar) -> Scalar:
    """1 / (1 + e^-x)."""
    y = to_f64(e, clamp(e, x, -104.5, 40.0))
    one = e.select(greater(e, x, 0.0), f64(e, _ONE_ABOVE), f64(e, _ONE_BELOW))
    power = exp2_of_product(e, y, -LOG2_E, EXP2_SIGMOID)
    return nan_where_nan(e, x, to_f32(e, e.div(f64(e, 1.0), e.add(one, power))))


def silu(e: Emit, x: Scalar) -> Scalar:
    """x / (1 + e^-x)."""
    bounded = at_least(e, x, -120.0)
    power = exp2_of_product(e, to_f64(e, at_most(e, bounded, 40.0)), -LOG2_E)
    return nan_where_nan(e, x, _x_over_one_plus(e, x, bounded, power))


def gelu_tanh(e: Emit, x: Scalar) -> Scalar:
    """x (1 + tanh(u)) / 2 = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    bounded = at_least(e, x, -_GELU_TANH_BOUND)
    y = to_f64(e, at_most(e, bounded, _GELU_TANH_BOUND))
    cubic, linear = f64(e, 0.044715 * _GELU_TANH_SLOPE), f64(e, _GELU_TANH_SLOPE)
    slope = e.fma(e.mul(y, y), cubic, linear)
    power = exp2_of_product(e, e.mul(y, slope), -1.0)
    result = _x_over_one_plus(e, x, bounded, power)
    return nan_where_nan(e, x, patch(e, x, result, _GELU_TANH_PATCHES))


def _x_over_one_plus(e: Emit, x: Scalar, bounded: Scalar, power: Scalar) -> Scalar:
    """``bounded / (1 + power)`` rounded.

    Where x is so small that the power rounds to 1, x/2 may be a tie among subnormals; 1 is then
    moved by 2^-50 so that it breaks as the exact value does.
    """
    nudge = e.select(less(e, e.abs(x), 2.0**-60), f32(e, 2.0**-50), f32(e, 0.0))
    one = e.sub(f64(e, 1.0), to_f64(e, with_sign_of(e, x, nudge)))
    return to_f32(e, e.div(to_f64(e, bounded), e.add(one, power)))


def softplus(e: Emit, x: Scalar) -> Scalar:
    """log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x|, by atanh of u/(u+2) or (u-1)/(u+3)."""
    u = exp2_of_product(e, to_f64(e, at_most(e, e.abs(x), 104.5)), -LOG2_E)
    large = greater(e, u, _SQRT_2_MINUS_1)
    numerator = e.select(large, e.sub(u, f64(e, 1.0)), u)
    denominator = e.add(u, e.select(large, f64(e, 3.0), f64(e, 2.0)))
    s = e.div(numerator, denominator)
    series = e.mul(e.add(s, s), horner(e, ATANH, e.mul(s, s)))
    positive = to_f64(e, e.select(greater(e, x, 0.0), x, f32(e, 0.0)))
    base = e.add(positive, e.select(large, f64(e, LN_2), f64(e, 0.0)))
    result = patch(e, x, to_f32(e, e.add(base, series)), _SOFTPLUS_PATCHES)
    return nan_where_nan(e, x, result)


def mish(e: Emit, x: Scalar) -> Scalar:
    """x tanh(log(1 + e^x)) = x n / (n + 2), n = e^x (e^x + 2)."""
    bounded = at_least(e, x, -120.0)
    power = exp2_of_product(e, to_f64(e, at_most(e, bounded, 40.0)), LOG2_E)
    n = e.mul(power, e.add(power, f64(e, 2.0)))
    quotient = e.div(e.mul(to_f64(e, bounded), n), e.add(n, f64(e, 2.0)))
    return nan_where_nan(e, x, to_f32(e, quotient))


def erf(e: Emit, x: Scalar) -> Scalar:
    """2 / sqrt(pi) times the integral of e^-t^2 from 0 to x; odd."""
    a = to_f64(e, at_most(e, e.abs(x), _ERF_IS_ONE))
    scale = 2 / _ERF_IS_ONE**2
    u = e.fma(e.mul(a, a), f64(e, scale), f64(e, -1.0))
    result = to_f32(e, e.mul(a, horner_by_parity(e, ERF, u)))
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def gelu(e: Emit, x: Scalar) -> Scalar:
    """x (1 + erf(x / sqrt 2)) / 2, through q = e^(-a^2/2) g((a-4)/(a+4)), the tail at a = |x|."""
    a = to_f64(e, at_most(e, e.abs(x), _GELU_BOUND))
    power = exp2_by_eighths(e, e.mul(a, a), -0.5 * LOG2_E)
    t = e.div(e.sub(a, f64(e, 4.0)), e.add(a, f64(e, 4.0)))
    tail = e.mul(power, horner_by_parity(e, GELU_TAIL, t))
    weight = e.select(greater(e, x, 0.0), e.sub(f64(e, 1.0), tail), tail)
    bounded = to_f64(e, at_least(e, x, -_GELU_BOUND))
    result = to_f32(e, e.mul(bounded, weight))
    return nan_where_nan(e, x, patch(e, x, result, _GELU_PATCHES))
