"""Whole models and op families against ONNX Runtime without optimizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from aivmc.ir.constants import Array
from examples.models.make import SMALL
from tests.onnx_models import build, onnxruntime_outputs, run, with_declared_outputs

F32 = np.float32
node = helper.make_node
rng = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype(F32)


def compare(model: onnx.ModelProto, inputs: Mapping[str, Array], scale: float = 1e-5) -> None:
    """Outputs within ``scale`` of each tensor's largest value."""
    expected = onnxruntime_outputs(model, inputs)
    got = run(model, **inputs)
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        assert (got[name].shape, got[name].dtype) == (want.shape, want.dtype)
        if want.dtype == F32:
            atol = scale * max(float(np.abs(want).max(initial=0)), 1e-3)
            np.testing.assert_allclose(got[name], want, rtol=0, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], want, err_msg=name)


SIZES = {"N": 2, "P": 3}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_example_models(name: str) -> None:
    model = SMALL[name]()
    generator = np.random.default_rng(5)
    inputs: dict[str, Any] = {}
    for info in model.graph.input:
        tensor = info.type.tensor_type
        shape = [SIZES[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
        if tensor.elem_type == onnx.TensorProto.INT64:
            inputs[info.name] = generator.integers(0, 2, shape)
        else:
            inputs[info.name] = generator.standard_normal(shape).astype(F32)
    compare(model, inputs)


def single(op_type: str, inputs: Mapping[str, Any], outputs: int = 1, **options: Any) -> None:
    """One node: operands named ``c…`` are constants, others inputs."""
    opset, domain = options.pop("opset", 17), options.pop("domain", "")
    names = [f"y{i}" for i in range(outputs)]
    call = node(op_type, list(inputs), names, domain=domain, **options)
    given = {k: v for k, v in inputs.items() if not k.startswith("c")}
    constants = {k: v for k, v in inputs.items() if k.startswith("c")}
    declared = {k: (v.dtype, v.shape) for k, v in given.items()}
    compare(with_declared_outputs(build([call], declared, names, constants, opset)), given)


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("size", [5, 6, 7, 8])
def test_pooling(size: int, include: int, ceil_mode: int) -> None:
    x = normal(1, 2, size, size + 1)
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]}
    single("AveragePool", {"x": x}, count_include_pad=include, ceil_mode=ceil_mode, **window)
    single("MaxPool", {"x": x}, ceil_mode=ceil_mode, **window)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(auto_pad: str) -> None:
    x, w = normal(1, 2, 8, 9), normal(3, 2, 3, 2)
    single("Conv", {"x": x, "cw": w}, auto_pad=auto_pad, strides=[2, 1])
    single("MaxPool", {"x": x}, auto_pad=auto_pad, kernel_shape=[3, 3], strides=[3, 2])


def test_same_padding_of_symbolic_dims() -> None:
    conv = node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2])
    model = build([conv], {"x": (F32, [1, 2, "W"])}, ["y"], {"w": normal(3, 2, 3)})
    model = with_declared_outputs(model)
    for width in (5, 6, 9):
        compare(model, {"x": normal(1, 2, width)})


