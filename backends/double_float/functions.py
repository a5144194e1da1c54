"""Elementary functions on f32 by f32 arithmetic alone: each gives a result, and if it is decided.

A decided result is the correctly rounded one, as the definition's; others, NaN among them, mean
nothing. A result is decided where all numbers within a relative error of the computed pair round to
it. docs/double-float.md derives the errors; the exhaustive tests take all inputs.

e^y is 2^k e^r with an integer k, held as its sum with _ROUNDER, and |r| at most log(2)/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from aivmc.backends.double_float.arithmetic import (
    Pair,
    as_pair,
    product,
    quick_two_sum,
    quotient,
    rounded,
    scaled,
    two_product,
    two_sum,
)
from aivmc.backends.double_float.coefficients import (
    EXP_PAIRS,
    EXP_REST,
    GELU_CUBIC,
    GELU_LINEAR,
    LN_2,
    LN_2_PARTS,
    LOG2_E,
)
from aivmc.ir.elementary._common import (
    at_least,
    at_most,
    f32,
    greater,
    less,
    with_sign_of,
)
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

Decided = tuple[Scalar, Scalar]

EXP_ERROR = 1.5 * 2.0**-40
EXPM1_ERROR = 2.0**-38
GELU_ERROR = 1.5 * 2.0**-37

_ROUNDER = 1.5 * 2.0**23  # added to a number below 2^22, it leaves an integer as the low bits
_MANTISSA_BITS = 23
_NORMAL = -87.3  # above it e^x is a normal number
_LARGEST = float.fromhex("0x1.62e42ep+6")  # of which e^x is finite
_TINY = 2.0**-60  # from here on, x/2 and its rest are far from subnormal numbers


def exp(e: Emit, x: Scalar) -> Decided:
    """e^x."""
    k, r = _reduced(e, x)
    return _power_or_limit(e, x, k, _exp(e, r), zero=-104.0, normal=_NORMAL, largest=_LARGEST)


def exp2(e: Emit, x: Scalar) -> Decided:
    """2^x."""
    k = e.add(x, f32(e, _ROUNDER))
    fraction = e.sub(x, e.sub(k, f32(e, _ROUNDER)))
    m = _exp(e, scaled(e, as_pair(e, LN_2), fraction))
    return _power_or_limit(e, x, k, m, zero=-150.0, normal=-126.0, largest=128 - 2.0**-17)


def expm1(e: Emit, x: Scalar) -> Decided:
    """e^x - 1; x where it is small."""
    result, sure = rounded(e, _expm1(e, at_least(e, x, -25.0)), EXPM1_ERROR)
    sure = e.and_(sure, less(e, x, 88.0))
    small = less(e, e.abs(x), 2.0**-25)
    return e.select(small, x, result), e.or_(small, sure)


def tanh(e: Emit, x: Scalar) -> Decided:
    """-m / (2 + m), m = e^(-2|x|) - 1; x where it is small, and from 10 on 1."""
    m = _expm1(e, e.mul(at_most(e, e.abs(x), 10.0), f32(e, -2.0)))
    high, low = quick_two_sum(e, f32(e, 2.0), m[0])
    result, sure = rounded(e, quotient(e, m, (high, e.add(low, m[1]))), EXPM1_ERROR)
    small = less(e, e.abs(x), 2.0**-12)
    result = with_sign_of(e, x, e.abs(result))
    return e.select(small, x, result), e.or_(small, sure)


def sigmoid(e: Emit, x: Scalar) -> Decided:
    """1 / (1 + e^-x)."""
    k, r = _reduced(e, e.neg(at_most(e, e.abs(x), 88.0)))
    result, sure = _logistic(e, x, k, _exp(e, r), f32(e, 1.0), EXP_ERROR)
    return _zero_below(e, x, -104.0, result, e.and_(sure, greater(e, x, _NORMAL)))


def silu(e: Emit, x: Scalar) -> Decided:
    """x / (1 + e^-x)."""
    a = e.abs(x)
    k, r = _reduced(e, e.neg(at_most(e, a, 88.0)))
    result, sure = _logistic(e, x, k, _exp(e, r), a, EXP_ERROR)
    return _signed(e, x, *_zero_below(e, x, -109.0, result, e.and_(sure, greater(e, x, _NORMAL))))


def gelu_tanh(e: Emit, x: Scalar) -> Decided:
    """x / (1 + e^-y), y = 2 sqrt(2/pi) (x + 0.044715 x^3)."""
    a = e.abs(x)
    bounded = at_most(e, a, 10.0)
    cubic = product(e, two_product(e, bounded, bounded), as_pair(e, GELU_CUBIC))
    linear = as_pair(e, GELU_LINEAR)
    slope, rest = two_sum(e, cubic[0], linear[0])
    slope_pair = slope, e.add(rest, e.add(cubic[1], linear[1]))
    y, rest = scaled(e, slope_pair, e.neg(bounded))
    k, (high, low) = _reduced(e, y)
    m = _exp(e, two_sum(e, high, e.add(low, rest)))
    result, sure = _logistic(e, x, k, m, a, GELU_ERROR)
    return _signed(e, x, *_zero_below(e, x, -10.8, result, e.and_(sure, greater(e, x, -10.0))))


FUNCTIONS: dict[str, Callable[[Emit, Scalar], Decided]] = {
    function.__name__: function for function in (exp, exp2, expm1, tanh, sigmoid, silu, gelu_tanh)
}
"""By name, as in :data:`aivmc.ir.elementary.ELEMENTARY`."""


def _reduced(e: Emit, y: Scalar) -> tuple[Scalar, Pair]:
    """k and r of ``y``, |y| < 128: k times each of the first two parts is exact, and so are the
    differences with them."""
    k = e.fma(y, f32(e, LOG2_E), f32(e, _ROUNDER))
    minus_k = e.sub(f32(e, _ROUNDER), k)
    first, second, third = (f32(e, part) for part in LN_2_PARTS)
    most = e.fma(minus_k, first, y)
    high = e.fma(minus_k, second, most)
    low = e.fma(minus_k, second, e.sub(most, high))
    return k, (high, e.fma(minus_k, third, low))


def _exp(e: Emit, r: Pair) -> Pair:
    """e^r."""
    return _step(e, _slope(e, r), r, (1.0, 0.0))


def _slope(e: Emit, r: Pair) -> Pair:
    """(e^r - 1) / r, by Horner's rule: the coefficients that matter little in f32, at the last of
    which the rounding of the sum is kept."""
    p = f32(e, EXP_REST[-1])
    for c in reversed(EXP_REST[:-1]):
        p = e.fma(p, r[0], f32(e, c))
    third, fourth, fifth = EXP_PAIRS
    high, low = quick_two_sum(e, f32(e, fifth[0]), e.mul(p, r[0]))
    pair = high, e.add(low, f32(e, fifth[1]))
    for coefficient in (fourth, third, (0.5, 0.0), (1.0, 0.0)):
        pair = _step(e, pair, r, coefficient)
    return pair


def _step(e: Emit, p: Pair, r: Pair, c: tuple[float, float]) -> Pair:
    """c + p r, where c is the larger."""
    high, low = product(e, p, r)
    total, rest = quick_two_sum(e, f32(e, c[0]), high)
    low = e.add(rest, low)
    return total, e.add(low, f32(e, c[1])) if c[1] else low


def _power(e: Emit, k: Scalar) -> Scalar:
    """2^k for -126 <= k < 128; 0 for k = -127, infinity for k = 128."""
    return _times_power(e, f32(e, 1.0), k)


def _times_power(e: Emit, x: Scalar, k: Scalar) -> Scalar:
    """``x`` 2^k where both are normal numbers, by adding to the exponent."""
    shift = e.const(_MANTISSA_BITS, DType.U32)
    exponent = e.shl(e.bitcast(k, DType.U32), shift)
    return e.bitcast(e.add(e.bitcast(x, DType.U32), exponent), DType.F32)


def _expm1(e: Emit, y: Scalar) -> Pair:
    """e^y - 1 = 2^k (e^r - 1) + (2^k - 1), relatively near around 0 too."""
    k, r = _reduced(e, y)
    power = _power(e, k)
    high, low = product(e, _slope(e, r), r)
    less_one, rest = two_sum(e, power, f32(e, -1.0))
    total, lost = quick_two_sum(e, less_one, e.mul(power, high))
    return total, e.fma(power, low, e.add(lost, rest))


def _power_or_limit(
    e: Emit, x: Scalar, k: Scalar, m: Pair, zero: float, normal: float, largest: float
) -> Decided:
    """``m`` 2^k above ``normal``, infinity above ``largest``, 0 below ``zero``."""
    result, sure = rounded(e, m, EXP_ERROR)
    too_large = greater(e, x, largest)
    result = e.select(too_large, f32(e, math.inf), _times_power(e, result, k))
    sure = e.or_(e.and_(sure, greater(e, x, normal)), too_large)
    return _zero_below(e, x, zero, result, sure)


def _zero_below(e: Emit, x: Scalar, bound: float, result: Scalar, sure: Scalar) -> Decided:
    below = less(e, x, bound)
    return e.select(below, f32(e, 0.0), result), e.or_(below, sure)


def _logistic(e: Emit, x: Scalar, k: Scalar, m: Pair, factor: Scalar, error: float) -> Decided:
    """``factor`` / (1 + p), p = ``m`` 2^k at most 1; for x < 0 ``factor`` p / (1 + p), where its
    power of two comes last."""
    power, negative = _power(e, k), less(e, x, 0.0)
    high, low = quick_two_sum(e, f32(e, 1.0), e.mul(power, m[0]))
    denominator = high, e.fma(power, m[1], low)
    of_negative = scaled(e, m, factor)
    numerator = (
        e.select(negative, of_negative[0], factor),
        e.select(negative, of_negative[1], f32(e, 0.0)),
    )
    result, sure = rounded(e, quotient(e, numerator, denominator), error)
    return e.mul(result, e.select(negative, power, f32(e, 1.0))), sure


def _signed(e: Emit, x: Scalar, result: Scalar, sure: Scalar) -> Decided:
    """``result`` with the sign of ``x``; a tiny ``x`` that isn't 0 may make a tie."""
    apart = e.or_(greater(e, e.abs(x), _TINY), e.eq(x, f32(e, 0.0)))
    return with_sign_of(e, x, result), e.and_(apart, sure)
