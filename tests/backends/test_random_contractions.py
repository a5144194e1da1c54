"""Random matrix products and convolutions: shapes, dtypes, attributes, constant weights or not, and
what comes after them: the interpreter's bytes on each target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import Dim, evaluate, symbol
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import TARGETS, Array, assert_compiled, program

N = symbol("N")
_SIZES = (0, 1, 2, 5, 9)  # of N
_IMAGES: tuple[Dim, ...] = (1, 2, N)
_DTYPES = (
    *((t, t) for t in (DType.F32, DType.F32, DType.F64, DType.F16, DType.BF16, DType.I32)),
    *((a, b) for a in (DType.U8, DType.I8) for b in (DType.U8, DType.I8)),
)
_SPECIAL = (0.0, -0.0, float("inf"), float("nan"), 1e-42, -2.5)
_BLOCK = 16  # smaller than what the compiler chooses, so that short sums have several


def numbers(random: np.random.Generator, shape: Sequence[int], dtype: DType) -> Array:
    """Of integers all; of floats mostly ordinary ones."""
    numpy = np.dtype(ml_dtypes.bfloat16) if dtype is DType.BF16 else dtype.numpy
    if dtype.is_integer:
        limits = np.iinfo(numpy)
        return random.integers(limits.min, limits.max, shape, numpy, endpoint=True)
    x = np.where(
        random.random(shape) < 0.02, random.choice(_SPECIAL, shape), random.normal(size=shape)
    )
    return x.astype(numpy)


def _after(draw: st.DrawFn, b: Builder, y: Value) -> Value:
    """Ops that are fused behind the contraction, or none."""
    if draw(st.booleans()):
        y = b.op("det.add", y, y if draw(st.booleans()) else b.op("det.neg", y))
    if y.tensor.dtype.is_float and draw(st.booleans()):
        y = b.op("det.relu", y)
    return y


def _block(dtype: DType) -> int:
    return _BLOCK if dtype.is_float else 0


@st.composite
def products(draw: st.DrawFn) -> Module:
    """A matrix product; its right operand is a constant, an input, or a batch of inputs."""
    left, right = draw(st.sampled_from(_DTYPES))
    size = st.sampled_from([1, 2, 3, 7, 16, 17, 35, 70])
    rows: Dim = draw(st.sampled_from([N, *range(1, 20)]))
    depth, columns = draw(size), draw(size)
    batch: tuple[Dim, ...] = draw(st.sampled_from([(), (3,), (N,), (2, 3)]))
    kind = draw(st.sampled_from(["constant", "input", "batch"]))
    types = {"a": TensorType(left, (*batch, rows, depth))}
    shape = (*(batch if kind == "batch" else ()), depth, columns)
    if kind != "constant":
        types["b"] = TensorType(right, shape)
    seed = draw(st.integers(0, 999))

    def body(b: Builder, *arguments: Value) -> Value:
        weights = (
            arguments[1]
            if kind != "constant"
            else b.constant(numbers(np.random.default_rng(seed), (depth, columns), right))
        )
        y = b.op("det.matmul", arguments[0], weights, block=_block(left))
        return _after(draw, b, y)

    return program(types, body)


@st.composite
def convolutions(draw: st.DrawFn) -> Module:
    """A convolution of one or two spatial axes, with a constant kernel or an input."""
    left, right = draw(st.sampled_from(_DTYPES))
    axes = draw(st.integers(1, 2))
    small = st.integers(1, 3)
    window, strides, dilations = (tuple(draw(small) for _ in range(axes)) for _ in range(3))
    low, high = (tuple(draw(st.integers(0, 2)) for _ in range(axes)) for _ in range(2))
    group = draw(st.sampled_from([1, 1, 2, 4]))
    channels = draw(st.sampled_from([1, 3, 4, 16, 18])) if group < 4 else 1
    features = draw(st.sampled_from([1, 4, 17])) if group < 4 else 1
    space = tuple(draw(st.integers(5, 12)) for _ in range(axes))
    images: Dim = draw(st.sampled_from(_IMAGES))
    types = {"x": TensorType(left, (images, group * channels, *space))}
    shape = (group * features, channels, *window)
    constant = draw(st.booleans())
    if not constant:
        types["w"] = TensorType(right, shape)
    seed = draw(st.integers(0, 999))
    attributes: dict[str, Any] = {
        "strides": strides,
        "dilations": dilations,
        "low": low,
        "high": high,
        "group": group,
        "block": _block(left),
        "layout": "channels_first",
    }

    def body(b: Builder, *arguments: Value) -> Value:
        weights = (
            b.constant(numbers(np.random.default_rng(seed), shape, right))
            if constant
            else arguments[1]
        )
        return _after(draw, b, b.op("det.conv", arguments[0], weights, **attributes))

    return program(types, body)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(products(), convolutions()),
    st.sampled_from(TARGETS),
    st.lists(st.sampled_from(_SIZES), min_size=2, max_size=2),
    st.integers(0, 999),
)
def test_random_contractions(module: Module, target: str, sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)

    def inputs(size: int) -> dict[str, Array]:
        values = dict.fromkeys(module.symbols, size)
        return {
            v.name: numbers(random, [evaluate(d, values) for d in v.tensor.shape], v.tensor.dtype)
            for v in module.main.inputs
        }

    assert_compiled(module, map(inputs, sizes), [target], threads=(1, 2))
