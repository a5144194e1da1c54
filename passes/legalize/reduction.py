"""Reductions over axes, extremes with their places, sorting, cumulative sums."""

from __future__ import annotations

from collections.abc import Callable

from aivmc.ir.core import Value
from aivmc.ir.dims import product
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import (
    Conversion,
    Converter,
    Node,
    Results,
    converts,
    normal_axes,
    normal_axis,
)
from aivmc.passes.legalize.shape import axes_of

Reduce = Callable[[Conversion, Value, tuple[int, ...], bool], Value]


def mean_over(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool = True) -> Value:
    """sum / n (numerics, clause 11)."""
    return c.elementwise("div", c.reduce("sum", x, axes, keepdims), count_over(c, x, axes))


def count_over(c: Conversion, x: Value, axes: tuple[int, ...]) -> Value:
    """The number of elements along ``axes``, in x's dtype."""
    return c.dim_scalar(product(x.tensor.shape[a] for a in axes), x.tensor.dtype)


def _maximum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    name = "any" if x.tensor.dtype is DType.BOOL else "max"
    return c.reduce(name, x, axes, keepdims, ordered=False)


def _minimum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    name = "all" if x.tensor.dtype is DType.BOOL else "min"
    return c.reduce(name, x, axes, keepdims, ordered=False)


def _sum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.reduce("sum", x, axes, keepdims)


def _product(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.reduce("product", x, axes, keepdims)


def _absolute_sum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.reduce("sum", c.det("abs", x), axes, keepdims)


def _square_sum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.reduce("square_sum", x, axes, keepdims)


def _euclidean(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.det("sqrt", _square_sum(c, x, axes, keepdims))


def _log_sum(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return c.det("log", c.reduce("sum", x, axes, keepdims))


def _log_sum_exp(c: Conversion, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """m + log(sum(exp(x - m))), m the largest element, or 0 where that is infinite."""
    largest = c.reduce("max", x, axes, ordered=False)
    infinite = c.det("is_inf", largest, positive=True, negative=True)
    shift = c.elementwise("select", infinite, c.constant(0.0, x.tensor.dtype), largest)
    total = c.reduce("sum", c.det("exp", c.elementwise("sub", x, shift)), axes)
    out = c.elementwise("add", c.det("log", total), shift)
    return (
        out
        if keepdims
        else c.reshape(out, [d for i, d in enumerate(x.tensor.shape) if i not in axes])
    )


_REDUCTIONS: dict[str, Reduce] = {
    "ReduceSum": _sum,
    "ReduceMean": mean_over,
    "ReduceMax": _maximum,
    "ReduceMin": _minimum,
    "ReduceProd": _product,
    "ReduceL1": _absolute_sum,
    "ReduceL2": _euclidean,
    "ReduceSumSquare": _square_sum,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
}


def _reduction(reduce: Reduce) -> Converter:
    def convert(c: Conversion, n: Node) -> Results:
        x = n.input(0)
        axes = axes_of(c, n)
        if not axes:
            if n.flag("noop_with_empty_axes"):
                return x
            axes = tuple(range(x.tensor.rank))
        return reduce(c, x, normal_axes(axes, x.tensor.rank), n.flag("keepdims", True))

    return convert


for _op_type, _reduce in _REDUCTIONS.items():
    converts(_op_type)(_reduction(_reduce))


@converts("ArgMax", "ArgMin")
def arg_extreme(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axis = normal_axis(n.attribute("axis", 0), x.tensor.rank)
    name = "arg_max" if n.op.name == "onnx.ArgMax" else "arg_min"
    return c.det(
        name,
        x,
        axis=axis,
        keepdims=n.flag("keepdims", True),
        last=n.flag("select_last_index"),
    )


@converts("TopK")
def top_k(c: Conversion, n: Node) -> Results:
    """Always sorted, also where sorted=0 leaves the order open."""
    x = n.input(0)
    axis = normal_axis(n.attribute("axis", -1), x.tensor.rank)
    if n.opset < 10:
        return c.det_all("top_k", x, axis=axis, k=n.required("k", int), largest=True)
    k = c.dim(n.input(1), "k")
    return c.det_all("top_k", x, axis=axis, k=k, largest=n.flag("largest", True))


@converts("CumSum")
def cumulative_sum(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    axis = c.integer(n.input(1), "the axis")
    return c.det(
        "cumulative_sum",
        x,
        axis=normal_axis(axis, x.tensor.rank),
        exclusive=n.flag("exclusive"),
        reverse=n.flag("reverse"),
    )
