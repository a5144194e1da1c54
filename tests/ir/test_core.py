"""Programs: equality up to names, walking, and building with inferred types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import aivmc.ir.ops  # noqa: F401 - registers the definitions
from aivmc.ir.builder import Builder, copy_region
from aivmc.ir.core import Bounds, Function, Location, Module, Value, same_attributes, users
from aivmc.ir.definition import OpDef, define, definition
from aivmc.ir.dims import symbol
from aivmc.ir.errors import IRError
from aivmc.ir.text import print_module
from aivmc.ir.types import DType, TensorType

F32 = TensorType(DType.F32, (2,))


def module(
    hint: str = "", input: str = "x", operand: int = 0, op: str = "det.neg", node: str = "a"
) -> Module:
    x, z = Value(F32, input), Value(F32, "z")
    builder = Builder([x, z], Location(node))
    inner = Builder([Value(F32, hint)])
    region = inner.terminate("yield", inner.op(op, *inner.region.arguments))
    y = builder.op("kernel.map", (x, z)[operand], regions=[region])
    y.name = hint
    return Module({"main": Function("main", builder.terminate("return", y), ("y",))})


def test_inner_names_do_not_matter_and_all_else_does() -> None:
    assert module() == module(hint="other")
    assert module() != module(input="w")
    assert module() != module(operand=1)
    assert module() != module(op="det.abs")
    assert module() != module(node="b")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "stage", "kernel"),
        lambda m: setattr(m, "constraints", ((symbol("N"), 2),)),
        lambda m: m.symbols.update(N=Bounds()),
        lambda m: m.functions.update(f=m.main),
        lambda m: setattr(m.main, "output_names", ("q",)),
        lambda m: m.main.region.ops.pop(0),
        lambda m: setattr(m.main.inputs[1], "type", F32.with_dtype(DType.I8)),
        lambda m: setattr(m.main.region.ops[0], "attributes", {"a": 1}),
        lambda m: setattr(m.main.region.ops[0], "regions", ()),
    ],
)
def test_modules_differ_in_any_part(change: Callable[[Module], Any]) -> None:
    changed = module()
    change(changed)
    assert changed != module()


def test_attributes_are_compared_as_they_print() -> None:
    values: list[Any] = [
        0,
        False,
        0.0,
        -0.0,
        "0",
        (0,),
        (0.0,),
        (-0.0,),
        (),
        DType.F32,
        symbol("N"),
    ]
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert same_attributes({"v": a}, {"v": b}) == (i == j)
    assert same_attributes({"v": (math.nan,)}, {"v": (float("nan"),)})
    assert not same_attributes({"v": 1}, {"w": 1})


def test_with_main_keeps_the_rest() -> None:
    old = module()
    old.symbols["N"] = Bounds(1)
    new = old.with_main(module(op="det.abs").main, stage="kernel")
    assert (new.stage, new.symbols) == ("kernel", {"N": Bounds(1)})
    assert new.main.region.ops[0].regions[0].ops[0].name == "det.abs"
    assert old.stage == "det"


def test_walk_is_outer_first_and_users_see_inner_uses() -> None:
    x = Value(F32, "x")
    builder = Builder([x])
    inner = Builder([Value(F32)])
    region = inner.terminate("yield", inner.op("det.add", x, *inner.region.arguments))
    y = builder.op("kernel.map", x, regions=[region])
    outer = builder.terminate("return", y)
    assert [op.name for op in outer.walk()] == ["kernel.map", "det.add", "yield", "return"]
    assert [op.name for op in users(outer)[x]] == ["kernel.map", "det.add"]
    assert [op.name for op in users(outer)[y]] == ["return"]


def test_locations_in_words() -> None:
    assert str(Location("Conv_0")) == "node 'Conv_0'"
    assert str(Location("Conv_0", "m.air", 3, 5)) == "m.air:3:5"
    assert str(Location()) == "unknown location"


def test_the_builder_infers_and_refuses() -> None:
    x, y = Value(F32, "x"), Value(TensorType(DType.F32, (3,)), "y")
    builder = Builder([x, y], Location("Add_3"))
    assert builder.op("det.add", x, x).type == F32
    with pytest.raises(
        IRError, match=r"det\.add\(f32\[2\], f32\[3\]\) at node 'Add_3': .*broadcast"
    ):
        builder.op("det.add", x, y)
    with pytest.raises(IRError, match="takes 2 operands"):
        builder.op("det.add", x)
    with pytest.raises(IRError, match=r"there is no op 'det\.ad'"):
        builder.op("det.ad", x, y)
    assert [op.name for op in builder.region.ops] == ["det.add"]


def test_the_builder_makes_constants_and_foreign_ops() -> None:
    builder = Builder()
    assert builder.constant(1.5, DType.F16).type == TensorType(DType.F16)
    assert builder.constant(np.zeros((2, 3), np.int8)).type == TensorType(DType.I8, (2, 3))
    a, b = builder.ops("onnx.Foo", result_types=(F32, F32), alpha=1)
    assert (a.type, b.type) == (F32, F32)


def test_a_copied_region_is_equal_and_shares_nothing() -> None:
    old = module()
    region = copy_region(old.main.region, {})
    new = old.with_main(Function("main", region, ("y",)))
    assert new == old
    assert print_module(new) == print_module(old)
    assert not {v for op in old.walk() for v in op.results} & {
        v for op in new.walk() for v in op.results
    }


def test_a_copied_region_infers_types_anew() -> None:
    x = Value(F32, "x")
    builder = Builder([x])
    region = builder.terminate("return", builder.op("det.neg", x))
    wide = Value(TensorType(DType.F64, (5,)))
    op = copy_region(region, {}).ops[0]
    assert op.result.type == F32
    again = Builder([wide])
    assert again.copy(op, {op.operands[0]: wide})[0].type == wide.type


def test_an_op_is_defined_once() -> None:
    class Again(OpDef):
        name = "det.add"

    with pytest.raises(ValueError, match="defined twice"):
        define(Again)
    assert type(definition("det.add")) is not Again


def test_an_op_without_rules_says_so() -> None:
    class Bare(OpDef):
        name = "test.bare"

    for call in (Bare().result_type, Bare().reference):
        with pytest.raises(TypeError, match=r"test\.bare has no"):
            call()
    assert not Bare().has_element
    assert not Bare().is_elementwise
