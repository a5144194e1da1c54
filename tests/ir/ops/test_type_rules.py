"""Type rules: symbolic results, and what is wrong is said."""

from __future__ import annotations

from typing import Any

import pytest

import aivmc.ir.ops  # noqa: F401
from aivmc.ir.builder import Builder
from aivmc.ir.core import Value
from aivmc.ir.definition import definition
from aivmc.ir.dims import floor_div, symbol
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType

N, W = symbol("N"), symbol("W")
I64 = DType.I64
WINDOW = {"strides": (2,), "dilations": (1,), "low": (1,), "high": (1,)}
CONV = {**WINDOW, "group": 1, "block": 0, "layout": "channels_first"}
SLICE = {"starts": (0,), "steps": (1,), "sizes": (2,)}
RESIZE = {"scales": (), "mode": "linear", "coordinate": "half_pixel", "nearest": "floor"}


def t(*shape: Any, dtype: DType = DType.F32) -> TensorType:
    return TensorType(dtype, shape)


def infer(name: str, *types: TensorType, **attributes: Any) -> tuple[Any, ...]:
    definition(name).check_schema(len(types), attributes)
    return definition(name).infer(types, attributes, ())


@pytest.mark.parametrize(
    ("name", "types", "attributes", "want"),
    [
        ("det.less", (t(N, 1), t(W)), {}, t(N, W, dtype=DType.BOOL)),
        ("det.concat", (t(N), t(W), t(2)), {"axis": 0}, t(N + W + 2)),
        ("det.pad", (t(N), t()), {"low": (W,), "high": (-1,), "mode": "wrap"}, t(N + W - 1)),
        ("det.gather", (t(N, 3), t(W, dtype=I64)), {"axis": 0}, t(W, 3)),
        ("det.gather_nd", (t(N, W, 3), t(N, 5, 1, dtype=I64)), {"batch_dims": 1}, t(N, 5, 3)),
        ("det.matmul", (t(N, 1, W, 3), t(5, 3, 4)), {"block": 0}, t(N, 5, W, 4)),
        ("det.conv", (t(N, 3, W), t(8, 3, 3)), CONV, t(N, 8, floor_div(W - 1, 2) + 1)),
        (
            "det.conv_transpose",
            (t(N, 3, W), t(3, 8, 3)),
            {**WINDOW, "group": 1, "block": 0, "output_pad": (0,)},
            t(N, 8, 2 * W - 1),
        ),
        (
            "det.window_max",
            (t(W),),
            {**WINDOW, "window": (3,)},
            t(floor_div(W - 1, 2) + 1),
        ),
        ("det.reduce_max", (t(N, W),), {"axes": (1,), "keepdims": True}, t(N, 1)),
        ("det.resize", (t(N, W),), {**RESIZE, "sizes": (N, 2 * W)}, t(N, 2 * W)),
    ],
)
def test_symbolic_results(name: str, types: Any, attributes: Any, want: TensorType) -> None:
    assert infer(name, *types, **attributes) == (want,)


def test_top_k_results() -> None:
    got = infer("det.top_k", t(N, 9), axis=1, k=W, largest=True)
    assert got == (t(N, W), t(N, W, dtype=I64))


