"""Tensors one after another along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_axis
from aivmc.ir.ops._elementwise import same_dtype
from aivmc.ir.ops._index import clamp_to_axis
from aivmc.ir.types import TensorType


@define
class Concat(OpDef):
    """One or more tensors along ``axis``; their other axes are equal."""

    name = "det.concat"
    operands = ("x", "*more")
    attributes = {"axis": "int"}

    def result_type(self, *xs: TensorType, axis: int) -> TensorType:
        first = xs[0]
        same_dtype([x.dtype for x in xs])
        check_axis(axis, first.rank)
        for x in xs[1:]:
            if x.rank != first.rank or _without(x, axis) != _without(first, axis):
                raise IRError(f"{first} and {x} differ beside axis {axis}")
        total: Dim = sum(x.shape[axis] for x in xs)
        return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))

    def reference(self, *xs: Array, axis: int) -> Array:
        return np.concatenate(xs, axis)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        axis = site.attributes["axis"]
        value, end = None, site.result.shape[axis]
        for operand in reversed(range(len(site.types))):
            length = site.types[operand].shape[axis]
            if length == 0:
                continue
            start = end - length
            source = list(index)
            # The branches that are not taken load something too: keep that within the operand.
            source[axis] = clamp_to_axis(emit, index[axis] - emit.dim(start), length)
            element = load(operand, source)
            taken = emit.lt(index[axis], emit.dim(end))
            value = element if value is None else emit.select(taken, element, value)
            end = start
        return load(0, index) if value is None else value


def _without(x: TensorType, axis: int) -> tuple[Dim, ...]:
    return x.shape[:axis] + x.shape[axis + 1 :]
