"""Ops that choose which region to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aivmc.ir.core import Region
from aivmc.ir.definition import Attributes, OpDef, define
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType, Type


@define
class If(OpDef):
    """What the first region yields where ``condition`` (a bool scalar) holds, else the second.

    The regions take the other operands as arguments and may use outer values; they yield equal
    types. The reference interpreter runs the region itself.
    """

    name = "det.if"
    operands = ("condition", "*arguments")

    def infer(
        self, types: Sequence[Any], attributes: Attributes, regions: Sequence[Region]
    ) -> tuple[Type, ...]:
        if types[0] != TensorType(DType.BOOL):
            raise IRError(f"the condition must be a bool scalar, not {types[0]}")
        if len(regions) != 2:
            raise IRError(f"two regions are needed, not {len(regions)}")
        for region in regions:
            if [v.type for v in region.arguments] != list(types[1:]):
                raise IRError("the regions' arguments differ from the operands")
        first, second = (tuple(v.type for v in r.terminator.operands) for r in regions)
        if first != second:
            listed = " and ".join(f"({', '.join(map(str, ts))})" for ts in (first, second))
            raise IRError(f"the regions yield different types: {listed}")
        return first