@pytest.mark.parametrize(
    ("name", "types", "attributes", "message"),
    [
        ("det.add", (t(2), t(2, dtype=I64)), {}, "share one dtype, not f32, i64"),
        ("det.add", (t(dtype=DType.BOOL),) * 2, {}, "not defined on bool"),
        ("det.floor", (t(dtype=I64),), {}, "a float is needed, not i64"),
        ("det.logical_not", (t(),), {}, "bool is needed, not f32"),
        ("det.bit_and", (t(), t()), {}, "an integer is needed, not f32"),
        ("det.select", (t(), t(), t()), {}, "condition must be bool, not f32"),
        ("det.cast", (t(dtype=DType.STRING),), {"to": I64}, "no cast from or to string"),
        ("det.bitcast", (t(),), {"to": I64}, "f32 and i64 differ in width"),
        ("det.reshape", (t(N, 2),), {"shape": (N, 3)}, "has 2*N elements, [N, 3] has 3*N"),
        ("det.broadcast_to", (t(3),), {"shape": (4,)}, "does not broadcast to [4]"),
        ("det.slice", (t(1),), SLICE, "axis 0 has length 1, the slice picks 0 to 1"),
        ("det.slice", (t(3),), {**SLICE, "steps": (0,)}, "the step of axis 0 is 0"),
        ("det.slice", (t(3, 3),), SLICE, "starts needs 2 entries"),
        ("det.pad", (t(3), t()), {"low": (-4,), "high": (0,), "mode": "edge"}, "cropped to -1"),
        ("det.pad", (t(0), t()), {"low": (1,), "high": (0,), "mode": "edge"}, "no elements to pad"),
        ("det.pad", (t(3), t(1)), {"low": (0,), "high": (0,), "mode": "edge"}, "must be f32[]"),
        ("det.pad", (t(3), t()), {"low": (0,), "high": (0,), "mode": "odd"}, "not 'odd'"),
        ("det.concat", (t(2, 3), t(3, 3)), {"axis": 1}, "differ beside axis 1"),
        ("det.gather", (t(3), t()), {"axis": 0}, "indices must be i32 or i64, not f32"),
        ("det.gather", (t(3), t(dtype=I64)), {"axis": -1}, "axis -1 is not among"),
        ("det.gather", (t(0), t(dtype=I64)), {"axis": 0}, "has no elements to pick"),
        ("det.gather_nd", (t(3), t(0, dtype=I64)), {"batch_dims": 0}, "0 coordinates"),
        ("det.trilu", (t(3), t(dtype=I64)), {"upper": True}, "is not a matrix"),
        ("det.reduce_max", (t(3),), {"axes": (0, 0), "keepdims": True}, "axes must ascend"),
        ("det.reduce_all", (t(3),), {"axes": (0,), "keepdims": True}, "bool is needed"),
        ("det.matmul", (t(2, 3), t(2, 3)), {"block": 0}, "can be multiplied"),
        ("det.matmul", (t(2, 3), t(3, 2, dtype=I64)), {"block": 0}, "share one dtype"),
        ("det.conv", (t(1, 4, 5), t(2, 3, 3)), CONV, "4 channels are not 1 groups of 3"),
        ("det.conv", (t(1, 3, 0), t(2, 3, 9)), CONV, "the window reaches over 9 elements"),
        ("det.conv", (t(1, 3, 5), t(2, 3, N)), CONV, "must be known"),
        ("det.window_max", (t(5),), {**WINDOW, "window": (0,)}, "extent must be at least 1"),
        ("det.top_k", (t(3),), {"axis": 0, "k": 4, "largest": True}, "there are not 4 elements"),
        ("det.arg_max", (t(0),), {"axis": 0, "keepdims": True, "last": True}, "has no elements"),
        ("det.resize", (t(3, dtype=I64),), {**RESIZE, "sizes": (3,)}, "a float is needed"),
        ("det.resize", (t(3),), {**RESIZE, "sizes": (3,), "mode": "cubic"}, "not 'cubic'"),
        ("det.relu", (t(), t()), {}, "takes 1 operands"),
        ("det.relu", (t(),), {"slope": 1.0}, "has no attribute 'slope'"),
        ("det.leaky_relu", (t(),), {"slope": 1}, "must be a float"),
    ],
)
def test_what_is_wrong_is_said(name: str, types: Any, attributes: Any, message: str) -> None:
    with pytest.raises(IRError) as caught:
        infer(name, *types, **attributes)
    assert message in str(caught.value)


def region(*types: TensorType, result: TensorType) -> Any:
    builder = Builder([Value(x) for x in types])
    return builder.terminate("yield", Value(result))


def test_if() -> None:
    rule, condition = definition("det.if"), t(dtype=DType.BOOL)
    same = [region(t(N), result=t(2)), region(t(N), result=t(2))]
    assert rule.infer((condition, t(N)), {}, same) == (t(2),)
    with pytest.raises(IRError, match="different types"):
        rule.infer((condition,), {}, [region(result=t(2)), region(result=t(3))])
    with pytest.raises(IRError, match="arguments differ"):
        rule.infer((condition, t(W)), {}, same)
    with pytest.raises(IRError, match="two regions"):
        rule.infer((condition,), {}, same[:1])
    with pytest.raises(IRError, match="bool scalar"):
        rule.infer((t(),), {}, same)
