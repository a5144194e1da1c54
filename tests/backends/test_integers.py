"""Integer contractions: exact modulo 2^32 whatever the dtypes, shapes and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from aivmc.backends.build import build_artifact
from aivmc.compiler import canonicalize
from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import Dim, symbol
from aivmc.ir.interpret import interpret
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import (
    RUNNABLE,
    TARGETS,
    Array,
    assert_compiled,
    executor,
    program,
)
from tests.onnx_models import build, onnxruntime_outputs, with_declared_outputs

BYTES = (np.uint8, np.int8)
CONV: Mapping[str, Any] = {
    "strides": (1, 1),
    "dilations": (1, 1),
    "low": (0, 0),
    "high": (0, 0),
    "group": 1,
    "block": 0,
    "layout": "channels_first",
}


def values(dtype: Any, *shape: int, seed: int = 0) -> Array:
    """Any, and the extremes more often than others."""
    random = np.random.default_rng([seed, *shape])
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = random.integers(low, high, shape, dtype, endpoint=True)
    kind = random.integers(0, 4, shape)
    return np.where(kind == 0, low, np.where(kind == 1, high, x)).astype(dtype)


def type_of(x: Array, *shape: Dim) -> TensorType:
    return TensorType(DType.of(x.dtype), shape or x.shape)


def wrapped(exact: Array) -> Array:
    return exact.astype(np.int32)


def matmuls(cases: Mapping[str, tuple[Array, Array]], constant: bool) -> Module:
    """A program with an output for each case's product; the right operands may be constant."""
    operands = {f"a{name}": type_of(a) for name, (a, _) in cases.items()}
    if not constant:
        operands |= {f"b{name}": type_of(b) for name, (_, b) in cases.items()}

    def body(b: Builder, *arguments: Value) -> Iterator[Value]:
        known = dict(zip(operands, arguments))
        for name, (_, w) in cases.items():
            right = b.constant(w) if constant else known[f"b{name}"]
            yield b.op("det.matmul", known[f"a{name}"], right, block=0)

    return program(operands, body)


@pytest.mark.parametrize("constant", [True, False], ids=["packed", "read as it is"])
@pytest.mark.parametrize("target", RUNNABLE)
def test_products_of_all_dtypes(target: str, constant: bool) -> None:
    """k is no multiple of 4 and columns are none of 16; the expectation is NumPy's, in i64."""
    dtypes = (*BYTES, np.int16, np.int32) if target in TARGETS else BYTES
    cases = {
        f"{a.__name__}_{b.__name__}": (values(a, 9, 39), values(b, 39, 37))
        for a, b in product(dtypes, (*BYTES, np.int16))
    }
    kernel = executor(matmuls(cases, constant), target)
    inputs = {f"a{n}": a for n, (a, _) in cases.items()}
    inputs |= {} if constant else {f"b{n}": b for n, (_, b) in cases.items()}
    got = kernel.run(inputs, threads=2)
    for (name, (a, b)), result in zip(cases.items(), got.values()):
        assert result.tobytes() == wrapped(a.astype(np.int64) @ b).tobytes(), name


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize(
    ("a", "b", "depth"),
    [
        (np.uint8(255), np.int8(-128), 66_001),
        (np.int8(-128), np.int8(-128), 132_001),
        (np.uint8(255), np.uint8(255), 33_101),
        (np.int16(-32768), np.int16(-32768), 7),  # a pair is 2^31 already
        (np.int16(-32768), np.int8(127), 1030),
    ],
)
def test_sums_wrap(a: Any, b: Any, depth: int, target: str) -> None:
    left, right = np.full((2, depth), a), np.full((depth, 17), b)
    kernel = executor(matmuls({"": (left, right)}, constant=True), target)
    (got,) = kernel.run({"a": left}).values()
    exact = int(a) * int(b) * depth
    assert not -(2**31) <= exact < 2**31
    assert (got == wrapped(np.int64(exact))).all()


