"""The block has the default environment, and leaves the one that it found."""

from __future__ import annotations

import numpy as np
import pytest

from aivmc.ir.float_environment import default_float_environment
from tests.float_environment import DEFAULT, ENVIRONMENT, HOSTILE


@pytest.mark.parametrize("mode", HOSTILE, ids=hex)
def test_the_default_inside_and_what_was_before_after(mode: int) -> None:
    tiny = np.array([1e-40, -3e-39, 1.0], np.float32)
    expected = (tiny * np.float32(0.3)).tobytes()
    with ENVIRONMENT.mode(mode):
        with default_float_environment():
            inside = ENVIRONMENT.control
            found = (tiny * np.float32(0.3)).tobytes()
        with pytest.raises(ZeroDivisionError), default_float_environment():
            raise ZeroDivisionError
        after = ENVIRONMENT.control
    assert (inside, after) == (DEFAULT, mode)
    assert found == expected
