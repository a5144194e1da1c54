"""Quantized tensors: exact integer arithmetic, and f32 where values are scaled (clause 12).

Requantization divides in f32, rounds half to even and saturates.
"""

from __future__ import annotations

import numpy as np

from aivmc.ir.core import Value
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import (
    Conversion,
    Node,
    Reject,
    Results,
    converts,
    normal_axis,
)
from aivmc.passes.legalize.convolution import convolved
from aivmc.passes.legalize.elementwise import saturated_cast
from aivmc.passes.legalize.matmul import product
from aivmc.passes.legalize.movement import part_of
from aivmc.passes.legalize.onnx_types import DTYPES


@converts("QuantizeLinear")
def quantize_linear(c: Conversion, n: Node) -> Results:
    x, scale, zero = n.input(0), n.input(1), n.optional(2)
    named = DTYPES.get(n.attribute("output_dtype", 0))
    dtype = zero.tensor.dtype if zero is not None else named or DType.U8
    scale = _spread(c, n, c.cast(scale, DType.F32), x)
    zero = None if zero is None or dtype.is_float else _spread(c, n, zero, x)
    return _quantized(c, c.cast(x, DType.F32), scale, zero, dtype)


def _quantized(c: Conversion, x: Value, scale: Value, zero: Value | None, dtype: DType) -> Value:
    """saturate(round(x / scale) + zero) as integers; to floats saturate(x / scale)."""
    scaled = c.elementwise("div", x, scale)
    if dtype.is_float:
        return saturated_cast(c, scaled, dtype)
    rounded = c.det("rint", scaled)
    if zero is not None:
        rounded = c.elementwise("add", rounded, c.cast(zero, DType.F32))
    return c.cast(rounded, dtype)


@converts("DequantizeLinear")
def dequantize_linear(c: Conversion, n: Node) -> Results:
    """(x - zero) * scale, the difference exact."""
    x, scale, zero = n.input(0), n.input(1), n.optional(2)
    dtype = DTYPES.get(n.attribute("output_dtype", 0)) or scale.tensor.dtype
    if x.tensor.dtype.is_integer and zero is not None:
        wide = c.cast(x, DType.I32)
        x = c.elementwise("sub", wide, c.cast(_spread(c, n, zero, x), DType.I32))
    scale = _spread(c, n, c.cast(scale, DType.F32), x)
    return c.cast(c.elementwise("mul", c.cast(x, DType.F32), scale), dtype)


def _spread(c: Conversion, n: Node, parameter: Value, x: Value) -> Value:
    """A scale or zero point so that it broadcasts against x: one for all, for each index of an
    axis, or for each block along it."""
    shape = x.tensor.shape
    if parameter.tensor.size == 1:
        return c.reshape(parameter, ())
    axis = normal_axis(n.attribute("axis", 1), len(shape))
    if parameter.tensor.rank == 1:
        return c.reshape(parameter, (parameter.tensor.size, *(1,) * (len(shape) - axis - 1)))
    block = n.attribute("block_size", 0)
    if parameter.tensor.rank != len(shape) or block < 1:
        raise Reject(f"scales of shape {parameter.tensor} for {x.tensor}")
    dims = list(parameter.tensor.shape)
    dims.insert(axis + 1, 1)
    split = c.reshape(parameter, dims)
    dims[axis + 1] = block
    merged: list[Dim] = [*dims[:axis], dims[axis] * block, *dims[axis + 2 :]]
    repeated = c.reshape(c.broadcast_to(split, dims), merged)
    return part_of(c, repeated, axis, 0, shape[axis])


