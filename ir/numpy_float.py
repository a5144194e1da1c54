"""Exact float arithmetic on NumPy arrays: fused multiply-add and conversions, rounded once.

Built from IEEE +, -, * alone, so that the bits do not depend on the processor, the operating
system or the NumPy version. *Round to odd* (an inexact result takes the neighbour whose last bit
is 1) keeps in the last bit whether anything was lost: rounding such a value again, to at least
two bits fewer, equals rounding the exact value once (Boldo and Melquiond, "Emulation of FMA and
correctly rounded sums", 2008).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from aivmc.ir.types import DType

Array: TypeAlias = Any  # an ndarray of any rank, or the NumPy scalar that its operations give

_SPLITTER = 2.0**27 + 1
_UINT = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def fma_f32(a: Array, b: Array, c: Array) -> Array:
    """``a * b + c`` rounded once; the f64 product of two f32 is exact."""
    product = np.multiply(a, b, dtype=np.float64)
    return _add_to_odd(product, c.astype(np.float64)).astype(np.float32)


def fma_f64(a: Array, b: Array, c: Array) -> Array:
    """``a * b + c`` rounded once, for every input."""
    a, b, c = np.broadcast_arrays(a, b, c)
    product = a * b
    # A zero product is exact, and one with an infinite or NaN factor follows IEEE as it stands.
    exact_product = (a == 0) | (b == 0) | ~(np.isfinite(a) & np.isfinite(b))
    result = np.where(exact_product, product + c, _fma_by_splitting(a, b, c))
    result = np.where(~exact_product & ~np.isfinite(c), c, result)
    in_range = (_between(product, 2.0**-900, 2.0**900)) & _between(a, 0, 2.0**900)
    in_range &= _between(b, 0, 2.0**900) & _between(c, 0, 2.0**900)
    return _patch_exactly(result, a, b, c, ~(exact_product | in_range) & np.isfinite(c))


def _between(x: Array, low: float, high: float) -> Array:
    return (np.abs(x) >= low) & (np.abs(x) <= high)


def _fma_by_splitting(a: Array, b: Array, c: Array) -> Array:
    """Boldo-Melquiond; right where no step overflows and the product's error is representable."""
    high, low = _two_product(a, b)
    mid, last = _two_sum(c, low)
    total, rest = _two_sum(high, mid)
    return total + _add_to_odd(last, rest)


def _patch_exactly(result: Array, a: Array, b: Array, c: Array, where: Array) -> Array:
    """``result`` with the elements at ``where`` computed in exact rational arithmetic."""
    if not np.any(where):
        return result
    result = np.array(result)
    for i in np.flatnonzero(where):
        exact = Fraction(float(a.flat[i])) * Fraction(float(b.flat[i])) + Fraction(float(c.flat[i]))
        # No product here is zero, so an exact zero comes of cancellation and is +0.
        result.flat[i] = _nearest_f64(exact)
    return result


def _nearest_f64(exact: Fraction) -> float:
    try:
        return float(exact)  # int / int is correctly rounded
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Knuth: ``a + b`` rounded, and its exact error."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Dekker: ``a * b`` rounded, and its exact error."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _split(a: Array) -> tuple[Array, Array]:
    """Veltkamp: 26 high bits and the rest."""
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def _add_to_odd(a: Array, b: Array) -> Array:
    """``a + b`` in f64, rounded to odd."""
    return _to_odd(*_two_sum(a, b))


def _to_odd(nearest: Array, error: Array) -> Array:
    """The round-to-odd value of ``nearest + error``, where ``nearest`` is that sum rounded."""
    bits = np.asarray(nearest).view(_UINT[nearest.dtype.itemsize])
    one = bits.dtype.type(1)
    away_from_zero = (error > 0) == ~np.signbit(nearest)
    stepped = np.where(away_from_zero, bits + one, bits - one)
    sticky = np.isfinite(nearest) & (error != 0) & ((bits & one) == 0)
    return np.where(sticky, stepped, bits).view(nearest.dtype)


def integer_to_float(x: Array, dtype: DType) -> Array:
    """Nearest even, one rounding, from any integer array NumPy itself holds."""
    if x.dtype.itemsize < 8:
        return narrow_float(x.astype(np.float64), dtype)
    high = (x >> x.dtype.type(32)).astype(np.float64) * 2.0**32
    low = (x & x.dtype.type(0xFFFFFFFF)).astype(np.float64)
    if dtype is DType.F64:
        return high + low
    return narrow_float(_add_to_odd(high, low), dtype)


def narrow_float(x: Array, dtype: DType) -> Array:
    """An f64 array rounded once, nearest even, to ``dtype``; NaN is 0 where there is none."""
    if dtype in (DType.F64, DType.F32):
        return x.astype(dtype.numpy)
    if dtype is DType.F8E8M0:
        return _power_of_two(x)
    if dtype is DType.F4E2M1:
        x = np.where(np.isnan(x), 0.0, x)
    nearest = x.astype(np.float32)
    return _to_odd(nearest, x - nearest.astype(np.float64)).astype(dtype.numpy)


def _power_of_two(x: Array) -> Array:
    """f64 to f8e8m0: the nearest of 2^-127 ... 2^127, ties up; NaN for what is not above zero or
    rounds beyond. (ml_dtypes rounds all between the two least up.)"""
    fraction, exponent = np.frexp(x)  # the fraction is at least 1/2 and less than 1
    code = np.maximum(exponent - 1 + (fraction >= 0.75) + 127, 0)
    good = (x > 0) & np.isfinite(x) & (code < 0xFF)
    return np.where(good, code, 0xFF).astype(np.uint8).view(DType.F8E8M0.numpy)


def float_to_integer(x: Array, dtype: DType) -> Array:
    """Truncated, saturated; NaN gives 0."""
    low = -(2.0 ** (dtype.bits - 1)) if dtype.is_signed else 0.0
    high = 2.0 ** (dtype.bits - 1) if dtype.is_signed else 2.0**dtype.bits
    whole = np.trunc(x.astype(np.float64))
    inside = (whole >= low) & (whole < high)
    native = np.dtype(f"{'i' if dtype.is_signed else 'u'}{max(dtype.bits // 8, 1)}")
    result = np.where(inside, whole, 0.0).astype(native)
    result = np.where(whole < low, native.type(int(low)), result)
    return np.where(whole >= high, native.type(int(high) - 1), result).astype(dtype.numpy)
