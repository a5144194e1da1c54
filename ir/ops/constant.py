"""Values that don't depend on inputs: constants, and dims as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType


@define
class ConstantOp(OpDef):
    """A constant tensor, named by content hash where it is large."""

    name = "det.constant"
    attributes = {"value": "constant"}

    def result_type(self, *, value: Constant) -> TensorType:
        return value.type

    def reference(self, *, value: Constant) -> Array:
        return value.data


@define
class Dims(OpDef):
    """Dims as an i64 vector: how the shape of an input becomes data."""

    name = "det.dims"
    attributes = {"dims": "dims"}

    def result_type(self, *, dims: tuple[Dim, ...]) -> TensorType:
        return TensorType(DType.I64, (len(dims),))

    def reference(self, *, dims: tuple[int, ...]) -> Array:
        return np.array(dims, np.int64)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        dims: Sequence[Any] = site.attributes["dims"]
        out = emit.dim(dims[-1] if dims else 0)
        for i in reversed(range(len(dims) - 1)):
            out = emit.select(emit.eq(index[0], emit.dim(i)), emit.dim(dims[i]), out)
        return out


@define
class Iota(OpDef):
    """``start, start + step, …`` along a vector of ``length`` integers."""

    name = "det.iota"
    attributes = {"length": "dim", "start": "dim", "step": "dim", "dtype": "dtype"}

    def result_type(self, *, length: Dim, start: Dim, step: Dim, dtype: DType) -> TensorType:
        if not dtype.is_integer:
            raise IRError(f"iota makes integers, not {dtype.value}")
        return TensorType(dtype, (length,))

    def reference(self, *, length: int, start: int, step: int, dtype: DType) -> Array:
        return (start + step * np.arange(length, dtype=np.int64)).astype(dtype.numpy)

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        start, step = emit.dim(site.attributes["start"]), emit.dim(site.attributes["step"])
        return emit.cast(start + index[0] * step, site.attributes["dtype"])
