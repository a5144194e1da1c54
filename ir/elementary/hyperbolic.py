"""sinh, cosh, tanh and their inverses: correctly rounded."""

from __future__ import annotations

import math

from aivmc.ir.elementary._common import (
    LOG2_E,
    at_most,
    exp2_of_product,
    exp2m1_of_product,
    f32,
    f64,
    log1p_of,
    nan,
    nan_where_nan,
    patch,
    patch_odd,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import EXP2M1_9, EXP2M1_10
from aivmc.ir.emit import Emit, Scalar

_SINH_PATCHES = {0x3A1285FF: 0x3A1285FF}
_ASINH_PATCHES = {0x4BDD65A5: 0x418F034B, 0x655890D3: 0x4254D1F9, 0x6EB1A8EC: 0x42845A89}
_ACOSH_PATCHES = {0x655890D3: 0x4254D1F9, 0x6EB1A8EC: 0x42845A89}


def sinh(e: Emit, x: Scalar) -> Scalar:
    """(m + m / (m + 1)) / 2 with m = e^|x| - 1."""
    a = to_f64(e, at_most(e, e.abs(x), 90.0))
    m = exp2m1_of_product(e, a, LOG2_E, EXP2M1_10)
    total = e.add(m, e.div(m, e.add(m, f64(e, 1.0))))
    result = patch_odd(e, x, to_f32(e, e.mul(f64(e, 0.5), total)), _SINH_PATCHES)
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def cosh(e: Emit, x: Scalar) -> Scalar:
    """(p + 1 / p) / 2 with p = e^|x|."""
    a = to_f64(e, at_most(e, e.abs(x), 90.0))
    power = exp2_of_product(e, a, LOG2_E)
    total = e.add(power, e.div(f64(e, 1.0), power))
    return nan_where_nan(e, x, to_f32(e, e.mul(f64(e, 0.5), total)))


def tanh(e: Emit, x: Scalar) -> Scalar:
    """m / (m + 2) with m = e^(2|x|) - 1; from 10 on the result is 1."""
    a = to_f64(e, at_most(e, e.abs(x), 10.0))
    m = exp2m1_of_product(e, a, 2 * LOG2_E, EXP2M1_9)
    result = to_f32(e, e.div(m, e.add(m, f64(e, 2.0))))
    return nan_where_nan(e, x, with_sign_of(e, x, result))


def asinh(e: Emit, x: Scalar) -> Scalar:
    """log1p(a + a^2 / (1 + sqrt(a^2 + 1))), a = |x|."""
    magnitude = e.abs(x)
    a = to_f64(e, magnitude)
    square = e.mul(a, a)
    root = e.sqrt(e.add(square, f64(e, 1.0)))
    y = log1p_of(e, e.add(a, e.div(square, e.add(f64(e, 1.0), root))))
    result = with_sign_of(e, x, patch_odd(e, x, to_f32(e, y), _ASINH_PATCHES))
    result = e.select(e.eq(magnitude, f32(e, math.inf)), x, result)
    return nan_where_nan(e, x, result)


def acosh(e: Emit, x: Scalar) -> Scalar:
    """log1p(d + sqrt(d (d + 2))), d = x - 1; NaN below 1."""
    d = e.sub(to_f64(e, x), f64(e, 1.0))
    root = e.sqrt(e.mul(d, e.add(d, f64(e, 2.0))))
    result = patch(e, x, to_f32(e, log1p_of(e, e.add(d, root))), _ACOSH_PATCHES)
    result = e.select(e.eq(x, f32(e, math.inf)), x, result)
    return e.select(e.le(f32(e, 1.0), x), result, nan(e))


def atanh(e: Emit, x: Scalar) -> Scalar:
    """log1p(2 a / (1 - a)) / 2, a = |x|; infinite at 1, NaN beyond."""
    magnitude = e.abs(x)
    a = to_f64(e, magnitude)
    y = log1p_of(e, e.div(e.add(a, a), e.sub(f64(e, 1.0), a)))
    result = to_f32(e, e.mul(f64(e, 0.5), y))
    result = e.select(e.eq(magnitude, f32(e, 1.0)), f32(e, math.inf), result)
    return e.select(e.le(magnitude, f32(e, 1.0)), with_sign_of(e, x, result), nan(e))
