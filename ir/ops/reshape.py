"""The same elements in row-major order under another shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim, product
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._index import delinearize, linearize
from aivmc.ir.types import Shape, TensorType


@define
class Reshape(OpDef):
    """``x`` row-major as ``shape``; the element counts must be equal as dims."""

    name = "det.reshape"
    operands = ("x",)
    attributes = {"shape": "dims"}

    def result_type(self, x: TensorType, *, shape: Shape) -> TensorType:
        if product(shape) != x.size:
            listed = ", ".join(map(str, shape))
            raise IRError(f"{x} has {x.size} elements, [{listed}] has {product(shape)}")
        return x.with_shape(shape)

    def reference(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        return np.asarray(x, order="C").reshape(shape)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        (x,) = site.types
        source = [emit.dim(0)] * x.rank
        if x.size == 0:
            return load(0, source)
        for source_axes, result_axes in matching_axes(x.shape, site.result.shape):
            run = [index[a] for a in result_axes]
            linear = linearize(emit, run, [site.result.shape[a] for a in result_axes])
            split = delinearize(emit, linear, [x.shape[a] for a in source_axes])
            for axis, i in zip(source_axes, split):
                source[axis] = i
        return load(0, source)


def matching_axes(a: Shape, b: Shape) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of axes of ``a`` and ``b`` that hold equal counts, axes of 1 left out.

    A run of one axis on both sides is an axis that the reshape leaves alone.
    """
    ends_a, ends_b = _counts_by_prefix(a), _counts_by_prefix(b)
    common = [count for count in ends_a if count in ends_b]
    runs = []
    start_a = start_b = 0
    for count in common:
        end_a, end_b = ends_a[count], ends_b[count]
        axes_a = [i for i in range(start_a, end_a) if a[i] != 1]
        axes_b = [i for i in range(start_b, end_b) if b[i] != 1]
        if axes_a:
            runs.append((axes_a, axes_b))
        start_a, start_b = end_a, end_b
    return runs


def _counts_by_prefix(shape: Shape) -> dict[Dim, int]:
    """Number of elements of each prefix of ``shape`` -> length of the prefix."""
    return {product(shape[:end]): end for end in range(1, len(shape) + 1)}
