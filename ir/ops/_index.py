"""Index arithmetic that several movement ops share.

A load is never out of bounds, whatever branch it stands in: both branches of a select are
evaluated. A tensor without elements reads as zero: what is loaded from it is discarded. It has the
memory for that, as if the axes that are empty had one element.
"""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ir.definition import Index, Load
from aivmc.ir.dims import Dim, product
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType, TensorType


def clamp(emit: Emit, i: Index, low: Dim, high: Dim) -> Index:
    """``i`` moved into ``low..high``; ``low`` where that range is empty."""
    return emit.maximum(emit.minimum(i, emit.dim(high)), emit.dim(low))


def clamp_to_axis(emit: Emit, i: Index, dim: Dim) -> Index:
    """``i`` moved into ``0..dim - 1``; 0 where the axis is empty."""
    return clamp(emit, i, 0, dim - 1)


def wrap_negative(emit: Emit, i: Index, dim: Dim) -> Index:
    """An index from the end, where negative, counted from the front instead; then clamped."""
    wrapped = emit.select(emit.lt(i, emit.dim(0)), i + emit.dim(dim), i)
    return clamp_to_axis(emit, wrapped, dim)


def zero(emit: Emit, dtype: DType) -> Scalar:
    return emit.const(False if dtype is DType.BOOL else 0, dtype)


def load_or_zero(
    emit: Emit, load: Load, operand: int, index: Sequence[Index], type: TensorType
) -> Scalar:
    """The operand's element at ``index``, or zero if it has no elements at run time."""
    size = product(type.shape)
    if size == 0:
        return zero(emit, type.dtype)
    value = load(operand, index)
    if isinstance(size, int):
        return value
    return emit.select(emit.lt(emit.dim(0), emit.dim(size)), value, zero(emit, type.dtype))


def linearize(emit: Emit, index: Sequence[Index], dims: Sequence[Dim]) -> Index:
    """The row-major position of ``index`` among ``dims``."""
    linear = index[0]
    for i, d in zip(index[1:], dims[1:]):
        linear = linear * emit.dim(d) + i
    return linear


def delinearize(emit: Emit, linear: Index, dims: Sequence[Dim]) -> list[Index]:
    """The index among ``dims`` at a row-major position."""
    index: list[Index] = []
    for d in reversed(dims[1:]):
        index.append(linear % emit.dim(d))
        linear = linear // emit.dim(d)
    return [linear, *reversed(index)]
