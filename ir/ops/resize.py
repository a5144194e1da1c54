"""Interpolation to other sizes: every choice that ONNX leaves open is fixed here (clause 13).

Coordinates are f32, by the sequence of operations written in :func:`coordinate`. An axis whose
length and scale do not change is left alone, whatever the coordinates would be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Attributes, Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_choice, check_count
from aivmc.ir.ops._elementwise import require_float
from aivmc.ir.ops._index import clamp_to_axis, load_or_zero
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.types import DType, Shape, TensorType

_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@define
class Resize(OpDef):
    """``x`` resized to ``sizes``. ``scales`` has one entry for each axis, or none: size / length.

    ``nearest`` picks one element by the rounding named so. ``linear`` interpolates the last axis
    first: between elements a and b by ``fma(w, b - a, a)``, or a if w is 0, in f32 for narrower
    floats, rounded once. Coordinates are clamped to the axis.
    """

    name = "det.resize"
    operands = ("x",)
    attributes = {
        "sizes": "dims",
        "scales": "floats",
        "mode": "string",
        "coordinate": "string",
        "nearest": "string",
    }

    def result_type(
        self,
        x: TensorType,
        *,
        sizes: Shape,
        scales: tuple[float, ...],
        mode: str,
        coordinate: str,
        nearest: str,
    ) -> TensorType:
        check_choice("mode", mode, ("nearest", "linear"))
        check_choice("coordinate", coordinate, tuple(_MOVED))
        check_choice("nearest", nearest, _NEAREST)
        check_count("sizes", sizes, x.rank)
        if scales:
            check_count("scales", scales, x.rank)
        if not all(0 < s < float("inf") for s in scales):
            raise IRError(f"scales must be positive: {list(scales)}")
        if mode == "linear":
            require_float(x.dtype)
        if x.size == 0 and not any(n == 0 for n in sizes):
            raise IRError(f"{x} has no elements to interpolate")
        return x.with_shape(sizes)

    def reference(self, x: Array, **attributes: object) -> Array:
        dtype, sizes = DType.of(x.dtype), attributes["sizes"]
        assert isinstance(sizes, tuple)
        if x.size == 0:
            return np.zeros(sizes, x.dtype)
        linear = attributes["mode"] == "linear"
        result = cast(x, accumulator(dtype)) if linear else x
        for axis in reversed(changed_axes(x.shape, attributes)):
            result = (_linear if linear else _nearest)(result, axis, x.shape[axis], attributes)
        return np.asarray(cast(result, dtype) if linear else result, order="C")

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        (x,) = site.types
        changed = changed_axes(x.shape, site.attributes)
        at = {a: coordinate(emit, index[a], a, x.shape[a], site.attributes) for a in changed}
        source = list(index)
        if site.attributes["mode"] == "nearest":
            rounding = site.attributes["nearest"]
            for axis, position in at.items():
                i = emit.cast(round_nearest(emit, position, rounding), DType.I64)
                source[axis] = clamp_to_axis(emit, i, x.shape[axis])
            return load_or_zero(emit, load, 0, source, x)
        return _interpolate(emit, load, source, at, x)


def changed_axes(shape: Sequence[Dim], attributes: Attributes) -> list[int]:
    """Axes along which the resize is not the identity."""
    scales = attributes["scales"] or (1.0,) * len(shape)
    sizes = attributes["sizes"]
    return [a for a, d in enumerate(shape) if sizes[a] != d or scales[a] != 1.0]


def coordinate(emit: Emit, i: Index, axis: int, length: Dim, attributes: Attributes) -> Scalar:
    """Where element ``i`` of the result lies along an axis of ``x``, in f32, not clamped."""
    size, scales = attributes["sizes"][axis], attributes["scales"]
    position = emit.cast(i, DType.F32)
    new, old = (emit.cast(emit.dim(d), DType.F32) for d in (size, length))
    scale = emit.const(scales[axis], DType.F32) if scales else emit.div(new, old)
    moved = _MOVED[attributes["coordinate"]](emit, position, scale, new, old)
    if scales and scales[axis] != 1.0:
        return moved
    return emit.select(emit.eq(emit.dim(size), emit.dim(length)), position, moved)


def _asymmetric(e: Emit, i: Scalar, scale: Scalar, new: Scalar, old: Scalar) -> Scalar:
    return e.div(i, scale)


def _half_pixel(e: Emit, i: Scalar, scale: Scalar, new: Scalar, old: Scalar) -> Scalar:
    half = e.const(0.5, DType.F32)
    return e.sub(e.div(e.add(i, half), scale), half)


def _half_pixel_symmetric(e: Emit, i: Scalar, scale: Scalar, new: Scalar, old: Scalar) -> Scalar:
    one, two = e.const(1.0, DType.F32), e.const(2.0, DType.F32)
    missing = e.sub(one, e.div(new, e.mul(scale, old)))
    offset = e.mul(e.div(old, two), missing)
    return e.add(offset, _half_pixel(e, i, scale, new, old))


def _pytorch_half_pixel(e: Emit, i: Scalar, scale: Scalar, new: Scalar, old: Scalar) -> Scalar:
    alone = e.le(new, e.const(1.0, DType.F32))
    return e.select(alone, e.const(0.0, DType.F32), _half_pixel(e, i, scale, new, old))


def _align_corners(e: Emit, i: Scalar, scale: Scalar, new: Scalar, old: Scalar) -> Scalar:
    one = e.const(1.0, DType.F32)
    aligned = e.div(e.mul(i, e.sub(old, one)), e.sub(new, one))
    return e.select(e.le(new, one), e.const(0.0, DType.F32), aligned)


_MOVED: dict[str, Callable[[Emit, Scalar, Scalar, Scalar, Scalar], Scalar]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
}


def round_nearest(emit: Emit, x: Scalar, rounding: str) -> Scalar:
    """An f32 coordinate as an integral float; ``x - floor(x)`` is exact, so ties are ties."""
    if rounding == "ceil":
        return emit.ceil(x)
    below = emit.floor(x)
    if rounding == "floor":
        return below
    fraction, half = emit.sub(x, below), emit.const(0.5, DType.F32)
    above = emit.add(below, emit.const(1.0, DType.F32))
    if rounding == "round_prefer_floor":
        return emit.select(emit.le(fraction, half), below, above)
    return emit.select(emit.lt(fraction, half), below, above)


def neighbours(emit: Emit, x: Scalar, length: Dim) -> tuple[Index, Index, Scalar]:
    """The elements on both sides of a coordinate clamped to the axis, and the second's weight."""
    last = emit.cast(emit.dim(length) - 1, DType.F32)
    inside = emit.minimum(emit.maximum(x, emit.const(0.0, DType.F32)), last)
    below = emit.floor(inside)
    first = clamp_to_axis(emit, emit.cast(below, DType.I64), length)
    return first, clamp_to_axis(emit, first + 1, length), emit.sub(inside, below)


