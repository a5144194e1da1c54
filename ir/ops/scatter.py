"""Updates written into a tensor by index, in ascending row-major order (numerics, clause 13).

A negative index counts from the end; one outside is clamped. A reduction combines each update with
what is there at its turn, each step rounded to the tensor's dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import OpDef, define
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_arithmetic, check_choice
from aivmc.ir.ops._elementwise import same_dtype
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.ops.gather import check_coordinates, check_elements, resolve_indices
from aivmc.ir.types import DType, TensorType

_REDUCTIONS = ("none", "add", "mul", "max", "min")


@define
class ScatterElements(OpDef):
    """Update at ``i`` goes to ``i`` with the coordinate of ``axis`` taken from ``indices``."""

    name = "det.scatter_elements"
    operands = ("x", "indices", "updates")
    attributes = {"axis": "int", "reduction": "string"}

    def result_type(
        self,
        x: TensorType,
        indices: TensorType,
        updates: TensorType,
        *,
        axis: int,
        reduction: str,
    ) -> TensorType:
        _check_reduction(x, updates, reduction)
        check_elements(x, indices, axis)
        if updates.shape != indices.shape:
            raise IRError(f"{indices} and {updates} differ in shape")
        return x

    def reference(
        self, x: Array, indices: Array, updates: Array, *, axis: int, reduction: str
    ) -> Array:
        result = x.copy()
        if updates.size == 0 or x.size == 0:
            return result
        combine = _combination(reduction, DType.of(x.dtype))
        positions = np.moveaxis(resolve_indices(indices, x.shape[axis]), axis, 0)
        target, updates = np.moveaxis(result, axis, 0), np.moveaxis(updates, axis, 0)
        others = np.indices(positions.shape[1:], sparse=True)
        # Updates that meet differ along the axis alone, so each step writes distinct elements.
        for along, update in zip(positions, updates):
            place = (along, *others)
            target[place] = combine(target[place], update)
        return result


@define
class ScatterNd(OpDef):
    """The last axis of ``indices`` holds coordinates of the slices that ``updates`` go to."""

    name = "det.scatter_nd"
    operands = ("x", "indices", "updates")
    attributes = {"reduction": "string"}

    def result_type(
        self, x: TensorType, indices: TensorType, updates: TensorType, *, reduction: str
    ) -> TensorType:
        _check_reduction(x, updates, reduction)
        depth = check_coordinates(x, indices)
        if updates.shape != indices.shape[:-1] + x.shape[depth:]:
            raise IRError(f"{updates} does not fit {indices} into {x}")
        return x

    def reference(self, x: Array, indices: Array, updates: Array, *, reduction: str) -> Array:
        result = x.copy()
        if updates.size == 0 or x.size == 0:
            return result
        combine = _combination(reduction, DType.of(x.dtype))
        depth = indices.shape[-1]
        coordinates = [resolve_indices(indices[..., k], x.shape[k]) for k in range(depth)]
        for at in np.ndindex(indices.shape[:-1]):
            place = tuple(along[at] for along in coordinates)
            result[place] = combine(result[place], updates[at])
        return result


def _check_reduction(x: TensorType, updates: TensorType, reduction: str) -> None:
    same_dtype((x.dtype, updates.dtype))
    check_choice("reduction", reduction, _REDUCTIONS)
    if reduction != "none":
        check_arithmetic(x.dtype)


def _combination(reduction: str, dtype: DType) -> Callable[[Array, Array], Array]:
    """What an element becomes of its old value and an update."""
    emit = NumpyEmit()
    if reduction == "none":
        return lambda old, update: update
    operation = {"add": emit.add, "mul": emit.mul, "max": emit.maximum, "min": emit.minimum}
    combine, wide = operation[reduction], accumulator(dtype)
    return lambda old, update: cast(combine(cast(old, wide), cast(update, wide)), dtype)
