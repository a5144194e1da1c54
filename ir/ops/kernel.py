"""Kernel-stage ops: groups of det ops that one piece of code computes.

A ``kernel.*`` op means what its region means, so fusing changes no bits by construction; the op's
name says which schedule its code follows. Regions may be nested nowhere else in this stage.
"""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ir.core import Region
from aivmc.ir.definition import Attributes, OpDef, define
from aivmc.ir.errors import IRError
from aivmc.ir.types import Type


class KernelOp(OpDef):
    """Results are what the region yields for the operands."""

    operands = ("*xs",)

    def infer(
        self, types: Sequence[Type], attributes: Attributes, regions: Sequence[Region]
    ) -> tuple[Type, ...]:
        if len(regions) != 1:
            raise IRError(f"{self.name} has one region, not {len(regions)}")
        (region,) = regions
        if [v.type for v in region.arguments] != list(types):
            raise IRError("the region's arguments differ from the operands")
        return tuple(v.type for v in region.terminator.operands)


@define
class Map(KernelOp):
    """Each element from elements of the operands."""

    name = "kernel.map"


@define
class Concat(KernelOp):
    """One ``det.concat``, copied operand by operand."""

    name = "kernel.concat"


@define
class Rows(KernelOp):
    """Reductions over the trailing axes and what is elementwise around them, row by row."""

    name = "kernel.rows"


@define
class Reduce(KernelOp):
    """One reduction over other axes, and what is elementwise after it."""

    name = "kernel.reduce"


@define
class Window(KernelOp):
    """One window reduction, and what is elementwise after it."""

    name = "kernel.window"


@define
class Contract(KernelOp):
    """One matrix product or convolution, and what is elementwise after it."""

    name = "kernel.contract"


@define
class Single(KernelOp):
    """One op that has a schedule of its own."""

    name = "kernel.single"
