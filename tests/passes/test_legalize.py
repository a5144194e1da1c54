"""Legalization: shape arithmetic, dims that must be equal, errors, and the fixed decompositions.

That ops compute what ONNX says is shown by ONNX's own node tests (tests/importer) and against
ONNX Runtime (test_legalize_models.py); here is what those don't see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from aivmc.importer import import_model
from aivmc.ir.binding import InputError
from aivmc.ir.constants import Array
from aivmc.ir.core import Module, Op
from aivmc.ir.dims import parse as parse_dim
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse, print_module
from aivmc.ir.verify import verify
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.legalize import legalize
from tests.onnx_models import build, legal, run

F32, I64 = np.float32, np.int64
node = helper.make_node


def ints(*values: int) -> Array:
    return np.array(values, I64)


def result_type(module: Module) -> str:
    verify(module)
    return str(module.main.outputs[0].type)


def ops(module: Module) -> list[str]:
    names = (op.name.removeprefix("det.") for op in module.main.region.body)
    return [name for name in names if name != "constant"]


def unary(shape: list[Any], *nodes: Any, constants: Any = None, opset: int = 17) -> Module:
    return legal(build(nodes, {"x": (F32, shape)}, ["y"], constants, opset))


# --- shapes as data ------------------------------------------------------------------------------
def test_shape_arithmetic_gives_symbolic_shapes() -> None:
    """Halves of x's last axis, stacked: Shape, Gather, Div, Mul, Unsqueeze, Concat, Reshape."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["w"]),
        node("Div", ["w", "two"], ["half"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Mul", ["n", "two"], ["rows"]),
        node("Unsqueeze", ["rows", "axes"], ["r"]),
        node("Unsqueeze", ["half", "axes"], ["h"]),
        node("Concat", ["r", "h"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "axes": ints(0)}
    assert result_type(unary(["N", 8], *nodes, constants=constants)) == "f32[2*N, 4]"


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (["N", 3, "W"], (0, -1), "f32[N, 3*W]"),
        (["N", 4, "W"], (-1, 2), "f32[2*N*W, 2]"),
        ([2, 3, 4], (0, 0, 2, 2), "f32[2, 3, 2, 2]"),
        (["N", 6], (-1,), "f32[6*N]"),
    ],
)
def test_reshape(shape: list[Any], target: tuple[int, ...], expected: str) -> None:
    module = unary(shape, node("Reshape", ["x", "s"], ["y"]), constants={"s": ints(*target)})
    assert result_type(module) == expected


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0, 2**63 - 1, 1, "f32[N]"),
        (1, 2**63 - 1, 1, "f32[max(1, N) - 1]"),
        (-1, 2**63 - 1, 1, "f32[N - max(0, N - 1)]"),
        (0, 3, 1, "f32[N - max(3, N) + 3]"),
        (2**63 - 1, -(2**63), -1, "f32[N]"),
        (0, 2**63 - 1, 2, "f32[(N + 1)//2]"),
    ],
)
def test_slices_of_a_symbolic_axis(start: int, end: int, step: int, expected: str) -> None:
    constants = {"s": ints(start), "e": ints(end), "a": ints(0), "t": ints(step)}
    model = build(
        [node("Slice", ["x", "s", "e", "a", "t"], ["y"])], {"x": (F32, ["N"])}, ["y"], constants
    )
    assert result_type(legal(model)) == expected
    for n in range(6):
        x = np.arange(n, dtype=F32)
        assert run(model, x=x)["y"].tolist() == x[start:end:step].tolist()


