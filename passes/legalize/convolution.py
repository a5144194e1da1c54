"""Convolutions, pooling, resizing: windows over spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from aivmc.ir.core import Value
from aivmc.ir.dims import Dim, ceil_div, dim_max
from aivmc.ir.types import Shape
from aivmc.passes.legalize.conversion import (
    Conversion,
    Node,
    Reject,
    Results,
    converts,
    normal_axis,
)
from aivmc.passes.legalize.reduction import mean_over

_LONGEST_FRACTION = 64
_LONGEST_REACH = 1 << 31


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes of x [N, C, *S], one entry for each of them."""

    extent: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]


def window_of(c: Conversion, n: Node, x: Value, extent: Sequence[int]) -> tuple[Value, Window]:
    """The window that a node's attributes describe, and x, padded here if that takes dims."""
    space = x.tensor.shape[2:]
    rank = len(space)
    if rank < 1 or len(extent) != rank:
        raise Reject(f"a window of {len(extent)} axes over {x.tensor}")
    strides = n.ints("strides") or (1,) * rank
    dilations = n.ints("dilations") or (1,) * rank
    pads = n.ints("pads") or (0,) * (2 * rank)
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise Reject("strides, dilations and pads must have an entry for each axis")
    if min(*strides, *dilations, *extent) < 1:
        raise Reject("extents, strides and dilations must be positive")
    if max(map(abs, (*strides, *dilations, *extent, *pads))) > _LONGEST_REACH:
        raise Reject(f"extents, strides, dilations and pads must be at most {_LONGEST_REACH}")
    auto = n.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        amounts = [
            _same(d, k, s, dilation, auto == "SAME_UPPER")
            for d, k, s, dilation in zip(space, extent, strides, dilations)
        ]
        low: Shape = tuple(before for before, _ in amounts)
        high: Shape = tuple(after for _, after in amounts)
    elif auto in ("NOTSET", "VALID"):
        pads = pads if auto == "NOTSET" else (0,) * (2 * rank)
        low, high = pads[:rank], pads[rank:]
    else:
        raise Reject(f"auto_pad {auto!r} is unknown")
    x, low_ints, high_ints = _pad_dims(c, x, low, high)
    return x, Window(tuple(extent), strides, dilations, low_ints, high_ints)


def _same(dim: Dim, extent: int, stride: int, dilation: int, upper: bool) -> tuple[Dim, Dim]:
    """Padding that makes ceil(d / stride) positions; the odd one after, or before."""
    reach = (extent - 1) * dilation + 1
    positions = ceil_div(dim, stride)
    total = dim_max((positions - 1) * stride + reach - dim, 0)
    if stride == 1:
        total = reach - 1
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def _pad_dims(
    c: Conversion, x: Value, low: Shape, high: Shape
) -> tuple[Value, tuple[int, ...], tuple[int, ...]]:
    """x padded with zeros now if an amount is symbolic or negative, and what is left to pad."""
    low_ints = tuple(d for d in low if isinstance(d, int) and d >= 0)
    high_ints = tuple(d for d in high if isinstance(d, int) and d >= 0)
    if len(low_ints) == len(low) and len(high_ints) == len(high):
        return x, low_ints, high_ints
    none = (0,) * len(low)
    zero = c.constant(0, x.tensor.dtype)
    x = c.det("pad", x, zero, low=(0, 0, *low), high=(0, 0, *high), mode="constant")
    return x, none, none


@converts("Conv")
def conv(c: Conversion, n: Node) -> Results:
    return with_bias(c, convolved(c, n, n.input(0), n.input(1)), n.optional(2))


