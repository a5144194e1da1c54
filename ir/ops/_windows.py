"""Sliding windows along axes: sizes, padding, and what one tap of a window sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.dims import Dim, evaluate, floor_div
from aivmc.ir.errors import IRError
from aivmc.ir.ops._checks import check_count
from aivmc.ir.types import Shape


@dataclass(frozen=True)
class Windows:
    """A window over some axes: its extent, and how it moves and what is padded on each axis."""

    extent: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    def check(self, rank: int) -> None:
        """``IRError`` unless there are positive entries (padding: not negative) for each axis."""
        for what in ("extent", "strides", "dilations", "low", "high"):
            entries = getattr(self, what)
            check_count(what, entries, rank)
            least = 0 if what in ("low", "high") else 1
            if any(n < least for n in entries):
                raise IRError(f"{what} must be at least {least}: {list(entries)}")

    def result_shape(self, shape: Shape) -> Shape:
        """The number of window positions along each axis."""
        self.check(len(shape))
        return tuple(self._positions(axis, d) for axis, d in enumerate(shape))

    def sizes(self, shape: tuple[int, ...]) -> list[int]:
        """:meth:`result_shape` of an array."""
        return [evaluate(d, {}) for d in self.result_shape(shape)]

    def _positions(self, axis: int, d: Dim) -> Dim:
        reach = (self.extent[axis] - 1) * self.dilations[axis] + 1
        room = d + (self.low[axis] + self.high[axis] - reach)
        positions = floor_div(room, self.strides[axis]) + 1
        if isinstance(positions, int) and positions < 0:
            raise IRError(f"the window reaches over {reach} elements, axis {axis} has {d}")
        return positions

    def pad(self, x: Array, value: Array) -> Array:
        """``x`` with ``value`` around it on its last axes."""
        first = x.ndim - len(self.extent)
        amounts = [(0, 0)] * first + list(zip(self.low, self.high))
        padded = np.full([d + b + a for d, (b, a) in zip(x.shape, amounts)], value, x.dtype)
        padded[tuple(slice(b, b + d) for d, (b, _) in zip(x.shape, amounts))] = x
        return padded

    def taps(self) -> list[tuple[int, ...]]:
        """The window's positions, row-major."""
        return list(np.ndindex(*self.extent))

    def seen_by(self, tap: Sequence[int], padded: Array, sizes: Sequence[int]) -> Array:
        """What ``tap`` sees of a padded array at every window position, on its last axes."""
        starts = [t * dilation for t, dilation in zip(tap, self.dilations)]
        slices = [
            slice(first, first + (n - 1) * stride + 1, stride) if n else slice(0)
            for first, n, stride in zip(starts, sizes, self.strides)
        ]
        index: tuple[Any, ...] = (..., *slices)
        seen: Array = padded[index]
        return seen
