"""Extension of a tensor beyond its edges, or cropping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim, dim_max
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_choice, check_count
from aivmc.ir.ops._index import clamp_to_axis, load_or_zero
from aivmc.ir.types import Shape, TensorType

_MODES = ("constant", "edge", "reflect", "wrap")


@define
class Pad(OpDef):
    """Element ``i`` along an axis is ``x[i - low]`` of ``x`` continued without end.

    ``constant`` continues with ``value``, ``edge`` with the outermost element, ``reflect`` mirrors
    about it, ``wrap`` repeats. Negative amounts crop. ``value`` is a scalar of ``x``'s dtype.
    """

    name = "det.pad"
    operands = ("x", "value")
    attributes = {"low": "dims", "high": "dims", "mode": "string"}

    def result_type(
        self, x: TensorType, value: TensorType, *, low: Shape, high: Shape, mode: str
    ) -> TensorType:
        check_choice("mode", mode, _MODES)
        check_count("low", low, x.rank)
        check_count("high", high, x.rank)
        if value != TensorType(x.dtype):
            raise IRError(f"the padding value must be {TensorType(x.dtype)}, not {value}")
        shape = tuple(d + before + after for d, before, after in zip(x.shape, low, high))
        for axis, (d, n) in enumerate(zip(x.shape, shape)):
            if isinstance(n, int) and n < 0:
                raise IRError(f"axis {axis} of length {d} is cropped to {n}")
            if mode != "constant" and d == 0 and n != 0:
                raise IRError(f"axis {axis} has no elements to pad with")
        return x.with_shape(shape)

    def reference(
        self, x: Array, value: Array, *, low: tuple[int, ...], high: tuple[int, ...], mode: str
    ) -> Array:
        if mode == "constant":
            return _pad_constant(x, value, low, high)
        for axis, (before, after) in enumerate(zip(low, high)):
            shape = list(x.shape)
            shape[axis] += before + after
            if x.size == 0:
                x = np.zeros(shape, x.dtype)
                continue
            positions = np.arange(-before, x.shape[axis] + after)
            x = np.take(x, _continued(positions, x.shape[axis], mode), axis)
        return x

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        x = site.types[0]
        low, high = site.attributes["low"], site.attributes["high"]
        shifted = [i if before == 0 else i - emit.dim(before) for i, before in zip(index, low)]
        if site.attributes["mode"] != "constant":
            rule = _ELEMENT[site.attributes["mode"]]
            kept = [d == 0 or (b, a) == (0, 0) for d, b, a in zip(x.shape, low, high)]
            source = [i if k else rule(emit, i, d) for i, d, k in zip(shifted, x.shape, kept)]
            return load_or_zero(emit, load, 0, source, x)
        if x.size == 0:
            return load(1, [])
        source, inside = [], None
        for i, d, before, after in zip(shifted, x.shape, low, high):
            cropped = all(isinstance(n, int) and n <= 0 for n in (before, after))
            source.append(i if cropped else clamp_to_axis(emit, i, d))
            if not cropped:
                within = emit.and_(emit.le(emit.dim(0), i), emit.lt(i, emit.dim(d)))
                inside = within if inside is None else emit.and_(inside, within)
        element = load(0, source)
        return element if inside is None else emit.select(inside, element, load(1, []))


def _pad_constant(x: Array, value: Array, low: Sequence[int], high: Sequence[int]) -> Array:
    shape = [d + before + after for d, before, after in zip(x.shape, low, high)]
    result = np.full(shape, value, x.dtype)
    # Where x and the result overlap, in the coordinates of each.
    into = [slice(max(b, 0), max(b + d, 0)) for b, d in zip(low, x.shape)]
    out_of = [slice(max(-b, 0), max(n - b, 0)) for b, n in zip(low, shape)]
    result[tuple(into)] = x[tuple(out_of)]
    return result


def _continued(positions: Array, length: int, mode: str) -> Array:
    """Where in ``0..length - 1`` the continued axis takes each of its elements from."""
    if mode == "edge":
        return np.clip(positions, 0, length - 1)
    if mode == "wrap":
        return positions % length
    # 0, 1, …, length - 1, length - 2, …, 1 over and over.
    there_and_back = np.concatenate([np.arange(length), np.arange(length - 2, 0, -1)])
    continued: Array = there_and_back[positions % len(there_and_back)]
    return continued


def _reflected(emit: Emit, i: Index, dim: Dim) -> Index:
    period = dim_max(2 * dim - 2, 1)
    m = i % emit.dim(period)
    return clamp_to_axis(emit, emit.minimum(m, emit.dim(period) - m), dim)


def _wrapped(emit: Emit, i: Index, dim: Dim) -> Index:
    return i % emit.dim(dim_max(dim, 1))


_ELEMENT = {"edge": clamp_to_axis, "reflect": _reflected, "wrap": _wrapped}
