"""Pooling: reductions over a window that slides along all axes, in any layout.

Along an axis of length d there are floor((d + low + high - ((window - 1) * dilation + 1)) /
stride) + 1 positions; the window's taps are taken row-major.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_arithmetic
from aivmc.ir.ops._orders import accumulator, cast, check_order, in_order
from aivmc.ir.ops._windows import Windows
from aivmc.ir.ops.reduce_extreme import lowest
from aivmc.ir.types import DType, TensorType

_WINDOW = {
    "window": "ints",
    "strides": "ints",
    "dilations": "ints",
    "low": "ints",
    "high": "ints",
}


@define
class WindowMax(OpDef):
    """The maximum in each window: NaN wins, -0 < +0; padding never wins."""

    name = "det.window_max"
    operands = ("x",)
    attributes = _WINDOW

    def result_type(self, x: TensorType, **attributes: Any) -> TensorType:
        check_arithmetic(x.dtype)
        return x.with_shape(_windows(attributes).result_shape(x.shape))

    def reference(self, x: Array, **attributes: Any) -> Array:
        emit, dtype = NumpyEmit(), DType.of(x.dtype)
        wide = cast(x, accumulator(dtype))
        taps = _taps(wide, emit.const(lowest(dtype), accumulator(dtype)), attributes)
        result = taps[0]
        for tap in taps[1:]:
            result = emit.maximum(result, tap)
        return cast(np.asarray(result, order="C"), dtype)


@define
class WindowSum(OpDef):
    """The sum in each window, taps in ``order`` as in ``det.reduce_sum``; padding adds +0."""

    name = "det.window_sum"
    operands = ("x",)
    attributes = {**_WINDOW, "order": "string"}
    reduces = True

    def result_type(self, x: TensorType, *, order: str, **attributes: Any) -> TensorType:
        check_order(order, x.dtype)
        return x.with_shape(_windows(attributes).result_shape(x.shape))

    def reference(self, x: Array, *, order: str, **attributes: Any) -> Array:
        emit, dtype = NumpyEmit(), DType.of(x.dtype)
        wide = cast(x, accumulator(dtype))
        zero = emit.const(0, accumulator(dtype))
        taps = np.stack(_taps(wide, zero, attributes), axis=-1)
        rows = taps.reshape(-1, taps.shape[-1])
        add = partial(NumpyEmit.add, emit)
        sums = in_order(order, rows, add, add, zero)
        return cast(sums.reshape(taps.shape[:-1]), dtype)


def _windows(attributes: dict[str, Any]) -> Windows:
    return Windows(attributes["window"], *(attributes[n] for n in list(_WINDOW)[1:]))


def _taps(x: Array, padding: Array, attributes: dict[str, Any]) -> list[Array]:
    """What each tap of the window sees, row-major, each of the result's shape."""
    windows = _windows(attributes)
    sizes = windows.sizes(x.shape)
    padded = windows.pad(x, padding)
    return [windows.seen_by(tap, padded, sizes) for tap in windows.taps()]
