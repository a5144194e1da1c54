"""docs/numerics-f64.md, run as it stands, gives the bits of the functions on f64."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aivmc.ir.elementary import ELEMENTARY, NAMES
from aivmc.ir.numpy_emit import NumpyEmit, canonical_nan
from aivmc.ir.numpy_float import fma_f64
from aivmc.ir.types import DType
from tests.ir.ops.evaluate import special_floats

PAGE = Path(__file__).parents[2] / "docs" / "numerics-f64.md"
_BLOCK = re.compile(r"^## ([^\n]*)\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def functions() -> dict[str, Any]:
    """The page's functions: its notation is Python but for ``def`` and the constants."""
    *sections, (last, constants) = _BLOCK.findall(PAGE.read_text("utf-8"))
    assert last == "Constants"
    names = {**NOTATION, **_constants(constants)}
    for _, text in sections:
        exec(re.sub(r"^(\w+\(.*\):)$", r"def \1", text, flags=re.MULTILINE), names)
    return names


def _constants(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, numbers in re.findall(r"^(\w+)((?:\s+-?0x\S+)+)$", text, re.MULTILINE):
        words = "p" not in numbers
        values[name] = [
            np.uint64(int(n, 16)) if words else float.fromhex(n) for n in numbers.split()
        ]
    return values


def f64(x: Any) -> Any:
    return np.asarray(x, np.float64)


def select(condition: Any, a: Any, b: Any) -> Any:
    a, b = (np.uint64(x) if isinstance(x, int) else x for x in (a, b))
    return np.where(condition, a, b)


def horner(coefficients: Any, y: Any) -> Any:
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = NOTATION["fma"](value, y, c)
    return value


NOTATION: dict[str, Any] = {
    "inf": np.inf,
    "nan": np.nan,
    "fma": lambda a, b, c: fma_f64(f64(a), f64(b), f64(c)),
    "sqrt": np.sqrt,
    "trunc": np.trunc,
    "abs": np.abs,
    "is_nan": np.isnan,
    "select": select,
    "horner": horner,
    "bits_of": lambda x: f64(x).view(np.uint64),
    "from_bits": lambda w: np.asarray(w, np.uint64).view(np.float64),
    "sign_bit_of": lambda x: f64(x).view(np.uint64) & np.uint64(1 << 63),
}


def operands(count: int) -> list[Any]:
    random = np.random.default_rng(64)
    bits = random.integers(0, 2**64, 200, np.uint64).view(np.float64)
    x = [special_floats(DType.F64), bits, random.standard_normal(200) * 3]
    x += [random.uniform(-1, 1, 100), random.uniform(-750, 750, 200)]
    return [np.roll(np.concatenate(x), 97 * i) for i in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_gives_the_codes_bits(name: str) -> None:
    x = operands(2 if name == "pow" else 1)
    with np.errstate(all="ignore"):
        told = canonical_nan(f64(functions()[name](*x)))
    assert told.tobytes() == ELEMENTARY[name, DType.F64](NumpyEmit(), *x).tobytes()
