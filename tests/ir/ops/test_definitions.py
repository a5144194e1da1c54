"""What holds of every op definition: it is documented, tested, typed and says one thing only."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from aivmc.ir.definition import OpDef, definition, definitions
from tests.ir.ops.cases import CASES
from tests.ir.ops.evaluate import assert_same, evaluate_element, reference

# The interpreter runs regions, and knows the seed.
WITHOUT_REFERENCE = {"det.if", "det.stream_key"}
ELEMENTS = sorted(n for n in CASES if definition(n).has_element)
ARITHMETIC = {"det.trilu", "det.resize"}  # besides elementwise ops: what may change a NaN's bits


def test_every_op_has_cases() -> None:
    det = {name for name in definitions() if name.startswith("det.")}
    assert det - WITHOUT_REFERENCE == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_definition_is_whole(name: str) -> None:
    rule = definition(name)
    assert inspect.cleandoc(type(rule).__doc__ or ""), f"{name} has no docstring"
    assert type(rule).reference is not OpDef.reference
    assert rule.has_element or not rule.is_elementwise


@pytest.mark.parametrize("name", sorted(CASES))
def test_reference_has_the_inferred_type(name: str) -> None:
    for operands, attributes in CASES[name]:
        reference(name, *operands, **attributes)


@pytest.mark.parametrize("name", ELEMENTS)
def test_element_equals_reference(name: str) -> None:
    exact = not definition(name).is_elementwise and name not in ARITHMETIC
    for operands, attributes in CASES[name]:
        arrays = [np.asarray(a) for a in operands]
        want = reference(name, *arrays, **attributes)
        got = evaluate_element(name, arrays, **attributes)
        assert_same(got, want, nans="exact" if exact else "any")