def _interpolate(
    emit: Emit, load: Load, source: list[Index], at: dict[int, Scalar], x: TensorType
) -> Scalar:
    """Of the 2^n corners around a point, those that differ in the last axis are joined first."""
    wide = accumulator(x.dtype)
    around = {axis: neighbours(emit, position, x.shape[axis]) for axis, position in at.items()}
    values = []
    for corner in itertools.product((0, 1), repeat=len(at)):
        corner_index = list(source)
        for side, (axis, sides) in zip(corner, around.items()):
            corner_index[axis] = sides[side]
        values.append(emit.cast(load_or_zero(emit, load, 0, corner_index, x), wide))
    for _, _, weight in reversed(around.values()):
        w = emit.cast(weight, wide)
        values = [_between(emit, a, b, w) for a, b in zip(values[::2], values[1::2])]
    return emit.cast(values[0], x.dtype)


def _between(emit: Emit, a: Scalar, b: Scalar, w: Scalar) -> Scalar:
    """From ``a`` the part ``w`` of the way to ``b``; exact at ``a``, whatever ``b`` is."""
    there = emit.eq(w, emit.const(0.0, emit.dtype(w)))
    return emit.select(there, a, emit.fma(w, emit.sub(b, a), a))


def _nearest(x: Array, axis: int, length: int, attributes: Attributes) -> Array:
    emit = NumpyEmit()
    positions = coordinate(emit, np.arange(attributes["sizes"][axis]), axis, length, attributes)
    rounded: Array = round_nearest(emit, positions, attributes["nearest"])
    return np.asarray(np.take(x, np.clip(rounded.astype(np.int64), 0, length - 1), axis))


def _linear(x: Array, axis: int, length: int, attributes: Attributes) -> Array:
    emit = NumpyEmit()
    positions = coordinate(emit, np.arange(attributes["sizes"][axis]), axis, length, attributes)
    first, second, weight = neighbours(emit, positions, length)
    a, b = np.take(x, first, axis), np.take(x, second, axis)
    shape = [-1 if other == axis else 1 for other in range(x.ndim)]
    w = cast(weight, DType.of(x.dtype)).reshape(shape)
    return np.asarray(_between(emit, a, b, w))
