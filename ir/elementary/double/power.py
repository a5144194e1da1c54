"""rsqrt and pow on f64."""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import clamp, f64, less, like, with_sign_of
from aivmc.ir.elementary.double._arithmetic import (
    divide,
    fast_two_sum,
    rounded,
    scale,
    square_root,
    times,
)
from aivmc.ir.elementary.double.exponential import exp_pair
from aivmc.ir.elementary.double.logarithmic import log_pair
from aivmc.ir.elementary.power import with_cases_of_pow
from aivmc.ir.emit import Emit, Scalar

_POW_HUGE_EXPONENT = 2.0**65  # overflows or underflows every base but 1, and is even
_POW_BOUND = 800.0  # e^800 is infinity and e^-800 is 0


def rsqrt(e: Emit, x: Scalar) -> Scalar:
    """1 / sqrt(x); +-infinity at +-0."""
    small = less(e, x, 2.0**-900)
    zero = f64(e, 0.0)
    scaled = e.select(small, e.mul(x, f64(e, 2.0**200)), x)
    root = square_root(e, (scaled, zero))
    inverse = rounded(e, divide(e, (f64(e, 1.0), zero), root))
    result = e.mul(inverse, e.select(small, f64(e, 2.0**100), f64(e, 1.0)))
    result = e.select(e.eq(x, zero), with_sign_of(e, x, like(e, x, math.inf)), result)
    result = e.select(e.eq(x, like(e, x, math.inf)), zero, result)
    return e.select(e.le(zero, x), result, like(e, x, math.nan))


def power_of_magnitude(e: Emit, magnitude: Scalar, y: Scalar) -> Scalar:
    """magnitude^y for a positive finite one."""
    exponent = clamp(e, y, -_POW_HUGE_EXPONENT, _POW_HUGE_EXPONENT)
    high, low = times(e, log_pair(e, (magnitude, f64(e, 0.0))), exponent)
    bounded = clamp(e, high, -_POW_BOUND, _POW_BOUND)
    low = e.select(e.eq(bounded, high), low, f64(e, 0.0))
    k, power = exp_pair(e, fast_two_sum(e, bounded, low))
    return scale(e, rounded(e, power), k)


def pow(e: Emit, x: Scalar, y: Scalar) -> Scalar:
    """x^y = e^(y log |x|), with the special cases of the function on f32."""
    magnitude = e.abs(x)
    zero = e.eq(magnitude, f64(e, 0.0))
    extreme = e.or_(zero, e.eq(magnitude, f64(e, math.inf)))
    at_extreme = e.select(e.xor(zero, less(e, y, 0.0)), f64(e, 0.0), f64(e, math.inf))
    power = e.select(extreme, at_extreme, power_of_magnitude(e, magnitude, y))
    return with_cases_of_pow(e, x, y, magnitude, power)
