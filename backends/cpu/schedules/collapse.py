"""Fewer, longer axes: adjacent axes that every operand has, or broadcasts, become one."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ir.builder import Builder
from aivmc.ir.core import Op, Region, Value
from aivmc.ir.definition import definition
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import Shape, TensorType


def axis_groups(shape: Shape, operands: Sequence[Shape], fixed: int = 0) -> list[tuple[int, ...]]:
    """Axes of ``shape`` that can be taken as one, in order, without axes of size 1.

    The last ``fixed`` axes are one group of their own.
    """
    rank = len(shape)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in operands]
    groups: list[tuple[int, ...]] = []
    previous: tuple[bool, ...] | None = None
    for axis in range(rank - fixed):
        if shape[axis] == 1:
            continue
        broadcast = tuple(s[axis] == 1 for s in padded)
        if broadcast == previous:
            groups[-1] = (*groups[-1], axis)
        else:
            groups.append((axis,))
        previous = broadcast
    if fixed:
        groups.append(tuple(range(rank - fixed, rank)))
    return groups or [()]


def collapse_shape(shape: Shape, rank: int, groups: Sequence[tuple[int, ...]]) -> Shape:
    """An operand's shape over the groups: each is one dim, 1 where the operand broadcasts."""
    padded: Sequence[Dim] = (1,) * (rank - len(shape)) + tuple(shape)
    return tuple(product(padded[a] for a in group) for group in groups)


def collapse_region(
    region: Region, rank: int, groups: Sequence[tuple[int, ...]]
) -> tuple[Region, dict[Value, Value]]:
    """The region over collapsed shapes, and its values by the old ones. Its ops are elementwise,
    or reduce all axes of the last group."""
    arguments = [_collapsed(v, rank, groups) for v in region.arguments]
    builder = Builder(arguments)
    values = dict(zip(region.arguments, arguments))
    for op in region.body:
        values.update(zip(op.results, _copy(builder, op, values, len(groups))))
    outputs = (values[v] for v in region.terminator.operands)
    return builder.terminate("yield", *outputs), values


def _collapsed(value: Value, rank: int, groups: Sequence[tuple[int, ...]]) -> Value:
    type = value.tensor
    return Value(TensorType(type.dtype, collapse_shape(type.shape, rank, groups)))


def _copy(builder: Builder, op: Op, values: dict[Value, Value], rank: int) -> tuple[Value, ...]:
    if definition(op.name).is_elementwise or op.name == "det.constant":
        return builder.copy(op, values)
    attributes = {**op.attributes, "axes": (rank - 1,), "keepdims": True}
    return builder.ops(op.name, *(values[v] for v in op.operands), **attributes)
