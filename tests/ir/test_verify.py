"""The verifier: each rule broken by hand in a module that was good before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Constant
from aivmc.ir.core import Bounds, Function, Location, Module, Op, Region, Value
from aivmc.ir.dims import symbol
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType
from aivmc.ir.verify import verify

F32 = TensorType(DType.F32, (symbol("N"), 2))


def good() -> Module:
    """y = map(x + c)(neg)"""
    x = Value(F32, "x")
    builder = Builder([x], Location("Add_0"))
    c = builder.constant(np.array([1, 2], np.float32))
    total = builder.op("det.add", x, c)
    inner = Builder([Value(F32)])
    region = inner.terminate("yield", inner.op("det.neg", *inner.region.arguments))
    y = builder.op("kernel.map", total, regions=[region])
    main = Function("main", builder.terminate("return", y), ("y",))
    return Module({"main": main}, symbols={"N": Bounds()})


def test_a_good_module_is_accepted() -> None:
    verify(good())


def ops(module: Module) -> list[Op]:
    return module.main.region.ops


def use_before_definition(m: Module) -> None:
    ops(m)[0], ops(m)[1] = ops(m)[1], ops(m)[0]


def use_of_an_inner_value(m: Module) -> None:
    ops(m)[-1].operands = ops(m)[2].regions[0].ops[0].results


def use_of_a_value_of_another_function(m: Module) -> None:
    region = Region((), [Op("return", m.main.inputs, {}, ())])
    m.functions["other"] = Function("other", region, ("z",))


def value_defined_twice(m: Module) -> None:
    ops(m).insert(1, replace(ops(m)[0]))


def argument_defined_twice(m: Module) -> None:
    m.main.region.arguments *= 2
    m.main.inputs[0].name = "x"


def constant_of_another_shape(m: Module) -> None:
    type = TensorType(DType.F32, (2,))
    ops(m)[0].attributes = {"value": Constant(type, np.zeros(3, np.float32))}


def constant_of_another_dtype(m: Module) -> None:
    type = TensorType(DType.F32, (2,))
    ops(m)[0].attributes = {"value": Constant(type, np.zeros(2, np.int32))}


def wrong_result_type(m: Module) -> None:
    ops(m)[1].results[0].type = TensorType(DType.F64, F32.shape)


def unknown_op(m: Module) -> None:
    ops(m)[1].name = "det.ad"


def extra_attribute(m: Module) -> None:
    ops(m)[1].attributes = {"axis": 1}


def no_terminator(m: Module) -> None:
    ops(m).pop()


def terminator_with_attributes(m: Module) -> None:
    ops(m)[-1].attributes = {"a": 1}


def empty_function(m: Module) -> None:
    ops(m).clear()


def undeclared_symbol(m: Module) -> None:
    m.symbols.clear()


def undeclared_symbol_in_a_constraint(m: Module) -> None:
    m.constraints = ((symbol("N"), symbol("M")),)


def reserved_symbol(m: Module) -> None:
    m.symbols["f32"] = Bounds()


def empty_bounds(m: Module) -> None:
    m.symbols["N"] = Bounds(3, 2)


def two_inputs_of_one_name(m: Module) -> None:
    m.main.region.arguments += (Value(F32, "x"),)


def unnamed_input(m: Module) -> None:
    m.main.inputs[0].name = ""


def two_outputs_of_one_name(m: Module) -> None:
    m.main.output_names = ("y", "y")


def missing_output_name(m: Module) -> None:
    m.main.output_names = ()


def no_main(m: Module) -> None:
    m.functions["other"] = m.functions.pop("main")


def function_under_another_name(m: Module) -> None:
    m.main.name = "entry"


@pytest.mark.parametrize(
    "damage, message",
    [
        (use_before_definition, "operand 1 is not defined before"),
        (use_of_an_inner_value, "operand 0 is out of scope"),
        (use_of_a_value_of_another_function, "operand 0 is out of scope"),
        (value_defined_twice, "a value is defined twice"),
        (argument_defined_twice, "the name 'x' is given twice"),
        (constant_of_another_shape, r"the constant f32\[2\] holds an array float32\[3\]"),
        (constant_of_another_dtype, r"the constant f32\[2\] holds an array int32\[2\]"),
        (wrong_result_type, r"the result must be f32\[N, 2\]"),
        (unknown_op, "there is no op 'det.ad'"),
        (extra_attribute, "det.add has no attribute 'axis'"),
        (no_terminator, "the region must end in a plain return"),
        (terminator_with_attributes, "the region must end in a plain return"),
        (empty_function, "function 'main': a region is empty"),
        (undeclared_symbol, "the dim symbol N is not declared"),
        (undeclared_symbol_in_a_constraint, "the constraint N == M has the undeclared symbol M"),
        (reserved_symbol, "'f32' can't name a dim symbol"),
        (empty_bounds, "no integer lies in the bounds 3..2 of N"),
        (two_inputs_of_one_name, "the name 'x' is given twice"),
        (unnamed_input, "a name is empty"),
        (two_outputs_of_one_name, "the name 'y' is given twice"),
        (missing_output_name, "1 values returned, but there are 0 output names"),
        (no_main, "a module needs a function main"),
        (function_under_another_name, "the function 'entry' is listed as 'main'"),
    ],
    ids=lambda p: p.__name__ if callable(p) else "",
)
def test_damage_is_found(damage: Callable[[Module], Any], message: str) -> None:
    module = good()
    damage(module)
    with pytest.raises(IRError, match=message):
        verify(module)


def test_the_op_is_shown_with_a_caret() -> None:
    module = good()
    wrong_result_type(module)
    with pytest.raises(IRError) as caught:
        verify(module)
    assert str(caught.value).split("\n") == [
        "node 'Add_0': the result must be f32[N, 2]",
        "    %1 = det.add(%x, %0) : f64[N, 2]",
        "         ^",
    ]


def test_an_undefined_operand_is_shown_as_such() -> None:
    module = good()
    ops(module)[1].operands = (module.main.inputs[0], Value(F32))
    with pytest.raises(IRError, match=r"%1 = det.add\(%x, %<undefined>\) : f32\[N, 2\]"):
        verify(module)
