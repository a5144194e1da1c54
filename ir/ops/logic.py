"""Logic on bools, bit operations on integers."""

from __future__ import annotations

from typing import Any, ClassVar

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._elementwise import Elementwise, same_dtype
from aivmc.ir.types import DType


class _Logical(Elementwise):
    operands: ClassVar[tuple[str, ...]] = ("a", "b")

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        if any(d is not DType.BOOL for d in dtypes):
            raise IRError(f"bool is needed, not {', '.join(d.value for d in dtypes)}")
        return DType.BOOL


class _Bitwise(Elementwise):
    operands: ClassVar[tuple[str, ...]] = ("a", "b")

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        dtype = same_dtype(dtypes)
        if not dtype.is_integer:
            raise IRError(f"an integer is needed, not {dtype.value}")
        return dtype


@define
class LogicalAnd(_Logical):
    """Both hold."""

    name = "det.logical_and"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.and_(a, b)


@define
class LogicalOr(_Logical):
    """At least one holds."""

    name = "det.logical_or"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.or_(a, b)


@define
class LogicalXor(_Logical):
    """Exactly one holds."""

    name = "det.logical_xor"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.xor(a, b)


@define
class LogicalNot(_Logical):
    """``x`` does not hold."""

    name = "det.logical_not"
    operands = ("x",)

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.not_(x)


@define
class BitAnd(_Bitwise):
    """Bits set in both."""

    name = "det.bit_and"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.and_(a, b)


@define
class BitOr(_Bitwise):
    """Bits set in either."""

    name = "det.bit_or"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.or_(a, b)


@define
class BitXor(_Bitwise):
    """Bits set in exactly one."""

    name = "det.bit_xor"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.xor(a, b)


@define
class BitNot(_Bitwise):
    """Every bit flipped."""

    name = "det.bit_not"
    operands = ("x",)

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.not_(x)


@define
class ShiftLeft(_Bitwise):
    """``a`` shifted left by ``b`` read as unsigned; 0 from the width on."""

    name = "det.shift_left"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.shl(a, b)


@define
class ShiftRight(_Bitwise):
    """``a`` shifted right by ``b`` read as unsigned: arithmetic if signed, else logical."""

    name = "det.shift_right"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.shr(a, b)
