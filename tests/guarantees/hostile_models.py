"""Models that are broken, malicious or too large, by what is wrong with them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_models import build

F32 = np.float32
node = helper.make_node
Model = Any  # onnx.ModelProto


def _i64(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def _one(kind: str, *more: str, constants: Any = None, opset: int = 17, **attributes: Any) -> Model:
    """A model of one node over x[2, 3, 8, 8] and these constants."""
    made = node(kind, ["x", *more], ["y"], **attributes)
    return build([made], {"x": (F32, [2, 3, 8, 8])}, ["y"], constants, opset)


def _cycle() -> Model:
    nodes = [node("Add", ["x", "b"], ["a"], "first"), node("Relu", ["a"], ["b"], "second")]
    return build(nodes, {"x": (F32, [2])}, ["b"])


def _function_cycle() -> Model:
    functions = []
    for mine, other in (("F", "G"), ("G", "F")):
        call, opsets = node(other, ["a"], ["b"], domain="f"), [helper.make_opsetid("f", 1)]
        functions.append(helper.make_function("f", mine, ["a"], ["b"], [call], opsets))
    call = node("F", ["x"], ["y"], domain="f")
    model = build([call], {"x": (F32, [2])}, ["y"], functions=functions)
    model.opset_import.append(helper.make_opsetid("f", 1))
    return model


def _weight(**changes: Any) -> Model:
    fields = {"data_type": TensorProto.FLOAT, "dims": [8], "raw_data": bytes(32), **changes}
    model = _one("Add", "w")
    model.graph.initializer.append(TensorProto(name="w", **fields))
    return model


def _opset(version: int) -> Model:
    model = _one("Relu")
    model.opset_import[0].version = version
    return model


def _input_type(change: Callable[[Any], object]) -> Model:
    model = _one("Relu")
    change(model.graph.input[0].type)
    return model


def _loop() -> Model:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Add", ["v", "v"], ["w"])],
        "body",
        [value("i", 7, []), value("go", 9, []), value("v", 1, [2])],
        [value("on", 9, []), value("w", 1, [2])],
    )
    loop = node("Loop", ["count", "true", "x"], ["y"], "for ever", body=body)
    constants = {"count": np.array(2**62), "true": np.array(True)}
    return build([loop], {"x": (F32, [2])}, ["y"], constants)


def _range(start: Any, limit: Any, delta: Any) -> Model:
    nodes = [node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])]
    return build(nodes, {"x": (F32, [1])}, ["y"], {"a": start, "b": limit, "c": delta})


def _doubling() -> Model:
    """100 nodes that ask for 2**100 copies."""
    nodes = [node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=0) for i in range(100)]
    return build(nodes, {"t0": (F32, [1000])}, ["t100"])


HOSTILE: dict[str, tuple[Callable[[], Model], str]] = {
    # What is wrong: the model, and words of the message.
    "a cycle": (_cycle, "cycle; it goes through 'first', 'second'"),
    "a node that feeds itself": (
        lambda: build([node("Relu", ["y"], ["y"])], {"x": (F32, [2])}, ["y"]),
        "cycle",
    ),
    "functions in a cycle": (_function_cycle, "calls itself"),
    "an endless loop": (_loop, "'for ever'"),
    "no outputs": (lambda: build([node("Relu", ["x"], ["y"])], {"x": (F32, [2])}, []), "outputs"),
    "an output twice": (
        lambda: build([node("Relu", ["x"], ["y"])], {"x": (F32, [2])}, ["y", "y"]),
        "outputs",
    ),
    "a tensor that is nowhere": (lambda: _one("Add", "w"), "'w'"),
    "opset 0": (lambda: _opset(0), "opset 0"),
    "a negative opset": (lambda: _opset(-3), "opset -3"),
    "an opset to come": (lambda: _opset(10**9), "opset 1000000000"),
    "too few bytes": (lambda: _weight(raw_data=b"123"), "3 bytes of raw data"),
    "a negative dim of a weight": (lambda: _weight(dims=[-8]), "negative dim"),
    "a weight over all memory": (lambda: _weight(dims=[2**40, 2**40]), "larger than any memory"),
    "an unknown element type": (lambda: _weight(data_type=77), "element type 77"),
    "an input over all memory": (
        lambda: build([node("Relu", ["x"], ["y"])], {"x": (F32, [2**40, 2**40])}, ["y"]),
        "larger than any memory",
    ),
    "an input over this memory": (
        lambda: build([node("Relu", ["x"], ["y"])], {"x": (F32, [2**46])}, ["y"]),
        "bytes of memory",
    ),
    "an input of a negative dim": (
        lambda: _input_type(lambda t: setattr(t.tensor_type.shape.dim[0], "dim_value", -5)),
        "negative dim",
    ),
    "a sequence": (
        lambda: _input_type(
            lambda t: setattr(t.sequence_type.elem_type.tensor_type, "elem_type", 1)
        ),
        "not a tensor",
    ),
    "copies without end": (_doubling, "larger than any memory"),
    "an expansion over this memory": (
        lambda: build(
            [node("Expand", ["x", "s"], ["y"])],
            {"x": (F32, [1])},
            ["y"],
            {"s": _i64(1 << 23, 1 << 23)},
        ),
        "bytes of memory",
    ),
    "a tensor of zeros over all memory": (
        lambda: build(
            [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])],
            {"x": (F32, [1])},
            ["y"],
            {"s": _i64(1 << 62, 1 << 62)},
        ),
        "larger than any memory",
    ),
    "a range without end": (lambda: _range(F32(0), F32(np.inf), F32(1)), "finite"),
    "a range without steps": (lambda: _range(F32(0), F32(9), F32(0)), "step"),
    "an enlargement over all memory": (
        lambda: _one("Resize", "", "s", constants={"s": np.array([1, 1, 1e9, 1e9], F32)}),
        "larger than any memory",
    ),
    "an enlargement that is no number": (
        lambda: _one("Resize", "", "s", constants={"s": np.array([1, 1, np.nan, 2], F32)}),
        "finite",
    ),
    "padding over all memory": (
        lambda: _one("MaxPool", kernel_shape=[3, 3], pads=[2**40] * 4),
        "at most",
    ),
    "negative padding over all memory": (
        lambda: _one("AveragePool", kernel_shape=[3, 3], pads=[-(2**63), 0, 0, 0]),
        "at most",
    ),
    "a stride of 0": (
        lambda: _one("Conv", "w", constants={"w": np.ones((4, 3, 3, 3), F32)}, strides=[0, 1]),
        "must be positive",
    ),
    "no groups": (
        lambda: _one("Conv", "w", constants={"w": np.ones((4, 3, 3, 3), F32)}, group=0),
        "Conv_0",
    ),
    "matrices that don't fit": (
        lambda: _one("MatMul", "w", constants={"w": np.ones((7, 4), F32)}),
        "dims 8 and 7",
    ),
    "a shape with two unknowns": (
        lambda: _one("Reshape", "s", constants={"s": _i64(-1, -1)}),
        "more than one dim",
    ),
    "an axis that isn't there": (lambda: _one("Softmax", axis=17), "axis 17"),
    "an attribute of another type": (lambda: _one("Softmax", axis="x"), "'axis'"),
    "a slice without steps": (
        lambda: _one(
            *("Slice", "a", "b", "c", "d"),
            constants={"a": _i64(0), "b": _i64(5), "c": _i64(2), "d": _i64(0)},
        ),
        "step of 0",
    ),
    "not a permutation": (lambda: _one("Transpose", perm=[0, 0, 1, 2]), "permutation"),
    "types that don't mix": (
        lambda: _one("Add", "w", constants={"w": np.ones(8, np.int64)}),
        "dtype",
    ),
}


# Mutations.

_INTEGERS = (-(2**63), -100, -2, -1, 0, 1, 2, 3, 7, 64, 1000, 2**31, 2**62, 2**63 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e38, float("inf"), float("nan"), -float("inf"))
_ATTRIBUTES: tuple[Any, ...] = (1, -1, 1.5, "x", [1, 2], [0.5])
_OPSETS = (7, 9, 10, 11, 12, 13, 14, 18, 20, 22)
_TYPES = (0, 1, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22)


def mutate(model: Model, random_: random.Random) -> None:
    """Change one thing of a model that is sound, so that it is plausible still."""
    graph, choose = model.graph, random_.choice
    target = choose(graph.node)
    values = [name for n in graph.node for name in n.output]
    match random_.randrange(8):
        case 0:
            target.op_type = choose(sorted(_op_types()))
        case 1 if target.input:
            target.input[random_.randrange(len(target.input))] = choose([*values, "", "x"])
        case 2 if target.attribute:
            _mutate_attribute(choose(target.attribute), random_)
        case 3 if target.attribute:
            del target.attribute[random_.randrange(len(target.attribute))]
        case 4:
            name = choose(["axis", "perm", "pads", "keepdims", "axes", "mode", "group", "to"])
            target.attribute.append(helper.make_attribute(name, choose(_ATTRIBUTES)))
        case 5 if graph.initializer:
            _mutate_weight(choose(graph.initializer), random_)
        case 6:
            type_ = choose(graph.input).type.tensor_type
            if random_.random() < 0.3:
                type_.elem_type = choose(_TYPES)
            else:
                choose(type_.shape.dim).dim_value = choose([0, 1, 2, 5, 17, 2**31, -7])
        case 7:
            model.opset_import[0].version = choose(_OPSETS)


def _op_types() -> set[str]:
    return {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}


def _mutate_attribute(attribute: Any, random_: random.Random) -> None:
    match attribute.type:
        case onnx.AttributeProto.INT:
            attribute.i = random_.choice(_INTEGERS)
        case onnx.AttributeProto.INTS if attribute.ints:
            place = random_.randrange(len(attribute.ints))
            attribute.ints[place] = random_.choice(_INTEGERS)
        case onnx.AttributeProto.FLOAT:
            attribute.f = random_.choice(_FLOATS)
        case onnx.AttributeProto.TENSOR:
            array = numpy_helper.to_array(attribute.t).copy()
            if array.size:
                choices = _FLOATS if array.dtype.kind == "f" else _INTEGERS
                value = np.array(random_.choice(choices)).astype(array.dtype)  # wraps
                array.reshape(-1)[random_.randrange(array.size)] = value
                attribute.t.CopyFrom(numpy_helper.from_array(array))


def _mutate_weight(weight: Any, random_: random.Random) -> None:
    array = numpy_helper.to_array(weight)
    dtype = random_.choice([np.float16, np.float64, np.int32, np.int8, np.bool_])
    forms = (array.T, array[:1], array.reshape(-1), array.astype(dtype), array[:0])
    name = weight.name
    changed = np.ascontiguousarray(random_.choice(forms))
    weight.CopyFrom(numpy_helper.from_array(changed, name))
