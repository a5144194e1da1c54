"""Activation functions, spelled out as selects and elementary functions."""

from __future__ import annotations

from aivmc.ir.core import Value
from aivmc.ir.dims import product
from aivmc.passes.legalize.conversion import (
    Conversion,
    Node,
    Reject,
    Results,
    converts,
    normal_axis,
)
from aivmc.passes.legalize.elementwise import clipped


def below_zero(c: Conversion, x: Value, below: Value, otherwise: Value) -> Value:
    """``below`` where ``x < 0``."""
    return c.elementwise("select", c.elementwise("less", x, 0.0), below, otherwise)


@converts("Relu")
def relu(c: Conversion, n: Node) -> Results:
    return c.det("relu", n.input(0))


@converts("LeakyRelu")
def leaky_relu(c: Conversion, n: Node) -> Results:
    return c.det("leaky_relu", n.input(0), slope=n.attribute("alpha", 0.01))


@converts("PRelu")
def prelu(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return below_zero(c, x, c.elementwise("mul", x, n.input(1)), x)


@converts("Elu")
def elu(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    below = c.elementwise("mul", c.det("expm1", x), n.attribute("alpha", 1.0))
    return below_zero(c, x, below, x)


@converts("Selu")
def selu(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    alpha = n.attribute("alpha", 1.67326319217681884765625)
    gamma = n.attribute("gamma", 1.05070102214813232421875)
    below = c.elementwise("mul", c.det("expm1", x), alpha)
    return c.elementwise("mul", below_zero(c, x, below, x), gamma)


@converts("Celu")
def celu(c: Conversion, n: Node) -> Results:
    x, alpha = n.input(0), n.attribute("alpha", 1.0)
    below = c.elementwise("mul", c.det("expm1", c.elementwise("div", x, alpha)), alpha)
    return below_zero(c, x, below, x)


@converts("ThresholdedRelu")
def thresholded_relu(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    above = c.elementwise("less", c.constant(n.attribute("alpha", 1.0), x.tensor.dtype), x)
    return c.elementwise("select", above, x, c.constant(0.0, x.tensor.dtype))


@converts("HardSigmoid")
def hard_sigmoid(c: Conversion, n: Node) -> Results:
    return _hard_sigmoid(c, n.input(0), n.attribute("alpha", 0.2), n.attribute("beta", 0.5))


@converts("HardSwish")
def hard_swish(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return c.elementwise("mul", x, _hard_sigmoid(c, x, 1.0 / 6.0, 0.5))


def _hard_sigmoid(c: Conversion, x: Value, alpha: float, beta: float) -> Value:
    line = c.elementwise("add", c.elementwise("mul", x, alpha), beta)
    return clipped(c, line, 0.0, 1.0)


@converts("Softsign")
def softsign(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    return c.elementwise("div", x, c.elementwise("add", c.det("abs", x), 1.0))


@converts("Swish")
def swish(c: Conversion, n: Node) -> Results:
    x, alpha = n.input(0), n.attribute("alpha", 1.0)
    if alpha == 1.0:
        return c.det("silu", x)
    return c.elementwise("mul", x, c.det("sigmoid", c.elementwise("mul", x, alpha)))


@converts("Gelu")
def gelu(c: Conversion, n: Node) -> Results:
    approximate = n.attribute("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Reject(f"the approximation {approximate!r} is unknown")
    return c.det("gelu_tanh" if approximate == "tanh" else "gelu", n.input(0))


@converts("Shrink")
def shrink(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    limit, bias = n.attribute("lambd", 0.5), n.attribute("bias", 0.0)
    low = c.elementwise("less", x, -limit)
    high = c.elementwise("less", c.constant(limit, x.tensor.dtype), x)
    above = c.elementwise(
        "select", high, c.elementwise("sub", x, bias), c.constant(0.0, x.tensor.dtype)
    )
    return c.elementwise("select", low, c.elementwise("add", x, bias), above)


def softmax_axes(n: Node, x: Value) -> tuple[int, ...]:
    """One axis from opset 13 on; before, all from ``axis`` to the last, as if flattened."""
    rank = x.tensor.rank
    if n.opset >= 13:
        return (normal_axis(n.attribute("axis", -1), rank),)
    axis = n.attribute("axis", 1)
    return tuple(range(rank if axis == rank else normal_axis(axis, rank), rank))


@converts("Softmax")
def softmax(c: Conversion, n: Node) -> Results:
    return softmax_over(c, n.input(0), softmax_axes(n, n.input(0)))


def softmax_over(c: Conversion, x: Value, axes: tuple[int, ...]) -> Value:
    """exp(x - max) * (1 / sum), the axes taken as one (numerics, clause 11)."""
    _, exponentials, total = _exponentials(c, x, axes)
    inverse = c.elementwise("div", 1.0, total)
    return c.elementwise("mul", exponentials, inverse)


@converts("LogSoftmax")
def log_softmax(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    shifted, _, total = _exponentials(c, x, softmax_axes(n, x))
    return c.elementwise("sub", shifted, c.det("log", total))


def _exponentials(c: Conversion, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value, Value]:
    """x - max, its exponentials, and their sum."""
    largest = c.reduce("max", x, axes, ordered=False)
    shifted = c.elementwise("sub", x, largest)
    exponentials = c.det("exp", shifted)
    total = c.reduce("sum", exponentials, axes)
    return shifted, exponentials, total


@converts("Hardmax")
def hardmax(c: Conversion, n: Node) -> Results:
    """1 at the first largest element, 0 elsewhere."""
    x = n.input(0)
    axes = softmax_axes(n, x)
    shape = x.tensor.shape
    axis, end = axes[0], axes[-1] + 1
    length = product(shape[axis:end])
    flat = c.reshape(x, (*shape[:axis], length, *shape[end:]))
    best = c.det("arg_max", flat, axis=axis, keepdims=True, last=False)
    from_zero = c.iota(length, axis, flat.tensor.rank)
    out = c.cast(c.elementwise("equal", best, from_zero), x.tensor.dtype)
    return c.reshape(out, shape)
