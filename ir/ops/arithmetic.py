"""Arithmetic: one IEEE rounding for a float op, wrapping integers (numerics, clauses 1 and 4)."""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.ops._checks import check_arithmetic
from aivmc.ir.ops._elementwise import Elementwise, require_float, same_dtype
from aivmc.ir.types import DType


class _Arithmetic(Elementwise):
    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        check_arithmetic(same_dtype(dtypes))
        return dtypes[0]


class _Float(Elementwise):
    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        return require_float(same_dtype(dtypes))


@define
class Add(_Arithmetic):
    """``a + b``."""

    name = "det.add"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.add(a, b)


@define
class Sub(_Arithmetic):
    """``a - b``."""

    name = "det.sub"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.sub(a, b)


@define
class Mul(_Arithmetic):
    """``a * b``."""

    name = "det.mul"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.mul(a, b)


@define
class Div(_Arithmetic):
    """Float: IEEE. Integer: the truncated quotient, x/0 = 0, INT_MIN/-1 = INT_MIN."""

    name = "det.div"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.div(a, b)


@define
class Rem(_Arithmetic):
    """Remainder of the truncated quotient: the sign is ``a``'s, as C's ``%`` and ``fmod``."""

    name = "det.rem"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.rem(a, b)


@define
class Fma(_Float):
    """``a * b + c`` with one rounding."""

    name = "det.fma"
    operands = ("a", "b", "c")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar, c: Scalar) -> Scalar:
        return emit.fma(a, b, c)


@define
class Sqrt(_Float):
    """The square root; NaN below zero, -0 of -0."""

    name = "det.sqrt"
    operands = ("x",)

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.sqrt(x)


@define
class Neg(_Arithmetic):
    """The sign flipped, also of zero; two's complement on integers."""

    name = "det.neg"
    operands = ("x",)

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.neg(x)


@define
class Abs(_Arithmetic):
    """The sign cleared; the most negative integer stays."""

    name = "det.abs"
    operands = ("x",)

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.abs(x)


@define
class Maximum(_Arithmetic):
    """IEEE 754-2019 maximum: NaN wins, -0 < +0 (numerics, clause 3)."""

    name = "det.maximum"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.maximum(a, b)


@define
class Minimum(_Arithmetic):
    """IEEE 754-2019 minimum: NaN wins, -0 < +0."""

    name = "det.minimum"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.minimum(a, b)
