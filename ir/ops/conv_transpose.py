"""Transposed convolutions (numerics, clause 9)."""

from __future__ import annotations

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.dims import Dim, evaluate
from aivmc.ir.emit import Emit
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_count
from aivmc.ir.ops._contraction import (
    blocks_of,
    check_block,
    contraction_dtype,
    multiply_add,
    sum_blocks,
    widen,
)
from aivmc.ir.ops._windows import Windows
from aivmc.ir.ops.conv import (
    Ints,
    check_conv_ranks,
    finish,
    kernel_extent,
    split_groups,
    weight_at,
)
from aivmc.ir.types import DType, Shape, TensorType


@define
class ConvTranspose(OpDef):
    """x [N, C, *S] by w [C, M/group, *K] -> [N, M, *S'], with 1 to 3 spatial axes.

    Input ``i`` meets output ``i * stride - low + tap * dilation``. Each element: its contributing
    (channel, *tap) row-major within the group, in blocks of ``block`` channels, in each an fma
    chain from +0; block sums added in ascending order, then +0. S' is (d - 1) * stride +
    (k - 1) * dilation + 1 - low - high + output_pad.
    """

    name = "det.conv_transpose"
    operands = ("x", "w")
    attributes = {
        "strides": "ints",
        "dilations": "ints",
        "low": "ints",
        "high": "ints",
        "output_pad": "ints",
        "group": "int",
        "block": "int",
    }
    reduces = True

    def result_type(
        self,
        x: TensorType,
        w: TensorType,
        *,
        strides: Ints,
        dilations: Ints,
        low: Ints,
        high: Ints,
        output_pad: Ints,
        group: int,
        block: int,
    ) -> TensorType:
        dtype = contraction_dtype(x.dtype, w.dtype)
        check_block(block, dtype)
        check_conv_ranks(x, w)
        if x.shape[1] != w.shape[0] or group < 1 or w.shape[0] % group != 0:
            raise IRError(f"{x} and {w} do not have equal channels in {group} groups")
        windows = Windows(kernel_extent(w), strides, dilations, low, high)
        shape = _result_space(x.shape[2:], windows, output_pad)
        return TensorType(dtype, (x.shape[0], w.shape[1] * group, *shape))

    def reference(
        self,
        x: Array,
        w: Array,
        *,
        strides: Ints,
        dilations: Ints,
        low: Ints,
        high: Ints,
        output_pad: Ints,
        group: int,
        block: int,
    ) -> Array:
        dtype = contraction_dtype(DType.of(x.dtype), DType.of(w.dtype))
        x, w = widen(dtype, x, w)
        windows = Windows(w.shape[2:], strides, dilations, low, high)
        space = [evaluate(d, {}) for d in _result_space(x.shape[2:], windows, output_pad)]
        x, w = split_groups(x, 1, group), split_groups(w, 0, group)
        emit: Emit = NumpyEmit()
        # Every input reaches this space, whose part from ``low`` on is the result.
        reach = [n + b + a for n, b, a in zip(space, low, high)]
        shape = (x.shape[0], group, w.shape[2], *reach)

        def block_sum(ics: range) -> Array:
            total = np.zeros(shape, x.dtype)
            for ic in ics:
                for tap in windows.taps():
                    met = windows.seen_by(tap, total, x.shape[3:])
                    met[...] = multiply_add(emit, x[:, :, None, ic], weight_at(w[:, ic], tap), met)
            return total

        total = sum_blocks(map(block_sum, blocks_of(x.shape[2], block, dtype)), shape, dtype)
        kept = tuple(slice(b, b + n) for b, n in zip(low, space))
        result = finish(total[(slice(None),) * 3 + kept], dtype)
        return np.asarray(result.reshape(x.shape[0], group * w.shape[2], *space), order="C")


def _result_space(shape: Shape, windows: Windows, output_pad: Ints) -> Shape:
    windows.check(len(shape))
    check_count("output_pad", output_pad, len(shape))
    space = []
    for axis, d in enumerate(shape):
        reach = (windows.extent[axis] - 1) * windows.dilations[axis] + 1 + output_pad[axis]
        n: Dim = (d - 1) * windows.strides[axis] + reach - windows.low[axis] - windows.high[axis]
        if output_pad[axis] < 0 or (isinstance(n, int) and n < 0):
            raise IRError(f"axis {axis} of length {d} is padded to {n}")
        space.append(n)
    return tuple(space)
