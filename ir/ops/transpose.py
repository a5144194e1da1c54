"""Permutation of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.types import TensorType


@define
class Transpose(OpDef):
    """Axis ``i`` of the result is axis ``permutation[i]`` of ``x``."""

    name = "det.transpose"
    operands = ("x",)
    attributes = {"permutation": "ints"}

    def result_type(self, x: TensorType, *, permutation: tuple[int, ...]) -> TensorType:
        if sorted(permutation) != list(range(x.rank)):
            raise IRError(f"{list(permutation)} is not a permutation of {x.rank} axes")
        return x.with_shape(tuple(x.shape[p] for p in permutation))

    def reference(self, x: Array, *, permutation: tuple[int, ...]) -> Array:
        return np.asarray(np.transpose(x, permutation), order="C")

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        source = list(index)
        for axis, p in enumerate(site.attributes["permutation"]):
            source[p] = index[axis]
        return load(0, source)