def convolved(c: Conversion, n: Node, x: Value, w: Value) -> Value:
    """``det.conv`` by the node's attributes."""
    extent = _extent(n, w)
    group = n.attribute("group", 1)
    if x.tensor.rank != w.tensor.rank:
        raise Reject(f"weights {w.tensor} for {x.tensor}")
    channels = w.tensor.shape[1] * group
    x = c.with_shape(x, (x.tensor.shape[0], channels, *x.tensor.shape[2:]))
    x, window = window_of(c, n, x, extent)
    return c.det(
        "conv",
        x,
        w,
        strides=window.strides,
        dilations=window.dilations,
        low=window.low,
        high=window.high,
        group=group,
        block=0,
        layout="channels_first",
    )


def _extent(n: Node, w: Value) -> tuple[int, ...]:
    extent = tuple(d for d in w.tensor.shape[2:] if isinstance(d, int))
    if len(extent) < w.tensor.rank - 2 or not extent:
        raise Reject("the spatial dims of the weights must be known")
    if n.ints("kernel_shape") not in (None, extent):
        raise Reject(f"kernel_shape is not the weights' {list(extent)}")
    return extent


def with_bias(c: Conversion, y: Value, bias: Value | None) -> Value:
    """``y`` [N, M, *S] + ``bias`` [M]."""
    return y if bias is None else c.elementwise("add", y, per_channel(c, bias, y.tensor.rank))


def per_channel(c: Conversion, v: Value, rank: int) -> Value:
    """A vector along axis 1 of a tensor of ``rank`` axes."""
    return c.reshape(v, (v.tensor.size, *(1,) * (rank - 2)))


@converts("ConvTranspose")
def conv_transpose(c: Conversion, n: Node) -> Results:
    x, w = n.input(0), n.input(1)
    extent = _extent(n, w)
    rank = len(extent)
    strides = n.ints("strides") or (1,) * rank
    dilations = n.ints("dilations") or (1,) * rank
    output_pad = n.ints("output_padding") or (0,) * rank
    reach = [
        (k - 1) * dilation + 1 + extra for k, dilation, extra in zip(extent, dilations, output_pad)
    ]
    low, high = _transposed_pads(n, x.tensor.shape[2:], strides, reach)
    y = c.det(
        "conv_transpose",
        x,
        w,
        strides=strides,
        dilations=dilations,
        low=tuple(max(p, 0) for p in low),
        high=tuple(max(p, 0) for p in high),
        output_pad=output_pad,
        group=n.attribute("group", 1),
        block=0,
    )
    if min(*low, *high) < 0:
        more_low, more_high = ((0, 0, *(max(-p, 0) for p in side)) for side in (low, high))
        zero = c.constant(0, y.tensor.dtype)
        y = c.det("pad", y, zero, low=more_low, high=more_high, mode="constant")
    return with_bias(c, y, n.optional(2))


