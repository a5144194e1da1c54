"""Weights and bias are computed in f64 and rounded once, and a refusal says why."""

from __future__ import annotations

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.types import DType, TensorType
from aivmc.passes.canonicalize import Canonicalize
from aivmc.passes.fold_batch_norm import FoldBatchNorm
from aivmc.passes.rewriting import explain

RNG = np.random.default_rng(7)
CONV = {"strides": (1, 1), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "block": 0}


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def folded(name: str, x_shape, weights, a, b, bias, **attributes) -> list[np.ndarray]:
    """The constants left after folding, in order."""
    x = Value(TensorType(DType.F32, x_shape), "x")
    builder = Builder((x,))
    y = builder.op(name, x, builder.constant(weights), **attributes)
    if bias is not None:
        y = builder.op("det.add", builder.constant(bias), y)
    y = builder.op("det.fma", y, builder.constant(a), builder.constant(b))
    main = Function("main", builder.terminate("return", y), ("y",))
    out = Canonicalize().run(FoldBatchNorm().run(Module({"main": main}, "det")))
    assert [op.name for op in out.walk() if op.name != "det.constant"] == [
        name,
        "det.add",
        "return",
    ]
    return [op.attributes["value"].data for op in out.walk() if op.name == "det.constant"]


def once(array: np.ndarray) -> np.ndarray:
    assert array.dtype == np.float64
    return array.astype(np.float32)


def test_convolution_with_groups_and_bias() -> None:
    w, a, b, c = random(6, 2, 3, 3), random(6, 1, 1), random(6, 1, 1), random(6, 1, 1)
    weights, bias = folded(
        "det.conv", (2, 4, 5, 5), w, a, b, c, group=2, layout="channels_first", **CONV
    )
    expected = once(w.astype(np.float64) * a.astype(np.float64)[..., None])
    assert weights.tobytes() == expected.tobytes()
    assert (weights != w * a[..., None]).sum() == 0  # one product: f32 rounds the same
    expected = once(c.astype(np.float64) * a + b)
    assert bias.tobytes() == expected.tobytes()
    assert bias.tobytes() != (c * a + b).tobytes()  # two roundings differ


def test_transposed_convolution_with_groups() -> None:
    w, a, b = random(4, 3, 2, 2), random(6, 1, 1), random(6, 1, 1)
    weights, bias = folded(
        "det.conv_transpose", (1, 4, 5, 5), w, a, b, None, group=2, output_pad=(0, 0), **CONV
    )
    for channel in range(4):
        for feature in range(3):
            scale = a[(channel // 2) * 3 + feature, 0, 0]
            assert (weights[channel, feature] == w[channel, feature] * scale).all()
    assert bias.tobytes() == b.tobytes()


def test_matrix_product_with_one_scale_for_all() -> None:
    w, b = random(3, 4), random(4)
    weights, bias = folded("det.matmul", (2, 3), w, np.float32(0.1), b, random(4) * 0, block=0)
    assert weights.tobytes() == (w * np.float32(0.1)).tobytes()
    assert (bias == b).all()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("uses", "its input has other uses"),
        ("sum", "its input is a sum, not of a bias"),
        ("source", "its input is no contraction used here only"),
        ("weights", "the weights are not constant"),
        ("batched", "the weights are not one matrix"),
        ("scale", "scale, shift or bias is not one constant for each feature"),
        ("broadcast", "the normalization broadcasts"),
    ],
)
def test_refusals(case: str, reason: str) -> None:
    x, v = (Value(TensorType(DType.F32, (1, 2, 2)), name) for name in "xv")
    b = Builder((x, v))
    weights = v if case == "weights" else b.constant(random(*[2] * (3 if case == "batched" else 2)))
    y = b.op("det.exp", x) if case == "source" else b.op("det.matmul", x, weights, block=0)
    y = b.op("det.add", y, v) if case == "sum" else y
    shape = {"scale": (2, 2), "broadcast": (4, 2, 2)}.get(case, (2,))
    z = b.op("det.fma", y, b.constant(random(*shape)), b.constant(random(2)))
    outputs = (z, y) if case == "uses" else (z,)
    main = Function("main", b.terminate("return", *outputs), tuple("zy"[: len(outputs)]))
    reasons = {op.name: why for op, why in explain(FoldBatchNorm(), Module({"main": main}, "det"))}
    assert reasons["det.fma"] == reason
