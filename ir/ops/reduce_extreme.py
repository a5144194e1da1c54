"""Reductions whose result does not depend on the order: extremes, any, all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_arithmetic
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.ops._reduction import Reduction
from aivmc.ir.types import DType


class ExtremeReduction(Reduction):
    """NaN wins, -0 < +0 (numerics, clause 3); no elements give the least extreme value."""

    def start(self, dtype: DType) -> float | int:
        """The value that leaves every other as it is."""
        raise NotImplementedError

    def combine(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        raise NotImplementedError

    def check(self, dtype: DType, **attributes: Any) -> None:
        check_arithmetic(dtype)

    def reduce_rows(self, rows: Array, **attributes: Any) -> Array:
        emit, dtype = NumpyEmit(), DType.of(rows.dtype)
        wide = cast(rows, accumulator(dtype))
        if wide.shape[1] == 0:
            start = emit.const(self.start(dtype), accumulator(dtype))
            wide = np.full((rows.shape[0], 1), start)
        while wide.shape[1] > 1:  # any order gives these bits: by halves
            half = wide.shape[1] // 2
            pairs = self.combine(emit, wide[:, :half], wide[:, half : 2 * half])
            wide = np.concatenate([pairs, wide[:, 2 * half :]], axis=1)
        return cast(wide[:, 0], dtype)


@define
class ReduceMax(ExtremeReduction):
    """The maximum along ``axes``; -inf or the least integer of none."""

    name = "det.reduce_max"

    def start(self, dtype: DType) -> float | int:
        return lowest(dtype)

    def combine(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.maximum(a, b)


@define
class ReduceMin(ExtremeReduction):
    """The minimum along ``axes``; +inf or the greatest integer of none."""

    name = "det.reduce_min"

    def start(self, dtype: DType) -> float | int:
        return highest(dtype)

    def combine(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.minimum(a, b)


class _BoolReduction(Reduction):
    def check(self, dtype: DType, **attributes: Any) -> None:
        if dtype is not DType.BOOL:
            raise IRError(f"bool is needed, not {dtype.value}")


@define
class ReduceAny(_BoolReduction):
    """Whether any element along ``axes`` holds."""

    name = "det.reduce_any"

    def reduce_rows(self, rows: Array, **attributes: Any) -> Array:
        return np.array(np.logical_or.reduce(rows, axis=1))


@define
class ReduceAll(_BoolReduction):
    """Whether every element along ``axes`` holds."""

    name = "det.reduce_all"

    def reduce_rows(self, rows: Array, **attributes: Any) -> Array:
        return np.array(np.logical_and.reduce(rows, axis=1))


def lowest(dtype: DType) -> float | int:
    """-inf, or the least integer."""
    if dtype.is_float:
        return -math.inf
    return -(2 ** (dtype.bits - 1)) if dtype.is_signed else 0


def highest(dtype: DType) -> float | int:
    """+inf, or the greatest integer."""
    if dtype.is_float:
        return math.inf
    return int(2 ** (dtype.bits - dtype.is_signed)) - 1
