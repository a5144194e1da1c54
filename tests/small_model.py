"""A small ONNX model: y = softmax(relu(x @ w + b)) for f32 x[N, 8]."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aivmc.ir.constants import Array


def weights() -> Array:
    return np.random.default_rng(1).standard_normal((8, 24)).astype(np.float32)


def bias() -> Array:
    return np.linspace(-1, 1, 24, dtype=np.float32)


def small_model(
    w: Array | None = None, prefix: str = "", axis: int = -1, doc: str = ""
) -> onnx.ModelProto:
    """The model; ``prefix`` begins the names of nodes and inner tensors."""
    p = prefix
    w = weights() if w is None else w
    nodes = [
        helper.make_node("MatMul", ["x", f"{p}w"], [f"{p}m"], name=f"{p}multiply"),
        helper.make_node("Add", [f"{p}m", f"{p}b"], [f"{p}a"], name=f"{p}add"),
        helper.make_node("Relu", [f"{p}a"], [f"{p}r"], name=f"{p}relu"),
        helper.make_node("Softmax", [f"{p}r"], ["y"], name=f"{p}softmax", axis=axis),
    ]
    graph = helper.make_graph(
        nodes,
        f"{p}graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 24])],
        [numpy_helper.from_array(w, f"{p}w"), numpy_helper.from_array(bias(), f"{p}b")],
        doc_string=doc,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
