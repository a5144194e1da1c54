"""The elementary functions against mpmath: hard cases, special values, samples, and sabotage.

The hard cases of a function are all inputs whose exact result lies within 2^-40 (relative) of the
middle of two floats, with the correctly rounded results; silu and the gelus leave out magnitudes
below 2^-30, where the ties among subnormals, sampled here, are too many to list.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from aivmc.ir.elementary import ELEMENTARY, UNARY, generate_coefficients
from aivmc.ir.emit import Emit
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType
from tests.ir.exact_functions import AT_INFINITY, EXACT, INF, NAN, expected, nearest_f32

E: Emit = NumpyEmit()
HARD_CASES = Path(__file__).parents[1] / "data" / "hard_cases"
CANONICAL_NAN = 0x7FC00000

FUNCTIONS = {name: ELEMENTARY[name, DType.F32] for name in UNARY}
NAMES = list(UNARY)
pow = ELEMENTARY["pow", DType.F32]


def bits(x) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return np.where(np.isnan(x), np.uint32(CANONICAL_NAN), x.view(np.uint32))


@cache
def hard_cases(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(HARD_CASES / f"{name}.npz") as data:
        return data["inputs"].view(np.float32), data["results"]


def wrong(name: str, emit: Emit = E) -> int:
    inputs, results = hard_cases(name)
    return int(np.sum(FUNCTIONS[name](emit, inputs).view(np.uint32) != results))


def test_every_function_has_expected_values():
    assert set(NAMES) == set(EXACT) == set(AT_INFINITY)
    assert len(NAMES) == 27


@pytest.mark.parametrize("name", NAMES)
def test_hard_cases(name):
    assert len(hard_cases(name)[0]) > 2000
    assert wrong(name) == 0


@pytest.mark.parametrize("name", NAMES)
def test_hard_cases_agree_with_mpmath(name):
    """The data itself, on a sample."""
    inputs, results = hard_cases(name)
    chosen = np.random.default_rng(6).choice(len(inputs), 12, replace=False)
    assert bits([expected(name, float(x)) for x in inputs[chosen]]).tolist() == (
        results[chosen].tolist()
    )


FINITE = [2.0**-149, 2.0**-126, 2.0**-126 - 2.0**-149, 2.0**-60, 2.0**-24, 0.5, 1.0, 2.0, 10.0]
FINITE += [1 + 2.0**-23, 1 - 2.0**-24, 88.72283, 88.72284, 103.97208, 104.0, 128.0, 150.0, 2.0**25]
FINITE += [2.0**51, 2.0**77, 2.0**103, 16367173.0 * 2.0**72, (2 - 2.0**-23) * 2.0**127]
SPECIAL = [0.0, -0.0, INF, -INF, *FINITE, *(-x for x in FINITE)]


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name):
    x = np.array(SPECIAL, np.float32)
    want = bits([expected(name, float(v)) for v in x])
    got = FUNCTIONS[name](E, x)
    assert got.dtype == np.float32
    assert list(zip(SPECIAL, got.view(np.uint32).tolist())) == list(zip(SPECIAL, want.tolist()))


@pytest.mark.parametrize("name", NAMES)
def test_every_nan_gives_the_canonical_one(name):
    payloads = [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFBFFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FD55555]
    x = np.array(payloads, np.uint32).view(np.float32)
    assert FUNCTIONS[name](E, x).view(np.uint32).tolist() == [CANONICAL_NAN] * len(payloads)


def sample(seed: int) -> np.ndarray:
    """All exponents, the bends of the activations, and the unit interval."""
    rng = np.random.default_rng(seed)
    anywhere = rng.integers(0, 2**32, 8000, dtype=np.uint32).view(np.float32)
    middle = (rng.standard_normal(8000) * 8).astype(np.float32)
    unit = rng.uniform(-1, 1, 4000).astype(np.float32)
    return np.concatenate([anywhere, middle, unit])


def _per_element(function):
    return lambda x: np.array([function(v) for v in x.tolist()])


ROUGH = {
    **{name: getattr(np, name) for name in NAMES if hasattr(np, name)},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sinh", "cosh", "tanh")},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "erf": _per_element(math.erf),
    "gelu": lambda x: x * 0.5 * _per_element(math.erfc)(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


@pytest.mark.parametrize("name", NAMES)
def test_random_sample(name):
    """Against f64 library functions where they decide the rounding, against mpmath elsewhere."""
    x = sample(len(name))
    x = x[np.isfinite(x) & (x != 0)]
    with np.errstate(all="ignore"):
        rough = ROUGH[name](x.astype(np.float64))
        low = (rough * (1 - 2.0**-40)).astype(np.float32)
        high = (rough * (1 + 2.0**-40)).astype(np.float32)
    undecided = (low != high) & ~np.isnan(rough) | (rough == 0) | np.isinf(high)
    want = np.array(low)
    where = np.flatnonzero(undecided)
    # Most of these are overflows and underflows; a tenth of them is plenty.
    kept = where if len(where) < 400 else where[::10]
    want[kept] = [expected(name, float(v)) for v in x[kept]]
    compared = ~undecided
    compared[kept] = True
    assert compared.sum() > 10_000
    got = FUNCTIONS[name](E, x)
    differs = (bits(got) != bits(want)) & compared
    assert [(v.hex(), g.hex()) for v, g in zip(x[differs].tolist(), got[differs].tolist())] == []


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_tanh", "mish"])
def test_ties_among_subnormals_break_as_the_exact_value_does(name):
    magnitudes = np.random.default_rng(7).integers(1, 2**23, 200, dtype=np.uint32) | 1
    x = np.concatenate([magnitudes, magnitudes | 0x80000000]).astype(np.uint32).view(np.float32)
    want = bits([expected(name, float(v)) for v in x])
    assert FUNCTIONS[name](E, x).view(np.uint32).tolist() == want.tolist()


def test_scalars_and_any_shape():
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    for name, function in FUNCTIONS.items():
        whole = function(E, x)
        assert whole.shape == x.shape
        assert bits(function(E, x[1, 2, 3])) == bits(whole)[1, 2, 3], name


# Each detail is needed: without it a hard case comes out wrong.

MODULES = ["activation", "exponential", "hyperbolic", "logarithmic", "trigonometric"]


def patches() -> list[tuple[str, str, int]]:
    found = []
    for module in MODULES:
        contents = vars(importlib.import_module(f"aivmc.ir.elementary.{module}"))
        tables = [key for key in contents if key.endswith("_PATCHES")]
        found += [(module, table, key) for table in tables for key in contents[table]]
    return found


@pytest.mark.parametrize("module, table, key", patches())
def test_every_patch_is_needed(module, table, key, monkeypatch):
    name = table.removesuffix("_PATCHES").strip("_").lower()
    x = np.array([key], np.uint32).view(np.float32)
    want = bits(expected(name, float(x[0])))
    assert bits(FUNCTIONS[name](E, x)) == want
    contents = vars(importlib.import_module(f"aivmc.ir.elementary.{module}"))
    monkeypatch.delitem(contents[table], key)
    assert bits(FUNCTIONS[name](E, x)) != want
    assert wrong(name) > 0


@pytest.mark.parametrize(
    "name, module, coefficients",
    [
        ("sigmoid", "activation", "EXP2_SIGMOID"),
        ("cos", "trigonometric", "SIN_PI_FOR_COS"),
        ("erf", "activation", "ERF"),
        ("gelu", "activation", "GELU_TAIL"),
    ],
)
def test_searched_coefficients_are_needed(name, module, coefficients, monkeypatch):
    fit = next(f for f in generate_coefficients.fits() if f.name == coefficients)
    plain = generate_coefficients.Fit(**{**vars(fit), "ulps": ()})
    with mpmath.workdps(generate_coefficients.DIGITS):
        solved = generate_coefficients.solve(plain)
    contents = importlib.import_module(f"aivmc.ir.elementary.{module}")
    monkeypatch.setattr(contents, coefficients, solved)
    assert wrong(name) > 0


class UnfusedEmit(NumpyEmit):
    """Two roundings where a definition says one."""

    def fma(self, a, b, c):
        return self.add(self.mul(a, b), c)


@pytest.mark.parametrize(
    "name", ["exp", "log10", "sin", "cos", "sigmoid", "silu", "softplus", "mish", "gelu"]
)
def test_fused_multiply_add_is_needed(name):
    assert wrong(name, UnfusedEmit()) > 0


def test_coefficients_are_what_the_generator_makes():
    path = Path(generate_coefficients.__file__).with_name("coefficients.py")
    assert path.read_text(encoding="utf-8") == generate_coefficients.render()


# pow

BIG_ODD, BIG_EVEN = 2.0**24 - 1, 2.0**24
POW_CASES = [
    *[(x, y, 1.0) for x in (0.0, -0.0, 1.0, -2.5, INF, -INF, NAN) for y in (0.0, -0.0)],
    *[(1.0, y, 1.0) for y in (NAN, INF, -INF, 1e30, -0.5)],
    *[(-1.0, y, 1.0) for y in (INF, -INF, 2.0, BIG_EVEN, 1e30)],
    *[(-1.0, y, -1.0) for y in (1.0, -3.0, BIG_ODD)],
    *[(0.0, y, INF) for y in (-1.0, -2.0, -0.5, -INF, -(2.0**-149))],
    *[(-0.0, y, -INF) for y in (-1.0, -3.0, -BIG_ODD)],
    *[(-0.0, y, INF) for y in (-2.0, -0.5, -INF, -BIG_EVEN)],
    *[(0.0, y, 0.0) for y in (1.0, 2.0, 0.5, INF, 2.0**-149)],
    *[(-0.0, y, -0.0) for y in (1.0, 3.0, BIG_ODD)],
    *[(-0.0, y, 0.0) for y in (2.0, 0.5, INF, BIG_EVEN)],
    *[(x, INF, 0.0) for x in (0.5, -0.5, 1 - 2.0**-24, 2.0**-149)],
    *[(x, -INF, INF) for x in (0.5, -0.5, 1 - 2.0**-24, 2.0**-149)],
    *[(x, INF, INF) for x in (2.0, -2.0, 1 + 2.0**-23, INF, -INF)],
    *[(x, -INF, 0.0) for x in (2.0, -2.0, 1 + 2.0**-23, INF, -INF)],
    *[(INF, y, INF) for y in (1.0, 0.5, 2.0**-149, 1e30)],
    *[(INF, y, 0.0) for y in (-1.0, -0.5, -(2.0**-149))],
    *[(-INF, y, INF) for y in (2.0, 0.5, BIG_EVEN)],
    *[(-INF, y, -INF) for y in (1.0, 3.0, BIG_ODD)],
    *[(-INF, y, 0.0) for y in (-2.0, -0.5)],
    *[(-INF, y, -0.0) for y in (-1.0, -3.0)],
    *[(x, y, NAN) for x in (-2.0, -1.0, -(2.0**-149)) for y in (0.5, -0.5, 2.0**-149, 1.5)],
    *[(NAN, y, NAN) for y in (1.0, -1.0, 2.0, INF)],
    *[(x, NAN, NAN) for x in (0.0, 2.0, -1.0, INF)],
    *[(2.0, 3.0, 8.0), (-2.0, 3.0, -8.0), (-2.0, 2.0, 4.0), (4.0, -0.5, 0.5), (9.0, 0.5, 3.0)],
    *[(10.0, 10.0, 1e10), (2.0, -149.0, 2.0**-149), (2.0, -151.0, 0.0), (2.0, 128.0, INF)],
]


@pytest.mark.parametrize("x, y, want", POW_CASES)
def test_pow_special_cases(x, y, want):
    got = pow(E, np.array([x], np.float32), np.array([y], np.float32))
    assert bits(want).tolist() == got.view(np.uint32)[0]


def pow_sample(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    log_x = rng.uniform(-140, 128, count) * rng.choice([1.0, 1e-3, 1e-6], count)
    log_result = rng.uniform(-150, 129, count)
    x = np.exp2(log_x).astype(np.float32)
    with np.errstate(all="ignore"):
        return x, (log_result / np.log2(x.astype(np.float64))).astype(np.float32)


def test_pow_is_correctly_rounded_on_a_sample():
    x, y = pow_sample(3000)
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    want = bits([nearest_f32(mpf(float(p)) ** mpf(float(q))) for p, q in zip(x, y)])
    assert pow(E, x, y).view(np.uint32).tolist() == want.tolist()


@pytest.mark.parametrize(
    "exponent, exact",
    [
        (1.0, lambda x: x),
        (2.0, lambda x: x * x),
        (-1.0, lambda x: np.float32(1) / x),
        (0.5, lambda x: np.sqrt(np.abs(x))),
    ],
)
def test_pow_with_these_exponents_is_one_operation(exponent, exact):
    x = np.concatenate([sample(9), np.array(SPECIAL, np.float32)])
    x = np.abs(x) if exponent == 0.5 else x
    with np.errstate(all="ignore"):
        want = bits(exact(x))
    assert pow(E, x, np.full_like(x, exponent)).view(np.uint32).tolist() == want.tolist()