@pytest.mark.parametrize("group", [1, 2])
def test_convolutions(group: int) -> None:
    x, b = normal(2, 4, 7, 6), normal(6)
    single(
        "Conv",
        {"x": x, "cw": normal(6, 4 // group, 3, 2), "cb": b},
        group=group,
        pads=[1, 0, 2, 1],
        dilations=[2, 1],
    )
    single(
        "ConvTranspose",
        {"x": x, "cw": normal(4, 6 // group, 3, 2), "cb": b},
        group=group,
        strides=[2, 3],
        pads=[1, 0, 1, 1],
        output_padding=[1, 0],
    )


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "align_corners"])
def test_resize(mode: str, coordinate: str) -> None:
    x = normal(1, 2, 4, 5)
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinate}
    scales = np.array([1, 1, 2, 1.5], F32)
    empty = np.zeros(0, F32)
    single("Resize", {"x": x, "c1": empty, "c2": scales}, **options)
    sizes = np.array([1, 2, 7, 3])
    single("Resize", {"x": x, "c1": empty, "c2": empty, "c3": sizes}, **options)
    single("Upsample", {"x": x, "c2": np.array([1, 1, 2, 3], F32)}, mode=mode, opset=9)


def test_quantized_ops() -> None:
    a = rng.integers(0, 256, (3, 5)).astype(np.uint8)
    b = rng.integers(-128, 128, (5, 4)).astype(np.int8)
    zero_a, zero_b = np.array(120, np.uint8), np.array(-3, np.int8)
    single("MatMulInteger", {"a": a, "b": b, "cza": zero_a, "czb": zero_b})
    single("MatMulInteger", {"a": a, "b": b})
    x = rng.integers(0, 256, (1, 2, 5, 5)).astype(np.uint8)
    w = rng.integers(0, 256, (3, 2, 3, 3)).astype(np.uint8)
    zero = np.array(7, np.uint8)
    single("ConvInteger", {"x": x, "cw": w, "czx": zero, "czw": zero}, pads=[1, 1, 1, 1])
    scales = {f"cs{k}": np.array(s, F32) for k, s in (("x", 0.02), ("w", 0.5), ("y", 1.25))}
    operands: dict[str, Any] = {
        "x": x,
        "csx": scales["csx"],
        "czx": zero,
        "cw": w,
        "csw": scales["csw"],
    }
    operands |= {"czw": zero, "csy": scales["csy"], "czy": np.array(128, np.uint8)}
    single("QLinearConv", operands | {"cb": np.array([1000, -2000, 5], np.int32)})
    single("DynamicQuantizeLinear", {"x": normal(3, 4)}, outputs=3)


def test_normalizations() -> None:
    x = normal(2, 6, 3, 4)
    single("InstanceNormalization", {"x": x, "cs": normal(6), "cb": normal(6)})
    single("LRN", {"x": x}, size=3, alpha=0.1, beta=0.75, bias=2.0)
    single("LpNormalization", {"x": x}, p=1, axis=1)
    single("MeanVarianceNormalization", {"x": x})
    single("LayerNormalization", {"x": x, "cs": normal(3, 4), "cb": normal(3, 4)}, axis=2)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bkhd->bhqk", [(2, 3, 4, 5), (2, 6, 3, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij,ij->", [(3, 4), (3, 4)]),
        ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
        ("ij,jk,kl", [(2, 3), (3, 4), (4, 5)]),
        ("abc->cb", [(2, 3, 4)]),
        ("aij,j->ai", [(2, 3, 4), (4,)]),
        ("ii->i", [(3, 3)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    single("Einsum", {f"x{i}": normal(*s) for i, s in enumerate(shapes)}, equation=equation)


def forest_attributes(kind: str, targets: int) -> dict[str, Any]:
    """Three trees of depth 2 over 4 features; ``kind`` is class or target."""
    nodes: dict[str, list[Any]] = {k: [] for k in ("tree", "node", "feature", "value", "mode")}
    leaves: dict[str, list[Any]] = {k: [] for k in ("tree", "node", "id", "weight")}
    generator = np.random.default_rng(targets)
    for tree in range(3):
        for i in range(7):
            leaf = i >= 3
            nodes["tree"].append(tree)
            nodes["node"].append(i)
            nodes["feature"].append(0 if leaf else int(generator.integers(4)))
            nodes["value"].append(0.0 if leaf else float(F32(generator.standard_normal())))
            nodes["mode"].append("LEAF" if leaf else "BRANCH_LEQ")
            for target in range(targets if leaf else 0):
                leaves["tree"].append(tree)
                leaves["node"].append(i)
                leaves["id"].append(target)
                leaves["weight"].append(float(F32(generator.uniform(-0.5, 1))))
    true = [2 * i + 1 if i < 3 else 0 for i in range(7)] * 3
    false = [2 * i + 2 if i < 3 else 0 for i in range(7)] * 3
    return {
        "nodes_treeids": nodes["tree"],
        "nodes_nodeids": nodes["node"],
        "nodes_featureids": nodes["feature"],
        "nodes_values": nodes["value"],
        "nodes_modes": nodes["mode"],
        "nodes_truenodeids": true,
        "nodes_falsenodeids": false,
        f"{kind}_treeids": leaves["tree"],
        f"{kind}_nodeids": leaves["node"],
        f"{kind}_ids": leaves["id"],
        f"{kind}_weights": leaves["weight"],
    }


def classical(op_type: str, outputs: dict[str, int], x: Array, **attributes: Any) -> None:
    """An ai.onnx.ml node; ``outputs`` are names with element types."""
    call = node(op_type, ["x"], list(outputs), domain="ai.onnx.ml", **attributes)
    model = build([call], {"x": (x.dtype, ["N", *x.shape[1:]])}, list(outputs))
    for info in model.graph.output:
        info.type.tensor_type.elem_type = outputs[info.name]
    compare(model, {"x": x})


FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 2])
def test_tree_regressors(targets: int, aggregate: str) -> None:
    attributes = forest_attributes("target", targets)
    base = [0.5] * targets
    classical(
        "TreeEnsembleRegressor",
        {"y": FLOAT},
        normal(40, 4),
        n_targets=targets,
        aggregate_function=aggregate,
        base_values=base,
        **attributes,
    )


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("classes", [1, 3])
def test_tree_classifiers(classes: int, transform: str) -> None:
    """One weighted class of two, and three classes."""
    attributes = forest_attributes("class", classes)
    if classes == 1 and transform == "SOFTMAX":
        pytest.skip("a softmax of one score")
    classical(
        "TreeEnsembleClassifier",
        {"label": INT64, "scores": FLOAT},
        normal(40, 4),
        classlabels_int64s=[10, 20, 30][: max(classes, 2)],
        post_transform=transform,
        **attributes,
    )


def test_linear_models() -> None:
    x = normal(20, 4)
    weights = [float(w) for w in normal(12)]
    classical("Scaler", {"y": FLOAT}, x, offset=weights[:4], scale=weights[4:8])
    for norm in ("MAX", "L1", "L2"):
        classical("Normalizer", {"y": FLOAT}, abs(x), norm=norm)
    classical(
        "LinearRegressor", {"y": FLOAT}, x, coefficients=weights, intercepts=weights[:3], targets=3
    )
    classical(
        "LinearClassifier",
        {"label": INT64, "scores": FLOAT},
        x,
        coefficients=weights,
        intercepts=weights[:3],
        classlabels_ints=[3, 1, 2],
        post_transform="SOFTMAX",
    )


def test_constants_keep_their_bits() -> None:
    w = np.array([0x7FC12345, 0x80000000, 1], np.uint32).view(F32)
    model = build([node("Identity", ["w"], ["y"])], {}, ["y"])
    model.graph.initializer.append(numpy_helper.from_array(w, "w"))
    assert run(model)["y"].tobytes() == w.tobytes()
