"""Comparisons: bool results, false where an operand is NaN, -0 equal to +0."""

from __future__ import annotations

import math
from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.ops._elementwise import Elementwise, require_float, same_dtype
from aivmc.ir.types import DType


class _Comparison(Elementwise):
    operands = ("a", "b")

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        same_dtype(dtypes)
        return DType.BOOL


class _Classification(Elementwise):
    operands = ("x",)

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        require_float(dtypes[0])
        return DType.BOOL


@define
class Less(_Comparison):
    """``a < b``."""

    name = "det.less"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.lt(a, b)


@define
class LessEqual(_Comparison):
    """``a <= b``."""

    name = "det.less_equal"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.le(a, b)


@define
class Equal(_Comparison):
    """``a == b``; false for two NaNs."""

    name = "det.equal"

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.eq(a, b)


@define
class IsNan(_Classification):
    """Whether ``x`` is NaN."""

    name = "det.is_nan"

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        return emit.is_nan(x)


@define
class IsInf(_Classification):
    """Whether ``x`` is one of the infinities asked for."""

    name = "det.is_inf"
    attributes = {"positive": "bool", "negative": "bool"}

    def scalar(self, emit: Emit, x: Scalar, *, positive: bool, negative: bool) -> Scalar:
        infinity = emit.const(math.inf, emit.dtype(x))
        above = emit.and_(emit.const(positive, DType.BOOL), emit.eq(x, infinity))
        below = emit.and_(emit.const(negative, DType.BOOL), emit.eq(x, emit.neg(infinity)))
        return emit.or_(above, below)
