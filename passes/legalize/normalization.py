"""Normalizations, decomposed: mean = sum / n; variance by two passes (numerics, clause 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.core import Value
from aivmc.ir.dims import floor_div, product
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import (
    Conversion,
    Node,
    Reject,
    Results,
    converts,
    normal_axes,
    normal_axis,
)
from aivmc.passes.legalize.convolution import per_channel, spatial_axes
from aivmc.passes.legalize.onnx_types import DTYPES
from aivmc.passes.legalize.reduction import count_over, mean_over


@converts("BatchNormalization")
def batch_normalization(c: Conversion, n: Node) -> Results:
    """fma(x, a, b) with a = scale / sqrt(variance + epsilon) and b = bias - mean * a.

    Of constants, a and b are computed in f64 and rounded once.
    """
    if n.flag("training_mode") or n.attribute("spatial", 1) != 1:
        raise Reject("training and spatial=0 are not supported")
    x, epsilon = n.input(0), n.attribute("epsilon", 1e-5)
    parameters = [n.input(i) for i in range(1, 5)]
    if len({p.tensor.shape for p in parameters}) > 1 or parameters[0].tensor.rank != 1:
        raise Reject("scale, bias, mean and variance must be vectors of one length")
    dtype = parameters[3].tensor.dtype
    constants = [array for p in parameters if (array := c.array(p)) is not None]
    if len(constants) == 4:
        factor, offset = _folded(constants, epsilon)
        a, b = c.constant(factor, dtype), c.constant(offset, dtype)
    else:
        scale, bias, mean, variance = (c.cast(p, dtype) for p in parameters)
        deviation = c.det("sqrt", c.elementwise("add", variance, epsilon))
        a = c.elementwise("div", scale, deviation)
        b = c.elementwise("sub", bias, c.elementwise("mul", mean, a))
    rank = x.tensor.rank
    y = c.elementwise("fma", c.cast(x, dtype), per_channel(c, a, rank), per_channel(c, b, rank))
    return (c.cast(y, x.tensor.dtype),)


def _folded(constants: Sequence[Array], epsilon: float) -> tuple[Array, Array]:
    scale, bias, mean, variance = (array.astype(np.float64) for array in constants)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        return factor, bias - mean * factor


def standardized(
    c: Conversion, x: Value, axes: tuple[int, ...], epsilon: float
) -> tuple[Value, Value, Value]:
    """(x - mean) * r over ``axes``, the mean, and r = 1 / sqrt(variance + epsilon)."""
    mean = mean_over(c, x, axes)
    centred = c.elementwise("sub", x, mean)
    variance = _variance(c, centred, axes)
    deviation = c.det("sqrt", c.elementwise("add", variance, epsilon))
    inverse = c.elementwise("div", 1.0, deviation)
    return c.elementwise("mul", centred, inverse), mean, inverse


def _variance(c: Conversion, centred: Value, axes: tuple[int, ...]) -> Value:
    total = c.reduce("square_sum", centred, axes)
    return c.elementwise("div", total, count_over(c, centred, axes))


def _scaled(c: Conversion, x: Value, scale: Value | None, bias: Value | None) -> Value:
    if scale is not None:
        x = c.elementwise("mul", x, scale)
    return x if bias is None else c.elementwise("add", x, bias)


@converts("LayerNormalization")
def layer_normalization(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    rank, dtype = x.tensor.rank, x.tensor.dtype
    axes = tuple(range(normal_axis(n.attribute("axis", -1), rank), rank))
    wide = c.cast(x, DTYPES.get(n.attribute("stash_type", 1), DType.F32))
    y, mean, inverse = standardized(c, wide, axes, n.attribute("epsilon", 1e-5))
    return _scaled(c, c.cast(y, dtype), n.optional(1), n.optional(2)), mean, inverse


@converts("RMSNormalization")
def rms_normalization(c: Conversion, n: Node) -> Results:
    """x * (1 / sqrt(mean of squares + epsilon)) * scale."""
    x = n.input(0)
    rank, dtype = x.tensor.rank, x.tensor.dtype
    axes = tuple(range(normal_axis(n.attribute("axis", -1), rank), rank))
    wide = c.cast(x, DTYPES.get(n.attribute("stash_type", 1), DType.F32))
    squares = c.elementwise("add", _variance(c, wide, axes), n.attribute("epsilon", 1e-5))
    inverse = c.elementwise("div", 1.0, c.det("sqrt", squares))
    y = c.elementwise("mul", wide, inverse)
    return c.elementwise("mul", c.cast(y, dtype), n.input(1))


@converts("InstanceNormalization")
def instance_normalization(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    y, _, _ = standardized(c, x, spatial_axes(x), n.attribute("epsilon", 1e-5))
    scale, bias = (per_channel(c, n.input(i), x.tensor.rank) for i in (1, 2))
    return _scaled(c, y, scale, bias)


@converts("GroupNormalization")
def group_normalization(c: Conversion, n: Node) -> Results:
    """Scale and bias are by channel from opset 21 on, by group before."""
    x, groups = n.input(0), n.required("num_groups", int)
    if groups < 1 or x.tensor.rank < 3:
        raise Reject("a positive num_groups and spatial axes are needed")
    batch, channels, *space = x.tensor.shape
    grouped = c.reshape(x, (batch, groups, floor_div(channels, groups), product(space)))
    wide = c.cast(grouped, DTYPES.get(n.attribute("stash_type", 1), DType.F32))
    y, _, _ = standardized(c, wide, (2, 3), n.attribute("epsilon", 1e-5))
    y = c.cast(y, x.tensor.dtype)
    if n.opset < 21:
        by_group = [per_channel(c, n.input(i), 4) for i in (1, 2)]
        return c.reshape(_scaled(c, y, *by_group), x.tensor.shape)
    by_channel = [per_channel(c, n.input(i), x.tensor.rank) for i in (1, 2)]
    return _scaled(c, c.reshape(y, x.tensor.shape), *by_channel)


@converts("LpNormalization")
def lp_normalization(c: Conversion, n: Node) -> Results:
    """x / norm; 0 where the norm is 0."""
    x, p = n.input(0), n.attribute("p", 2)
    axes = (normal_axis(n.attribute("axis", -1), x.tensor.rank),)
    if p not in (1, 2):
        raise Reject(f"p = {p} is neither 1 nor 2")
    if p == 1:
        norm = c.reduce("sum", c.det("abs", x), axes)
    else:
        norm = c.det("sqrt", c.reduce("square_sum", x, axes))
    none = c.elementwise("equal", norm, 0.0)
    zero = c.constant(0.0, x.tensor.dtype)
    return c.elementwise("select", none, zero, c.elementwise("div", x, norm))


@converts("MeanVarianceNormalization")
def mean_variance_normalization(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axes = n.ints("axes")
    axes = normal_axes((0, 2, 3) if axes is None else axes, x.tensor.rank)
    centred = c.elementwise("sub", x, mean_over(c, x, axes))
    deviation = c.det("sqrt", _variance(c, centred, axes))
    return c.elementwise("div", centred, c.elementwise("add", deviation, 1e-9))


@converts("LRN")
def local_response_normalization(c: Conversion, n: Node) -> Results:
    """x / (bias + alpha / size * sum of squares over neighbouring channels) ** beta."""
    x, size = n.input(0), n.required("size", int)
    if size < 1 or x.tensor.rank < 2:
        raise Reject("a positive size and channels are needed")
    ones, rest = (1,) * x.tensor.rank, (0,) * (x.tensor.rank - 2)
    total = c.det(
        "window_sum",
        c.elementwise("mul", x, x),
        window=(1, size, *ones[2:]),
        strides=ones,
        dilations=ones,
        low=(0, (size - 1) // 2, *rest),
        high=(0, size // 2, *rest),
        order="any",
    )
    scaled = c.elementwise("mul", total, n.attribute("alpha", 1e-4) / size)
    base = c.elementwise("add", scaled, n.attribute("bias", 1.0))
    return c.elementwise("div", x, c.elementwise("pow", base, n.attribute("beta", 0.75)))
