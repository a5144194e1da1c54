"""Elements that change places: slices, joins, gathers, scatters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.core import Value
from aivmc.ir.dims import Dim, ceil_div, dim_max, floor_div
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import (
    Conversion,
    Node,
    Reject,
    Results,
    converts,
    normal_axes,
    normal_axis,
)

_ENDLESS = 2**31 - 1  # exporters write the largest int32 or int64 for "to the end"


@converts("Transpose")
def transpose(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return c.transpose(x, n.ints("perm") or tuple(reversed(range(x.tensor.rank))))


@converts("Concat")
def concat(c: Conversion, n: Node) -> Results:
    xs = n.all_inputs()
    return join(c, xs, normal_axis(n.required("axis", int), xs[0].tensor.rank))


def join(c: Conversion, xs: Sequence[Value], axis: int) -> Value:
    """``xs`` one after another along ``axis``; other dims must agree."""
    if any(x.tensor.rank != xs[0].tensor.rank for x in xs):
        raise Reject("the operands have different numbers of axes")
    shape = list(xs[0].tensor.shape)
    for x in xs[1:]:
        shape = [
            c.agree(a, b) if i != axis else a for i, (a, b) in enumerate(zip(shape, x.tensor.shape))
        ]
    same = [c.with_shape(x, (*shape[:axis], x.tensor.shape[axis], *shape[axis + 1 :])) for x in xs]
    return c.det("concat", *same, axis=axis)


@converts("Split")
def split(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axis = normal_axis(n.attribute("axis", 0), x.tensor.rank)
    sizes: Sequence[Dim] | None = n.ints("split")
    if n.optional(1) is not None:
        sizes = c.dims(n.input(1), "the sizes")
    if sizes is None:
        sizes = _equal_parts(c, n, x.tensor.shape[axis])
    parts = []
    start: Dim = 0
    for part in sizes:
        parts.append(part_of(c, x, axis, start, part))
        start = start + part
    c.agree(x.tensor.shape[axis], start)
    return tuple(parts)


def _equal_parts(c: Conversion, n: Node, dim: Dim) -> list[Dim]:
    """Equal parts; from opset 18 on the last may be smaller."""
    count = n.result_count
    if n.attribute("num_outputs", count) != count or count < 1:
        raise Reject("num_outputs is not the number of outputs")
    if n.opset < 18:
        c.agree(dim, floor_div(dim, count) * count)
        return [floor_div(dim, count)] * count
    chunk = ceil_div(dim, count)
    return [chunk] * (count - 1) + [dim - chunk * (count - 1)]


def part_of(c: Conversion, x: Value, axis: int, start: Dim, size: Dim, step: int = 1) -> Value:
    """``size`` elements along one axis."""
    shape = x.tensor.shape
    if (start, size, step) == (0, shape[axis], 1):
        return x
    starts: list[Dim] = [0] * len(shape)
    steps, sizes = [1] * len(shape), list(shape)
    starts[axis], steps[axis], sizes[axis] = start, step, size
    return c.det("slice", x, starts=tuple(starts), steps=tuple(steps), sizes=tuple(sizes))


@converts("Slice")
def slice_(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    starts, ends, axes, steps = _slice_operands(c, n)
    rank = x.tensor.rank
    if axes is None:
        axes = tuple(range(len(starts)))
    if steps is None:
        steps = (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise Reject("starts, ends, axes and steps differ in length")
    for start, end, axis, step in zip(starts, ends, axes, steps):
        axis = normal_axis(axis, rank)
        first, count = sliced(x.tensor.shape[axis], start, end, step)
        x = part_of(c, x, axis, first, count, step)
    return x


def _slice_operands(
    c: Conversion, n: Node
) -> tuple[Sequence[Dim], Sequence[Dim], Sequence[int] | None, Sequence[int] | None]:
    if n.opset < 10:
        return n.ints("starts") or (), n.ints("ends") or (), n.ints("axes"), None
    axes, steps = n.optional(3), n.optional(4)
    return (
        c.dims(n.input(1), "starts"),
        c.dims(n.input(2), "ends"),
        None if axes is None else c.ints(axes, "axes"),
        None if steps is None else c.ints(steps, "steps"),
    )


def sliced(dim: Dim, start: Dim, end: Dim, step: int) -> tuple[Dim, Dim]:
    """First position and number of elements of a slice, with ends clamped as Python does."""
    if step == 0:
        raise Reject("a step of 0")
    low: Dim = 0 if step > 0 else -1
    high = dim + low
    first, stop = _clamped(start, dim, low, high), _clamped(end, dim, low, high)
    begin, end = (low, high) if step > 0 else (high, low)
    count = ceil_div(stop - first if step > 0 else first - stop, abs(step))
    ordered = first == begin or stop == end  # both are clamped to the axis
    return first, count if ordered else dim_max(count, 0)


def _clamped(position: Dim, dim: Dim, low: Dim, high: Dim) -> Dim:
    if isinstance(position, int) and position < 0:
        position = low if position <= -_ENDLESS else position + dim
        return dim_max(position, low)
    if isinstance(position, int) and position >= _ENDLESS:
        return high
    return position + high - dim_max(position, high)


@converts("Pad")
def pad(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    rank, dtype = x.tensor.rank, x.tensor.dtype
    amounts: Sequence[Dim] = (
        n.ints("pads") or () if n.opset < 11 else c.dims(n.input(1), "the padding")
    )
    axes = c.ints(n.input(3), "the axes") if n.optional(3) is not None else range(rank)
    if len(amounts) != 2 * len(axes):
        raise Reject(f"{len(amounts)} amounts are given for {len(axes)} axes")
    low: list[Dim] = [0] * rank
    high: list[Dim] = [0] * rank
    for i, axis in enumerate(axes):
        axis = normal_axis(axis, rank)
        low[axis], high[axis] = amounts[i], amounts[i + len(axes)]
    value = n.optional(2) or c.constant(n.attribute("value", 0.0), dtype)
    mode = n.attribute("mode", "constant")
    return c.det("pad", x, c.reshape(value, ()), low=tuple(low), high=tuple(high), mode=mode)


@converts("Gather")
def gather(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return c.det("gather", x, n.input(1), axis=normal_axis(n.attribute("axis", 0), x.tensor.rank))


@converts("GatherElements")
def gather_elements(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axis = normal_axis(n.attribute("axis", 0), x.tensor.rank)
    return c.det("gather_elements", x, n.input(1), axis=axis)


@converts("GatherND")
def gather_nd(c: Conversion, n: Node) -> Results:
    return c.det("gather_nd", n.input(0), n.input(1), batch_dims=n.attribute("batch_dims", 0))


@converts("Scatter", "ScatterElements")
def scatter_elements(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axis = normal_axis(n.attribute("axis", 0), x.tensor.rank)
    reduction = n.attribute("reduction", "none")
    return c.det("scatter_elements", x, n.input(1), n.input(2), axis=axis, reduction=reduction)


@converts("ScatterND")
def scatter_nd(c: Conversion, n: Node) -> Results:
    reduction = n.attribute("reduction", "none")
    return c.det("scatter_nd", n.input(0), n.input(1), n.input(2), reduction=reduction)


@converts("Trilu")
def trilu(c: Conversion, n: Node) -> Results:
    k = n.optional(1)
    k = c.constant(0, DType.I64) if k is None else c.reshape(k, ())
    return c.det("trilu", n.input(0), k, upper=n.flag("upper", True))


@converts("OneHot")
def one_hot(c: Conversion, n: Node) -> Results:
    """values[1] where the index, counted from the end if negative, is the position; else [0]."""
    indices, values = n.input(0), n.input(2)
    depth = c.integer(c.cast(n.input(1), DType.I64), "the depth")
    rank = indices.tensor.rank + 1
    axis = normal_axis(n.attribute("axis", -1), rank)
    wide = c.cast(indices, DType.I64)
    negative = c.elementwise("less", wide, 0)
    wide = c.elementwise("select", negative, c.elementwise("add", wide, depth), wide)
    shape = list(indices.tensor.shape)
    shape.insert(axis, 1)
    hit = c.elementwise("equal", c.reshape(wide, shape), c.iota(depth, axis, rank))
    off, on = (c.reshape(part_of(c, values, 0, i, 1), ()) for i in (0, 1))
    return c.elementwise("select", hit, on, off)


@converts("DepthToSpace")
def depth_to_space(c: Conversion, n: Node) -> Results:
    x, block = n.input(0), n.required("blocksize", int)
    if x.tensor.rank != 4 or block < 1:
        raise Reject("a tensor of 4 axes and a positive blocksize are needed")
    batch, channels, height, width = x.tensor.shape
    depth = floor_div(channels, block * block)
    order: tuple[int, ...]
    split_shape: tuple[Dim, ...]
    if n.attribute("mode", "DCR") == "DCR":
        split_shape, order = (batch, block, block, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split_shape, order = (batch, depth, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = c.transpose(c.reshape(x, split_shape), order)
    return c.reshape(moved, (batch, depth, height * block, width * block))


@converts("SpaceToDepth")
def space_to_depth(c: Conversion, n: Node) -> Results:
    x, block = n.input(0), n.required("blocksize", int)
    if x.tensor.rank != 4 or block < 1:
        raise Reject("a tensor of 4 axes and a positive blocksize are needed")
    batch, channels, height, width = x.tensor.shape
    rows, columns = floor_div(height, block), floor_div(width, block)
    parts = c.reshape(x, (batch, channels, rows, block, columns, block))
    dcr = n.attribute("mode", "DCR") == "DCR"
    moved = c.transpose(parts, (0, 3, 5, 1, 2, 4) if dcr else (0, 1, 3, 5, 2, 4))
    return c.reshape(moved, (batch, channels * (block * block), rows, columns))


@converts("ReverseSequence")
def reverse_sequence(c: Conversion, n: Node) -> Results:
    """Along time, position t of a sequence of length l comes from l - 1 - t, or stays beyond it."""
    x, lengths = n.input(0), n.input(1)
    time, batch = n.attribute("time_axis", 0), n.attribute("batch_axis", 1)
    rank = x.tensor.rank
    if {time, batch} != {0, 1} or rank < 2:
        raise Reject("the time and batch axes must be the first two")
    shape: list[Dim] = [1] * rank
    shape[batch] = x.tensor.shape[batch]
    per_sequence = c.reshape(c.cast(lengths, DType.I64), shape)
    positions = c.iota(x.tensor.shape[time], time, rank)
    mirrored = c.elementwise("sub", c.elementwise("sub", per_sequence, 1), positions)
    inside = c.elementwise("less", positions, per_sequence)
    source = c.elementwise("select", inside, mirrored, positions)
    return c.det("gather_elements", x, c.broadcast_to(source, x.tensor.shape), axis=time)


@converts("Compress")
def compress(c: Conversion, n: Node) -> Results:
    """With a constant condition: the number of elements kept is part of the shape."""
    x = n.input(0)
    condition = c.array(n.input(1))
    if condition is None:
        raise Reject("the condition must be known when the model is compiled")
    axis = 0
    if n.has("axis"):
        axis = normal_axis(n.required("axis", int), x.tensor.rank)
    else:
        x = c.reshape(x, (x.tensor.size,))
    kept = np.flatnonzero(condition).astype(np.int64)
    return c.det("gather", x, c.constant(kept), axis=axis)


@converts("CenterCropPad")
def center_crop_pad(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    wanted = c.ints(n.input(1), "the shape")
    axes = n.ints("axes")
    axes = tuple(range(x.tensor.rank)) if axes is None else axes
    normal_axes(axes, x.tensor.rank)
    low: list[Dim] = [0] * x.tensor.rank
    high: list[Dim] = [0] * x.tensor.rank
    for axis, want in zip(axes, wanted):
        axis = normal_axis(axis, x.tensor.rank)
        dim = x.tensor.shape[axis]
        if not isinstance(dim, int):
            raise Reject("the dims that are cropped must be known")
        low[axis] = (want - dim) // 2 if want > dim else -((dim - want) // 2)
        high[axis] = want - dim - low[axis]
    value = c.constant(0, x.tensor.dtype)
    return c.det("pad", x, value, low=tuple(low), high=tuple(high), mode="constant")


@converts("If")
def if_(c: Conversion, n: Node) -> Results:
    """With a condition known at compile time: the branch that is taken, in place."""
    names = n.required("regions", tuple)
    taken = "then_branch" if c.number(n.input(0), "the condition") else "else_branch"
    if taken not in names:
        raise Reject(f"the graph {taken!r} is missing")
    return c.convert_region(n.op.regions[names.index(taken)])
