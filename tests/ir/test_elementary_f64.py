"""The elementary functions on f64 against mpmath: errors, special values, and sabotage.

docs/numerics.md lists the largest error of each function that a search has found
(tests/exhaustive/errors.py); no input here has a larger one.
"""

from __future__ import annotations

import importlib
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from aivmc.ir.elementary import ELEMENTARY, NAMES, UNARY
from aivmc.ir.elementary.double import _reduction, generate_coefficients
from aivmc.ir.elementary.double.coefficients import TWO_OVER_PI
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType
from tests.ir.exact_functions import EXACT, INF, at_limit
from tests.ir.test_elementary import POW_CASES, UnfusedEmit

E = NumpyEmit()
ROOT = Path(__file__).parents[2]
CANONICAL_NAN = 0x7FF8_0000_0000_0000
FUNCTIONS = {name: ELEMENTARY[name, DType.F64] for name in NAMES}
LARGEST = np.finfo(np.float64).max


@cache
def documented() -> dict[str, float]:
    """The largest errors, in ulps, by docs/numerics.md."""
    text = (ROOT / "docs" / "numerics.md").read_text("utf-8")
    return {name: float(error) for name, error in re.findall(r"`(\w+)` (\d\.\d\d)\b", text)}


def test_the_document_has_an_error_for_every_function() -> None:
    assert set(documented()) == set(NAMES)
    assert max(documented().values()) < 4


def error(got: float, exact: Any) -> float:
    """In ulps of the exact value; infinity is as far as 2^1024 then."""
    if isinstance(exact, mpmath.mpc) or mpmath.isnan(exact):
        return 0 if math.isnan(got) else INF
    if exact == 0 or mpmath.isinf(exact):
        return 0 if got == float(exact) else INF
    if math.isnan(got) or math.copysign(1, got) != mpmath.sign(exact):
        return INF
    exponent = max(mpmath.frexp(abs(exact))[1] - 53, -1074)
    if exponent > 971:
        return 0 if math.isinf(got) else INF
    value = mpf(2) ** 1024 if math.isinf(got) else mpf(abs(got))
    return float(abs(value - abs(exact)) / mpf(2) ** exponent)


def exactly(name: str, x: float) -> Any:
    if name == "gelu" and x < -1e9:  # mpmath's erfc stops at some
        return -(mpf(2) ** -10000)
    return EXACT[name](mpf(x))


def worst(name: str, inputs: Any, emit: Any = E) -> tuple[float, str]:
    """The largest error and its input."""
    x = np.asarray(inputs, np.float64)
    got = FUNCTIONS[name](emit, x)
    errors = [error(g, exactly(name, v)) for g, v in zip(got.tolist(), x.tolist())]
    at = int(np.argmax(errors))
    return errors[at], x[at].hex()


