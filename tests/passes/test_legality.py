"""The table of what each stage allows."""

from __future__ import annotations

import pytest

from aivmc.ir.core import STAGES
from aivmc.ir.errors import IRError
from aivmc.ir.text import parse
from aivmc.passes.legality import LEGAL, check_legal

CONV = (
    "det.conv(%x, %w) {{block = {block}, dilations = [1], group = 1, high = [0], "
    'layout = "{layout}", low = [0], strides = [1]}} : f32[1, 4, 4]'
)


def program(stage: str, op: str) -> str:
    return f"""module {stage} {{
  func @main(%x: f32[1, 4, 4], %w: f32[4, 4, 1], %q: i8[2, 2]) -> (y) {{
    %0 = {op} loc("here")
    return %0
  }}
}}"""


@pytest.mark.parametrize(
    ("stage", "op", "reason"),
    [
        ("onnx", "det.exp(%x) : f32[1, 4, 4]", "is not allowed here"),
        ("det", "onnx.Exp(%x) : f32[1, 4, 4]", "is not allowed here"),
        ("det", "kernel.map(%x) : f32[1, 4, 4]", "is not allowed here"),
        ("det", "det.exp(%x) : seq<f32[1]>", "type seq<f32\\[1\\]>, which is not a tensor"),
        ("det", "det.exp(%x) : ?", "type \\?, which is not a tensor"),
        ("canonical", CONV.format(block=0, layout="channels_first"), "has no contraction block"),
        ("canonical", CONV.format(block=4, layout="channels_last"), "has the layout 'channels_la"),
        (
            "canonical",
            'det.reduce_sum(%x) {axes = [0], keepdims = false, order = "any"} : f32[4, 4]',
            "has no reduction order",
        ),
        ("kernel", "onnx.Exp(%x) : f32[1, 4, 4]", "is not allowed here"),
        ("other", "det.exp(%x) : f32[1, 4, 4]", "there is no stage 'other'"),
    ],
)
def test_refused(stage: str, op: str, reason: str) -> None:
    with pytest.raises(IRError, match=reason):
        check_legal(parse(program(stage, op)))


@pytest.mark.parametrize(
    ("stage", "op"),
    [
        ("onnx", "onnx.Exp(%x) : ?"),
        ("onnx", "onnx.ai_onnx_ml.Scaler(%x) : ?"),
        ("det", CONV.format(block=0, layout="channels_first")),
        ("canonical", CONV.format(block=4, layout="channels_first")),
        ("canonical", "det.matmul(%q, %q) {block = 0} : i32[2, 2]"),
        ("kernel", CONV.format(block=4, layout="channels_last")),
    ],
)
def test_allowed(stage: str, op: str) -> None:
    check_legal(parse(program(stage, op)))


def test_every_offender_is_named_up_to_a_limit() -> None:
    ops = "\n".join(f'    %{i} = onnx.Exp(%x) : f32[1] loc("n{i}")' for i in range(13))
    text = f"module det {{\n  func @main(%x: f32[1]) -> (y) {{\n{ops}\n    return %0\n  }}\n}}"
    with pytest.raises(IRError) as caught:
        check_legal(parse(text))
    message = str(caught.value)
    assert message.count("onnx.Exp") == 10 and message.endswith("and 3 more")


def test_every_stage_has_a_row() -> None:
    assert set(LEGAL) == set(STAGES)