@pytest.mark.parametrize("target", RUNNABLE)
def test_convolutions(target: str) -> None:
    """Dense, in groups and depthwise; strides, dilations and padding on some sides."""
    window = {"strides": (2, 1), "dilations": (1, 2), "low": (1, 0), "high": (2, 1)}
    inputs, arguments, made = {}, {}, []
    for a, b in product(BYTES, BYTES):
        for group, weights in ((1, (37, 6, 3, 2)), (3, (6, 2, 3, 2)), (6, (6, 1, 3, 2))):
            name = f"{a.__name__}_{b.__name__}_{group}"
            inputs[name] = values(a, 2, 6, 7, 9)
            arguments[name] = type_of(inputs[name])
            made.append((values(b, *weights), {**CONV, **window, "group": group}))
    bodies = lambda b, *xs: [  # noqa: E731
        b.op("det.conv", x, b.constant(w), **how) for x, (w, how) in zip(xs, made)
    ]
    assert_compiled(program(arguments, bodies), [inputs], [target], threads=[1, 3])


@pytest.mark.parametrize("target", TARGETS)
def test_symbolic_sizes_and_batches(target: str) -> None:
    n, h = symbol("N"), symbol("H")
    x, a = values(np.uint8, 1, 5, 6, 7), values(np.int8, 2, 5, 21)
    w, right = values(np.int8, 20, 5, 3, 3), values(np.int8, 21, 18)
    types = {"x": type_of(x, n, 5, h, 7), "a": type_of(a, n, h, 21), "b": type_of(a, n, 21, h)}

    def body(b: Builder, *v: Value) -> Iterator[Value]:
        yield b.op("det.conv", v[0], b.constant(w), **{**CONV, "low": (1, 1), "high": (1, 1)})
        yield b.op("det.matmul", v[1], b.constant(right), block=0)
        yield b.op("det.matmul", v[1], v[2], block=0)

    sizes = ((1, 1), (3, 6), (2, 33))
    cases = [
        {
            "x": values(np.uint8, n, 5, h, 7),
            "a": values(np.int8, n, h, 21),
            "b": values(np.int8, n, 21, h),
        }
        for n, h in sizes
    ]
    assert_compiled(program(types, body, least=1), cases, [target], threads=[2])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_any_shapes(data: st.DataObject) -> None:
    size = lambda most: data.draw(st.integers(1, most))  # noqa: E731
    dtypes = st.sampled_from((*BYTES, np.int16))
    a = values(data.draw(dtypes), size(30), size(50))
    b = values(data.draw(dtypes), a.shape[1], size(50))
    channels, extent = size(9), (size(3), size(3))
    x = values(data.draw(st.sampled_from(BYTES)), size(2), channels, size(9) + 2, size(9) + 2)
    w = values(data.draw(st.sampled_from(BYTES)), size(40), channels, *extent)
    pads = {side: (size(3) - 1, size(3) - 1) for side in ("low", "high")}
    how = {**CONV, **pads, "strides": (size(3), size(3))}
    module = program(
        {"a": type_of(a), "x": type_of(x)},
        lambda b_, a_, x_: [
            b_.op("det.matmul", a_, b_.constant(b), block=0),
            b_.op("det.conv", x_, b_.constant(w), **how),
        ],
    )
    assert_compiled(module, [{"a": a, "x": x}], [data.draw(st.sampled_from(TARGETS))])


