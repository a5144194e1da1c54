"""What the nodes run beside the conformance vectors: ONNX ops on special values, and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from aivmc.ir.constants import Array
from examples.models.make import FULL, SMALL, make
from examples.ocr.demo import SMALL as RECOGNIZER
from examples.published import published
from tests.onnx_models import build

_FLOATS = ("float32", "float64", "float16")
_SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.5, -3.5, 88.8, -104.0, 1e-45, -1e-42, 1.1754942e-38]
_SPECIAL += [3.4028235e38, -3e38, np.inf, -np.inf, np.nan, 65504.0, 65519.9, 65520.0, 6e-8, 2.0**31]
_SPECIAL += [0.99999994, 1.0000001, 16777217.0, 1e-20, 7e-310, 1.5e300, 2.2250738585072014e-308]

_UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu"),
    *("Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg"),
    *("Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
    *("Softsign", "Sqrt", "Tan", "Tanh"),
)
_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "LessOrEqual", "Equal", "Pow")
_REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceL2", "ReduceMax", "ReduceProd", "ReduceLogSumExp")


@dataclass(frozen=True)
class Case:
    """Without ``inputs``, those that every test of the examples takes."""

    name: str
    model: bytes | Path  # ONNX
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
        _random(),
        _quantized(),
    ]


def small_models(folder: Path) -> list[Case]:
    """The small example models; ``folder`` is for their files."""
    cases = [Case("recognizer_small", RECOGNIZER)]
    cases += [Case(name, published(name)) for name in ("mlp", "classifier")]
    return cases + [_made(name, folder, small=True) for name in SMALL]


def full_models(folder: Path) -> list[Case]:
    """The published models and the large example models."""
    cases = [Case(name, published(name)) for name in ("ppocr_rec", "yolox_det")]
    return cases + [_made(name, folder, small=False) for name in FULL]


def _made(name: str, folder: Path, small: bool) -> Case:
    path = folder / f"{name}.onnx"
    make(name, str(path), small)
    return Case(f"{name}_small" if small else name, path)


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
    return _case(f"unary_{dtype}", _ops(_UNARY, ["x"]), {"x": specials(dtype, 997)})


def _binary(dtype: str) -> Case:
    inputs = {"a": specials(dtype, 997), "b": specials(dtype, 997, seed=1)}
    nodes = [*_ops(_BINARY, ["a", "b"]), *_ops(["Mod"], ["a", "b"], fmod=1)]
    return _case(f"binary_{dtype}", nodes, inputs)


def _reductions(dtype: str) -> Case:
    """Along the last axis, of special values in the first half, with few in the second."""
    x = specials(dtype, 20 * 1100).reshape(20, 1100)
    x[10:] = np.random.default_rng(2).standard_normal((10, 1100))
    nodes = _ops(_REDUCTIONS, ["x"], axes=[-1])
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


def _random() -> Case:
    """Draws by the seed 0, next to each other and by an input."""
    nodes = [
        helper.make_node("RandomUniform", [], ["uniform"], shape=[9, 37], low=-1.0, high=3.0),
        helper.make_node("RandomNormal", [], ["normal"], shape=[9, 37], dtype=10),
        helper.make_node("Multinomial", ["x"], ["classes"], sample_size=5),
        helper.make_node("Bernoulli", ["x"], ["heads"]),
    ]
    return _case("random", nodes, {"x": specials("float32", 99).reshape(3, 33)})


def _quantized() -> Case:
    """Bytes of both signs, with zero points; k is a multiple of nothing."""
    random = np.random.default_rng(7)
    inputs: dict[str, Array] = {}
    constants: dict[str, Any] = {"scale": np.float32(0.02), "bias": np.arange(21, dtype="i4")}
    nodes: list[Any] = []
    for sign, dtype in (("u", np.uint8), ("s", np.int8)):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        for name, shape in (("a", (7, 70)), ("x", (1, 6, 9, 8))):
            inputs[name + sign] = random.integers(low, high, shape, dtype, endpoint=True)
        for name, shape in (("w", (70, 19)), ("k", (21, 6, 3, 3)), ("d", (6, 1, 3, 3))):
            extreme = random.integers(0, 3, shape)
            any_ = random.integers(low, high, shape, dtype, endpoint=True)
            constants[name + sign] = np.choose(extreme, [low, high, any_]).astype(dtype)
        constants["z" + sign] = dtype(17)
    for left, right in ("us", "ss", "uu", "su"):
        zeros, scales = (f"z{left}", f"z{right}"), ("scale", "scale")
        both = [n for pair in zip(scales, zeros) for n in pair]
        for op, x, w, more in (
            ("MatMulInteger", "a", "w", {}),
            ("ConvInteger", "x", "k", {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
            ("ConvInteger", "x", "d", {"pads": [1] * 4, "group": 6}),
        ):
            operands = [x + left, w + right, *zeros]
            nodes.append(helper.make_node(op, operands, [f"{op}_{x}{left}_{w}{right}"], **more))
        operands = [f"x{left}", *both[:2], f"k{right}", *both[2:], *both[:2], "bias"]
        nodes.append(helper.make_node("QLinearConv", operands, [f"convolved_{left}{right}"]))
    return _case("quantized", nodes, inputs, opset=13, **constants)
