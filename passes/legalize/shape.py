"""Shapes as data, and views of a tensor under another shape."""

from __future__ import annotations

from math import ceil, isfinite

from aivmc.ir.constants import Constant
from aivmc.ir.core import Value
from aivmc.ir.dims import Dim, ceil_div, dim_max, floor_div, product
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
from aivmc.passes.legalize.onnx_types import DTYPES


@converts("Shape")
def shape(c: Conversion, n: Node) -> Results:
    dims = n.input(0).tensor.shape
    end = n.attribute("end", len(dims))
    return c.dims_value(dims[slice(n.attribute("start", 0), end)])


@converts("Size")
def size(c: Conversion, n: Node) -> Results:
    return c.dim_scalar(n.input(0).tensor.size, DType.I64)


@converts("Reshape")
def reshape(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    wanted = list(c.dims(n.input(1), "the new shape"))
    if not n.flag("allowzero"):
        for i, d in enumerate(wanted):
            if d == 0:
                if i >= x.tensor.rank:
                    raise Reject(f"dim {i} of the new shape is 0 and there is none to keep")
                wanted[i] = x.tensor.shape[i]
    if wanted.count(-1) > 1:
        raise Reject("more than one dim of the new shape is -1")
    if -1 in wanted:
        wanted[wanted.index(-1)] = _inferred(c, x, [d for d in wanted if d != -1])
    return c.reshape(x, wanted)


def _inferred(c: Conversion, x: Value, others: list[Dim]) -> Dim:
    """The dim that makes the counts equal."""
    known = product(others)
    if known == 0:
        raise Reject("a dim of -1 beside a dim of 0 can be anything")
    total = x.tensor.size
    if isinstance(total, int) and isinstance(known, int) and total % known:
        raise Reject(f"{total} elements are not divisible by {known}")
    return floor_div(total, known)


@converts("Flatten")
def flatten(c: Conversion, n: Node) -> Results:
    dims = n.input(0).tensor.shape
    axis = n.attribute("axis", 1)
    if axis != len(dims):
        axis = normal_axis(axis, len(dims))
    return c.reshape(n.input(0), (product(dims[:axis]), product(dims[axis:])))


def axes_of(c: Conversion, n: Node, input_index: int = 1) -> tuple[int, ...] | None:
    """Axes given by attribute or by input; None if they are left out."""
    axes = n.ints("axes")
    if axes is None and n.optional(input_index) is not None:
        axes = c.ints(n.input(input_index), "the axes")
    return axes


@converts("Squeeze")
def squeeze(c: Conversion, n: Node) -> Results:
    """Axes named must have length 1: a symbolic one is required to. None named: all that have."""
    x = n.input(0)
    axes = axes_of(c, n)
    if axes is None:
        axes = tuple(i for i, d in enumerate(x.tensor.shape) if d == 1)
    axes = normal_axes(axes, x.tensor.rank)
    for axis in axes:
        c.agree(1, x.tensor.shape[axis])
    return c.reshape(x, [d for i, d in enumerate(x.tensor.shape) if i not in axes])


@converts("Unsqueeze")
def unsqueeze(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axes = axes_of(c, n)
    if axes is None:
        raise Reject("the axes are missing")
    axes = normal_axes(axes, x.tensor.rank + len(axes))
    dims: list[Dim] = list(x.tensor.shape)
    for axis in axes:
        dims.insert(axis, 1)
    return c.reshape(x, dims)


@converts("Expand")
def expand(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    wanted = c.lengths(n.input(1), "the shape")
    shape = c.broadcast_shape([x.tensor.shape, wanted])
    (x, *_) = c.aligned([x, c.broadcast_to(c.constant(0, x.tensor.dtype), shape)])
    return c.broadcast_to(x, shape)


@converts("Tile")
def tile(c: Conversion, n: Node) -> Results:
    """Each axis becomes two: the repeats, and itself."""
    x = n.input(0)
    repeats = c.lengths(n.input(1), "the repeats")
    if len(repeats) != x.tensor.rank:
        raise Reject(f"{len(repeats)} repeats are given for {x.tensor.rank} axes")
    pairs = list(zip(repeats, x.tensor.shape))
    split = c.reshape(x, [d for _, own in pairs for d in (1, own)])
    repeated = c.broadcast_to(split, [d for pair in pairs for d in pair])
    return c.reshape(repeated, [r * own for r, own in pairs])


@converts("ConstantOfShape")
def constant_of_shape(c: Conversion, n: Node) -> Results:
    value = c.constant(0.0, DType.F32)
    if n.has("value"):
        value = c.constant(n.required("value", Constant).data.reshape(()))
    return c.broadcast_to(value, c.lengths(n.input(0), "the shape"))


@converts("Range")
def range_(c: Conversion, n: Node) -> Results:
    """Integers may depend on dims. Floats: start + i * delta, each operation rounded."""
    start, limit, delta = n.input(0), n.input(1), n.input(2)
    dtype = start.tensor.dtype
    if dtype.is_integer:
        first, last = c.dim(start, "the start"), c.dim(limit, "the limit")
        step = c.integer(delta, "the step")
        if step == 0:
            raise Reject("the step is 0")
        reach = last - first if step > 0 else first - last
        length = dim_max(ceil_div(reach, abs(step)), 0)
        return c.det("iota", length=length, start=first, step=step, dtype=dtype)
    first, last, step = (c.number(v, "the range") for v in (start, limit, delta))
    if not (step and isfinite(first) and isfinite(last) and isfinite(step)):
        raise Reject("start, limit and step must be finite, and the step not 0")
    steps = c.det(
        "iota", length=max(ceil((last - first) / step), 0), start=0, step=1, dtype=DType.I64
    )
    return c.elementwise("add", c.elementwise("mul", c.cast(steps, dtype), delta), start)


@converts("EyeLike")
def eye_like(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    if x.tensor.rank != 2:
        raise Reject("a matrix is needed")
    dtype = DTYPES.get(n.attribute("dtype", 0), x.tensor.dtype)
    rows, columns = (c.iota(d, axis, 2) for axis, d in enumerate(x.tensor.shape))
    shifted = c.elementwise("add", rows, n.attribute("k", 0))
    return c.cast(c.elementwise("equal", shifted, columns), dtype)
