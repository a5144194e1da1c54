"""ONNX's own node tests as compiled code: the bytes are the interpreter's.

That the interpreter's results are what ONNX expects, tests/importer/test_onnx_backend.py shows.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from onnx.backend.test import loader

from aivmc.passes.legalize import Legalize
from aivmc.passes.manager import run_pipeline
from aivmc.passes.pipelines import CANONICAL
from aivmc.passes.strip_nondeterminism import StripNondeterminism
from tests.backends.op_harness import TARGETS, assert_compiled
from tests.importer.test_onnx_backend import PASSING, arrays_of, compiled

AFTER_LEGALIZE = [p for p in CANONICAL if not isinstance(p, Legalize | StripNondeterminism)]
SAMPLE = 8  # every so many cases in the default run


def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = loader.load_model_tests(kind="node")
    passing = set(PASSING.read_text(encoding="utf-8").split())
    return [case for case in loaded if case.name in passing]


def test_a_sample_of_node_tests() -> None:
    assert_all_compiled(cases()[::SAMPLE])


@pytest.mark.slow
def test_all_node_tests() -> None:
    assert_all_compiled(cases())


def assert_all_compiled(chosen: list[Any]) -> None:
    assert chosen
    for number, case in enumerate(chosen):
        target = TARGETS[number % len(TARGETS)]
        for inputs, _ in arrays_of(case):
            module, _ = run_pipeline(compiled(case.model, inputs), AFTER_LEGALIZE)
            given = {v.name: inputs[v.name] for v in module.main.inputs}
            assert_compiled(module, [given], targets=[target])
