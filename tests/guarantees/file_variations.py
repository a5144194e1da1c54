"""Ways to write one model into another file: each keeps what the model means."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Model = Any  # onnx.ModelProto
Variation = Callable[[Model], Model]


def copy(model: Model) -> Model:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


def _replace(field: Any, items: Any) -> None:
    """Give a repeated field other items."""
    kept = [*items]
    copies = [type(item)() for item in kept]
    for new, old in zip(copies, kept):
        new.CopyFrom(old)
    del field[:]
    field.extend(copies)


def renamed_tensors(model: Model) -> Model:
    """Inner tensors and initializers under other names, in another alphabetical order."""
    model = copy(model)
    graph = model.graph
    kept = {"", *(value.name for value in (*graph.input, *graph.output))}
    names: dict[str, str] = {}

    def other(name: str) -> str:
        if name in kept:
            return name
        return names.setdefault(name, f"{len(names) * 7919 % 10007}/ä.{name[:1]}")

    for weight in graph.initializer:
        weight.name = other(weight.name)
    for node in graph.node:
        node.input[:] = map(other, node.input)
        node.output[:] = map(other, node.output)
    del graph.value_info[:]
    return model


def renamed_nodes(model: Model) -> Model:
    model = copy(model)
    for i, node in enumerate(model.graph.node):
        node.name = f"node-{-i}"
    return model


def unnamed_nodes(model: Model) -> Model:
    model = copy(model)
    for node in model.graph.node:
        node.name = ""
    return model


def reordered(seed: int) -> Variation:
    """Nodes in a random topological order, initializers in a random one."""

    def apply(model: Model) -> Model:
        model, random_ = copy(model), random.Random(seed)
        graph = model.graph
        known = {"", *(v.name for v in graph.input), *(t.name for t in graph.initializer)}
        left, order = list(graph.node), []
        while left:
            node = random_.choice([n for n in left if known.issuperset(n.input)])
            left.remove(node)
            order.append(node)
            known.update(node.output)
        _replace(graph.node, order)
        weights = list(graph.initializer)
        random_.shuffle(weights)
        _replace(graph.initializer, weights)
        return model

    return apply


def reversed_nodes(model: Model) -> Model:
    """Uses before definitions: ONNX forbids it, exporters do it, the importer sorts."""
    model = copy(model)
    _replace(model.graph.node, reversed(list(model.graph.node)))
    return model


def weights_as_nodes(model: Model) -> Model:
    """`Constant` nodes in place of initializers."""
    model = copy(model)
    graph = model.graph
    constants = [helper.make_node("Constant", [], [t.name], value=t) for t in graph.initializer]
    _replace(graph.node, [*constants, *graph.node])
    del graph.initializer[:]
    return model


def nodes_as_weights(model: Model) -> Model:
    """Initializers in place of `Constant` nodes."""
    model = copy(model)
    graph = model.graph
    for node in graph.node:
        if node.op_type == "Constant":
            weight = graph.initializer.add()
            weight.CopyFrom(node.attribute[0].t)
            weight.name = node.output[0]
    _replace(graph.node, [n for n in graph.node if n.op_type != "Constant"])
    return model


def weights_as_inputs(model: Model) -> Model:
    """Initializers listed as inputs too, as files of IR version 3 must."""
    model = copy(model)
    for t in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, t.dims))
    return model


def typed_fields(model: Model) -> Model:
    """Weights as lists of numbers in place of raw bytes."""
    model = copy(model)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        fields = {np.dtype(np.float32): weight.float_data, np.dtype(np.int64): weight.int64_data}
        weight.ClearField("raw_data")
        fields[array.dtype].extend(array.ravel().tolist())
    return model


def annotated(model: Model) -> Model:
    """Doc strings, metadata, another producer, graph name and IR version."""
    model = copy(model)
    model.producer_name, model.producer_version, model.domain = "someone", "9.9", "org.example"
    model.model_version, model.ir_version = 77, 10
    for message in (model, model.graph, *model.graph.node, *model.graph.initializer):
        message.doc_string = 'A note: %0 = "quoted" \\ // ü\n}'
    helper.set_model_props(model, {"author": "someone", "date": "2031-01-01"})
    model.graph.name = "another graph"
    return model


def with_inferred_types(model: Model) -> Model:
    return onnx.shape_inference.infer_shapes(model)


def with_dead_parts(model: Model) -> Model:
    """Nodes and weights that no output needs, before, between and after those that do."""
    model = copy(model)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.ones((70, 1000), np.float32), "dead w"))
    name = graph.input[0].name
    dead = [
        helper.make_node("Cast", [name], ["dead 1"], "dead cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Tanh", ["dead 1"], ["dead 2"], "dead tanh"),
        helper.make_node("ReduceSum", ["dead w"], ["dead 3"], "dead sum", keepdims=0),
    ]
    middle = len(graph.node) // 2
    nodes = list(graph.node)
    _replace(graph.node, [dead[0], *nodes[:middle], dead[1], *nodes[middle:], dead[2]])
    return model


def as_function(model: Model) -> Model:
    """The whole graph as one call of a function of the model's own."""
    model = copy(model)
    graph = model.graph
    given = [*(v.name for v in graph.input), *(t.name for t in graph.initializer)]
    results = [v.name for v in graph.output]
    opsets = list(model.opset_import)
    body = helper.make_function("local", "Whole", given, results, list(graph.node), opsets)
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("local", 1))
    _replace(graph.node, [helper.make_node("Whole", given, results, domain="local")])
    return model


def with_identities(model: Model) -> Model:
    """An `Identity` before every use of the first input."""
    model = copy(model)
    graph = model.graph
    name = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["passed on" if i == name else i for i in node.input]
    _replace(graph.node, [helper.make_node("Identity", [name], ["passed on"]), *graph.node])
    return model


def newest_opset(model: Model) -> Model:
    """As ONNX's own converter writes it; none of the ops here changed its meaning."""
    return onnx.version_converter.convert_version(model, 20)


VARIATIONS: dict[str, Variation] = {
    "renamed tensors": renamed_tensors,
    "renamed nodes": renamed_nodes,
    "unnamed nodes": unnamed_nodes,
    "reordered": reordered(1),
    "reordered again": reordered(2),
    "reversed nodes": reversed_nodes,
    "weights as nodes": weights_as_nodes,
    "nodes as weights": nodes_as_weights,
    "weights as inputs": weights_as_inputs,
    "typed fields": typed_fields,
    "annotated": annotated,
    "inferred types": with_inferred_types,
    "dead parts": with_dead_parts,
    "as a function": as_function,
    "identities": with_identities,
    "newest opset": newest_opset,
    "all at once": lambda m: annotated(
        renamed_tensors(reordered(3)(with_dead_parts(weights_as_nodes(with_identities(m)))))
    ),
}
