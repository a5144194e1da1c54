"""exp, exp2, expm1: correctly rounded."""

from __future__ import annotations

from aivmc.ir.elementary._common import (
    LOG2_E,
    ROUNDER,
    clamp,
    exp2_by_eighths,
    exp2m1_of_product,
    f64,
    horner,
    nan_where_nan,
    one_nan_of_positive,
    patch,
    scale_by_power_of_two,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import EXP2, EXP2M1_10
from aivmc.ir.emit import Emit, Scalar

_EXP2_PATCHES = {0x3B429D37: 0x3F804385, 0xBCF3A937: 0x3F7AC6B1}


def exp(e: Emit, x: Scalar) -> Scalar:
    """e^x. Beyond the bounds the result is 0 or infinity, as at them."""
    y = to_f64(e, clamp(e, x, -104.5, 89.0))
    return one_nan_of_positive(e, to_f32(e, exp2_by_eighths(e, y, LOG2_E)))


def exp2(e: Emit, x: Scalar) -> Scalar:
    """2^x; no rounding in the reduction."""
    y = to_f64(e, clamp(e, x, -151.0, 129.0))
    k = e.add(y, f64(e, ROUNDER))
    r = e.sub(y, e.sub(k, f64(e, ROUNDER)))
    result = to_f32(e, scale_by_power_of_two(e, horner(e, EXP2, r), k))
    return nan_where_nan(e, x, patch(e, x, result, _EXP2_PATCHES))


def expm1(e: Emit, x: Scalar) -> Scalar:
    """e^x - 1; below -20 the result is -1."""
    y = to_f64(e, clamp(e, x, -20.0, 89.0))
    result = to_f32(e, exp2m1_of_product(e, y, LOG2_E, EXP2M1_10))
    return nan_where_nan(e, x, with_sign_of(e, x, result))
