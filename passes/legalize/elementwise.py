"""Arithmetic, comparison, logic, casts and elementary functions."""

from __future__ import annotations

from functools import reduce
from math import nan

from ml_dtypes import finfo

from aivmc.ir.core import Value
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import (
    Conversion,
    Converter,
    Node,
    Reject,
    Results,
    converts,
)
from aivmc.passes.legalize.onnx_types import DTYPES

_UNARY = {
    "Abs": "abs",
    "Neg": "neg",
    "Sqrt": "sqrt",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "rint",
    "Sign": "sign",
    "IsNaN": "is_nan",
    "Not": "logical_not",
    "BitwiseNot": "bit_not",
    "Exp": "exp",
    "Log": "log",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Erf": "erf",
    "Softplus": "softplus",
    "Mish": "mish",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
}
_BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "And": "logical_and",
    "Or": "logical_or",
    "Xor": "logical_xor",
    "BitwiseAnd": "bit_and",
    "BitwiseOr": "bit_or",
    "BitwiseXor": "bit_xor",
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
}
_SMALL_FLOATS = (
    DType.F8E4M3FN,
    DType.F8E4M3FNUZ,
    DType.F8E5M2,
    DType.F8E5M2FNUZ,
    DType.F4E2M1,
)
_POWERS = (2.0**-127, 2.0**127)  # the least and the largest f8e8m0
_FRACTION = 2**52 - 1  # bits of an f64
_SWAPPED = {"Greater": "less", "GreaterOrEqual": "less_equal"}
_VARIADIC = {"Max": "maximum", "Min": "minimum", "Sum": "add"}


def _unary(name: str) -> Converter:
    return lambda c, n: c.elementwise(name, n.input(0))


def _binary(name: str) -> Converter:
    return lambda c, n: c.elementwise(name, n.input(0), n.input(1))


def _swapped(name: str) -> Converter:
    return lambda c, n: c.elementwise(name, n.input(1), n.input(0))


def _variadic(name: str) -> Converter:
    return lambda c, n: reduce(lambda a, b: c.elementwise(name, a, b), n.all_inputs())


for _table, _make in (
    (_UNARY, _unary),
    (_BINARY, _binary),
    (_SWAPPED, _swapped),
    (_VARIADIC, _variadic),
):
    for _op_type, _name in _table.items():
        converts(_op_type)(_make(_name))


@converts("Identity")
def identity(c: Conversion, n: Node) -> Results:
    return n.input(0)


@converts("Reciprocal")
def reciprocal(c: Conversion, n: Node) -> Results:
    return c.elementwise("div", 1.0, n.input(0))


@converts("Mean")
def mean(c: Conversion, n: Node) -> Results:
    total = reduce(lambda a, b: c.elementwise("add", a, b), n.all_inputs())
    return c.elementwise("div", total, float(len(n.inputs)))


@converts("Mod")
def mod(c: Conversion, n: Node) -> Results:
    """fmod=1: the sign of the dividend. Otherwise the sign of the divisor, as Python's ``%``."""
    a, b = n.input(0), n.input(1)
    remainder = c.elementwise("rem", a, b)
    if n.flag("fmod") or a.tensor.dtype.is_unsigned:
        return remainder
    differs = c.elementwise(
        "logical_xor", c.elementwise("less", remainder, 0), c.elementwise("less", b, 0)
    )
    is_zero = c.elementwise("equal", remainder, 0)
    wrong = c.elementwise("logical_and", differs, c.elementwise("logical_not", is_zero))
    return c.elementwise("select", wrong, c.elementwise("add", remainder, b), remainder)


@converts("Pow")
def pow_(c: Conversion, n: Node) -> Results:
    """The base's dtype. Constant exponents 1, 2 and 3, and all of integers, are products."""
    base, exponent = n.input(0), n.input(1)
    dtype = base.tensor.dtype
    power = c.array(exponent)
    if power is not None and power.size == 1:
        number = float(power.reshape(()).item())
        if number in (1.0, 2.0, 3.0) or (dtype.is_integer and number in range(64)):
            shape = c.broadcast_shape([base.tensor.shape, exponent.tensor.shape])
            return c.broadcast_to(_integer_power(c, base, int(number)), shape)
    if dtype.is_integer and not exponent.tensor.dtype.is_float:
        raise Reject("a power of integers needs a constant exponent from 0 to 63")
    wide = dtype if dtype.is_float else exponent.tensor.dtype
    out = c.elementwise("pow", c.cast(base, wide), c.cast(exponent, wide))
    return c.cast(out, dtype)


def _integer_power(c: Conversion, base: Value, exponent: int) -> Value:
    """``base`` times itself, from the left: (x * x) * x."""
    if exponent == 0:
        return c.broadcast_to(c.constant(1, base.tensor.dtype), base.tensor.shape)
    return reduce(lambda a, b: c.elementwise("mul", a, b), [base] * exponent)


