"""Folding computes what the interpreter computes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module
from aivmc.ir.dims import substitute
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse
from aivmc.passes.fold_constants import FoldConstants
from aivmc.passes.rewriting import explain, rewrite_module
from tests.passes.programs import programs
from tests.passes.test_golden import special_inputs

CANONICAL_NAN = np.uint32(0x7FC00000)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_a_program_of_constants_is_what_the_interpreter_gives(module: Module) -> None:
    inputs = special_inputs(module)
    closed = with_constants(module, inputs)
    folded = FoldConstants().run(closed)
    expected = interpret(module, inputs)
    producers = {v: op for op in folded.walk() for v in op.results}
    for name, value in zip(folded.main.output_names, folded.main.outputs):
        array = expected[name]
        wanted = np.where(np.isnan(array), CANONICAL_NAN, array.view(np.uint32))
        op = producers[value]
        assert op.name == "det.constant"
        got = op.attributes["value"].data
        # What is a constant from the start is not folded: its NaNs are as they are.
        got = np.where(np.isnan(got), CANONICAL_NAN, got.view(np.uint32))
        assert got.tobytes() == wanted.tobytes(), name


def with_constants(module: Module, inputs: dict[str, np.ndarray]) -> Module:
    """The module with its inputs replaced by constants, and N by 2."""
    b = Builder()
    values = {v: b.constant(inputs[v.name]) for v in module.main.inputs}

    def bound(item):
        if isinstance(item, tuple):
            return tuple(bound(i) for i in item)
        return substitute(item, {"N": 2}) if hasattr(item, "terms") else item

    for op in module.main.region.body:
        attributes = {name: bound(a) for name, a in op.attributes.items()}
        results = b.ops(op.name, *(values[v] for v in op.operands), **attributes)
        values.update(zip(op.results, results))
    region = b.terminate("return", *(values[v] for v in module.main.outputs))
    return Module({"main": Function("main", region, module.main.output_names)}, "canonical")


def test_large_constants_are_shared_not_copied() -> None:
    b = Builder()
    weights = np.arange(1 << 16, dtype=np.float32)
    value = b.constant(weights)
    main = Function("main", b.terminate("return", b.op("det.neg", value), value), ("a", "b"))
    module = Module({"main": main}, "det")
    folded = FoldConstants().run(module)
    kept = rewrite_module(folded, FoldConstants().rewrite)
    before, after = (m.main.region.ops[0].attributes["value"].data for m in (module, kept))
    assert np.shares_memory(before, weights) and np.shares_memory(after, weights)


def test_nothing_is_folded_whose_data_is_not_at_hand() -> None:
    digest = "sha256:" + "0" * 64
    module = parse(
        f"""module det {{
          func @main() -> (y) {{
            %0 = det.constant {{value = const<f32[9], {digest}>}} : f32[9]
            %1 = det.neg(%0) : f32[9]
            return %1
          }}
        }}"""
    )
    assert [reason for _, reason in explain(FoldConstants(), module)] == [
        "is a constant",
        "an operand is not a constant",
    ]
