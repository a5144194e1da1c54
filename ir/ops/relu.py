"""Rectifiers, spelled out as selects: NaN stays NaN (numerics, clause 3)."""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.ops._checks import check_arithmetic
from aivmc.ir.ops._elementwise import Elementwise, require_float
from aivmc.ir.types import DType


@define
class Relu(Elementwise):
    """``select(x < 0, +0, x)``: -0 stays -0."""

    name = "det.relu"
    operands = ("x",)

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        check_arithmetic(dtypes[0])
        return dtypes[0]

    def scalar(self, emit: Emit, x: Scalar) -> Scalar:
        zero = emit.const(0, emit.dtype(x))
        return emit.select(emit.lt(x, zero), zero, x)


@define
class LeakyRelu(Elementwise):
    """``select(x < 0, x * slope, x)``, ``slope`` rounded to the dtype that computes."""

    name = "det.leaky_relu"
    operands = ("x",)
    attributes = {"slope": "float"}

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        return require_float(dtypes[0])

    def scalar(self, emit: Emit, x: Scalar, *, slope: float) -> Scalar:
        dtype = emit.dtype(x)
        scaled = emit.mul(x, emit.const(slope, dtype))
        return emit.select(emit.lt(x, emit.const(0, dtype)), scaled, x)
