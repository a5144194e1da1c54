"""Repetition along axes of length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._elementwise import broadcast_index
from aivmc.ir.types import Shape, TensorType


@define
class BroadcastTo(OpDef):
    """``x`` aligned to the last axes of ``shape``; its axes of length 1 are repeated."""

    name = "det.broadcast_to"
    operands = ("x",)
    attributes = {"shape": "dims"}

    def result_type(self, x: TensorType, *, shape: Shape) -> TensorType:
        aligned = shape[len(shape) - x.rank :]
        if x.rank > len(shape) or any(d not in (1, s) for d, s in zip(x.shape, aligned)):
            raise IRError(f"{x} does not broadcast to [{', '.join(map(str, shape))}]")
        return x.with_shape(shape)

    def reference(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        return np.array(np.broadcast_to(x, shape), order="C")

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        return load(0, broadcast_index(emit, index, site.types[0].shape))
