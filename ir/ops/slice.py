"""Every n-th element along each axis, forwards or backwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import Index, Load, OpDef, Site, define
from aivmc.ir.dims import Dim
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_count
from aivmc.ir.types import Shape, TensorType


@define
class Slice(OpDef):
    """Element ``i`` along an axis is ``x[start + i * step]``; ``step`` is negative or positive.

    What is picked must lie within ``x``: starts and sizes come resolved and clamped.
    """

    name = "det.slice"
    operands = ("x",)
    attributes = {"starts": "dims", "steps": "ints", "sizes": "dims"}

    def result_type(
        self, x: TensorType, *, starts: Shape, steps: tuple[int, ...], sizes: Shape
    ) -> TensorType:
        _check_bounds(x.shape, starts, steps, sizes)
        return x.with_shape(sizes)

    def reference(
        self,
        x: Array,
        *,
        starts: tuple[int, ...],
        steps: tuple[int, ...],
        sizes: tuple[int, ...],
    ) -> Array:
        _check_bounds(x.shape, starts, steps, sizes)
        picked = [start + np.arange(n) * step for start, step, n in zip(starts, steps, sizes)]
        return x[np.ix_(*picked)] if picked else x.copy()

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        starts, steps = site.attributes["starts"], site.attributes["steps"]
        source = [
            _shifted(emit, i if step == 1 else i * step, start)
            for i, start, step in zip(index, starts, steps)
        ]
        return load(0, source)


def _shifted(emit: Emit, i: Index, start: Dim) -> Index:
    return i if start == 0 else i + emit.dim(start)


def _check_bounds(shape: Shape, starts: Shape, steps: tuple[int, ...], sizes: Shape) -> None:
    for what, entries in (("starts", starts), ("steps", steps), ("sizes", sizes)):
        check_count(what, entries, len(shape))
    for axis, (d, start, step, n) in enumerate(zip(shape, starts, steps, sizes)):
        if step == 0:
            raise IRError(f"the step of axis {axis} is 0")
        if not isinstance(n, int) or n == 0:
            continue
        if n < 0:
            raise IRError(f"the size of axis {axis} is {n}")
        last = start + (n - 1) * step
        if _is_outside(start, d) or _is_outside(last, d):
            raise IRError(f"axis {axis} has length {d}, the slice picks {start} to {last}")


def _is_outside(i: Dim, d: Dim) -> bool:
    """Known to be outside: dims that depend on symbols are taken on trust."""
    beyond = i - d
    return (isinstance(i, int) and i < 0) or (isinstance(beyond, int) and beyond >= 0)
