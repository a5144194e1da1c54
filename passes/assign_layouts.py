"""Lay activations out channels last, where convolutions and what surrounds them read them.

A convolution becomes transpose, channels-last convolution, transpose; the transposes are not made
where the value is at hand in the other layout already. Ops that treat axes alike follow their
operands. Elements are computed by the same ops from the same elements in the same order, so no bit
changes: this pass stands to the right of the canonical line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Op, Value
from aivmc.ir.definition import definition
from aivmc.passes.base import Pass


def channels_last(rank: int) -> tuple[int, ...]:
    """The permutation that moves axis 1 to the end."""
    return (0, *range(2, rank), 1)


def channels_first(rank: int) -> tuple[int, ...]:
    """The permutation that moves the last axis to place 1."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True)
class AssignLayouts(Pass):
    """Compute convolutions, and ops between them, channels last."""

    name: ClassVar[str] = "assign-layouts"

    def run(self, module: Module) -> Module:
        main = module.main
        layouts = _Layouts(Builder(main.inputs))
        for op in main.region.body:
            layouts.builder.location = op.location
            layouts.convert(op)
        layouts.builder.location = main.region.terminator.location
        outputs = [layouts.first(v) for v in main.outputs]
        region = layouts.builder.terminate("return", *outputs)
        return module.with_main(Function(main.name, region, main.output_names), stage="kernel")


class _Layouts:
    """Each value of the old program in one layout or both."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.as_first: dict[Value, Value] = {v: v for v in builder.region.arguments}
        self.as_last: dict[Value, Value] = {}

    def first(self, value: Value) -> Value:
        """The value as it was, channels first."""
        if value not in self.as_first:
            last = self.as_last[value]
            permutation = channels_first(last.tensor.rank)
            self.as_first[value] = self.builder.op("det.transpose", last, permutation=permutation)
        return self.as_first[value]

    def last(self, value: Value) -> Value:
        """The value channels last; values of rank below 3 broadcast along the last axes."""
        if value not in self.as_last:
            first = self.as_first[value]
            self.as_last[value] = self._transpose(first, channels_last(first.tensor.rank))
        return self.as_last[value]

    def convert(self, op: Op) -> None:
        if op.name == "det.conv":
            x = self._padded(self.last(op.operands[0]), op)
            spatial = op.result.tensor.rank - 2
            attributes = {
                **op.attributes,
                "low": (0,) * spatial,
                "high": (0,) * spatial,
                "layout": "channels_last",
            }
            self.as_last[op.result] = self.builder.op(
                op.name, x, self.first(op.operands[1]), **attributes
            )
        elif self._follows(op):
            operands = [self._operand(v, op) for v in op.operands]
            changed = _ATTRIBUTES[op.name](op) if op.name in _ATTRIBUTES else op.attributes
            self.as_last[op.result] = self.builder.op(op.name, *operands, **changed)
        else:
            firsts = {v: self.first(v) for v in op.operands}
            self.as_first.update(zip(op.results, self.builder.copy(op, firsts)))

    def _padded(self, x: Value, op: Op) -> Value:
        """A convolution's operand, channels last, with its padding in it."""
        low, high = op.attributes["low"], op.attributes["high"]
        if not any((*low, *high)):
            return x
        zero = self.builder.constant(0, x.tensor.dtype)
        return self.builder.op(
            "det.pad", x, zero, low=(0, *low, 0), high=(0, *high, 0), mode="constant"
        )

    def _operand(self, value: Value, op: Op) -> Value:
        """An operand that lines up with channels-last operands of the op's rank."""
        rank = op.results[0].tensor.rank
        if value.tensor.rank == rank:
            return self.last(value)
        first = self.first(value)
        if value.tensor.rank == 0:
            return first
        shape = (1,) * (rank - value.tensor.rank) + tuple(value.tensor.shape)
        full = self.builder.op("det.reshape", first, shape=shape)
        return self._transpose(full, channels_last(rank))

    def _transpose(self, value: Value, permutation: tuple[int, ...]) -> Value:
        """A transpose, or the view that it is where it moves only axes of size 1."""
        shape = value.tensor.shape
        wide = [axis for axis in permutation if shape[axis] != 1]
        if wide == sorted(wide):
            return self.builder.op("det.reshape", value, shape=tuple(shape[p] for p in permutation))
        return self.builder.op("det.transpose", value, permutation=permutation)

    def _follows(self, op: Op) -> bool:
        """Whether the op should be computed channels last: some operand is, and it can."""
        if len(op.results) != 1 or op.result.tensor.rank < 3:
            return False
        if not any(v in self.as_last for v in op.operands):
            return False
        if definition(op.name).is_elementwise:
            return True
        return op.name in _ATTRIBUTES and _order_is_kept(op)


def _order_is_kept(op: Op) -> bool:
    """Whether a reduction visits its elements in the same order channels last."""
    if op.name not in _REDUCTIONS:
        return True
    axes = op.attributes["axes"]
    return bool(op.attributes["keepdims"]) and (1 not in axes or len(axes) == 1)


def _permuted(*names: str) -> Callable[[Op], Mapping[str, Any]]:
    """Attributes of one entry for each axis, permuted."""

    def change(op: Op) -> Mapping[str, Any]:
        permutation = channels_last(op.result.tensor.rank)
        changed = {n: _permute(op.attributes[n], permutation) for n in names}
        return {**op.attributes, **changed}

    return change


def _permute(entries: Sequence[Any], permutation: Sequence[int]) -> tuple[Any, ...]:
    return tuple(entries[p] for p in permutation)


def _moved_axis(op: Op) -> Mapping[str, Any]:
    axis = channels_last(op.result.tensor.rank).index(op.attributes["axis"])
    return {**op.attributes, "axis": axis}


def _moved_axes(op: Op) -> Mapping[str, Any]:
    permutation = channels_last(op.operands[0].tensor.rank)
    axes = tuple(sorted(permutation.index(a) for a in op.attributes["axes"]))
    return {**op.attributes, "axes": axes}


_REDUCTIONS = (
    *("det.reduce_sum", "det.reduce_square_sum", "det.reduce_product"),
    *("det.reduce_max", "det.reduce_min"),
)
_ATTRIBUTES: dict[str, Callable[[Op], Mapping[str, Any]]] = {
    "det.concat": _moved_axis,
    "det.slice": _permuted("starts", "steps", "sizes"),
    "det.broadcast_to": _permuted("shape"),
    "det.window_max": _permuted("window", "strides", "dilations", "low", "high"),
    "det.window_sum": _permuted("window", "strides", "dilations", "low", "high"),
    **dict.fromkeys(_REDUCTIONS, _moved_axes),
}
