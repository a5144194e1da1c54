"""Small ONNX models for tests, and how they run through the reference interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from aivmc.importer import import_model
from aivmc.ir.constants import Array
from aivmc.ir.core import Module
from aivmc.ir.interpret import interpret
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.legalize import legalize

Shape = Sequence[int | str | None]


def build(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[Any, Shape]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    **fields: Any,
) -> onnx.ModelProto:
    """A model; inputs are (NumPy or ONNX dtype, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [_value(name, *given) for name, given in inputs.items()],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **fields)


def _value(name: str, dtype: Any, shape: Shape) -> onnx.ValueInfoProto:
    code = dtype if isinstance(dtype, int) else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, code, shape)


def with_declared_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inferred output types, which ONNX Runtime wants."""
    for output in model.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {v.name: v.type for v in inferred.value_info} | {
        v.name: v.type for v in inferred.output
    }
    for output in model.graph.output:
        output.CopyFrom(onnx.ValueInfoProto(name=output.name, type=types[output.name]))
    return model


def legal(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | str]] = {}) -> Module:
    return legalize(import_model(model, shapes))


def run(model: onnx.ModelProto, **inputs: Array) -> dict[str, Array]:
    """The model's outputs by the reference semantics."""
    return interpret(FixReductionOrder().run(legal(model)), inputs)


def onnxruntime_outputs(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime computes without optimizations, on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs))))
