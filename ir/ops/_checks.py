"""Checks that several ops share. All raise ``IRError`` with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType


def check_axis(axis: int, rank: int) -> None:
    """``axis`` counts from the front: negative axes are resolved before ops are made."""
    if not 0 <= axis < rank:
        raise IRError(f"axis {axis} is not among the {rank} axes")


def check_count(what: str, entries: Sequence[object], count: int) -> None:
    if len(entries) != count:
        raise IRError(f"{what} needs {count} entries, one for each axis, not {len(entries)}")


def check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise IRError(f"{what} must be one of {', '.join(choices)}, not {value!r}")


def check_indices(indices: TensorType) -> None:
    if indices.dtype not in (DType.I32, DType.I64):
        raise IRError(f"indices must be i32 or i64, not {indices.dtype.value}")


def check_arithmetic(dtype: DType) -> None:
    """Arithmetic is defined on floats and integers."""
    if not dtype.is_float and not dtype.is_integer:
        raise IRError(f"arithmetic is not defined on {dtype.value}")