@converts("BitShift")
def bit_shift(c: Conversion, n: Node) -> Results:
    direction = n.required("direction", str)
    if direction not in ("LEFT", "RIGHT"):
        raise Reject(f"the direction {direction!r} is neither LEFT nor RIGHT")
    return c.elementwise(f"shift_{direction.lower()}", n.input(0), n.input(1))


@converts("IsInf")
def is_inf(c: Conversion, n: Node) -> Results:
    positive, negative = n.flag("detect_positive", True), n.flag("detect_negative", True)
    return c.elementwise("is_inf", n.input(0), positive=positive, negative=negative)


@converts("Where")
def where(c: Conversion, n: Node) -> Results:
    return c.elementwise("select", n.input(0), n.input(1), n.input(2))


@converts("Cast")
def cast(c: Conversion, n: Node) -> Results:
    return _cast(c, n, n.input(0), DTYPES.get(n.required("to", int)))


@converts("CastLike")
def cast_like(c: Conversion, n: Node) -> Results:
    return _cast(c, n, n.input(0), n.input(1).tensor.dtype)


def _cast(c: Conversion, n: Node, x: Value, dtype: DType | None) -> Value:
    if dtype is None or DType.STRING in (dtype, x.tensor.dtype):
        raise Reject("casts from or to this type are not supported")
    if dtype is DType.F8E8M0 and x.tensor.dtype is not dtype:
        return _cast_to_power(c, n, x)
    if dtype in _SMALL_FLOATS and n.flag("saturate", True):
        return saturated_cast(c, x, dtype)
    return c.cast(x, dtype)


def _cast_to_power(c: Conversion, n: Node, x: Value) -> Value:
    """To f8e8m0, a power of two: up, down, or the nearest, in f64, whose bits without those of the
    fraction are the power below."""
    mode = n.attribute("round_mode", "up")
    if mode not in ("up", "down", "nearest"):
        raise Reject(f"the round_mode {mode!r} is not known")
    if x.tensor.dtype in (DType.I64, DType.U64):
        raise Reject(f"a cast from {x.tensor.dtype.value} to f8e8m0 would round twice")
    x = c.cast(x, DType.F64)
    if n.flag("saturate", True):
        x = clipped(c, x, *_POWERS)
    else:
        below = c.elementwise("less", x, _POWERS[0])
        x = c.elementwise("select", below, c.constant(nan, DType.F64), x)
    if mode != "nearest":
        bits = c.det("bitcast", x, to=DType.U64)
        if mode == "up":
            bits = c.elementwise("add", bits, _FRACTION)
        power = c.elementwise("bit_and", bits, ~_FRACTION % 2**64)
        x = c.elementwise("select", c.det("is_nan", x), x, c.det("bitcast", power, to=DType.F64))
    return c.cast(x, DType.F8E8M0)


def saturated_cast(c: Conversion, x: Value, dtype: DType) -> Value:
    """To a small float, what is beyond its range becomes the largest value; NaN stays NaN."""
    if dtype not in _SMALL_FLOATS:
        raise Reject(f"casts to {dtype.value} are not supported")
    if not x.tensor.dtype.is_float or x.tensor.dtype.bits == 8:
        x = c.cast(x, DType.F32)
    limit = float(finfo(dtype.numpy).max)
    return c.cast(clipped(c, x, -limit, limit), dtype)


@converts("BitCast")
def bit_cast(c: Conversion, n: Node) -> Results:
    dtype = DTYPES.get(n.required("to", int))
    if dtype is None:
        raise Reject("bitcasts to this type are not supported")
    return c.det("bitcast", n.input(0), to=dtype)


@converts("Clip")
def clip(c: Conversion, n: Node) -> Results:
    """Bounds are attributes before opset 11, then inputs."""
    low: Value | float | None
    high: Value | float | None
    if n.opset < 11:
        low = n.attribute("min", 0.0) if n.has("min") else None
        high = n.attribute("max", 0.0) if n.has("max") else None
    else:
        low, high = n.optional(1), n.optional(2)
    return clipped(c, n.input(0), low, high)


def clipped(
    c: Conversion, x: Value, low: Value | float | None, high: Value | float | None
) -> Value:
    """``x`` within bounds by selects: NaN stays NaN; ``high`` wins over a greater ``low``."""
    if low is not None:
        x = c.elementwise("select", c.elementwise("less", x, low), _like(c, low, x), x)
    if high is not None:
        x = c.elementwise("select", c.elementwise("less", high, x), _like(c, high, x), x)
    return x


def _like(c: Conversion, bound: Value | float, x: Value) -> Value:
    return bound if isinstance(bound, Value) else c.constant(bound, x.tensor.dtype)
