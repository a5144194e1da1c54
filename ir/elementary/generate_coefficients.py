"""Writes ``coefficients.py``: every polynomial and constant of the elementary functions.

Needs mpmath, which the package itself does not. Run ``python -m
aivmc.ir.elementary.generate_coefficients``; the output is the same on every machine.

Each polynomial is a least-squares fit of the relative error on Chebyshev points, which is within
a small factor of the minimax polynomial. Its coefficients are rounded to f64 from the lowest up;
each of the first few is fixed before the others are fitted again, so that they absorb its error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
from mpmath import mpf

DIGITS = 60
_REFITTED = 4  # coefficients rounded one at a time; the error of the later ones does not matter
ERF_SCALE = mpf("7.751953125")  # half the square of 3.9375, where erf rounds to 1


@dataclass(frozen=True)
class Fit:
    """One polynomial: ``function`` on [low, high], with an optional fixed constant term.

    ``ulps`` are steps of the last place added to each coefficient. They were found by searching
    for a neighbour whose rounding errors leave fewer inputs to patch, and are data, not theory.
    """

    name: str
    about: str
    function: Callable[[Any], Any]
    low: Any
    high: Any
    degree: int
    fixed: int | None = None
    ulps: tuple[int, ...] = ()


SIGMOID_ULPS = (0, 0, 64, 42, 93, 75, -106, 166, 206, -222, -225)
COS_ULPS = (0, 1, -3, 1, -10, -10, 13, -5, 10)
ERF_ULPS = (
    *(2, 0, 3, 13, 12, 14, -4, 10, -11, 10, 5, 10, -2),
    *(-6, 15, 3, 3, 5, -8, 8, 13, 5, -4, 5, -11, -16),
)
EXP_ULPS = (0, -518, 11078, 1784069, 0, 0, 0)
EIGHTHS_ULPS = (0, 0, 0, 0, 0, -1, 4, -4)
GELU_ULPS = (
    *(-26, -30, 85, -9, 99, -120, 200, 11, -17, -343, 427, -362, 64, -439),
    *(807, -278, 89, -56, -452, -209),
)


def over_sqrt(function: Callable[[Any], Any], at_zero: Any) -> Callable[[Any], Any]:
    """f(sqrt z) / sqrt z, for an odd f with slope ``at_zero``."""

    def even_part(z: Any) -> Any:
        s = mpmath.sqrt(abs(z))
        return function(s) / s if s > mpf(10) ** -20 else mpf(at_zero)

    return even_part


def _log1p_over_x(x: Any) -> Any:
    return mpmath.log1p(x) / x if abs(x) > mpf(10) ** -25 else 1 - x / 2


def _exp2m1_over_x(x: Any) -> Any:
    return (mpf(2) ** x - 1) / x if abs(x) > mpf(10) ** -25 else mpmath.log(2)


def _gelu_tail(t: Any) -> Any:
    """exp(a^2 / 2) * erfc(a / sqrt 2) / 2 at a = 4 (1 + t) / (1 - t)."""
    a = 4 * (1 + t) / (1 - t)
    return mpmath.exp(a**2 / 2) * mpmath.erfc(a / mpmath.sqrt(2)) / 2


def fits() -> list[Fit]:
    """The polynomials that the definitions use."""
    pi, sqrt, half = mpmath.pi, mpmath.sqrt, mpf("0.5")
    quarter = mpf("0.2505")  # 1/4 and the rounding of the argument reduction
    exp2 = (lambda x: mpf(2) ** x, -half, half, 10, 1)
    sin_pi = (over_sqrt(lambda s: mpmath.sin(pi * s), pi), 0, quarter, 8)
    sin_half_pi = over_sqrt(lambda s: mpmath.sin(pi * s / 2), pi / 2)
    erf = over_sqrt(mpmath.erf, 2 / sqrt(pi))
    return [
        Fit("EXP2", "2^x", *exp2),
        Fit("EXP2_SIGMOID", "2^x, searched for sigmoid", *exp2, ulps=SIGMOID_ULPS),
        Fit(
            "EXP2_EIGHTH",
            "2^x for |x| <= 1/16, searched for exp",
            lambda x: mpf(2) ** x,
            mpf(-1) / 16,
            mpf(1) / 16,
            6,
            1,
            EXP_ULPS,
        ),
        Fit("EXP2M1_9", "(2^x - 1) / x", _exp2m1_over_x, -half, half, 9),
        Fit("EXP2M1_10", "(2^x - 1) / x", _exp2m1_over_x, -half, half, 10),
        Fit("LOG1P", "log(1 + x) / x", _log1p_over_x, sqrt(half) - 1, sqrt(2) - 1, 19, 1),
        Fit("ATANH", "atanh(s) / s in s^2", over_sqrt(mpmath.atanh, 1), 0, mpf("0.02945"), 6, 1),
        Fit("SIN_PI", "sin(pi s) / s in s^2", *sin_pi),
        Fit("SIN_PI_FOR_COS", "sin(pi s) / s in s^2, searched for cos", *sin_pi, ulps=COS_ULPS),
        Fit("SIN_HALF_PI", "sin(pi/2 s) / s in s^2", sin_half_pi, 0, quarter, 6),
        Fit(
            "COS_HALF_PI",
            "cos(pi/2 s) in s^2",
            lambda z: mpmath.cos(pi / 2 * sqrt(abs(z))),
            0,
            quarter,
            7,
            1,
        ),
        Fit("ATAN", "atan(s) / s in s^2", over_sqrt(mpmath.atan, 1), 0, mpf("0.17160"), 9, 1),
        Fit("ASIN", "asin(s) / s in s^2", over_sqrt(mpmath.asin, 1), 0, mpf("0.25"), 12, 1),
        Fit(
            "ERF",
            "erf(s) / s in s^2 / ERF_SCALE - 1, searched",
            lambda u: erf(ERF_SCALE * (u + 1)),
            -1,
            1,
            25,
            ulps=ERF_ULPS,
        ),
        Fit(
            "GELU_TAIL",
            "exp(a^2/2) erfc(a/sqrt 2) / 2 in (a - 4) / (a + 4), searched",
            _gelu_tail,
            -1,
            mpf("10.5") / mpf("18.5"),
            19,
            ulps=GELU_ULPS,
        ),
    ]


def solve(fit: Fit) -> tuple[float, ...]:
    """The fitted coefficients, lowest first."""
    low, high = mpf(fit.low), mpf(fit.high)
    count = 3 * (fit.degree + 1)
    nodes = [mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    xs = [(low + high) / 2 + (high - low) / 2 * node for node in nodes]
    samples = [(x, fit.function(x)) for x in xs]
    scale = max(abs(low), abs(high))  # scaled monomials keep the normal equations solvable
    coefficients = [] if fit.fixed is None else [float(fit.fixed)]
    while len(coefficients) <= fit.degree:
        rest = _least_squares(samples, coefficients, fit.degree, scale)
        done = len(coefficients) >= _REFITTED
        coefficients += rest if done else rest[:1]
    steps = fit.ulps or (0,) * len(coefficients)
    return tuple(_step(c, n) for c, n in zip(coefficients, steps, strict=True))


def _least_squares(samples: Any, fixed: list[float], degree: int, scale: Any) -> list[float]:
    """The coefficients above the ``fixed`` ones that minimize the squared relative error."""
    first, rows = len(fixed), []
    for x, value in samples:
        remainder = value - sum(mpf(c) * x**i for i, c in enumerate(fixed))
        powers = [(x / scale) ** i / value for i in range(first, degree + 1)]
        rows.append((powers, remainder / value))
    size = degree + 1 - first
    normal, right = mpmath.matrix(size, size), mpmath.matrix(size, 1)
    for i in range(size):
        for j in range(i, size):
            normal[i, j] = normal[j, i] = mpmath.fsum(p[i] * p[j] for p, _ in rows)
        right[i] = mpmath.fsum(p[i] * r for p, r in rows)
    solution = mpmath.lu_solve(normal, right)
    return [float(solution[i] / scale ** (first + i)) for i in range(size)]


def _step(value: float, ulps: int) -> float:
    mantissa, exponent = mpmath.frexp(value)
    return float(mpmath.ldexp(mantissa * 2**53 + (ulps if value > 0 else -ulps), exponent - 53))


def chunks(value: Any, first_bit: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """``value`` cut on a fixed grid of 26 bits, and the remainder before each cut.

    Chunk j is a multiple of 2^(first_bit - 26 j), so that an f32 times a chunk is exact in f64,
    and the chunks that a large f32 makes multiples of whole periods can be left out.
    """
    heads, remainders = [], []
    with mpmath.workprec(600):
        rest = +value
        for j in range(6):
            unit = mpf(2) ** (first_bit - 26 * j)
            head = mpmath.nint(rest / unit) * unit
            heads.append(float(head))
            remainders.append(float(rest))
            rest -= head
    return tuple(heads), tuple(remainders)


def render_doubles(name: str, about: str, values: tuple[float, ...]) -> str:
    lines, line = [], ""
    for text in (value.hex() for value in values):
        if len(line) + len(text) > 90:
            lines.append(line.rstrip())
            line = ""
        line += text + " "
    body = "\n    ".join([*lines, line.rstrip()])
    return f'# {about}\n{name} = _doubles("""\n    {body}\n""")\n'


HEADER = '''\
"""Coefficients of the elementary functions, lowest first; made by generate_coefficients."""

from __future__ import annotations


def _doubles(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


'''


def render() -> str:
    """The whole text of ``coefficients.py``."""
    with mpmath.workdps(DIGITS):
        parts = [render_doubles(fit.name, fit.about, solve(fit)) for fit in fits()]
        eighths = tuple(_step(float(mpf(2) ** (mpf(j) / 8)), n) for j, n in enumerate(EIGHTHS_ULPS))
        parts.append(render_doubles("EIGHTHS", "2^(j/8) for j = 0 to 7, searched for exp", eighths))
    with mpmath.workprec(600):
        for name, about, value, bit in (
            ("INVERSE_PI", "1 / pi", 1 / mpmath.pi, -27),
            ("TWO_OVER_PI", "2 / pi", 2 / mpmath.pi, -26),
        ):
            heads, rests = chunks(value, bit)
            parts.append(render_doubles(name, f"{about} in chunks of 26 bits", heads))
            parts.append(render_doubles(f"{name}_REST", f"{about} less the chunks before", rests))
    return HEADER + "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("coefficients.py").write_text(render(), encoding="utf-8")