def _transposed_pads(
    n: Node, space: Shape, strides: Sequence[int], reach: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(space)
    auto = n.attribute("auto_pad", "NOTSET")
    wanted = n.ints("output_shape")
    if wanted is not None and len(wanted) < rank:
        raise Reject("output_shape must have an entry for each axis")
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = (n.ints("pads") if auto == "NOTSET" else None) or (0,) * (2 * rank)
        return pads[:rank], pads[rank:]
    low, high = [], []
    for axis, (d, stride, k) in enumerate(zip(space, strides, reach)):
        size = d * stride if wanted is None else wanted[axis - rank]
        total = (d - 1) * stride + k - size
        if not isinstance(total, int):
            raise Reject("the padding must not depend on the inputs' dims")
        if wanted is None:
            total = max(total, 0)
        less, more = total // 2, total - total // 2
        before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
        low.append(before)
        high.append(after)
    return tuple(low), tuple(high)


@converts("MaxPool")
def max_pool(c: Conversion, n: Node) -> Results:
    window = _pool_window(c, n)
    return c.det("window_max", n.input(0), **_over_all_axes(window))


def _pool_window(c: Conversion, n: Node) -> Window:
    x, extent = n.input(0), n.ints("kernel_shape")
    if extent is None:
        raise Reject("kernel_shape is missing")
    padded, window = window_of(c, n, x, extent)
    if padded is not x:
        raise Reject("padding that is negative or depends on the inputs' dims")
    return _ceiled(x, window) if n.flag("ceil_mode") else window


def _ceiled(x: Value, window: Window) -> Window:
    """More padding at the end, so that partial windows count too if they start within x or its
    own padding before it."""
    high = []
    for axis, dim in enumerate(x.tensor.shape[2:]):
        stride, low, own = window.strides[axis], window.low[axis], window.high[axis]
        reach = (window.extent[axis] - 1) * window.dilations[axis] + 1
        room = dim + low + own - reach
        if isinstance(room, int):
            last = -(-room // stride) * stride  # where the last window would start
            starts_inside = last < room - own + reach
            more = max((last if starts_inside else last - stride) - room, 0)
        elif own + stride <= reach:
            more = stride - 1  # the last window always starts inside
        else:
            raise Reject("ceil_mode over dims that are not known")
        high.append(own + more)
    return replace(window, high=tuple(high))


def _over_all_axes(window: Window) -> dict[str, tuple[int, ...]]:
    return {
        "window": (1, 1, *window.extent),
        "strides": (1, 1, *window.strides),
        "dilations": (1, 1, *window.dilations),
        "low": (0, 0, *window.low),
        "high": (0, 0, *window.high),
    }


def window_sum(c: Conversion, x: Value, window: Window) -> Value:
    order = "any" if x.tensor.dtype.is_float else "exact"
    return c.det("window_sum", x, order=order, **_over_all_axes(window))


@converts("AveragePool")
def average_pool(c: Conversion, n: Node) -> Results:
    """The window's sum by the number of elements in it: padding counts if it is asked to."""
    x, window = n.input(0), _pool_window(c, n)
    own = window_of(c, n, x, window.extent)[1]  # without what ceil_mode added
    total = window_sum(c, x, window)
    one = c.constant(1.0, x.tensor.dtype)
    padded = any(window.low) or any(window.high)
    if not padded or (n.flag("count_include_pad") and own == window):
        return c.elementwise("div", total, float(prod(window.extent)))
    ones = c.broadcast_to(one, (1, 1, *x.tensor.shape[2:]))
    if n.flag("count_include_pad"):
        low, high = (0, 0, *own.low), (0, 0, *own.high)
        ones = c.det("pad", ones, one, low=low, high=high, mode="constant")
        rest = tuple(a - b for a, b in zip(window.high, own.high))
        window = replace(window, low=(0,) * len(rest), high=rest)
    return c.elementwise("div", total, window_sum(c, ones, window))


@converts("LpPool")
def lp_pool(c: Conversion, n: Node) -> Results:
    window = _pool_window(c, n)
    return _norm(c, n, lambda y: window_sum(c, y, window))


def _norm(c: Conversion, n: Node, total: Callable[[Value], Value]) -> Value:
    x, p = n.input(0), n.attribute("p", 2)
    if p < 1:
        raise Reject("p must be positive")
    if p == 1:
        return total(c.det("abs", x))
    if p == 2:
        return c.det("sqrt", total(c.elementwise("mul", x, x)))
    powers = c.elementwise("pow", c.det("abs", x), float(p))
    return c.elementwise("pow", total(powers), 1.0 / p)


def spatial_axes(x: Value) -> tuple[int, ...]:
    if x.tensor.rank < 3:
        raise Reject(f"{x.tensor} has no spatial axes")
    return tuple(range(2, x.tensor.rank))


@converts("GlobalAveragePool")
def global_average_pool(c: Conversion, n: Node) -> Results:
    return mean_over(c, n.input(0), spatial_axes(n.input(0)))


@converts("GlobalMaxPool")
def global_max_pool(c: Conversion, n: Node) -> Results:
    return c.reduce("max", n.input(0), spatial_axes(n.input(0)), ordered=False)


@converts("GlobalLpPool")
def global_lp_pool(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return _norm(c, n, lambda y: c.reduce("sum", y, spatial_axes(x)))


@converts("Upsample")
def upsample(c: Conversion, n: Node) -> Results:
    """The forerunner of Resize: positions are i / scale, rounded down for nearest."""
    x = n.input(0)
    scales = n.tuple_of("scales", float) if n.opset < 9 else _floats(c, n.input(1), "the scales")
    sizes = _scaled_sizes(x.tensor.shape, scales)
    mode = n.attribute("mode", "nearest")
    return _resized(c, x, sizes, tuple(scales), mode, "asymmetric", "floor")


@converts("Resize")
def resize(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    mode = n.attribute("mode", "nearest")
    if n.opset < 11:
        scales = _floats(c, n.input(1), "the scales")
        return _resized(
            c, x, _scaled_sizes(x.tensor.shape, scales), scales, mode, "asymmetric", "floor"
        )
    if n.flag("antialias") or n.flag("exclude_outside"):
        raise Reject("antialias and exclude_outside are not supported")
    coordinate = n.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = n.attribute("nearest_mode", "round_prefer_floor")
    axes = n.ints("axes")
    rank = x.tensor.rank
    axes = tuple(range(rank) if axes is None else (normal_axis(a, rank) for a in axes))
    sizes, scales = _target(c, n, x, axes)
    return _resized(c, x, sizes, scales, mode, coordinate, rounding)


def _target(
    c: Conversion, n: Node, x: Value, axes: Sequence[int]
) -> tuple[Shape, tuple[float, ...]]:
    """Sizes of all axes, and scales where those are given."""
    shape = x.tensor.shape
    given = n.optional(3)
    if given is not None and given.tensor.size != 0:
        if n.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise Reject("only the aspect ratio policy 'stretch' is supported")
        by_axis = dict(zip(axes, c.dims(given, "the sizes")))
        return tuple(by_axis.get(a, d) for a, d in enumerate(shape)), ()
    scale_of = dict(zip(axes, _floats(c, n.input(2), "the scales")))
    scales = tuple(scale_of.get(a, 1.0) for a in range(len(shape)))
    return _scaled_sizes(shape, scales), scales


def _floats(c: Conversion, value: Value, what: str) -> tuple[float, ...]:
    array = c.array(value)
    if array is None:
        raise Reject(f"{what} must be known when the model is compiled")
    return tuple(float(s) for s in array.reshape(-1))


def _scaled_sizes(shape: Shape, scales: Sequence[float]) -> Shape:
    """floor(d * scale), an f32 product; of symbolic dims where the scale is a short fraction."""
    if len(scales) != len(shape):
        raise Reject(f"{len(scales)} scales are given for {len(shape)} axes")
    if not all(0 < scale < inf for scale in scales):
        raise Reject("the scales must be positive and finite")
    sizes: list[Dim] = []
    for d, scale in zip(shape, scales):
        if isinstance(d, int):
            sizes.append(int(np.floor(np.float32(d) * np.float32(scale))))
            continue
        numerator, denominator = scale.as_integer_ratio()
        if denominator > _LONGEST_FRACTION:
            raise Reject(f"{scale} times a dim that is not known")
        sizes.append((d * numerator) // denominator)
    return tuple(sizes)


def _resized(
    c: Conversion,
    x: Value,
    sizes: Shape,
    scales: tuple[float, ...],
    mode: str,
    coordinate: str,
    rounding: str,
) -> Value:
    if mode not in ("nearest", "linear", "bilinear"):
        raise Reject(f"the mode {mode!r} is not supported")
    return c.det(
        "resize",
        x,
        sizes=sizes,
        scales=scales,
        mode="nearest" if mode == "nearest" else "linear",
        coordinate=coordinate,
        nearest=rounding,
    )
