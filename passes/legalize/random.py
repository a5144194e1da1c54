"""Random ops, spelled out from random bits (docs/numerics.md, Randomness).

Each op has a stream of its own; one with a ``seed`` attribute has the stream that this names.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from aivmc.ir.core import Value
from aivmc.ir.dims import Dim
from aivmc.ir.seeds import named_stream
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, Results, converts
from aivmc.passes.legalize.onnx_types import DTYPES

_FLOATS = (DType.F32, DType.F64, DType.F16, DType.BF16)


@converts("RandomUniform", "RandomUniformLike")
def random_uniform(c: Conversion, n: Node) -> Results:
    """u * (high - low) + low, each operation rounded."""
    low, high = n.attribute("low", 0.0), n.attribute("high", 1.0)
    dtype, shape = _dtype_and_shape(n)
    unit = _uniform64 if dtype is DType.F64 else _uniform
    return _scaled(c, unit(c, _key(c, n), shape), high - low, low, dtype)


@converts("RandomNormal", "RandomNormalLike")
def random_normal(c: Conversion, n: Node) -> Results:
    """z * scale + mean, each operation rounded."""
    mean, scale = n.attribute("mean", 0.0), n.attribute("scale", 1.0)
    dtype, shape = _dtype_and_shape(n)
    z = _normal(c, _key(c, n), shape)
    return _scaled(c, c.cast(z, _wide(dtype)), scale, mean, dtype)


@converts("Bernoulli")
def bernoulli(c: Conversion, n: Node) -> Results:
    """1 where u < p."""
    p = n.input(0)
    wide = _wide(_float(p.tensor.dtype))
    dtype = DTYPES.get(n.attribute("dtype", 0), p.tensor.dtype)
    u = c.cast(_uniform(c, _key(c, n), p.tensor.shape), wide)
    return c.cast(c.elementwise("less", u, c.cast(p, wide)), dtype)


@converts("Dropout")
def dropout(c: Conversion, n: Node) -> Results:
    """Inference: the input, and a mask that keeps all. Training: x * (1 / (1 - ratio)), rounded
    once for narrow floats, where u >= ratio; +0 elsewhere, whatever x is."""
    x = n.input(0)
    shape, dtype = x.tensor.shape, x.tensor.dtype
    if n.optional(2) is None or not c.number(n.optional(2), "training_mode"):
        return x, c.broadcast_to(c.constant(True), shape)
    wide = _wide(_float(dtype))
    ratio = n.optional(1)
    ratio = c.constant(0.5, wide) if ratio is None else c.cast(c.reshape(ratio, ()), wide)
    u = c.cast(_uniform(c, _key(c, n), shape), wide)
    mask = c.elementwise("less_equal", ratio, u)
    scale = c.elementwise("div", 1.0, c.elementwise("sub", 1.0, ratio))
    kept = c.cast(c.elementwise("mul", c.cast(x, wide), scale), dtype)
    return c.elementwise("select", mask, kept, c.constant(0.0, dtype)), mask


@converts("Multinomial")
def multinomial(c: Conversion, n: Node) -> Results:
    """The number of classes whose running sum of exp(x - max), in f32, is at most u * total."""
    x, samples = n.input(0), n.attribute("sample_size", 1)
    dtype = DTYPES.get(n.attribute("dtype", 6))
    if dtype not in (DType.I32, DType.I64):
        raise Reject("the dtype must be int32 or int64")
    if x.tensor.rank != 2:
        raise Reject("a matrix is needed: a row of logarithms for each batch")
    _float(x.tensor.dtype)
    rows, classes = x.tensor.shape
    x = c.cast(x, DType.F32)
    weights = c.det("exp", c.elementwise("sub", x, c.reduce("max", x, (1,), ordered=False)))
    sums = c.det("cumulative_sum", weights, axis=1, exclusive=False, reverse=False)
    total = c.det("slice", sums, starts=(0, classes - 1), steps=(1, 1), sizes=(rows, 1))
    drawn = c.elementwise("mul", _uniform(c, _key(c, n), (rows, samples)), total)
    below = c.elementwise(
        "less_equal",
        c.reshape(sums, (rows, 1, classes)),
        c.reshape(drawn, (rows, samples, 1)),
    )
    return c.reduce("sum", c.cast(below, dtype), (2,), keepdims=False)


def _key(c: Conversion, n: Node) -> Value:
    if not n.has("seed"):
        return c.det("stream_key", stream=c.next_stream())
    seed = n.op.attributes["seed"]
    if not isinstance(seed, int | float):
        raise Reject("the attribute 'seed' must be a number")
    return c.det("stream_key", stream=named_stream(seed))


def _bits(c: Conversion, key: Value, shape: Sequence[Dim], draw: int = 0, draws: int = 1) -> Value:
    return c.det("random_bits", key, shape=tuple(shape), draws=draws, draw=draw)


def _uniform(
    c: Conversion, key: Value, shape: Sequence[Dim], draw: int = 0, draws: int = 1
) -> Value:
    """f32 in [0, 1): the upper 24 bits of a word times 2^-24, exact."""
    bits = c.elementwise("shift_right", _bits(c, key, shape, draw, draws), 8)
    return c.elementwise("mul", c.cast(bits, DType.F32), 2.0**-24)


def _uniform64(c: Conversion, key: Value, shape: Sequence[Dim]) -> Value:
    """f64 in [0, 1): the upper 53 bits of two words, the first one on top, times 2^-53, exact."""
    high, low = (c.cast(_bits(c, key, shape, draw, 2), DType.U64) for draw in range(2))
    both = c.elementwise("bit_or", c.elementwise("shift_left", high, 32), low)
    bits = c.elementwise("shift_right", both, 11)
    return c.elementwise("mul", c.cast(bits, DType.F64), 2.0**-53)


def _normal(c: Conversion, key: Value, shape: Sequence[Dim]) -> Value:
    """f32 by Box and Muller: sqrt(-2 log(1 - u)) cos(2 pi v), each operation rounded."""
    u, v = (_uniform(c, key, shape, draw, 2) for draw in range(2))
    logarithm = c.det("log", c.elementwise("sub", 1.0, u))
    radius = c.elementwise("sqrt", c.elementwise("mul", logarithm, -2.0))
    return c.elementwise("mul", radius, c.det("cos", c.elementwise("mul", v, 2 * pi)))


def _scaled(c: Conversion, x: Value, scale: float, offset: float, dtype: DType) -> Value:
    return c.cast(c.elementwise("add", c.elementwise("mul", x, scale), offset), dtype)


def _dtype_and_shape(n: Node) -> tuple[DType, Sequence[Dim]]:
    """By attributes, or those of the input."""
    like = n.optional(0)
    own = DType.F32 if like is None else like.tensor.dtype
    dtype = DTYPES.get(n.attribute("dtype", 0), own)
    return _float(dtype), n.tuple_of("shape", int) if like is None else like.tensor.shape


def _float(dtype: DType) -> DType:
    if dtype not in _FLOATS:
        raise Reject(f"a float of 16 bits or more is needed, not {dtype.value}")
    return dtype


def _wide(dtype: DType) -> DType:
    """In which draws for ``dtype`` are computed."""
    return DType.F64 if dtype is DType.F64 else DType.F32
