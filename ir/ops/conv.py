"""Convolutions (numerics, clauses 9 and 12)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_choice
from aivmc.ir.ops._contraction import (
    BLOCK,
    blocks_of,
    check_block,
    contraction_dtype,
    multiply_add,
    sum_blocks,
    widen,
)
from aivmc.ir.ops._orders import cast
from aivmc.ir.ops._windows import Windows
from aivmc.ir.types import DType, TensorType

Ints = tuple[int, ...]


@define
class Conv(OpDef):
    """x [N, C, *S] by w [M, C/group, *K] -> [N, M, *S'], with 1 to 3 spatial axes.

    Each element: k = (channel, *tap) row-major within the group, in blocks of ``block`` channels,
    in each an fma chain from +0; block sums added in ascending order, then +0. Padding is +0 and
    is multiplied too. ``block`` 0 is not fixed yet, and what integers have. In the layout
    ``channels_last`` x is [N, *S, C] and the result [N, *S', M].
    """

    name = "det.conv"
    operands = ("x", "w")
    attributes = {
        "strides": "ints",
        "dilations": "ints",
        "low": "ints",
        "high": "ints",
        "group": "int",
        "block": "int",
        "layout": "string",
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
        group: int,
        block: int,
        layout: str,
    ) -> TensorType:
        dtype = contraction_dtype(x.dtype, w.dtype)
        check_block(block, dtype)
        check_choice("layout", layout, ("channels_first", "channels_last"))
        check_conv_ranks(x, w)
        last = layout == "channels_last"
        channels, *space = (x.shape[-1], *x.shape[1:-1]) if last else x.shape[1:]
        _check_groups(channels, w, group)
        windows = Windows(kernel_extent(w), strides, dilations, low, high)
        positions = windows.result_shape(tuple(space))
        features = w.shape[0]
        shape = (*positions, features) if last else (features, *positions)
        return TensorType(dtype, (x.shape[0], *shape))

    def reference(
        self,
        x: Array,
        w: Array,
        *,
        strides: Ints,
        dilations: Ints,
        low: Ints,
        high: Ints,
        group: int,
        block: int,
        layout: str,
    ) -> Array:
        dtype = contraction_dtype(DType.of(x.dtype), DType.of(w.dtype))
        if layout == "channels_last":
            x = np.moveaxis(x, -1, 1)
        x, w = widen(dtype, x, w)
        windows = Windows(w.shape[2:], strides, dilations, low, high)
        sizes = windows.sizes(x.shape[2:])
        padded = windows.pad(x, x.dtype.type(0))
        result = _convolve(split_groups(padded, 1, group), w, windows, sizes, block, dtype)
        return np.asarray(
            np.moveaxis(result, 1, -1) if layout == "channels_last" else result, order="C"
        )


def _convolve(
    x: Array, w: Array, windows: Windows, sizes: list[int], block: int, dtype: DType
) -> Array:
    """x [N, group, C/group, *padded space], w [M, C/group, *K] -> [N, M, *sizes]."""
    emit: Emit = NumpyEmit()
    batch, group, channels = x.shape[:3]
    w = split_groups(w, 0, group)
    shape = (batch, group, w.shape[1], *sizes)

    def block_sum(ics: range) -> Array:
        total = np.zeros(shape, x.dtype)
        for ic in ics:
            for tap in windows.taps():
                seen = windows.seen_by(tap, x[:, :, None, ic], sizes)
                weight = weight_at(w[:, :, ic], tap)
                total = multiply_add(emit, seen, weight, total)
        return total

    total = sum_blocks(map(block_sum, blocks_of(channels, block, dtype)), shape, dtype)
    return finish(total, dtype).reshape(batch, group * w.shape[1], *sizes)


def conv_block(channels_per_group: int, taps: int) -> int:
    """Channels in a block of k: whole channels, as many multiples of 16 as fit 512, at least 16.

    All of them in one block where there are fewer.
    """
    return min(max(BLOCK // taps // 16 * 16, 16), max(channels_per_group, 1))


def check_conv_ranks(x: TensorType, w: TensorType) -> None:
    if not 3 <= x.rank <= 5 or w.rank != x.rank:
        raise IRError(f"{x} and {w} have no 1 to 3 spatial axes in common")


def kernel_extent(w: TensorType) -> Ints:
    """The spatial dims of the weights, which must be known."""
    extent = tuple(d for d in w.shape[2:] if isinstance(d, int))
    if len(extent) != w.rank - 2 or prod(extent) == 0:
        raise IRError(f"the window of the weights {w} must be known and not empty")
    return extent


def _check_groups(channels: Dim, w: TensorType, group: int) -> None:
    features, per_group = w.shape[:2]
    if group < 1 or channels != per_group * group:
        raise IRError(f"{channels} channels are not {group} groups of {per_group}")
    if features % group != 0:
        raise IRError(f"{features} features are not divisible into {group} groups")


def split_groups(x: Array, axis: int, group: int) -> Array:
    """``axis`` as two: group, and what is in one group."""
    shape = x.shape
    return x.reshape(*shape[:axis], group, shape[axis] // group, *shape[axis + 1 :])


def weight_at(w: Array, tap: Ints) -> Array:
    """w [group, features, *K] at ``tap``, against sums [N, group, features, *space]."""
    index: tuple[Any, ...] = (..., *tap, *[None] * len(tap))
    weight: Array = w[index]
    return weight


def finish(total: Array, dtype: DType) -> Array:
    """+0 added, so that -0 from underflow can't tell skipping from multiplying; rounded once."""
    return cast(NumpyEmit().add(total, total.dtype.type(0)), dtype)
