"""Elements picked by index. A negative index counts from the end; one outside is clamped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_axis, check_indices
from aivmc.ir.ops._index import load_or_zero, wrap_negative
from aivmc.ir.types import DType, TensorType


@define
class Gather(OpDef):
    """Slices of ``x`` along ``axis``: result axes are ``x``'s with ``indices``'s in its place.

    An axis that turns out empty gives zeros.
    """

    name = "det.gather"
    operands = ("x", "indices")
    attributes = {"axis": "int"}

    def result_type(self, x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
        check_axis(axis, x.rank)
        check_indices(indices)
        _check_not_empty(x, axis)
        return x.with_shape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])

    def reference(self, x: Array, indices: Array, *, axis: int) -> Array:
        if x.shape[axis] == 0:
            return np.zeros(x.shape[:axis] + indices.shape + x.shape[axis + 1 :], x.dtype)
        return np.take(x, resolve_indices(indices, x.shape[axis]), axis)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        x, indices = site.types
        axis = site.attributes["axis"]
        end = axis + indices.rank
        picked = emit.cast(load(1, index[axis:end]), DType.I64)
        along = wrap_negative(emit, picked, x.shape[axis])
        return load_or_zero(emit, load, 0, [*index[:axis], along, *index[end:]], x)


@define
class GatherElements(OpDef):
    """Element at ``i`` is ``x`` at ``i`` with the coordinate of ``axis`` taken from ``indices``."""

    name = "det.gather_elements"
    operands = ("x", "indices")
    attributes = {"axis": "int"}

    def result_type(self, x: TensorType, indices: TensorType, *, axis: int) -> TensorType:
        check_elements(x, indices, axis)
        _check_not_empty(x, axis)
        return x.with_shape(indices.shape)

    def reference(self, x: Array, indices: Array, *, axis: int) -> Array:
        if x.shape[axis] == 0:
            return np.zeros(indices.shape, x.dtype)
        coordinates: list[Array] = list(np.indices(indices.shape, sparse=True))
        coordinates[axis] = resolve_indices(indices, x.shape[axis])
        return x[tuple(coordinates)]

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        x, axis = site.types[0], site.attributes["axis"]
        source = list(index)
        picked = emit.cast(load(1, index), DType.I64)
        source[axis] = wrap_negative(emit, picked, x.shape[axis])
        return load_or_zero(emit, load, 0, source, x)


@define
class GatherNd(OpDef):
    """The last axis of ``indices`` holds coordinates into ``x``'s axes after ``batch_dims``."""

    name = "det.gather_nd"
    operands = ("x", "indices")
    attributes = {"batch_dims": "int"}

    def result_type(self, x: TensorType, indices: TensorType, *, batch_dims: int) -> TensorType:
        depth = check_coordinates(x, indices, batch_dims)
        if not 0 <= batch_dims < indices.rank or x.shape[:batch_dims] != indices.shape[:batch_dims]:
            raise IRError(f"{x} and {indices} do not share {batch_dims} batch axes")
        for axis in range(batch_dims, batch_dims + depth):
            _check_not_empty(x, axis)
        return x.with_shape(indices.shape[:-1] + x.shape[batch_dims + depth :])

    def reference(self, x: Array, indices: Array, *, batch_dims: int) -> Array:
        depth = indices.shape[-1]
        shape = indices.shape[:-1] + x.shape[batch_dims + depth :]
        if x.size == 0:
            return np.zeros(shape, x.dtype)
        outer = np.indices(indices.shape[:-1], sparse=True)
        coordinates: list[Array] = list(outer[:batch_dims])
        lengths = x.shape[batch_dims : batch_dims + depth]
        coordinates += [resolve_indices(indices[..., k], d) for k, d in enumerate(lengths)]
        return x[tuple(coordinates)].reshape(shape)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        x, indices = site.types
        batch = site.attributes["batch_dims"]
        outer, rest = list(index[: indices.rank - 1]), list(index[indices.rank - 1 :])
        source = outer[:batch]
        for k in range(_depth(indices)):
            picked = emit.cast(load(1, [*outer, emit.dim(k)]), DType.I64)
            source.append(wrap_negative(emit, picked, x.shape[batch + k]))
        return load_or_zero(emit, load, 0, source + rest, x)


def resolve_indices(indices: Array, length: int) -> Array:
    """i64 indices within an axis of ``length``: negative ones from the end, others clamped."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + length, wide), 0, length - 1)


def check_elements(x: TensorType, indices: TensorType, axis: int) -> None:
    """The operands of the elements forms: equal ranks, ``indices`` no longer beside ``axis``."""
    check_axis(axis, x.rank)
    check_indices(indices)
    beside = [(d, n) for a, (d, n) in enumerate(zip(x.shape, indices.shape)) if a != axis]
    if indices.rank != x.rank or any(_is_longer(n, d) for d, n in beside):
        raise IRError(f"{indices} does not index the elements of {x} along axis {axis}")


def check_coordinates(x: TensorType, indices: TensorType, batch_dims: int = 0) -> int:
    """The number of coordinates that the last axis of ``indices`` holds."""
    check_indices(indices)
    if indices.rank == 0:
        raise IRError("indices need a last axis that holds coordinates")
    depth = indices.shape[-1]
    if not isinstance(depth, int) or not 1 <= depth <= x.rank - batch_dims:
        raise IRError(f"{depth} coordinates do not index {x} after {batch_dims} batch axes")
    return depth


def _depth(indices: TensorType) -> int:
    depth = indices.shape[-1]
    assert isinstance(depth, int)
    return depth


def _is_longer(n: Dim, d: Dim) -> bool:
    more = n - d
    return more > 0 if isinstance(more, int) else True


def _check_not_empty(x: TensorType, axis: int) -> None:
    if x.shape[axis] == 0:
        raise IRError(f"axis {axis} of {x} has no elements to pick")