@converts("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: Conversion, n: Node) -> Results:
    """u8 with the scale and zero point that make 0 and the extremes fit."""
    x = n.input(0)
    axes = tuple(range(x.tensor.rank))
    low = c.elementwise("minimum", c.reduce("min", x, axes, keepdims=False, ordered=False), 0.0)
    high = c.elementwise("maximum", c.reduce("max", x, axes, keepdims=False, ordered=False), 0.0)
    scale = c.elementwise("div", c.elementwise("sub", high, low), 255.0)
    offset = c.elementwise("div", c.elementwise("sub", 0.0, low), scale)
    zero = c.cast(c.det("rint", offset), DType.U8)
    return _quantized(c, x, scale, zero, DType.U8), scale, zero


@converts("MatMulInteger")
def matmul_integer(c: Conversion, n: Node) -> Results:
    a, b = n.input(0), n.input(1)
    return product(c, _shifted(c, a, _by_row(c, n.optional(2))), _shifted(c, b, n.optional(3)))


def _shifted(c: Conversion, x: Value, zero: Value | None) -> Value:
    """x - zero in 16 bits, where the difference of bytes is exact, or in 8 if it is constant and
    fits; x itself if zero is 0."""
    if zero is None or _is_zero(c, zero):
        return x
    if x.tensor.dtype.bits > 8:
        raise Reject("zero points need operands of 8 bits")
    shifted = c.elementwise("sub", c.cast(x, DType.I16), c.cast(zero, DType.I16))
    data, offset = c.array(x), c.array(zero)
    if data is None or offset is None:
        return shifted
    difference = data.astype(np.int16) - offset
    narrow = difference.astype(np.int8)
    return c.constant(narrow if (narrow == difference).all() else difference)


def _is_zero(c: Conversion, zero: Value) -> bool:
    array = c.array(zero)
    return array is not None and not array.astype(int).any()


def _by_row(c: Conversion, parameter: Value | None) -> Value | None:
    """A vector of one entry for each row stands upright."""
    if parameter is None or parameter.tensor.rank != 1 or parameter.tensor.size == 1:
        return parameter
    return c.reshape(parameter, (parameter.tensor.size, 1))


@converts("ConvInteger")
def conv_integer(c: Conversion, n: Node) -> Results:
    x, w = n.input(0), n.input(1)
    zero = _by_feature(c, n.optional(3), w.tensor.rank)
    return convolved(c, n, _shifted(c, x, n.optional(2)), _shifted(c, w, zero))


def _by_feature(c: Conversion, parameter: Value | None, rank: int) -> Value | None:
    """A vector of one entry for each output feature, along axis 0 of the weights."""
    if parameter is None or parameter.tensor.size == 1:
        return None if parameter is None else c.reshape(parameter, ())
    return c.reshape(parameter, (parameter.tensor.size, *(1,) * (rank - 1)))


@converts("QLinearMatMul")
def q_linear_matmul(c: Conversion, n: Node) -> Results:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (n.input(i) for i in range(8))
    total = product(c, _shifted(c, a, _by_row(c, a_zero)), _shifted(c, b, b_zero))
    upright = _by_row(c, a_scale)
    assert upright is not None
    scale = c.elementwise("mul", c.cast(upright, DType.F32), c.cast(b_scale, DType.F32))
    return _requantized(c, total, scale, y_scale, y_zero)


@converts("QLinearConv")
def q_linear_conv(c: Conversion, n: Node) -> Results:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (n.input(i) for i in range(8))
    zero = _by_feature(c, w_zero, w.tensor.rank)
    total = convolved(c, n, _shifted(c, x, x_zero), _shifted(c, w, zero))
    rank = total.tensor.rank
    bias, by_channel = n.optional(8), _by_feature(c, w_scale, rank - 1)
    assert by_channel is not None
    if bias is not None:
        total = c.elementwise("add", total, c.reshape(bias, (bias.tensor.size, *(1,) * (rank - 2))))
    scale = c.elementwise("mul", c.reshape(x_scale, ()), by_channel)
    return _requantized(c, total, scale, y_scale, y_zero)


def _requantized(c: Conversion, total: Value, scale: Value, y_scale: Value, y_zero: Value) -> Value:
    real = c.elementwise("mul", c.cast(total, DType.F32), c.cast(scale, DType.F32))
    return _quantized(c, real, c.cast(y_scale, DType.F32), y_zero, y_zero.tensor.dtype)
