"""Graphs to programs: names, symbols, constants, order, functions, subgraphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aivmc.importer import import_model
from aivmc.ir.constants import Constant
from aivmc.ir.core import Bounds, Module
from aivmc.ir.dims import symbol
from aivmc.ir.errors import AivmcError, UnsupportedError
from aivmc.ir.text import parse, print_module
from aivmc.ir.types import DType, TensorType, UnknownType
from aivmc.ir.verify import verify
from tests.onnx_models import build

F32 = np.float32
node = helper.make_node


def names(module: Module) -> list[str]:
    return [op.name for op in module.main.region.ops]


def test_a_graph_becomes_a_function() -> None:
    model = build(
        [node("Gemm", ["x", "w"], ["h"], alpha=0.5, transB=1), node("Relu", ["h"], ["y"], "act")],
        {"x": (F32, ["N", 2])},
        ["y"],
        {"w": np.ones((3, 2), F32)},
    )
    module = import_model(model)
    verify(module)
    assert module.stage == "onnx"
    assert names(module) == ["det.constant", "onnx.Gemm", "onnx.Relu", "return"]
    constant, gemm, relu, _ = module.main.region.ops
    assert constant.attributes["value"].data.tolist() == [[1, 1]] * 3
    assert dict(gemm.attributes) == {"alpha": 0.5, "transB": 1, "opset": 13}
    assert gemm.location.name == "Gemm_0" and relu.location.name == "act"
    assert isinstance(relu.result.type, UnknownType)
    (x,) = module.main.inputs
    assert (x.name, x.type) == ("x", TensorType(DType.F32, (symbol("N"), 2)))
    assert module.main.output_names == ("y",)
    assert module.symbols == {"N": Bounds()}
    assert parse(print_module(module)) == module


def test_symbols_are_identifiers_and_unknown_dims_are_their_own() -> None:
    model = build(
        [node("Add", ["x", "y"], ["z"])],
        {"x": (F32, ["batch.size", None, 4]), "y": (F32, ["batch_size", "?", "if"])},
        ["z"],
    )
    module = import_model(model)
    assert [str(v.type) for v in module.main.inputs] == [
        "f32[batch_size, x_1, 4]",
        "f32[batch_size_2, y_1, d_if]",
    ]
    assert list(module.symbols) == ["batch_size", "x_1", "batch_size_2", "y_1", "d_if"]


def test_shapes_override_the_models() -> None:
    model = build([node("Relu", ["x"], ["y"])], {"x": (F32, ["N", 3, None])}, ["y"])
    module = import_model(model, {"x": ["B", 3, 7]})
    assert str(module.main.inputs[0].type) == "f32[B, 3, 7]"
    assert list(module.symbols) == ["B"]
    wrong: list[dict[str, Any]] = [
        {"x": [1, 2]},
        {"z": [1, 2, 3]},
        {"x": [1, 2, "a b"]},
        {"x": [1, 2, -3]},
    ]
    for shapes in wrong:
        with pytest.raises(AivmcError):
            import_model(model, shapes)


def test_an_input_without_a_shape_needs_one() -> None:
    model = build([node("Relu", ["x"], ["y"])], {}, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    with pytest.raises(AivmcError, match="no shape for the input 'x'"):
        import_model(model)
    assert str(import_model(model, {"x": [2]}).main.inputs[0].type) == "f32[2]"


def test_initializers_that_are_inputs_too_are_constants() -> None:
    model = build(
        [node("Add", ["x", "w"], ["y"])],
        {"x": (F32, [2]), "w": (F32, [2])},
        ["y"],
        {"w": np.zeros(2, F32)},
    )
    assert [v.name for v in import_model(model).main.inputs] == ["x"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"value": numpy_helper.from_array(np.eye(2, dtype=F32))}, np.eye(2, dtype=F32)),
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.0, 2.0]}, np.array([1, 2], F32)),
        ({"value_int": 7}, np.int64(7)),
        ({"value_ints": [1, 2]}, np.array([1, 2])),
        ({"value_string": "ä"}, np.array("ä", object)),
        ({"value_strings": ["a", "b"]}, np.array(["a", "b"], object)),
    ],
)
def test_constant_nodes(attributes: dict[str, object], expected: object) -> None:
    model = build([node("Constant", [], ["y"], "c", **attributes)], {}, ["y"])
    (constant, _) = import_model(model).main.region.ops
    assert constant.location.name == "c"
    assert constant.attributes["value"] == Constant.of(expected)


def test_sparse_tensors_become_dense() -> None:
    values = numpy_helper.from_array(np.array([3, 4], F32), "w")
    flat = numpy_helper.from_array(np.array([1, 5]), "i")
    pairs = numpy_helper.from_array(np.array([[0, 1], [1, 2]]), "i")
    for indices in (flat, pairs):
        model = build([node("Add", ["x", "w"], ["y"])], {"x": (F32, [2, 3])}, ["y"])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
        constant = import_model(model).main.region.ops[0]
        assert constant.attributes["value"].data.tolist() == [[0, 3, 0], [0, 0, 4]]


def test_omitted_inputs_are_none() -> None:
    clip = [node("Clip", ["x", "", "high"], ["y"])]
    model = build(clip, {"x": (F32, [2])}, ["y"], {"high": np.array(1, F32)})
    module = import_model(model)
    assert names(module) == ["det.constant", "onnx.none", "onnx.Clip", "return"]
    assert module.main.region.ops[2].operands[1] is module.main.region.ops[1].result


def test_nodes_are_sorted() -> None:
    relu, tanh = node("Relu", ["x"], ["h"]), node("Tanh", ["h"], ["y"])
    model = build([tanh, relu], {"x": (F32, [2])}, ["y"])
    assert names(import_model(model)) == ["onnx.Relu", "onnx.Tanh", "return"]


def test_functions_are_inlined_with_their_attributes() -> None:
    slope = node("LeakyRelu", ["a"], ["b"])
    slope.attribute.append(
        onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    )
    opsets = [helper.make_opsetid("", 16)]
    inner = helper.make_function("f", "Leaky", ["a"], ["b"], [slope], opsets, ["slope"])
    call = node("Leaky", ["p"], ["q"], domain="f", slope=0.25)
    twice = [call, node("Add", ["q", "q"], ["r"])]
    outer_opsets = [*opsets, helper.make_opsetid("f", 1)]
    outer = helper.make_function("f", "Twice", ["p"], ["r"], twice, outer_opsets)
    model = build(
        [node("Twice", ["x"], ["y"], "call", domain="f")],
        {"x": (F32, [2])},
        ["y"],
        functions=[inner, outer],
    )
    leaky, add, _ = import_model(model).main.region.ops
    assert dict(leaky.attributes) == {"alpha": 0.25, "opset": 16}
    assert leaky.location.name == "call/Leaky_0/LeakyRelu_0"
    assert add.operands == (leaky.result, leaky.result)


def test_a_function_must_not_call_itself() -> None:
    opsets = [helper.make_opsetid("f", 1)]
    call = node("F", ["a"], ["b"], domain="f")
    function = helper.make_function("f", "F", ["a"], ["b"], [call], opsets)
    model = build(
        [node("F", ["x"], ["y"], domain="f")], {"x": (F32, [2])}, ["y"], functions=[function]
    )
    with pytest.raises(AivmcError, match="calls itself"):
        import_model(model)


def test_functions_that_double_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivmc.importer.graph._OP_LIMIT", 1000)
    functions = []
    for i in range(40):
        inner = f"F{i - 1}" if i else "Relu"
        domain = "f" if i else ""
        calls = [node(inner, ["a"], ["h"], domain=domain), node(inner, ["h"], ["b"], domain=domain)]
        opsets = [helper.make_opsetid("f", 1), helper.make_opsetid("", 17)]
        functions.append(helper.make_function("f", f"F{i}", ["a"], ["b"], calls, opsets))
    model = build(
        [node("F39", ["x"], ["y"], domain="f")], {"x": (F32, [2])}, ["y"], functions=functions
    )
    with pytest.raises(AivmcError, match="functions inlined"):
        import_model(model)


def test_graphs_of_attributes_become_regions() -> None:
    branches = {
        name: helper.make_graph(
            [node(op, ["x"], ["o"])],
            name,
            [],
            [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        )
        for name, op in (("then_branch", "Relu"), ("else_branch", "Tanh"))
    }
    model = build(
        [node("If", ["c"], ["y"], **branches)], {"x": (F32, [2]), "c": (np.bool_, [])}, ["y"]
    )
    module = import_model(model)
    verify(module)
    branch = module.main.region.ops[0]
    chosen = zip(branch.attributes["regions"], branch.regions)
    assert {name: [op.name for op in region.ops] for name, region in chosen} == {
        "then_branch": ["onnx.Relu", "yield"],
        "else_branch": ["onnx.Tanh", "yield"],
    }
    inner = branch.regions[0].ops[0]
    assert inner.operands == (module.main.inputs[0],)
    assert parse(print_module(module)) == module


def test_other_domains_keep_their_name() -> None:
    scaler = node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    model = build([scaler], {"x": (F32, [1, 2])}, ["y"])
    model.opset_import.append(helper.make_opsetid("com.example", 3))
    (op, _) = import_model(model).main.region.ops
    assert op.name == "onnx.ai_onnx_ml.Scaler"
    assert dict(op.attributes) == {"offset": (1.0,), "scale": (2.0,), "opset": 1}


def test_opsets() -> None:
    relu, given = [node("Relu", ["x"], ["y"])], {"x": (F32, [2])}
    for version in (6, onnx.defs.onnx_opset_version() + 1):
        with pytest.raises(UnsupportedError, match=f"opset {version}"):
            import_model(build(relu, given, ["y"], opset=version))
    model = build(relu, given, ["y"])
    model.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    import_model(model)
    model.opset_import.append(helper.make_opsetid("", 16))
    with pytest.raises(AivmcError, match="17 and 16"):
        import_model(model)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Relu", ["q"], ["y"])], "'Relu_0' uses the tensor 'q', which nothing defines"),
        ([node("Relu", ["y"], ["y"])], "cycle; it goes through 'Relu_0'"),
        (
            [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Abs", ["a"], ["y"])],
            "cycle; it goes through 'Add_0', 'Relu_1', 'Abs_2'",
        ),
        ([node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])], "'y' is defined twice"),
        ([node("Constant", [], ["x"], value_int=1)], "'x' is defined twice"),
        ([node("F", ["x"], ["y"], domain="nowhere")], "'nowhere', which is not imported"),
        ([node("Abs", ["x"], ["z"])], "output list uses the tensor 'y'"),
    ],
)
def test_broken_graphs(nodes: list[onnx.NodeProto], message: str) -> None:
    with pytest.raises(AivmcError, match=message):
        import_model(build(nodes, {"x": (F32, [2])}, ["y"]))


def test_a_path_must_be_a_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    model = build([node("Relu", ["x"], ["y"])], {"x": (F32, [2])}, ["y"])
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString()[:-5])
    for path, message in (
        (tmp_path, "is not a file"),
        (tmp_path / "absent.onnx", "does not exist"),
        (tmp_path / "text.onnx", "not an ONNX model"),
        (tmp_path / "empty.onnx", "not an ONNX model"),
        (tmp_path / "cut.onnx", "not an ONNX model"),
    ):
        with pytest.raises(AivmcError, match=message):
            import_model(path)
    (tmp_path / "whole.onnx").write_bytes(model.SerializeToString())
    assert import_model(tmp_path / "whole.onnx") == import_model(model)
    assert import_model(str(tmp_path / "whole.onnx")) == import_model(model.SerializeToString())
