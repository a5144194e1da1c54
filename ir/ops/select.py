"""Choice between two values, element by element."""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._elementwise import Elementwise, same_dtype
from aivmc.ir.types import DType


@define
class Select(Elementwise):
    """``a`` where ``condition`` holds, else ``b``: the bits of one of them, unchanged."""

    name = "det.select"
    operands = ("condition", "a", "b")

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        condition, *branches = dtypes
        if condition is not DType.BOOL:
            raise IRError(f"the condition must be bool, not {condition.value}")
        return same_dtype(branches)

    def rounded_scalar(self, emit: Emit, *xs: Scalar, **attributes: Any) -> Scalar:
        return emit.select(*xs)