def sample(seed: int, count: int = 100) -> Any:
    """All magnitudes; where functions bend; where exponentials leave the range of f64."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2**63, count, np.uint64)
    anywhere = np.where(random.random(count) < 0.5, 1.0, -1.0) * bits.view(np.float64)
    middle = random.standard_normal(count) * np.exp2(random.uniform(-6, 5, count))
    unit, wide = random.uniform(-1, 1, count), random.uniform(-760, 760, count)
    near_one = 1 + np.exp2(random.uniform(-52, -3, count)) * random.choice([-1, 1], count)
    x = np.concatenate([anywhere, middle, unit, wide, near_one])
    return x[np.isfinite(x) & (x != 0)]


FINITE = [2.0**-1074, 2.0**-1022, 2.0**-1022 - 2.0**-1074, 2.0**-600, 2.0**-54, 2.0**-27, 2.0**-10]
FINITE += [0.25, 0.41421356237309503, 0.5, 0.75, 0.78, math.pi / 4, 1 - 2.0**-53, 1.0, 1 + 2.0**-52]
FINITE += [
    math.pi / 2,
    2.0,
    2.414213562373095,
    math.pi,
    10.0,
    22.0,
    22.5,
    36.7368,
    37.5,
    38.4,
    40.0,
]
FINITE += [41.0, 708.3964185322641, 709.782712893384, 709.7827128933841, 710.4758600739439, 745.13]
FINITE += [710.4758600739440, 745.1332191019412, 751.7, 1023.0, 1024.0, 1022.9999999999999, 1074.0]
FINITE += [2.0**27, 2.0**52, 2.0**53 + 2, 2.0**60, 2.0**61, 2.0**200, 2.0**900, LARGEST]
BOTH_SIGNS = [*FINITE, *(-x for x in FINITE)]


@pytest.mark.parametrize("name", UNARY)
def test_no_error_is_larger_than_documented(name: str) -> None:
    x = np.concatenate([sample(len(name)), BOTH_SIGNS])
    largest, at = worst(name, x)
    assert largest <= documented()[name], at


@pytest.mark.parametrize("name", UNARY)
def test_limits(name: str) -> None:
    points = [0.0, -0.0, INF, -INF]
    got = FUNCTIONS[name](E, np.array(points))
    want = np.array([at_limit(name, x) for x in points])
    want = np.where(np.isnan(want), np.uint64(CANONICAL_NAN), want.view(np.uint64))
    assert got.dtype == np.float64
    assert got.view(np.uint64).tolist() == want.tolist()


@pytest.mark.parametrize("name", UNARY)
def test_every_nan_gives_the_canonical_one(name: str) -> None:
    payloads = [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1, 0xFFF7 << 48, 2**63 - 1, 2**64 - 1]
    got = FUNCTIONS[name](E, np.array(payloads, np.uint64).view(np.float64))
    assert got.view(np.uint64).tolist() == [CANONICAL_NAN] * len(payloads)


@pytest.mark.parametrize(
    "name", ["log", "log2", "log10", "log1p", "asin", "acos", "atanh", "acosh"]
)
def test_nan_outside_the_domain(name: str) -> None:
    low = {"log1p": -1.0, "acosh": 1.0}.get(name, 0.0 if name.startswith("log") else -1.0)
    x = [np.nextafter(low, -INF), low - 0.5, -LARGEST]
    x += [] if name.startswith("log") or name == "acosh" else [1 + 2.0**-52, 1.5, LARGEST]
    assert FUNCTIONS[name](E, np.array(x)).view(np.uint64).tolist() == [CANONICAL_NAN] * len(x)


# Sums of f64 that come closest to multiples of pi/2 are where an argument reduction shows.


def near_quarter_turns() -> list[float]:
    """For binary exponents over the whole range, the f64 nearest to a multiple of pi/2: the
    denominators of the convergents of 2^e / (pi/2)."""
    found = []
    with mpmath.workprec(2500):
        for exponent in range(-50, 971, 17):
            rest = mpmath.ldexp(2 / mpmath.pi, exponent)
            before, denominator = 0, 1
            while denominator < 2**53:
                chosen = denominator
                rest = 1 / (rest - mpmath.floor(rest))
                before, denominator = denominator, int(mpmath.floor(rest)) * denominator + before
            found.append(math.ldexp(chosen, exponent))
    return found


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_near_multiples_of_a_quarter_turn(name: str) -> None:
    x = near_quarter_turns()
    x += [math.ldexp(6381956970095103, 797), math.ldexp(5319372648326541, 3), 1e22]
    largest, at = worst(name, x)
    assert largest <= documented()[name], at


def test_such_multiples_are_close() -> None:
    with mpmath.workprec(2500):
        rests = [mpf(x) * 2 / mpmath.pi for x in near_quarter_turns()]
        assert max(abs(r - mpmath.nint(r)) for r in rests) < mpf(2) ** -45


@pytest.mark.parametrize(
    ("name", "x", "want"),
    [
        ("exp2", np.arange(-1074.0, 1024), np.ldexp(1.0, np.arange(-1074, 1024))),
        ("log2", np.ldexp(1.0, np.arange(-1074, 1024)), np.arange(-1074.0, 1024)),
        ("log10", np.array([float(f"1e{n}") for n in range(23)]), np.arange(23.0)),
        (
            "rsqrt",
            np.ldexp(1.0, np.arange(-1074, 1024, 2)),
            np.ldexp(1.0, np.arange(537, -512, -1)),
        ),
        ("log", np.array([1.0]), np.array([0.0])),
        ("acos", np.array([1.0, -1.0]), np.array([0.0, math.pi])),
        ("atanh", np.array([1.0, -1.0]), np.array([INF, -INF])),
        ("acosh", np.array([1.0]), np.array([0.0])),
        ("erf", np.array([6.0, -30.0]), np.array([1.0, -1.0])),
    ],
)
def test_exact_results(name: str, x: Any, want: Any) -> None:
    assert FUNCTIONS[name](E, x).tobytes() == np.asarray(want, np.float64).tobytes()


@pytest.mark.parametrize("name", ["silu", "mish", "gelu", "gelu_tanh", "sinh", "asinh", "tanh"])
def test_tiny_results_keep_the_sign(name: str) -> None:
    x = -np.ldexp(1.0, np.array([-1074, -1060, -1030]))
    got = FUNCTIONS[name](E, x)
    assert np.signbit(got).all()
    assert np.signbit(FUNCTIONS[name](E, np.array([-900.0, -1e300]))).all()


def test_scalars_and_any_shape() -> None:
    x = np.linspace(-3, 3, 24).reshape(2, 3, 4)
    for name in UNARY:
        whole = FUNCTIONS[name](E, x)
        assert whole.shape == x.shape
        assert FUNCTIONS[name](E, x[1, 2, 3]).tobytes() == whole[1, 2, 3].tobytes(), name


# pow

ODD, EVEN = 2.0**53 - 1, 2.0**53
_F64_OF_F32 = {2.0**24 - 1: ODD, 2.0**24: EVEN, 2.0**-149: 2.0**-1074, -(2.0**24 - 1): -ODD}
_F64_OF_F32 |= {-(2.0**24): -EVEN, -(2.0**-149): -(2.0**-1074), 1 - 2.0**-24: 1 - 2.0**-53}
_F64_OF_F32 |= {1 + 2.0**-23: 1 + 2.0**-52, 1e30: 1e300, -149.0: -1074.0, -151.0: -1076.0}
_F64_OF_F32 |= {128.0: 1024.0}


@pytest.mark.parametrize(("x", "y", "want"), POW_CASES)
def test_pow_special_cases(x: float, y: float, want: float) -> None:
    """Those of f32, its extremes replaced by those of f64."""
    x, y, want = (_F64_OF_F32.get(v, v) for v in (x, y, want))
    got = FUNCTIONS["pow"](E, np.array([x]), np.array([y]))
    assert got.view(np.uint64)[0] == (
        CANONICAL_NAN if math.isnan(want) else np.float64(want).view("u8")
    )


def test_pow_has_no_error_larger_than_documented() -> None:
    random = np.random.default_rng(3)
    x = np.exp2(random.uniform(-1074, 1023, 600) * random.choice([1, 1e-3, 1e-9], 600))
    y = random.uniform(-1080, 1030, 600) / np.log2(x)
    y = np.where(np.isfinite(y), y, 1)
    got = FUNCTIONS["pow"](E, x, y)
    errors = [error(g, mpf(a) ** mpf(b)) for g, a, b in zip(got.tolist(), x.tolist(), y.tolist())]
    assert max(errors) <= documented()["pow"]


def test_powers_that_are_f64_are_exact() -> None:
    bases = [3.0, 5.0, 7.0, -3.0, 10.0, 1.5, 2.0, 0.5, 65537.0]
    cases = [(x, float(n), x**n) for x in bases for n in range(1, 54) if abs(x) ** n < 2.0**53]
    cases = [c for c in cases if mpf(c[0]) ** int(c[1]) == mpf(c[2])]
    cases += [(x * x, 0.5, abs(x)) for x in bases]
    x, y, want = np.array(cases).T.copy()
    assert len(cases) > 150
    assert FUNCTIONS["pow"](E, x, y).tobytes() == want.tobytes()


# Each detail is needed: without it an error is larger than documented.


@pytest.mark.parametrize("name", ["log", "acosh", "sin", "tan", "gelu", "tanh", "silu", "asinh"])
def test_fused_multiply_add_is_needed(name: str) -> None:
    assert worst(name, sample(1), UnfusedEmit())[0] > documented()[name]


@pytest.mark.parametrize(
    ("constant", "module", "name"),
    [
        *[("LOG_2", "exponential", n) for n in ("exp", "exp2", "expm1")],
        ("LOG_2", "logarithmic", "log"),
        ("LOG2_E", "logarithmic", "log2"),
        ("LOG10_E", "logarithmic", "log10"),
        ("HALF_PI", "_reduction", "tan"),
        ("HALF_PI", "trigonometric", "acos"),
        ("PI", "trigonometric", "acos"),
        ("GELU_CUBIC", "activation", "gelu_tanh"),
    ],
)
def test_both_parts_of_a_constant_are_needed(
    constant: str, module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = importlib.import_module(f"aivmc.ir.elementary.double.{module}")
    monkeypatch.setattr(contents, constant, (getattr(contents, constant)[0], 0.0))
    x = np.concatenate([sample(2, 300), BOTH_SIGNS])
    assert worst(name, x)[0] > documented()[name]


@pytest.mark.parametrize("word", range(19))
def test_every_word_of_two_over_pi_is_needed(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is only shifted out."""
    words = list(TWO_OVER_PI)
    words[word] ^= 1 << 32
    monkeypatch.setattr(_reduction, "TWO_OVER_PI", tuple(words))
    assert worst("sin", near_quarter_turns())[0] > documented()["sin"]


def test_coefficients_are_what_the_generator_makes() -> None:
    path = Path(generate_coefficients.__file__).with_name("coefficients.py")
    assert path.read_text(encoding="utf-8") == generate_coefficients.render()
