"""What the nodes run: ops on special values, and the small example models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from aivmc.ir.constants import Array
from examples.models.make import make
from examples.ocr.demo import SMALL as RECOGNIZER
from tests.onnx_models import build

_FLOATS = ("float32", "float64", "float16")
_SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.5, -3.5, 88.8, -104.0, 1e-45, -1e-42, 1.1754942e-38]
_SPECIAL += [3.4028235e38, -3e38, np.inf, -np.inf, np.nan, 65504.0, 65519.9, 65520.0, 6e-8, 2.0**31]
_SPECIAL += [0.99999994, 1.0000001, 16777217.0, 1e-20, 7e-310, 1.5e300, 2.2250738585072014e-308]

_PLAIN = ("Abs", "Ceil", "Floor", "Neg", "Reciprocal", "Relu", "Round", "Sign", "Softsign", "Sqrt")
_ELEMENTARY = (  # of f32, and narrower ones by it
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Elu", "Erf", "Exp"),
    *("Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Selu", "Sigmoid", "Sin"),
    *("Sinh", "Softplus", "Tan", "Tanh"),
)
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "LessOrEqual", "Equal")
_REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceL2", "ReduceMax", "ReduceProd")


@dataclass(frozen=True)
class Case:
    """Without ``inputs``, those that every test of the examples takes."""

    name: str
    model: bytes  # ONNX
    inputs: Mapping[str, Array] | None = None


def specials(dtype: Any, count: int, seed: int = 0) -> Array:
    """Special values in all orders, and random ones of many magnitudes."""
    random = np.random.default_rng(seed)
    sizes = 2.0 ** random.integers(-30, 12, count)
    x = random.standard_normal(count) * sizes
    some = random.random(count) < 0.5
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(some, random.choice(_SPECIAL, count), x).astype(dtype)


def op_cases() -> list[Case]:
    """Every kind of arithmetic, on special values."""
    return [
        *(_unary(dtype) for dtype in _FLOATS),
        *(_binary(dtype) for dtype in _FLOATS),
        *(_reductions(dtype) for dtype in _FLOATS),
        *(_products(dtype) for dtype in _FLOATS),
        _casts(),
        _small_types(),
        _convolutions(),
        _integers(),
    ]


def model_cases(folder: Path) -> list[Case]:
    """The small example models; ``folder`` is for their files."""
    cases = [Case("recognizer_small", RECOGNIZER.read_bytes())]
    for name in ("resnet50", "mobilenet_v2", "bert_base", "gpt2_step"):
        path = folder / f"{name}.onnx"
        make(name, str(path), small=True)
        cases.append(Case(f"{name}_small", path.read_bytes()))
    return cases


def _ops(kinds: Sequence[str], operands: Sequence[str], **attributes: Any) -> list[Any]:
    return [helper.make_node(k, operands, [k.lower()], **attributes) for k in kinds]


def _case(
    name: str,
    nodes: Sequence[Any],
    inputs: Mapping[str, Array],
    opset: int = 20,
    **constants: Array,
) -> Case:
    outputs = [output for node in nodes for output in node.output]
    types = {n: (a.dtype, a.shape) for n, a in inputs.items()}
    model = build(nodes, types, outputs, constants, opset=opset)
    return Case(name, model.SerializeToString(), inputs)


def _unary(dtype: str) -> Case:
    kinds = _PLAIN if dtype == "float64" else (*_PLAIN, *_ELEMENTARY)
    return _case(f"unary_{dtype}", _ops(kinds, ["x"]), {"x": specials(dtype, 997)})


def _binary(dtype: str) -> Case:
    inputs = {"a": specials(dtype, 997), "b": specials(dtype, 997, seed=1)}
    nodes = [*_ops(_BINARY, ["a", "b"]), *_ops(["Mod"], ["a", "b"], fmod=1)]
    if dtype != "float64":
        nodes += _ops(["Pow"], ["a", "b"])
    return _case(f"binary_{dtype}", nodes, inputs)


def _reductions(dtype: str) -> Case:
    """Along the last axis, of special values in the first half, with few in the second."""
    x = specials(dtype, 20 * 1100).reshape(20, 1100)
    x[10:] = np.random.default_rng(2).standard_normal((10, 1100))
    nodes = _ops(_REDUCTIONS, ["x"], axes=[-1])
    if dtype != "float64":
        nodes += _ops(["ReduceLogSumExp"], ["x"], axes=[-1])
        nodes += _ops(["Softmax", "LogSoftmax"], ["x"], axis=-1)
    return _case(f"reductions_{dtype}", nodes, {"x": x}, opset=13)


def _products(dtype: str) -> Case:
    """k is more than a block of 512; the first rows have special values."""
    random = np.random.default_rng(3)
    a, b = (random.standard_normal(shape).astype(dtype) for shape in ((9, 1030), (1030, 37)))
    a[:3] = specials(dtype, 3 * 1030).reshape(3, 1030)
    a[0, :] = np.where(np.isfinite(a[0]), a[0], 1)
    node = helper.make_node("MatMul", ["a", "b"], ["variable"])
    packed = helper.make_node("MatMul", ["a", "w"], ["constant"])
    return _case(f"products_{dtype}", [node, packed], {"a": a, "b": b}, w=b)


def _convolutions() -> Case:
    random = np.random.default_rng(4)
    x = random.standard_normal((2, 32, 9, 11)).astype(np.float32)
    x[0] = specials("float32", x[0].size).reshape(x[0].shape)
    w, depthwise = (
        random.standard_normal(s).astype(np.float32) for s in ((40, 32, 3, 3), (32, 1, 3, 3))
    )
    w[0, 0, 0, 0] = np.inf  # times a padded zero: NaN
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["dense"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "w"], ["strided"], strides=[2, 2], dilations=[2, 1]),
        helper.make_node("Conv", ["x", "d"], ["depthwise"], pads=[1] * 4, group=32),
        helper.make_node("MaxPool", ["x"], ["largest"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("AveragePool", ["x"], ["average"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    return _case("convolutions", nodes, {"x": x}, w=w, d=depthwise)


def _casts() -> Case:
    inputs: dict[str, Array] = {dtype: specials(dtype, 997) for dtype in _FLOATS}
    random = np.random.default_rng(5)
    for dtype in ("int64", "uint64", "int32"):
        bits = random.integers(0, 2**64, 997, dtype=np.uint64) >> random.integers(
            0, 64, 997
        ).astype("u8")
        inputs[dtype] = bits.astype(dtype)
    nodes = [
        helper.make_node(
            "Cast", [source], [f"{source}_{to}"], to=helper.np_dtype_to_tensor_dtype(np.dtype(to))
        )
        for source in inputs
        for to in (*_FLOATS, "int64", "uint64", "int32", "int8", "uint8", "bool")
        if to != source
    ]
    return _case("casts", nodes, inputs)


def _small_types() -> Case:
    """To floats of 8 and 4 bits and integers of 4 and 2, and back."""
    inputs: dict[str, Array] = {dtype: specials(dtype, 997) for dtype in _FLOATS}
    inputs["int32"] = np.arange(-500, 500).astype(np.int32)
    nodes = []
    for source in inputs:
        for code in range(17, 27):  # of ONNX
            small = f"{source}_{code}"
            nodes += [
                helper.make_node("Cast", [source], [small], to=code, saturate=code % 2),
                helper.make_node("Cast", [small], [f"{small}_back"], to=1),
            ]
    return _case("small_types", nodes, inputs, opset=24)


def _integers() -> Case:
    random = np.random.default_rng(6)
    inputs = {}
    for name in "ab":
        inputs[name] = random.integers(-(2**31), 2**31, 997).astype(np.int32)
        inputs[name][:200] = random.choice([0, 1, -1, 7, -7, 2**31 - 1, -(2**31)], 200)
    inputs["u"] = random.integers(0, 256, (5, 300)).astype(np.uint8)
    w = random.integers(-128, 128, (300, 21)).astype(np.int8)
    nodes = _ops(("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod"), ["a", "b"])
    nodes += _ops(["MatMulInteger"], ["u", "w"])
    return _case("integers", nodes, inputs, w=w)
