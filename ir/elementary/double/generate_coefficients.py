"""Writes ``coefficients.py``: every polynomial and constant of the functions on f64.

Needs mpmath, which the package itself does not. Run ``python -m
aivmc.ir.elementary.double.generate_coefficients``; the output is the same on every machine. The
polynomials are fitted as those of the functions on f32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
from mpmath import mpf

from aivmc.ir.elementary.generate_coefficients import (
    DIGITS,
    Fit,
    over_sqrt,
    render_doubles,
    solve,
)

HIGH_BITS = 32  # of the first part of log 2: times an exponent, it is exact
WINDOW = 20  # words of 2/pi: as many as the largest f64 needs
LEADING_ZEROS = 55  # before the first bit of 2/pi


def fits() -> list[Fit]:
    """The polynomials that the definitions use."""
    half, slack = mpf("0.5"), mpf("1.001")  # the rounding of an argument reduction
    half_log = mpmath.log(2) / 2 * slack
    s_end = (slack * 2 * (mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1)) ** 2
    atan_end = (mpmath.tan(mpmath.pi / 8) * slack) ** 2
    octant = (mpmath.pi / 4 * slack) ** 2
    return [
        Fit("EXP", "(e^r - 1 - r) / r^2", _exp_tail, -half_log, half_log, 10),
        Fit("LOG", "(2 atanh(s/2) / s - 1 - s^2/12) / s^4 in s^2", _log_tail, 0, s_end, 8),
        Fit("SIN", "(sin(r) / r - 1) / r^2 in r^2", _tail(mpmath.sin), 0, octant, 6),
        Fit("COS", "(cos(r) - 1 + r^2/2) / r^4 in r^2", _cos_tail, 0, octant, 5),
        Fit("ATAN", "(atan(t) / t - 1) / t^2 in t^2", _tail(mpmath.atan), 0, atan_end, 11),
        Fit("ASIN", "(asin(s) / s - 1) / s^2 in s^2", _tail(mpmath.asin), 0, half**2 * slack, 12),
        Fit("ERF", "erf(x) / x - 1 in x^2", _erf, 0, mpf("0.5625"), 10),
        Fit(
            "GAUSS_TAIL",
            "(1 + t) e^(t^2/2) erfc(t/sqrt 2) / 2 in (t - 4) / (t + 4)",
            _gauss_tail,
            -1,
            mpf(36) / 44,
            23,
        ),
    ]


def _by_series(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """With digits for what cancels, and not quite at 0, where it is 0/0."""

    def careful(x: Any) -> Any:
        with mpmath.workdps(3 * DIGITS):
            return function(mpf(x) if abs(x) > mpf(10) ** -30 else mpf(10) ** -30)

    return careful


@_by_series
def _exp_tail(r: Any) -> Any:
    return (mpmath.exp(r) - 1 - r) / r**2


@_by_series
def _log_tail(z: Any) -> Any:
    s = mpmath.sqrt(z)
    return (mpmath.log((2 + s) / (2 - s)) / s - 1 - z / 12) / z**2


@_by_series
def _cos_tail(z: Any) -> Any:
    return (mpmath.cos(mpmath.sqrt(z)) - 1 + z / 2) / z**2


def _tail(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """(f(sqrt z) / sqrt z - 1) / z, for an odd f with slope 1."""
    return _by_series(lambda z: (function(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z)


def _erf(z: Any) -> Any:
    return over_sqrt(mpmath.erf, 2 / mpmath.sqrt(mpmath.pi))(z) - 1


def _gauss_tail(q: Any) -> Any:
    t = 4 * (1 + q) / (1 - q)
    return (1 + t) * mpmath.exp(t**2 / 2) * mpmath.erfc(t / mpmath.sqrt(2)) / 2


def parts(value: Any, high_bits: int = 53) -> tuple[float, float]:
    """``value`` rounded to so many bits, and what is left."""
    mantissa, exponent = mpmath.frexp(value)
    high = float(mpmath.ldexp(mpmath.nint(mpmath.ldexp(mantissa, high_bits)), exponent - high_bits))
    return high, float(value - high)


def constants() -> list[tuple[str, str, tuple[float, ...]]]:
    """Numbers in two parts that add up to more than f64 has: name, meaning, parts."""
    pi, log_2 = mpmath.pi, mpmath.log(2)
    slope = mpmath.sqrt(8 / pi)
    return [
        ("LOG_2", "log 2, the first part short", parts(log_2, HIGH_BITS)),
        ("LOG10_2", "log10 2, the first part short", parts(mpmath.log10(2), HIGH_BITS)),
        ("LOG2_E", "1 / log 2", parts(1 / log_2)),
        ("LOG10_E", "1 / log 10", parts(1 / mpmath.log(10))),
        ("TWELFTH", "1 / 12", parts(mpf(1) / 12)),
        ("HALF_PI", "pi / 2", parts(pi / 2)),
        ("QUARTER_PI", "pi / 4", parts(pi / 4)),
        ("PI", "pi", parts(+pi)),
        ("GELU_LINEAR", "sqrt(8 / pi)", parts(slope)),
        ("GELU_CUBIC", "0.044715 sqrt(8 / pi)", parts(mpf("0.044715") * slope)),
    ]


def two_over_pi() -> tuple[int, ...]:
    """The bits of 2/pi after ``LEADING_ZEROS`` zeros, in words of 64."""
    with mpmath.workprec(64 * WINDOW + 64):
        bits = int(mpmath.floor(mpmath.ldexp(2 / mpmath.pi, 64 * WINDOW - LEADING_ZEROS)))
    return tuple(bits >> 64 * (WINDOW - 1 - i) & (2**64 - 1) for i in range(WINDOW))


HEADER = '''\
"""Coefficients of the functions on f64, lowest first; made by generate_coefficients."""

from __future__ import annotations


def _doubles(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


def _words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


'''


def render() -> str:
    """The whole text of ``coefficients.py``."""
    with mpmath.workdps(DIGITS):
        texts = [render_doubles(fit.name, fit.about, solve(fit)) for fit in fits()]
        texts += [render_doubles(*constant) for constant in constants()]
    words = [f"{word:#018x}" for word in two_over_pi()]
    body = "\n    ".join(" ".join(words[i : i + 4]) for i in range(0, WINDOW, 4))
    about = f"# The bits of 2 / pi after {LEADING_ZEROS} zeros, in words of 64"
    texts.append(f'{about}\nTWO_OVER_PI = _words("""\n    {body}\n""")\n')
    return HEADER + "\n".join(texts)


if __name__ == "__main__":
    Path(__file__).with_name("coefficients.py").write_text(render(), encoding="utf-8")