def _quantized(a: Any, w: Any, by_feature: bool) -> tuple[Any, dict[str, Array]]:
    """Each quantized contraction of ONNX, with zero points that are constant, or inputs."""
    inputs = {
        "a": values(a, 5, 22),
        "x": values(a, 2, 6, 8, 7),
        "zero": values(a, 1).reshape(()),
        "row": values(a, 5),
    }
    constants = {
        "w": values(w, 22, 19),
        "k": values(w, 21, 6, 3, 3),
        "kd": values(w, 6, 1, 3, 3),
        "az": np.asarray(values(a, 3)[1]),
        "scale": np.float32(0.02),
        "ws": np.float32(0.003),
        "wz": np.asarray(values(w, 3)[2]),
        "ys": np.float32(1.7),
        "yz": a(3),
        "nz": values(w, 19),
        "kz": values(w, 21) if by_feature else np.asarray(values(w, 2)[0]),
        "ks": np.linspace(0.001, 0.1, 21).astype(np.float32),
        "bias": values(np.int16, 21).astype(np.int32),
    }
    column = "nz" if by_feature else "wz"
    pads = {"pads": [1, 0, 2, 1]}
    node = helper.make_node
    nodes = [
        node("MatMulInteger", ["a", "w", "az", column], ["fixed"]),
        node("MatMulInteger", ["a", "w", "zero", column], ["given"]),
        node("MatMulInteger", ["a", "w", "row", column], ["rows"]),
        node("ConvInteger", ["x", "k", "az", "wz"], ["conv"], **pads),
        node("ConvInteger", ["x", "k", "zero"], ["given_conv"], **pads, strides=[2, 1]),
        node("ConvInteger", ["x", "kd", "az", "wz"], ["depthwise"], **pads, group=6),
        node("QLinearMatMul", ["a", "scale", "az", "w", "ws", column, "ys", "yz"], ["product"]),
        node(
            "QLinearConv",
            ["x", "scale", "az", "k", "ks", "kz", "ys", "yz", "bias"],
            ["convolved"],
            **pads,
        ),
    ]
    types = {n: (v.dtype, v.shape) for n, v in inputs.items()}
    outputs = [n.output[0] for n in nodes]
    return build(nodes, types, outputs, constants, opset=13), inputs


@pytest.mark.parametrize(
    ("a", "w", "target"),
    [
        *((np.uint8, np.int8, target) for target in TARGETS),
        *((a, w, TARGETS[-1]) for a, w in product(BYTES, BYTES) if (a, w) != (np.uint8, np.int8)),
    ],
)
def test_quantized_ops(a: Any, w: Any, target: str) -> None:
    model, inputs = _quantized(a, w, by_feature=a is np.uint8)
    canonical, _ = canonicalize(model.SerializeToString())
    assert_compiled(canonical, [inputs], [target])


@pytest.mark.parametrize("w", BYTES)
def test_quantized_ops_are_those_of_onnx(w: Any) -> None:
    """ONNX Runtime sums the same integers. It takes no zero points of rows."""
    model, inputs = _quantized(np.uint8, w, by_feature=False)
    del model.graph.node[2], model.graph.output[2]
    got = interpret(canonicalize(model.SerializeToString())[0], inputs)
    expected = onnxruntime_outputs(with_declared_outputs(model), inputs)
    integers = [name for name, x in expected.items() if x.dtype == np.int32]
    assert len(integers) == 5
    for name in integers:
        assert got[name].tobytes() == expected[name].tobytes(), name


def test_instructions() -> None:
    """Dot products where the target has them, pairs of products elsewhere."""
    module = matmuls({"": (values(np.uint8, 64, 64), values(np.int8, 64, 64))}, constant=True)
    v4, vnni = (build_artifact(module, f"x86-64-v4{dot}").audit["machine"] for dot in ("", "-vnni"))
    assert vnni["vpdpbusd"] > 8 and "vpmaddwd" not in vnni
    assert v4["vpmaddwd"] > 8 and not any("dp" in name for name in v4)


def test_weights_are_packed_once_for_all_targets() -> None:
    w = values(np.int8, 65, 40)
    module = matmuls({"": (values(np.uint8, 3, 65), w)}, constant=True)
    digests = set()
    for target in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-vnni", "aarch64", "riscv64"):
        ((digest, (packing, array)),) = build_artifact(module, target).packed.items()
        digests.add(digest)
        assert array.dtype == np.int8 and array.shape == (3, 17, 16, 4)
        assert (packing.invert(array, w.shape) == w).all()
    assert len(digests) == 1
