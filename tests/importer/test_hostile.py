"""Whatever the bytes, only errors for users come out: models are mutated at random."""

from __future__ import annotations

import warnings
from contextlib import suppress

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from aivmc.importer import import_model
from aivmc.ir.errors import AivmcError
from aivmc.passes.legalize import legalize
from tests.onnx_models import build

F32 = np.float32


def _model() -> bytes:
    node, opset = helper.make_node, helper.make_opsetid
    branch = helper.make_graph(
        [node("Add", ["r", "w"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 3])],
    )
    leaky = node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", type=1, ref_attr_name="alpha"))
    function = helper.make_function("d", "F", ["a"], ["b"], [leaky], [opset("", 17)], ["alpha"])
    model = build(
        [
            node("Conv", ["x", "k"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Reshape", ["y", "s"], ["r"]),
            node("F", ["r"], ["q"], domain="d", alpha=0.5),
            node("If", ["c"], ["z"], then_branch=branch, else_branch=branch),
            node("Add", ["z", "q"], ["out"]),
        ],
        {"x": (F32, ["N", 1, 3, "W"])},
        ["out"],
        {
            "k": np.ones((2, 1, 3, 3), F32),
            "s": np.array([0, -1]),
            "c": np.array(True),
            "w": np.ones(1, F32),
        },
        functions=[function],
    )
    model.opset_import.append(opset("d", 1))
    data: bytes = model.SerializeToString()
    return data


MODEL = _model()
places = st.integers(0, len(MODEL) - 1)
edits = st.lists(
    st.tuples(places, st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=4
)


def compile_or_refuse(data: bytes) -> None:
    with warnings.catch_warnings(), suppress(AivmcError):
        warnings.simplefilter("ignore")
        legalize(import_model(data))


def test_the_model_is_valid() -> None:
    assert str(legalize(import_model(MODEL)).main.outputs[0].type) == "f32[N, 6*W]"


@settings(max_examples=400, deadline=None)
@given(edits)
def test_mutated_models(edits: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(MODEL)
    for place, removed, inserted in edits:
        data[place : place + removed] = inserted
    compile_or_refuse(bytes(data))


@settings(max_examples=150, deadline=None)
@given(places)
def test_truncated_models(length: int) -> None:
    compile_or_refuse(MODEL[:length])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    compile_or_refuse(data)
