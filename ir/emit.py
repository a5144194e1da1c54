"""The scalar language in which ops are defined once and emitted anywhere.

An op writes its element's value against :class:`Emit`; the NumPy implementation of it is the
reference semantics, a backend's implementation is the code. Each method is one operation with
exactly one rounding (docs/numerics.md, clauses 1 to 5), so a definition fixes the bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from aivmc.ir.dims import Dim
from aivmc.ir.types import DType

Scalar = Any  # an array of the NumPy emitter, an expression of a backend; opaque to definitions


class Emit(Protocol):
    """Operations on scalars; operands of one operation share one dtype unless stated."""

    def dtype(self, x: Scalar) -> DType:
        """The dtype of a scalar."""

    def const(self, value: float | int | bool, dtype: DType) -> Scalar:
        """A constant; a float is rounded once to ``dtype``."""

    # Arithmetic: IEEE 754 round-to-nearest-even on floats, wrapping on integers.
    def add(self, a: Scalar, b: Scalar) -> Scalar: ...
    def sub(self, a: Scalar, b: Scalar) -> Scalar: ...
    def mul(self, a: Scalar, b: Scalar) -> Scalar: ...
    def div(self, a: Scalar, b: Scalar) -> Scalar:
        """Float: IEEE division. Integer: truncated quotient; x/0 = 0, INT_MIN/-1 = INT_MIN."""

    def rem(self, a: Scalar, b: Scalar) -> Scalar:
        """Remainder of the truncated quotient (sign of ``a``), C ``fmod`` for floats; x rem 0 = x
        for integers."""

    def fma(self, a: Scalar, b: Scalar, c: Scalar) -> Scalar:
        """``a * b + c`` with one rounding (floats only)."""

    def sqrt(self, x: Scalar) -> Scalar: ...
    def neg(self, x: Scalar) -> Scalar:
        """Sign flip on floats (also of zero and NaN), two's complement on integers."""

    def abs(self, x: Scalar) -> Scalar: ...
    def floor(self, x: Scalar) -> Scalar: ...
    def ceil(self, x: Scalar) -> Scalar: ...
    def trunc(self, x: Scalar) -> Scalar: ...
    def rint(self, x: Scalar) -> Scalar:
        """Round to an integral float, ties to even."""

    def maximum(self, a: Scalar, b: Scalar) -> Scalar:
        """IEEE 754-2019 maximum: NaN wins, -0 < +0."""

    def minimum(self, a: Scalar, b: Scalar) -> Scalar: ...

    # Comparisons give bool and are ordered: false where an operand is NaN.
    def lt(self, a: Scalar, b: Scalar) -> Scalar: ...
    def le(self, a: Scalar, b: Scalar) -> Scalar: ...
    def eq(self, a: Scalar, b: Scalar) -> Scalar: ...
    def is_nan(self, x: Scalar) -> Scalar: ...

    # Bits: on bool and integers. Shifts by the width or more give 0 (arithmetic right: the sign).
    def and_(self, a: Scalar, b: Scalar) -> Scalar: ...
    def or_(self, a: Scalar, b: Scalar) -> Scalar: ...
    def xor(self, a: Scalar, b: Scalar) -> Scalar: ...
    def not_(self, x: Scalar) -> Scalar: ...
    def shl(self, a: Scalar, b: Scalar) -> Scalar: ...
    def shr(self, a: Scalar, b: Scalar) -> Scalar:
        """Right shift, arithmetic on signed integers, logical on unsigned ones."""

    def select(self, condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
        """``a`` where the bool ``condition`` holds, else ``b``; both are evaluated."""

    def lookup(self, table: Sequence[float], index: Scalar) -> Scalar:
        """The f64 constant ``table[index mod 8]`` of eight; ``index`` is an i64."""

    def elementary(self, name: str, *xs: Scalar) -> Scalar:
        """An elementary function of f32 or f64: what its definition in ``ir/elementary`` gives."""

    def cast(self, x: Scalar, dtype: DType) -> Scalar:
        """Numeric conversion: nearest even; float to int truncates, saturates, NaN gives 0;
        to bool is ``x != 0`` (true for NaN); between integers wraps."""

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        """The same bits as another dtype of equal width."""

    # Indexes are i64 scalars on which Python's + - * // % work too.
    def dim(self, dim: Dim) -> Scalar:
        """The value of a dim, as an i64 scalar."""
