"""What functions in pairs of f32 decide is right: on all inputs, and on a part of them."""

from __future__ import annotations

import pytest

from aivmc.backends.double_float import functions
from tests.exhaustive.check import CHUNK, CHUNKS
from tests.exhaustive.double_float import check

EIGHTH = 0x3E00_0000  # the bits of 1/8; the chunk ends at 3/16


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_all_inputs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = check(name, CHUNKS)
    with capsys.disabled():
        print(f"\n{name}: {result}")
    assert result.checked == 2**32
    assert result.wrong == []


def test_the_check_sees_what_is_wrong_and_what_is_not_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = check("tanh", [EIGHTH])
    assert result.wrong == [] and 0 < result.undecided < CHUNK / 1000
    monkeypatch.setattr(functions, "EXPM1_ERROR", 2.0**-49)
    narrow = check("tanh", [EIGHTH])
    assert narrow.wrong and narrow.undecided < result.undecided
