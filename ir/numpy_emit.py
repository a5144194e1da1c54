"""The reference meaning of :class:`aivmc.ir.emit.Emit`: every operation on NumPy arrays.

Bit-exact on any processor, operating system and NumPy version: only IEEE +, -, *, /, sqrt,
``fmod`` (exact by definition) and integer operations are used. Written for clarity, not speed.
NaNs come out with whatever payload the machine gives; :func:`canonical_nan` makes them one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.dims import Dim, evaluate
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.numpy_float import (
    Array,
    float_to_integer,
    fma_f32,
    fma_f64,
    integer_to_float,
    narrow_float,
)
from aivmc.ir.types import DType

_ARITHMETIC_FLOATS = (DType.F32, DType.F64)
CANONICAL_NAN = {  # its bits (numerics, clause 2)
    DType.F64: 0x7FF8_0000_0000_0000,
    DType.F32: 0x7FC0_0000,
    DType.F16: 0x7E00,
    DType.BF16: 0x7FC0,
    DType.F8E4M3FN: 0x7F,
    DType.F8E4M3FNUZ: 0x80,
    DType.F8E5M2: 0x7E,
    DType.F8E5M2FNUZ: 0x80,
    DType.F8E8M0: 0xFF,
}
_quiet = np.errstate(all="ignore")  # overflow, 0/0 and the like are results, not mistakes


def canonical_nan(x: Array) -> Array:
    """``x`` with every NaN replaced by the one canonical NaN; types without one are unchanged."""
    dtype = DType.of(x.dtype)
    if dtype not in CANONICAL_NAN:
        return x
    bits = np.array(CANONICAL_NAN[dtype], dtype=f"u{x.dtype.itemsize}")
    return np.where(np.isnan(x), bits.view(x.dtype), x)


class NumpyEmit:
    """Implements ``Emit``; a scalar is an array (or NumPy scalar), operands broadcast.

    Raises ``TypeError`` where the operands' dtypes differ or the operation is not defined on
    them. Arithmetic is defined on f32, f64 and the integers of 8 bits and more; casts,
    comparisons and selects on every element type, except complex numbers and strings.
    """

    def dtype(self, x: Array) -> DType:
        return DType.of(x.dtype)

    @_quiet
    def const(self, value: float | int | bool, dtype: DType) -> Array:
        """A constant; ``OverflowError`` where an integer is outside an integer ``dtype``."""
        if isinstance(value, float):
            return self.cast(np.array(value, np.float64), dtype)
        if dtype.is_float:
            return self.cast(np.array(value, np.int64), dtype)
        return np.array(value, dtype.numpy)

    @_quiet
    def add(self, a: Array, b: Array) -> Array:
        _require_numeric(a, b)
        return a + b

    @_quiet
    def sub(self, a: Array, b: Array) -> Array:
        _require_numeric(a, b)
        return a - b

    @_quiet
    def mul(self, a: Array, b: Array) -> Array:
        _require_numeric(a, b)
        return a * b

    @_quiet
    def div(self, a: Array, b: Array) -> Array:
        if _require_numeric(a, b).is_float:
            return a / b
        return _truncated_quotient(a, b)

    @_quiet
    def rem(self, a: Array, b: Array) -> Array:
        if _require_numeric(a, b).is_float:
            return np.fmod(a, b)
        return a - _truncated_quotient(a, b) * b

    @_quiet
    def fma(self, a: Array, b: Array, c: Array) -> Array:
        dtype = _require_float(a, b, c)
        return fma_f32(a, b, c) if dtype is DType.F32 else fma_f64(a, b, c)

    @_quiet
    def sqrt(self, x: Array) -> Array:
        _require_float(x)
        return np.sqrt(x)

    @_quiet
    def neg(self, x: Array) -> Array:
        _require_numeric(x)
        return np.negative(x)

    @_quiet
    def abs(self, x: Array) -> Array:
        _require_numeric(x)
        return np.absolute(x)

    # copysign: some NumPy versions lose the sign of a result that is zero.
    @_quiet
    def floor(self, x: Array) -> Array:
        _require_float(x)
        return np.copysign(np.floor(x), x)

    @_quiet
    def ceil(self, x: Array) -> Array:
        _require_float(x)
        return np.copysign(np.ceil(x), x)

    @_quiet
    def trunc(self, x: Array) -> Array:
        _require_float(x)
        return np.copysign(np.trunc(x), x)

    @_quiet
    def rint(self, x: Array) -> Array:
        _require_float(x)
        return np.copysign(np.rint(x), x)

    @_quiet
    def maximum(self, a: Array, b: Array) -> Array:
        if not _require_numeric(a, b).is_float:
            return np.maximum(a, b)
        larger: Array = np.where(a > b, a, b)
        larger = np.where((a == b) & ~np.signbit(a), a, larger)
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), larger)

    @_quiet
    def minimum(self, a: Array, b: Array) -> Array:
        if not _require_numeric(a, b).is_float:
            return np.minimum(a, b)
        smaller: Array = np.where(a < b, a, b)
        smaller = np.where((a == b) & np.signbit(a), a, smaller)
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), smaller)

    @_quiet
    def lt(self, a: Array, b: Array) -> Array:
        _require_real(a, b)
        return np.less(_widened(a), _widened(b))

    @_quiet
    def le(self, a: Array, b: Array) -> Array:
        _require_real(a, b)
        return np.less_equal(_widened(a), _widened(b))

    @_quiet
    def eq(self, a: Array, b: Array) -> Array:
        _require_real(a, b)
        return np.equal(_widened(a), _widened(b))

    def is_nan(self, x: Array) -> Array:
        _require_real(x)
        wide = _widened(x)
        return np.not_equal(wide, wide)

    def and_(self, a: Array, b: Array) -> Array:
        _require_bits(a, b)
        return np.bitwise_and(a, b)

    def or_(self, a: Array, b: Array) -> Array:
        _require_bits(a, b)
        return np.bitwise_or(a, b)

    def xor(self, a: Array, b: Array) -> Array:
        _require_bits(a, b)
        return np.bitwise_xor(a, b)

    def not_(self, x: Array) -> Array:
        _require_bits(x)
        return np.invert(x)

    def shl(self, a: Array, b: Array) -> Array:
        width, count = _shift_count(a, b)
        bits = _unsigned(a)
        shifted = np.left_shift(bits, np.minimum(count, bits.dtype.type(width - 1)))
        return np.where(count < width, shifted, bits.dtype.type(0)).view(a.dtype)

    def shr(self, a: Array, b: Array) -> Array:
        width, count = _shift_count(a, b)
        # The sign alone is left of a signed value shifted by width - 1 or more.
        shifted = np.right_shift(a, np.minimum(count, width - 1).astype(a.dtype))
        signed = DType.of(a.dtype).is_signed
        return shifted if signed else np.where(count < width, shifted, a.dtype.type(0))

    def select(self, condition: Array, a: Array, b: Array) -> Array:
        if condition.dtype != np.bool_:
            raise TypeError(f"select needs a bool condition, not {condition.dtype}")
        _require_real(a, b)
        return np.where(condition, a, b)

    def lookup(self, table: Sequence[float], index: Array) -> Array:
        if len(table) != 8 or index.dtype != np.int64:
            raise TypeError(f"lookup needs 8 constants and i64, not {len(table)}, {index.dtype}")
        return np.array(table, np.float64)[index & 7]

    def elementary(self, name: str, *xs: Array) -> Array:
        return ELEMENTARY[name, self.dtype(xs[0])](self, *xs)

    @_quiet
    def cast(self, x: Array, dtype: DType) -> Array:
        """As in ``Emit``; to floats without infinity, values beyond the range become NaN, or the
        largest one where there is no NaN either."""
        source = _require_real(x)
        _require_real_dtype(dtype)
        if source is dtype:
            return x
        wide = _widened(x)
        if dtype is DType.BOOL:
            return np.not_equal(wide, 0)
        if source.is_float:
            if dtype.is_integer:
                return float_to_integer(wide, dtype)
            return narrow_float(wide.astype(np.float64), dtype)
        if dtype.is_float:
            return integer_to_float(wide, dtype)
        return _wrap(wide, dtype)

    def bitcast(self, x: Array, dtype: DType) -> Array:
        """The same bits; a NaN keeps the payload that it has."""
        source = _require_real(x)
        if source is dtype:
            return x
        if source.bits != dtype.bits or DType.BOOL in (source, dtype):
            raise TypeError(f"bitcast from {source.value} to {dtype.value}: widths differ")
        bits = np.asarray(x).view(f"u{x.dtype.itemsize}")
        if source.is_sub_byte:  # the rest of the byte that holds it means nothing
            bits = np.bitwise_and(bits, np.uint8((1 << source.bits) - 1))
        return bits.view(dtype.numpy)

    def dim(self, dim: Dim) -> Array:
        """A dim without symbols; those that have some are substituted before anything is run."""
        return np.int64(evaluate(dim, {}))


def _require_same(operands: tuple[Array, ...]) -> DType:
    dtypes = [DType.of(x.dtype) for x in operands]
    if any(t is not dtypes[0] for t in dtypes):
        raise TypeError(f"operands differ in dtype: {', '.join(t.value for t in dtypes)}")
    return dtypes[0]


def _require_float(*operands: Array) -> DType:
    dtype = _require_same(operands)
    if dtype not in _ARITHMETIC_FLOATS:
        raise TypeError(f"not defined on {dtype.value}, only on f32 and f64")
    return dtype


def _require_numeric(*operands: Array) -> DType:
    dtype = _require_same(operands)
    if dtype not in _ARITHMETIC_FLOATS and (not dtype.is_integer or dtype.is_sub_byte):
        raise TypeError(f"arithmetic is not defined on {dtype.value}: cast to f32 or i8 first")
    return dtype


def _require_bits(*operands: Array) -> DType:
    dtype = _require_same(operands)
    if dtype is not DType.BOOL and (not dtype.is_integer or dtype.is_sub_byte):
        raise TypeError(f"bit operations are not defined on {dtype.value}")
    return dtype


def _require_real(*operands: Array) -> DType:
    dtype = _require_same(operands)
    _require_real_dtype(dtype)
    return dtype


def _require_real_dtype(dtype: DType) -> None:
    if dtype in (DType.C64, DType.C128, DType.STRING):
        raise TypeError(f"not defined on {dtype.value}")


def _widened(x: Array) -> Array:
    """Small floats as f32, small integers and bool as bytes: exact, and native to NumPy."""
    dtype = DType.of(x.dtype)
    return x.astype(np.uint8) if dtype is DType.BOOL else x.astype(dtype.wide.numpy, copy=False)


def _truncated_quotient(a: Array, b: Array) -> Array:
    zero, one = a.dtype.type(0), a.dtype.type(1)
    divisor = np.where(b == zero, one, b)
    if DType.of(a.dtype).is_unsigned:
        return np.where(b == zero, zero, a // divisor)
    # Dividing by -1 is negation, which wraps at the minimum.
    divisor = np.where(b == -one, one, divisor)
    quotient = a // divisor
    inexact = quotient * divisor != a
    quotient = np.where(inexact & ((a < 0) != (divisor < 0)), quotient + one, quotient)
    quotient = np.where(b == -one, np.negative(a), quotient)
    return np.where(b == zero, zero, quotient)


def _unsigned(x: Array) -> Array:
    return np.asarray(x).view(f"u{x.dtype.itemsize}")


def _shift_count(a: Array, b: Array) -> tuple[int, Array]:
    dtype = _require_bits(a, b)
    if dtype is DType.BOOL:
        raise TypeError("shifts are not defined on bool")
    return dtype.bits, _unsigned(b)


def _wrap(x: Array, dtype: DType) -> Array:
    """An integer array modulo 2^bits of the integer ``dtype``."""
    if not dtype.is_sub_byte:
        return x.astype(dtype.numpy)
    low = x.astype(np.int8) & np.int8((1 << dtype.bits) - 1)
    sign = np.int8(1 << (dtype.bits - 1)) if dtype.is_signed else np.int8(0)
    return ((low ^ sign) - sign).astype(dtype.numpy)
