"""Fused kernels give the interpreter's bytes for every target: contractions with what comes after
them, softmax, norms, pools, at sizes that leave every kind of remainder; and a row's bytes don't
depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.interpret import interpret
from aivmc.ir.ops.conv import conv_block
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import (
    TARGETS,
    Array,
    assert_compiled,
    assert_same,
    executor,
    program,
)

F32 = DType.F32
B, M, N, K = (symbol(name) for name in "BMNK")
_RANDOM = np.random.default_rng(11)
Epilogue = Callable[[Builder, Value], Value | list[Value]]


def _normal(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def _tensor(*shape: Any) -> TensorType:
    return TensorType(F32, shape)


def _bias(b: Builder, y: Value) -> Value:
    return b.op("det.add", y, b.constant(_normal(_columns(y))))


def _bias_gelu(b: Builder, y: Value) -> Value:
    return b.op("det.gelu", _bias(b, y))


def _scaled_and_clipped(b: Builder, y: Value) -> Value:
    scaled = b.op("det.mul", y, b.constant(np.float32(0.125)))
    return b.op("det.minimum", b.op("det.relu", scaled), b.constant(np.float32(6)))


def _two_results(b: Builder, y: Value) -> list[Value]:
    return [y, b.op("det.sigmoid", y)]


def _nothing(b: Builder, y: Value) -> Value:
    return y


def _columns(y: Value) -> int:
    columns = y.tensor.shape[-1]
    assert isinstance(columns, int)
    return columns


EPILOGUES: tuple[Epilogue, ...] = (
    _nothing,
    _bias,
    _bias_gelu,
    _scaled_and_clipped,
    _two_results,
)


# M, K, N with remainders of tiles, of panels of 16, and of blocks of 512.
MATMULS = [
    (1, 64, 48),
    (1, 700, 1000),
    (2, 7, 5),
    (3, 513, 17),
    (5, 1, 1),
    (8, 512, 16),
    (13, 1537, 33),
    (29, 100, 100),
    (6, 511, 31),
    (40, 1025, 112),
]


@pytest.mark.parametrize("number", range(len(MATMULS)))
def test_matmul_with_constant_weights(number: int) -> None:
    m, k, n = MATMULS[number]
    weights, epilogue = _normal(k, n), EPILOGUES[number % len(EPILOGUES)]

    def body(b: Builder, x: Value) -> Value | list[Value]:
        return epilogue(b, b.op("det.matmul", x, b.constant(weights), block=512))

    assert_compiled(program({"x": _tensor(m, k)}, body), [{"x": _normal(m, k)}])


@pytest.mark.parametrize(("k", "n"), [(64, 48), (513, 17), (1030, 100)])
@pytest.mark.parametrize("epilogue", [_bias_gelu, _two_results])
def test_matmul_of_any_number_of_rows(k: int, n: int, epilogue: Epilogue) -> None:
    weights = _normal(k, n)

    def body(b: Builder, x: Value) -> Value | list[Value]:
        return epilogue(b, b.op("det.matmul", x, b.constant(weights), block=512))

    module = program({"x": _tensor(B, M, k)}, body)
    sizes = [(1, 1), (2, 7), (1, 40), (3, 0), (0, 3)]
    assert_compiled(module, [{"x": _normal(*s, k)} for s in sizes], threads=(1, 2))


def test_matmul_with_operands_that_broadcast() -> None:
    """A residual, a value for each row, one for each batch, one in all."""
    weights = _normal(40, 35)
    types = {
        "x": _tensor(2, M, 40),
        "residual": _tensor(2, M, 35),
        "row": _tensor(2, M, 1),
        "batch": _tensor(2, 1, 1),
        "one": _tensor(),
    }

    def body(b: Builder, x: Value, *others: Value) -> Value:
        y = b.op("det.matmul", x, b.constant(weights), block=512)
        for other in others:
            y = b.op("det.add", b.op("det.mul", y, other), other)
        return y

    inputs = [
        {
            "x": _normal(2, m, 40),
            "residual": _normal(2, m, 35),
            "row": _normal(2, m, 1),
            "batch": _normal(2, 1, 1),
            "one": _normal(),
        }
        for m in (1, 9, 33)
    ]
    assert_compiled(program(types, body), inputs)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 5, 40), (2, 40, 33)),
        ((3, 1, 5, 7), (2, 7, 16)),
        ((4, 600), (3, 600, 15)),
        ((2, 3, 9, 1), (2, 3, 1, 50)),
        ((17, 64), (64, 64)),
    ],
)
def test_matmul_of_activations(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    def body(builder: Builder, x: Value, y: Value) -> Value:
        return _scaled_and_clipped(builder, builder.op("det.matmul", x, y, block=512))

    module = program({"a": _tensor(*a), "b": _tensor(*b)}, body)
    assert_compiled(module, [{"a": _normal(*a), "b": _normal(*b)}])


def test_matmul_of_activations_of_any_size() -> None:
    def body(b: Builder, x: Value, y: Value, bias: Value) -> Value:
        return b.op("det.add", b.op("det.matmul", x, y, block=512), bias)

    types = {"a": _tensor(B, M, K), "b": _tensor(B, K, N), "bias": _tensor(N)}
    sizes = [(1, 1, 1, 1), (2, 5, 16, 64), (3, 7, 17, 513), (1, 30, 100, 30), (2, 3, 15, 1100)]
    inputs = [
        {"a": _normal(b, m, k), "b": _normal(b, k, n), "bias": _normal(n)} for b, m, n, k in sizes
    ]
    assert_compiled(program(types, body), inputs, threads=(1, 2))


def test_matmul_of_one_operand_with_itself() -> None:
    """Also where the weights are read after the product as well."""
    weights = _normal(20, 20)

    def body(b: Builder, x: Value) -> list[Value]:
        w = b.constant(weights)
        square = b.op("det.matmul", x, x, block=512)
        product = b.op("det.matmul", x, w, block=512)
        return [b.op("det.add", square, x), b.op("det.add", product, w)]

    assert_compiled(program({"x": _tensor(20, 20)}, body), [{"x": _normal(20, 20)}])


# x, w, strides, dilations, low, high, group
CONVOLUTIONS: dict[str, tuple[Any, ...]] = {
    "3x3": ((2, 5, 9, 11), (20, 5, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    "pointwise": ((2, 33, 5, 7), (48, 33, 1, 1), (1, 1), (1, 1), (0, 0), (0, 0), 1),
    "pointwise strided": ((1, 16, 9, 9), (17, 16, 1, 1), (2, 2), (1, 1), (0, 0), (0, 0), 1),
    "many channels": ((1, 130, 6, 6), (32, 130, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    "strided, dilated": ((1, 7, 15, 14), (16, 7, 3, 2), (2, 3), (2, 1), (1, 2), (0, 1), 1),
    "stem": ((1, 3, 30, 30), (33, 3, 7, 7), (2, 2), (1, 1), (3, 3), (3, 3), 1),
    "depthwise": ((2, 32, 9, 12), (32, 1, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 32),
    "depthwise partial": ((1, 21, 8, 7), (21, 1, 5, 3), (2, 1), (1, 2), (2, 2), (2, 1), 21),
    "depthwise few": ((1, 3, 20, 9), (3, 1, 3, 3), (1, 2), (1, 1), (0, 1), (0, 1), 3),
    "depthwise, more features": ((1, 6, 7, 7), (12, 1, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 6),
    "grouped": ((1, 12, 7, 7), (18, 4, 3, 3), (1, 1), (1, 1), (1, 1), (1, 0), 3),
    "1-D": ((2, 6, 50), (20, 6, 5), (2,), (1,), (2,), (1,), 1),
    "1-D depthwise": ((2, 18, 40), (18, 1, 4), (1,), (2,), (3,), (3,), 18),
    "3-D": ((1, 4, 5, 6, 7), (17, 4, 2, 3, 3), (1, 2, 1), (1, 1, 1), (1, 0, 1), (0, 1, 1), 1),
    "window as large": ((1, 10, 4, 4), (20, 10, 4, 4), (1, 1), (1, 1), (0, 0), (0, 0), 1),
}


def _conv(b: Builder, x: Value, w: Value, case: Sequence[Any]) -> Value:
    strides, dilations, low, high, group = case
    channels, *extent = (int(d) for d in w.tensor.shape[1:] if isinstance(d, int))
    block = conv_block(channels, int(np.prod(extent)))
    attributes = {"strides": strides, "dilations": dilations, "low": low, "high": high}
    return b.op("det.conv", x, w, group=group, block=block, layout="channels_first", **attributes)


def _conv_program(name: str, weights: Array, symbolic: bool) -> Module:
    x_shape, _, *case = CONVOLUTIONS[name]

    def body(b: Builder, x: Value) -> Value:
        y = _conv(b, x, b.constant(weights), case)
        per_channel = (weights.shape[0],) + (1,) * (weights.ndim - 2)
        y = b.op("det.add", y, b.constant(_normal(*per_channel)))
        return b.op("det.silu", y) if symbolic else b.op("det.relu", y)

    channels, *space = x_shape[1:]
    shape = (N, channels, *map(symbol, "HWD"[: len(space)])) if symbolic else x_shape
    return program({"x": _tensor(*shape)}, body)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str) -> None:
    x_shape, w_shape, *_ = CONVOLUTIONS[name]
    module = _conv_program(name, _normal(*w_shape), symbolic=False)
    assert_compiled(module, [{"x": _normal(*x_shape)}])


@pytest.mark.parametrize("name", ["3x3", "strided, dilated", "depthwise partial", "pointwise"])
def test_convolution_of_any_size(name: str) -> None:
    x_shape, w_shape, *_ = CONVOLUTIONS[name]
    module = _conv_program(name, _normal(*w_shape), symbolic=True)
    n, channels, *space = x_shape
    larger = tuple(d + 6 for d in space)
    inputs = [_normal(n, channels, *space), _normal(3, channels, *larger)]
    assert_compiled(module, [{"x": x} for x in inputs], threads=(1, 2))


@pytest.mark.parametrize("name", ["3x3", "depthwise", "depthwise partial", "grouped", "1-D"])
def test_convolution_with_weights_that_are_not_finite(name: str) -> None:
    """Padding is multiplied: inf times 0 is NaN."""
    x_shape, w_shape, *_ = CONVOLUTIONS[name]
    weights = _normal(*w_shape)
    weights.flat[:: weights.size // 5] = np.inf
    weights.flat[3] = np.nan
    module = _conv_program(name, weights, symbolic=False)
    assert_compiled(module, [{"x": _normal(*x_shape)}])


def test_convolution_with_weights_from_an_input() -> None:
    x_shape, w_shape, *case = CONVOLUTIONS["3x3"]
    types = {"x": _tensor(*x_shape), "w": _tensor(*w_shape)}
    module = program(types, lambda b, x, w: _conv(b, x, w, case))
    assert_compiled(module, [{"x": _normal(*x_shape), "w": _normal(*w_shape)}])


def test_transposed_convolution_with_bias() -> None:
    weights = _normal(6, 5, 3, 3)

    def body(b: Builder, x: Value) -> Value:
        y = b.op(
            "det.conv_transpose",
            x,
            b.constant(weights),
            strides=(2, 2),
            dilations=(1, 1),
            low=(1, 1),
            high=(1, 1),
            output_pad=(1, 1),
            group=1,
            block=conv_block(6, 9),
        )
        return b.op("det.relu", b.op("det.add", y, b.constant(_normal(5, 1, 1))))

    module = program({"x": _tensor(N, 6, 5, symbol("W"))}, body)
    assert_compiled(module, [{"x": _normal(n, 6, 5, w)} for n, w in ((1, 1), (2, 9))])


def test_network_of_convolutions() -> None:
    """Layouts between convolutions, a residual, pools, a classifier."""
    first, second, third = _normal(20, 3, 3, 3), _normal(20, 20, 3, 3), _normal(20, 1, 3, 3)
    dense = _normal(20, 10)
    same = ((1, 1), (1, 1), (1, 1), (1, 1))

    def body(b: Builder, x: Value) -> list[Value]:
        x = b.op("det.relu", _conv(b, x, b.constant(first), (*same, 1)))
        pool: dict[str, Any] = {
            "window": (1, 1, 3, 3),
            "strides": (1, 1, 2, 2),
            "dilations": (1, 1, 1, 1),
        }
        x = b.op("det.window_max", x, low=(0, 0, 1, 1), high=(0, 0, 1, 1), **pool)
        y = b.op("det.relu", _conv(b, x, b.constant(second), (*same, 1)))
        y = b.op("det.add", _conv(b, y, b.constant(third), (*same, 20)), x)
        mean = b.op("det.reduce_sum", y, axes=(2, 3), keepdims=False, order="lanes16")
        scores = b.op("det.matmul", mean, b.constant(dense), block=512)
        sums = b.op("det.window_sum", y, low=(0,) * 4, high=(0,) * 4, order="lanes16", **pool)
        return [scores, y, b.op("det.mul", sums, b.constant(np.float32(1 / 9)))]

    for batch in (2, N):
        module = program({"x": _tensor(batch, 3, 21, 18)}, body)
        sizes = (2,) if batch == 2 else (1, 2, 5)
        assert_compiled(module, [{"x": _normal(n, 3, 21, 18)} for n in sizes], threads=(1, 2))


def _softmax(b: Builder, x: Value, axis: int = -1) -> Value:
    axes = (axis % x.tensor.rank,)
    peak = b.op("det.reduce_max", x, axes=axes, keepdims=True)
    e = b.op("det.exp", b.op("det.sub", x, peak))
    total = b.op("det.reduce_sum", e, axes=axes, keepdims=True, order="lanes16")
    return b.op("det.mul", e, b.op("det.div", b.constant(np.float32(1)), total))


def _layer_norm(b: Builder, x: Value) -> Value:
    columns = _columns(x)
    axes: dict[str, Any] = {"axes": (x.tensor.rank - 1,), "keepdims": True, "order": "lanes16"}
    count = b.constant(np.float32(columns))
    mean = b.op("det.div", b.op("det.reduce_sum", x, **axes), count)
    centered = b.op("det.sub", x, mean)
    variance = b.op("det.div", b.op("det.reduce_square_sum", centered, **axes), count)
    deviation = b.op("det.sqrt", b.op("det.add", variance, b.constant(np.float32(1e-5))))
    y = b.op("det.div", centered, deviation)
    return b.op("det.fma", y, b.constant(_normal(columns)), b.constant(_normal(columns)))


@pytest.mark.parametrize("columns", [1, 3, 16, 33, 512, 700, 5000])
def test_softmax_and_layer_norm(columns: int) -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        return [_softmax(b, x), _layer_norm(b, b.op("det.add", x, x))]

    module = program({"x": _tensor(N, 3, columns)}, body)
    inputs = [{"x": _normal(n, 3, columns)} for n in (1, 4)]
    inputs[0]["x"].flat[:1] = np.inf
    assert_compiled(module, inputs, threads=(1, 2))


def test_softmax_of_any_length_and_axis() -> None:
    module = program(
        {"x": _tensor(2, N, M)}, lambda b, x: [_softmax(b, x, axis) for axis in (0, 1, 2)]
    )
    sizes = [(1, 1), (5, 17), (600, 3), (2, 600)]
    assert_compiled(module, [{"x": _normal(2, *s)} for s in sizes])


def _attention(b: Builder, q: Value, k: Value, v: Value, mask: Value) -> Value:
    keys = b.op("det.transpose", k, permutation=(0, 2, 1))
    scores = b.op("det.matmul", q, keys, block=512)
    scaled = b.op("det.mul", scores, b.constant(np.float32(0.25)))
    weights = _softmax(b, b.op("det.add", scaled, mask))
    return b.op("det.matmul", weights, v, block=512)


def test_attention_of_any_length() -> None:
    types = {n: _tensor(2, N, 20) for n in "qkv"} | {"mask": _tensor(2, 1, N)}
    inputs = []
    for n in (1, 6, 33):
        mask = np.where(_RANDOM.random((2, 1, n)) < 0.2, -np.inf, 0).astype(np.float32)
        mask[..., 0] = 0
        inputs.append({"mask": mask, **{name: _normal(2, n, 20) for name in "qkv"}})
    assert_compiled(program(types, _attention), inputs, threads=(1, 2))


@pytest.mark.parametrize("target", TARGETS)
def test_rows_do_not_depend_on_their_batch(target: str) -> None:
    weights, filters = _normal(12, 20), _normal(20, 3, 3, 3)
    same = ((1, 1), (1, 1), (1, 1), (1, 1), 1)

    def body(b: Builder, x: Value, image: Value) -> list[Value]:
        y = _bias_gelu(b, b.op("det.matmul", x, b.constant(weights), block=512))
        z = b.op("det.relu", _conv(b, image, b.constant(filters), same))
        pooled = b.op("det.reduce_sum", z, axes=(2, 3), keepdims=False, order="lanes16")
        return [_softmax(b, y), _layer_norm(b, b.op("det.add", y, pooled)), z]

    module = program({"x": _tensor(N, 12), "image": _tensor(N, 3, 9, 10)}, body)
    kernel = executor(module, target)
    inputs = {"x": _normal(8, 12), "image": _normal(8, 3, 9, 10)}
    whole = kernel.run(inputs)
    assert_same(whole, interpret(module, inputs), target)
    for row in range(8):
        alone = kernel.run({name: x[row : row + 1] for name, x in inputs.items()})
        assert_same(alone, {n: x[row : row + 1] for n, x in whole.items()}, f"row {row}")
