"""Rounding to integral floats, and signs. All are exact: the sign of a zero result is ``x``'s."""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.ops._checks import check_arithmetic
from aivmc.ir.ops._elementwise import Elementwise, require_float, same_dtype
from aivmc.ir.types import DType


class _Rounding(Elementwise):
    operands = ("x",)

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        return require_float(same_dtype(dtypes))


@define
class Floor(_Rounding):
    """The largest integral float not above ``x``."""

    name = "det.floor"

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.floor(x)


@define
class Ceil(_Rounding):
    """The smallest integral float not below ``x``."""

    name = "det.ceil"

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.ceil(x)


@define
class Trunc(_Rounding):
    """``x`` without its fraction."""

    name = "det.trunc"

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.trunc(x)


@define
class Rint(_Rounding):
    """The nearest integral float, ties to even."""

    name = "det.rint"

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.rint(x)


@define
class Sign(Elementwise):
    """-1 or 1; zeros and NaN as they are."""

    name = "det.sign"
    operands = ("x",)

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        check_arithmetic(dtypes[0])
        return dtypes[0]

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        dtype = emit.dtype(x)
        zero, one = emit.const(0, dtype), emit.const(1, dtype)
        positive = emit.select(emit.lt(zero, x), one, x)
        if dtype.is_unsigned:
            return positive
        return emit.select(emit.lt(x, zero), emit.const(-1, dtype), positive)