def test_shapes_by_comparison_and_choice() -> None:
    """The idiom that exporters write for expand: Where(Equal(shape, -1), ones, shape)."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Equal", ["s", "minus"], ["is"]),
        node("ConstantOfShape", ["rank"], ["ones"], value=helper.make_tensor("v", 7, [1], [1])),
        node("Where", ["is", "ones", "s"], ["shape"]),
        node("Expand", ["c", "shape"], ["y"]),
    ]
    constants = {"minus": ints(-1), "rank": ints(2), "c": np.ones((1, 1), F32)}
    assert result_type(unary(["N", 5], *nodes, constants=constants)) == "f32[N, 5]"


def test_range_and_shape_as_results() -> None:
    nodes = [
        node("Shape", ["x"], ["s"], start=0, end=1),
        node("Squeeze", ["s", "axes"], ["n"]),
        node("Range", ["zero", "n", "step"], ["y"]),
    ]
    constants: dict[str, Any] = {"zero": np.int64(0), "step": np.int64(3), "axes": ints(0)}
    model = build(nodes, {"x": (F32, ["N"])}, ["y"], constants)
    assert result_type(legal(model)) == "i64[(N + 2)//3]"
    assert run(model, x=np.zeros(8, F32))["y"].tolist() == [0, 3, 6]


# --- dims that must be equal ---------------------------------------------------------------------
def test_dims_that_meet_become_one() -> None:
    model = build(
        [node("Add", ["x", "y"], ["z"])], {"x": (F32, ["N", 3]), "y": (F32, ["M", "K"])}, ["z"]
    )
    module = legal(model)
    assert [str(v.type) for v in module.main.inputs] == ["f32[N, 3]", "f32[N, 3]"]
    assert list(module.symbols) == ["N"] and module.constraints == ()


def test_which_symbol_stays_depends_on_the_order_of_inputs_alone() -> None:
    add = [node("Add", ["x", "y"], ["z"])]
    for first, second in (("N", "M"), ("M", "N")):
        module = import_model(build(add, {"x": (F32, [first]), "y": (F32, [second])}, ["z"]))
        for form in (module, parse(print_module(module))):
            assert list(legalize(form).symbols) == [first]


def test_a_dim_may_turn_out_to_be_an_expression() -> None:
    concat = [node("Concat", ["x", "x"], ["h"], axis=0), node("Add", ["h", "y"], ["z"])]
    module = legal(build(concat, {"x": (F32, ["N"]), "y": (F32, ["M"])}, ["z"]))
    assert [str(v.type) for v in module.main.inputs] == ["f32[N]", "f32[2*N]"]
    with pytest.raises(InputError):
        interpret(module, {"x": np.zeros(2, F32), "y": np.zeros(3, F32)})


def test_what_cannot_be_solved_is_a_constraint() -> None:
    pool = [
        node("MaxPool", ["x"], ["p"], kernel_shape=[2], strides=[2]),
        node("Add", ["p", "c"], ["z"]),
    ]
    module = legal(build(pool, {"x": (F32, [1, 1, "W"])}, ["z"], {"c": np.ones((1, 1, 4), F32)}))
    assert result_type(module) == "f32[1, 1, 4]"
    assert module.constraints == ((parse_dim("W//2"), 4),)
    assert interpret(module, {"x": np.zeros((1, 1, 9), F32)})["z"].shape == (1, 1, 4)
    with pytest.raises(InputError):
        interpret(module, {"x": np.zeros((1, 1, 10), F32)})


def test_a_squeezed_dim_is_one() -> None:
    module = unary(["N", "M"], node("Squeeze", ["x", "a"], ["y"]), constants={"a": ints(1)})
    assert str(module.main.inputs[0].type) == "f32[N, 1]" and result_type(module) == "f32[N]"


def test_dims_that_cannot_be_equal() -> None:
    model = build([node("Add", ["x", "y"], ["z"])], {"x": (F32, [2]), "y": (F32, [3])}, ["z"])
    with pytest.raises(UnsupportedError, match=r"Add \('Add_0'\): dims 2 and 3 must be equal"):
        legal(model)


# --- errors --------------------------------------------------------------------------------------
def test_every_op_that_is_not_supported_is_named_once() -> None:
    nodes = [
        node("NonZero", ["x"], ["i"], "first"),
        node("Transpose", ["i"], ["t"], "silent"),
        node("NonZero", ["x"], ["j"], "second"),
        node("Det", ["t"], ["d"], "after"),
        node("Reshape", ["x", "s"], ["r"], "shape"),
        node("Relu", ["x"], ["y"]),
    ]
    model = build(nodes, {"x": (F32, ["N"]), "s": (I64, [2])}, ["y", "j", "d", "r", "t"], opset=17)
    with pytest.raises(UnsupportedError) as caught:
        legal(model)
    assert str(caught.value).splitlines() == [
        "the model can't be compiled:",
        "  NonZero ('first', 'second'): it has no deterministic form here yet",
        "  Det ('after'): it has no deterministic form here yet",
        "  Reshape ('shape'): the new shape must be known when the model is compiled",
    ]


def test_an_unsupported_output_matters_only_if_it_is_used() -> None:
    pool = node("MaxPool", ["x"], ["y", "i"], "pool", kernel_shape=[2])
    assert result_type(unary([1, 1, 4], pool)) == "f32[1, 1, 3]"
    model = build([pool, node("Abs", ["i"], ["z"])], {"x": (F32, [1, 1, 4])}, ["y", "z"])
    with pytest.raises(UnsupportedError, match=r"MaxPool \('pool'\): its output 1 is not"):
        legal(model)


def test_ops_inside_branches_are_named() -> None:
    branch = helper.make_graph(
        [node("NonZero", ["x"], ["o"], "inner")],
        "b",
        [],
        [helper.make_tensor_value_info("o", 7, None)],
    )
    choice = node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch)
    model = build([choice], {"x": (F32, ["N"])}, ["y"], {"c": np.array(True)})
    with pytest.raises(UnsupportedError, match=r"NonZero \('if/inner'\)"):
        legal(model)


def test_strings_are_refused() -> None:
    model = build([node("Identity", ["x"], ["y"])], {"x": (np.object_, [2])}, ["y"])
    with pytest.raises(UnsupportedError, match="no string"):
        legal(model)


def test_wrong_attribute_types_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="'alpha' must be a float"):
        unary([2], node("LeakyRelu", ["x"], ["y"], alpha="much"))


# --- decompositions (numerics, clauses 3 and 11) -------------------------------------------------
def test_softmax() -> None:
    module = unary([2, 3, 4], node("Softmax", ["x"], ["y"], axis=-1))
    assert ops(module) == ["reduce_max", "sub", "exp", "reduce_sum", "div", "mul"]
    sum_op = next(op for op in module.main.region.body if op.name == "det.reduce_sum")
    assert dict(sum_op.attributes) == {"axes": (2,), "keepdims": True, "order": "any"}


def test_softmax_before_opset_13_is_over_all_axes_from_the_axis_on() -> None:
    model = build([node("Softmax", ["x"], ["y"], axis=1)], {"x": (F32, [2, 3, 4])}, ["y"], opset=12)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(F32)
    assert np.allclose(run(model, x=x)["y"].sum((1, 2)), 1)
    sum_op = next(op for op in legal(model).main.region.body if op.name == "det.reduce_sum")
    assert sum_op.attributes["axes"] == (1, 2)


def test_layer_normalization_is_two_pass() -> None:
    layer = node("LayerNormalization", ["x", "s", "b"], ["y"])
    constants = {"s": np.ones(4, F32), "b": np.zeros(4, F32)}
    assert ops(unary(["N", 4], layer, constants=constants)) == [
        *("reduce_sum", "div", "sub", "reduce_square_sum", "div", "add", "sqrt", "div"),
        *("mul", "mul", "add"),
    ]


def batch_norm_parameters() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {k: rng.uniform(0.5, 2, 3).astype(F32) for k in "sbmv"}


def test_batch_norm_of_constants_is_one_fma_rounded_once() -> None:
    parameters = batch_norm_parameters()
    batch = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=1e-3)
    module = unary(["N", 3, 5], batch, constants=parameters)
    assert ops(module) == ["reshape", "reshape", "fma"]
    wide = {k: p.astype(np.float64) for k, p in parameters.items()}
    factor = wide["s"] / np.sqrt(wide["v"] + np.float64(F32(1e-3)))
    expected = [factor.astype(F32), (wide["b"] - wide["m"] * factor).astype(F32)]
    found = [constant_of(op).tolist() for op in module.main.region.body if "constant" in op.name]
    assert found == [array.tolist() for array in expected]


def constant_of(op: Op) -> Array:
    array: Array = op.attributes["value"].data
    return array


def test_batch_norm_of_inputs() -> None:
    parameters = batch_norm_parameters()
    batch = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    inputs: dict[str, Any] = {"x": (F32, ["N", 3, 5])} | {k: (F32, [3]) for k in parameters}
    model = build([batch], inputs, ["y"])
    x = np.random.default_rng(2).standard_normal((2, 3, 5)).astype(F32)
    s, b, m, v = (parameters[k][:, None] for k in "sbmv")
    got = run(model, x=x, **parameters)["y"]
    np.testing.assert_allclose(got, (x - m) / np.sqrt(v + 1e-5) * s + b, rtol=1e-5, atol=1e-6)


def test_gemm_scales_are_ops_of_their_own() -> None:
    gemm = node("Gemm", ["x", "w", "c"], ["y"], alpha=0.5, beta=2.0, transB=1)
    constants = {"w": np.ones((3, 4), F32), "c": np.ones(3, F32)}
    module = unary(["N", 4], gemm, constants=constants)
    assert ops(module) == ["transpose", "matmul", "mul", "mul", "add"]
    plain = node("Gemm", ["x", "w", "c"], ["y"], transB=1)
    assert ops(unary(["N", 4], plain, constants=constants)) == ["transpose", "matmul", "add"]


def test_clip_keeps_nan_and_minus_zero() -> None:
    model = build(
        [node("Clip", ["x", "l", "h"], ["y"])],
        {"x": (F32, [5])},
        ["y"],
        {"l": np.array(0, F32), "h": np.array(6, F32)},
    )
    x = np.array([np.nan, -0.0, -3, 7, np.inf], F32)
    got = run(model, x=x)["y"]
    assert np.isnan(got[0]) and np.signbit(got[1]) and got[1:].tolist() == [0, 0, 6, 6]


def test_a_branch_with_a_constant_condition_is_taken() -> None:
    graphs = {
        f"{name}_branch": helper.make_graph(
            [node(op, ["x"], ["o"])], name, [], [helper.make_tensor_value_info("o", 1, None)]
        )
        for name, op in (("then", "Relu"), ("else", "Abs"))
    }
    for taken, expected in ((True, ["relu"]), (False, ["abs"])):
        choice = node("If", ["c"], ["y"], **graphs)
        assert ops(unary(["N"], choice, constants={"c": np.array(taken)})) == expected


def test_legalization_leaves_no_dead_ops_and_is_repeatable() -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Exp", ["x"], ["unused"])]
    model = build(nodes, {"x": (F32, ["N"])}, ["y"])
    assert ops(legal(model)) == ["relu"]
    assert legal(model) == legal(model)
    assert FixReductionOrder().run(legal(model)).stage == "canonical"


_LEAST, _MOST, _NAN = 2.0**-127, 2.0**127, float("nan")


@pytest.mark.parametrize(
    ("mode", "saturate", "want"),
    [
        ("up", 1, [_LEAST, _LEAST, _MOST, _LEAST, _LEAST, 2, 2, 4, _MOST, _MOST, _MOST]),
        ("up", 0, [_NAN, _NAN, _NAN, _NAN, _LEAST, 2, 2, 4, _MOST, _NAN, _NAN]),
        ("down", 1, [_LEAST, _LEAST, _MOST, _LEAST, _LEAST, 1, 1, 2, _MOST, _MOST, _MOST]),
        ("down", 0, [_NAN, _NAN, _NAN, _NAN, _LEAST, 1, 1, 2, _MOST, _MOST, _MOST]),
        ("nearest", 1, [_LEAST, _LEAST, _MOST, _LEAST, _LEAST, 1, 2, 4, _MOST, _MOST, _MOST]),
        ("nearest", 0, [_NAN, _NAN, _NAN, _NAN, _LEAST, 1, 2, 4, _MOST, _MOST, _NAN]),
    ],
)
def test_casts_to_powers_of_two(mode: str, saturate: int, want: list[float]) -> None:
    """ONNX's table of Cast to FLOAT8E8M0; below zero it leaves open what saturates."""
    x = [0.0, -1.0, np.inf, 2.0**-128, 2.0**-127, 1.01, 1.5, 3.0, _MOST, _MOST * 1.2, _MOST * 1.5]
    cast = node("Cast", ["x"], ["y"], to=24, round_mode=mode, saturate=saturate)
    module = unary([12], cast, opset=24)
    got = interpret(module, {"x": np.array([*x, np.nan], F32)})["y"]
    np.testing.assert_array_equal(got.astype(F32), np.array([*want, np.nan], F32))
