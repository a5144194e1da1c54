"""Real models compute what ONNX says: near ONNX Runtime, and exactly what the semantics give."""

from __future__ import annotations

import numpy as np
import pytest

from aivmc.compiler import canonicalize
from aivmc.ir.interpret import interpret
from tests.guarantees.examples_kit import (
    FULL,
    PUBLISHED,
    SMALL,
    Examples,
    inputs_for,
    onnxruntime_outputs,
    same_bits,
)

TOLERANCE = 1e-4  # of each output's largest magnitude

SLOW = ("bert_base",)
MODELS = [
    *SMALL,
    *(pytest.param(name, marks=pytest.mark.models) for name in PUBLISHED),
    *(pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FULL),
]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_onnxruntime(name: str, examples: Examples) -> None:
    kernel = examples.kernel(name)
    inputs = inputs_for(kernel.inputs)
    expected = onnxruntime_outputs(examples.path(name), inputs)
    found = kernel.run(inputs)
    assert list(found) == list(expected)
    for output, wanted in expected.items():
        got = found[output]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            scale = np.abs(wanted).max()
            assert scale > 0, "an output of zeros proves nothing"
            assert np.abs(got - wanted).max() <= TOLERANCE * scale, output
        else:
            assert np.array_equal(got, wanted), output


@pytest.mark.parametrize(
    "name",
    [*SMALL, *(pytest.param(n, marks=pytest.mark.models) for n in ("mlp", "classifier"))],
)
@pytest.mark.parametrize("sizes", [{}, {"N": 1, "P": 0, "W": 48, "input_0": 1}], ids=["", "other"])
def test_bits_are_those_of_the_reference(
    name: str, sizes: dict[str, int], examples: Examples
) -> None:
    kernel = examples.kernel(name)
    inputs = inputs_for(kernel.inputs, seed=1, **sizes)
    reference = interpret(canonicalize(examples.path(name))[0], inputs)
    assert same_bits(kernel.run(inputs), reference)
