"""ONNX's own node tests, an independent source: inputs and expected outputs for every op.

Each model is imported, legalized and interpreted. `passing_node_tests.txt` lists those that pass:
none may stop doing so. `pytest --bless` rewrites the list.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test import loader

from aivmc.importer import import_model
from aivmc.ir.constants import Array
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError, UnsupportedError
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse, print_module
from aivmc.ir.verify import verify
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.legalize import legalize

PASSING = Path(__file__).with_name("passing_node_tests.txt")
FLOATS = ("bfloat16", "float")


def test_node_tests(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = loader.load_model_tests(kind="node")
        failures = {case.name: reason for case in cases if (reason := failure(case))}
    passing = [case.name for case in cases if case.name not in failures]
    with capsys.disabled():
        print(f" {len(passing)} of {len(cases)} ONNX node tests pass", end="")
    if request.config.getoption("--bless"):
        PASSING.write_text("".join(f"{name}\n" for name in sorted(passing)), encoding="utf-8")
    expected = set(PASSING.read_text(encoding="utf-8").split())
    assert {name: why for name, why in failures.items() if name in expected} == {}
    assert len(expected & set(passing)) > 1300


def failure(case: Any) -> str | None:
    """Why a case does not pass."""
    try:
        for inputs, outputs in arrays_of(case):
            check(case, inputs, outputs)
    except (AivmcError, AssertionError) as error:
        return str(error) or type(error).__name__
    return None


def arrays_of(case: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    graph = case.model.graph
    for inputs, outputs in case.data_sets:
        yield (
            {v.name: array(x) for v, x in zip(graph.input, inputs)},
            {v.name: array(x) for v, x in zip(graph.output, outputs)},
        )


def array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else value


def check(case: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    module = compiled(case.model, inputs)
    verify(module)
    assert parse(print_module(module)) == module
    given = {v.name: inputs[v.name] for v in module.main.inputs}
    results = interpret(FixReductionOrder().run(module), given)
    for name, expected in outputs.items():
        compare(results[name], expected, case.rtol, case.atol)


def compare(result: Array, expected: Array, rtol: float, atol: float) -> None:
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    if result.dtype.name.startswith(FLOATS):
        wide, expected_wide = result.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_allclose(wide, expected_wide, rtol=rtol, atol=atol)
    else:
        np.testing.assert_array_equal(result, expected)


def compiled(model: onnx.ModelProto, inputs: dict[str, Any]) -> Module:
    """The legalized model; where an operand must be known, with small inputs made constants."""
    try:
        return legalize(import_model(model))
    except UnsupportedError as error:
        if "known" not in str(error) and "constant" not in str(error):
            raise
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for info in changed.graph.input:
        value = inputs[info.name]
        first = info.name == changed.graph.input[0].name
        if isinstance(value, np.ndarray) and (
            value.dtype.kind in "iub" or (value.size < 9 and not first)
        ):
            changed.graph.initializer.append(numpy_helper.from_array(value, info.name))
    return legalize(import_model(changed))
