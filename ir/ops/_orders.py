"""The orders in which floats are combined: what fixes the bits of a sum (numerics, clause 10).

An order combines the columns of a matrix [rows, n] into one value for each row. ``step`` takes an
accumulator and an element, ``combine`` two accumulators; they differ where an element enters as
more than itself (its square). No columns give ``start``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops._checks import check_arithmetic, check_choice
from aivmc.ir.types import DType

BLOCK = 512
LANES = 16
Combine: TypeAlias = Callable[[Array, Array], Array]


def lanes16(rows: Array, step: Combine, combine: Combine, start: Array) -> Array:
    """Blocks of 512 columns by :func:`_block`; several block results by the same rule again."""
    if rows.shape[1] <= BLOCK:
        return _block(rows, step, combine, start)
    blocks = [
        _block(rows[:, first : first + BLOCK], step, combine, start)
        for first in range(0, rows.shape[1], BLOCK)
    ]
    return lanes16(np.stack(blocks, axis=1), combine, combine, start)


def _block(rows: Array, step: Combine, combine: Combine, start: Array) -> Array:
    """Column i goes to lane i mod 16; each lane ascends; then a tree: l and l+8, +4, +2, +1."""
    lanes = np.full((rows.shape[0], LANES), start)
    for first in range(0, rows.shape[1], LANES):
        chunk = rows[:, first : first + LANES]
        width = chunk.shape[1]
        lanes[:, :width] = step(lanes[:, :width], chunk)
    for half in (8, 4, 2, 1):
        lanes = combine(lanes[:, :half], lanes[:, half : 2 * half])
    return lanes[:, 0]


def seq(rows: Array, step: Combine, combine: Combine, start: Array) -> Array:
    """One accumulator, columns ascending."""
    total = np.full(rows.shape[0], start)
    for column in rows.T:
        total = step(total, column)
    return total


_ORDERS = {"lanes16": lanes16, "seq": seq, "exact": lanes16}


def in_order(order: str, rows: Array, step: Combine, combine: Combine, start: Array) -> Array:
    """``rows`` combined in the named order; ``IRError`` for ``any``, which has no bits."""
    if order not in _ORDERS:
        raise IRError(f"the order {order!r} fixes no bits: run fix-reduction-order first")
    return _ORDERS[order](rows, step, combine, start)


def check_order(order: str, dtype: DType) -> None:
    """Integers wrap, so their order is ``exact``; floats need one, or ``any`` for none yet."""
    check_arithmetic(dtype)
    choices: Sequence[str] = ("any", "lanes16", "seq") if dtype.is_float else ("exact",)
    check_choice(f"the order of {dtype.value}", order, choices)


def cast(x: Array, dtype: DType) -> Array:
    """``x`` converted with one rounding."""
    result: Array = NumpyEmit().cast(x, dtype)
    return result


def accumulator(dtype: DType) -> DType:
    """What sums over ``dtype`` accumulate in (numerics, clause 5); they are rounded once."""
    return dtype.wide
