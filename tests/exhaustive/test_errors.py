"""No search finds an error on f64 that is larger than docs/numerics.md says."""

from __future__ import annotations

import pytest

from aivmc.ir.elementary import NAMES
from tests.exhaustive import errors
from tests.exhaustive.check import c_compiler
from tests.ir.test_elementary_f64 import documented

pytestmark = pytest.mark.skipif(
    c_compiler() is None, reason="exact values need a C compiler: install gcc"
)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_a_search(name: str) -> None:
    found, operands = errors.search(name, rounds=4, seed=1)
    assert found <= documented()[name], operands


def test_a_short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "ROUND", 2**12)
    found, operands = errors.search("exp", rounds=2)
    assert 0.5 < found <= documented()["exp"], operands
