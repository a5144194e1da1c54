"""The order of values in searches and sorts: NaN is largest, -0 equals +0 (numerics, clause 10)."""

from __future__ import annotations

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.ops._orders import accumulator, cast
from aivmc.ir.types import DType


def ranks(x: Array) -> Array:
    """Integers that compare as the elements of ``x`` do."""
    dtype = DType.of(x.dtype)
    wide = cast(x, accumulator(dtype))
    if not dtype.is_float:
        return wide
    magnitude = np.abs(wide).view(f"i{wide.itemsize}")
    signed = np.where(np.signbit(wide), -magnitude, magnitude)
    return np.where(np.isnan(wide), np.iinfo(signed.dtype).max, signed)


def descending(keys: Array) -> Array:
    """Keys in the opposite order: ``~k`` is ``-k - 1``, which never overflows."""
    return np.invert(keys)
