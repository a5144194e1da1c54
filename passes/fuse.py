"""Group det ops into kernels: the step from the canonical IR to the kernel stage.

Ops are taken in order. A contraction, reduction, window or element-wise op opens a group; an
elementwise op joins the latest group among those that produce its operands, if the group's schedule
can compute it where it stands. Nothing moves before its operands, so groups run in their order.
Each group becomes one ``kernel.*`` op whose region holds its ops: no bit can change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Op, Region, Value, users
from aivmc.ir.definition import definition
from aivmc.ir.types import Shape, TensorType
from aivmc.passes.base import Pass
from aivmc.passes.plan_memory import materialize_outputs

_CONTRACTIONS = ("det.matmul", "det.conv", "det.conv_transpose")
_ROW_REDUCTIONS = (
    *("det.reduce_sum", "det.reduce_square_sum", "det.reduce_max", "det.reduce_min"),
    *("det.reduce_product", "det.reduce_any", "det.reduce_all"),
)
_WINDOWS = ("det.window_max", "det.window_sum")
# Movement that costs nothing to compute again at each load.
_INLINED = ("det.transpose", "det.slice", "det.broadcast_to", "det.gather", "det.reshape")
# Values that a kernel can hold rather than read.
_MAXIMAL_INLINE_CONSTANT = 1
# Ops of one kernel: its code is made by recursion, and longer kernels gain nothing.
_MAXIMAL_OPS = 64


@dataclass(eq=False)
class Group:
    """Ops of one kernel, in order; ``root`` fixed the kind."""

    kind: str
    root: Op
    is_free: bool = (
        False  # a constant or key, or a view of one or of an input: there from the start
    )
    ops: list[Op] = field(default_factory=list)

    @property
    def shape(self) -> Shape:
        """The index space of the schedule."""
        if self.kind == "rows":
            return self.root.operands[0].tensor.shape
        return self.root.results[0].tensor.shape

    @property
    def row_axes(self) -> int:
        """Number of trailing axes that a row runs over."""
        return len(self.root.attributes["axes"])


@dataclass(frozen=True)
class Fuse(Pass):
    """Group ops into kernels."""

    name: ClassVar[str] = "fuse"

    def run(self, module: Module) -> Module:
        groups = _inline_movement(_form_groups(module.main.region.body), module.main.region)
        fused = module.with_main(_rebuild(module.main, groups), stage="kernel")
        return materialize_outputs(fused)


def _form_groups(ops: Iterable[Op]) -> list[Group]:
    groups: list[Group] = []
    made_by: dict[Value, int] = {}
    for op in ops:
        index = _group_to_join(op, groups, made_by)
        if index is None:
            index = len(groups)
            kind = _kind(op)
            free = kind == "top" and all(
                v not in made_by or groups[made_by[v]].is_free for v in op.operands
            )
            groups.append(Group(kind, op, free))
        groups[index].ops.append(op)
        made_by.update((v, index) for v in op.results)
    return groups


def _kind(op: Op) -> str:
    if op.name in ("det.constant", "det.stream_key", "det.reshape"):
        return "top"
    if op.name in _CONTRACTIONS:
        return "contract"
    if op.name in _WINDOWS:
        return "window"
    if op.name in _ROW_REDUCTIONS:
        return "rows" if _reduces_trailing_axes(op) else "reduce"
    if op.name == "det.concat":
        return "concat"
    return "map" if definition(op.name).has_element else "single"


def _reduces_trailing_axes(op: Op) -> bool:
    axes, rank = op.attributes["axes"], op.operands[0].tensor.rank
    return bool(axes) and tuple(axes) == tuple(range(rank - len(axes), rank))


def _group_to_join(op: Op, groups: Sequence[Group], made_by: dict[Value, int]) -> int | None:
    producers = [made_by[v] for v in op.operands if v in made_by]
    producers = [i for i in producers if not groups[i].is_free]
    if not producers:
        return _group_with_draw(op, groups)
    latest = max(producers)
    return latest if _fits(op, groups[latest], made_by, latest) else None


def _group_with_draw(op: Op, groups: Sequence[Group]) -> int | None:
    """The group that has another draw of the same random words, which are then computed once."""

    def is_draw(other: Op) -> bool:
        same = other.name == op.name and other.operands == op.operands
        return same and {**other.attributes, "draw": 0} == {**op.attributes, "draw": 0}

    if op.name != "det.random_bits":
        return None
    return next((i for i, group in enumerate(groups) if any(map(is_draw, group.ops))), None)


def _fits(op: Op, group: Group, made_by: dict[Value, int], index: int) -> bool:
    if len(group.ops) >= _MAXIMAL_OPS:
        return False
    inner = [v.tensor.shape for v in op.operands if made_by.get(v) == index]
    outer = [v.tensor.shape for v in op.operands if made_by.get(v) != index]
    if group.kind == "rows":
        return _fits_rows(op, group, inner, outer)
    if group.kind not in ("contract", "window", "reduce", "map"):
        return False
    if not definition(op.name).is_elementwise:
        return False
    return op.result.tensor.shape == group.shape and all(s == group.shape for s in inner)


def _fits_rows(op: Op, group: Group, inner: list[Shape], outer: list[Shape]) -> bool:
    shape, axes = group.shape, group.row_axes
    scalars = shape[:-axes] + (1,) * axes
    if op.name in _ROW_REDUCTIONS:
        same = op.attributes["axes"] == group.root.attributes["axes"]
        return same and inner == [shape]
    if not definition(op.name).is_elementwise or op.result.tensor.shape not in (shape, scalars):
        return False
    if any(s not in (shape, scalars) for s in inner):
        return False
    return all(_is_row_operand(s, shape, axes) for s in outer)


def _is_row_operand(operand: Shape, shape: Shape, axes: int) -> bool:
    """Whether the operand's trailing axes are the row's, or all broadcast."""
    padded = (1,) * (len(shape) - len(operand)) + tuple(operand)
    tail = padded[-axes:]
    return tail == tuple(shape[-axes:]) or all(d == 1 for d in tail)


def _inline_movement(groups: list[Group], region: Region) -> list[Group]:
    """Move groups of cheap movement into the one map that reads them."""
    group_of = {v: g for g in groups for op in g.ops for v in op.results}
    consumers = users(region)
    op_group = {id(op): g for g in groups for op in g.ops}
    for group in reversed(groups):
        if group.kind != "map" or any(op.name not in _INLINED for op in group.ops):
            continue
        readers = [u for op in group.ops for v in op.results for u in consumers.get(v, [])]
        targets = {id(op_group.get(id(u))): op_group.get(id(u)) for u in readers}
        outside = [t for t in targets.values() if t is not group]
        if len(outside) != 1 or outside[0] is None or outside[0].kind != "map":
            continue
        target = outside[0]
        if len(target.ops) + len(group.ops) > _MAXIMAL_OPS:
            continue
        target.ops[:0] = group.ops
        op_group.update((id(op), target) for op in group.ops)
        group_of.update((v, target) for op in group.ops for v in op.results)
        group.ops = []
    return [g for g in groups if g.ops]


def _rebuild(main: Function, groups: list[Group]) -> Function:
    consumers = users(main.region)
    values: dict[Value, Value] = {}
    constants = {op.result: op for g in groups for op in g.ops if op.name == "det.constant"}
    builder = Builder(main.inputs)
    # Constants and their views first: a group may have been joined by ops that read later ones.
    for group in sorted(groups, key=lambda g: not g.is_free):
        builder.location = group.root.location
        if group.kind == "top":
            for op in group.ops:
                values.update(zip(op.results, builder.copy(op, values)))
        else:
            _emit_kernel(builder, group, values, constants, consumers)
    outputs = (values.get(v, v) for v in main.outputs)
    return Function(main.name, builder.terminate("return", *outputs), main.output_names)


def _emit_kernel(
    builder: Builder,
    group: Group,
    values: dict[Value, Value],
    constants: dict[Value, Op],
    consumers: dict[Value, list[Op]],
) -> None:
    members = {id(op) for op in group.ops}
    made = [v for op in group.ops for v in op.results]
    outputs = [v for v in made if any(id(u) not in members for u in consumers.get(v, []))]
    external = dict.fromkeys(v for op in group.ops for v in op.operands if v not in set(made))
    # What the root of a schedule reads is in memory.
    read = set(group.root.operands) if group.kind != "map" else set()
    held = [v for v in external if v in constants and _is_small(v.tensor) and v not in read]
    operands = [v for v in external if v not in held]
    inner = Builder([Value(v.type, v.name) for v in operands])
    local = dict(zip(operands, inner.region.arguments))
    for v in held:
        inner.location = constants[v].location
        local[v] = inner.copy(constants[v], {})[0]
    for op in group.ops:
        local.update(zip(op.results, inner.copy(op, local)))
    region = inner.terminate("yield", *(local[v] for v in outputs))
    results = builder.ops(
        f"kernel.{group.kind}", *(values.get(v, v) for v in operands), regions=(region,)
    )
    values.update(zip(outputs, results))


def _is_small(type: TensorType) -> bool:
    return type.is_static and type.size == _MAXIMAL_INLINE_CONSTANT
