"""Ops that compute each element from the operands' elements at the same, broadcast, index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType, Shape, TensorType


class Elementwise(OpDef):
    """NumPy broadcasting over all operands; subclasses give :meth:`scalar` and a dtype rule.

    Floats narrower than f32 are computed in f32 and rounded once (numerics, clause 5), integers
    narrower than a byte in 8 bits and wrapped (clause 4).
    """

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        """By default all operands share one dtype and the result has it."""
        return same_dtype(dtypes)

    def scalar(self, emit: Emit, *xs: Scalar, **attributes: Any) -> Scalar:
        """The element's value for these operand elements."""
        raise TypeError(f"{self.name} has no scalar definition")

    def result_type(self, *types: TensorType, **attributes: Any) -> TensorType:
        dtype = self.result_dtype(*(t.dtype for t in types), **attributes)
        return TensorType(dtype, broadcast_shapes([t.shape for t in types]))

    def reference(self, *arrays: Array, **attributes: Any) -> Array:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        with np.errstate(all="ignore"):
            out = self.rounded_scalar(NumpyEmit(), *arrays, **attributes)
        return np.asarray(np.broadcast_to(out, shape), order="C")

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        xs = (load(i, broadcast_index(emit, index, t.shape)) for i, t in enumerate(site.types))
        return self.rounded_scalar(emit, *xs, **site.attributes)

    def rounded_scalar(self, emit: Emit, *xs: Scalar, **attributes: Any) -> Scalar:
        """:meth:`scalar`, through the wide types for narrow ones."""
        dtypes = [emit.dtype(x) for x in xs]
        result = self.result_dtype(*dtypes, **attributes)
        widened = (x if t.wide is t else emit.cast(x, t.wide) for x, t in zip(xs, dtypes))
        out = self.scalar(emit, *widened, **attributes)
        return out if result.wide is result else emit.cast(out, result)

    @property
    def is_elementwise(self) -> bool:
        return True


def same_dtype(dtypes: Sequence[DType]) -> DType:
    if len(set(dtypes)) != 1:
        raise IRError(f"operands must share one dtype, not {', '.join(d.value for d in dtypes)}")
    return dtypes[0]


def require_float(dtype: DType) -> DType:
    if not dtype.is_float:
        raise IRError(f"a float is needed, not {dtype.value}")
    return dtype


def broadcast_shapes(shapes: Sequence[Shape]) -> Shape:
    """NumPy's broadcasting; symbolic dims must be equal or meet a 1."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    return tuple(_broadcast_dim(dims, shapes) for dims in zip(*padded))


def _broadcast_dim(dims: Sequence[Dim], shapes: Sequence[Shape]) -> Dim:
    wide = {d for d in dims if d != 1}
    if len(wide) > 1:
        listed = ", ".join("[" + ", ".join(map(str, s)) + "]" for s in shapes)
        raise IRError(f"shapes do not broadcast: {listed}")
    return wide.pop() if wide else 1


def broadcast_index(emit: Emit, index: Sequence[Index], shape: Shape) -> list[Index]:
    """The index into an operand of ``shape`` that broadcasts to the result."""
    aligned = index[len(index) - len(shape) :]
    return [emit.dim(0) if d == 1 else i for i, d in zip(aligned, shape)]
