"""Writes ``coefficients.py``: the constants of the double-float functions.

Needs mpmath, which the package itself does not. Run ``python -m
aivmc.backends.double_float.generate_coefficients``; the output is the same on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mpmath
from mpmath import mpf

from aivmc.ir.elementary.generate_coefficients import DIGITS, Fit, solve

_PAIRS = 3  # coefficients of the polynomial that need more than an f32


def _exp_rest(r: Any) -> Any:
    """(e^r - 1 - r - r^2/2) / r^3."""
    if abs(r) < mpf(10) ** -12:
        return mpf(1) / 6 + r / 24
    return (mpmath.exp(r) - 1 - r - r**2 / 2) / r**3


def nearest(value: Any, bits: int = 24) -> Any:
    """``value`` rounded to so many significant bits."""
    mantissa, exponent = mpmath.frexp(value)
    return mpmath.ldexp(mpmath.nint(mpmath.ldexp(mantissa, bits)), exponent - bits)


def parts(value: Any, *bits: int) -> tuple[float, ...]:
    """Numbers of so many bits whose sum is ``value``, as far as they reach."""
    found = []
    for each in bits:
        found.append(nearest(value, each))
        value -= found[-1]
    return tuple(map(float, found))


def constants() -> list[tuple[str, str, Any]]:
    """Names, comments and values: numbers, or tuples of numbers or of pairs."""
    bound = mpmath.log(2) / 2 * (1 + mpf(2) ** -16)  # and the rounding of the argument reduction
    cubic = [mpf(c) for c in solve(Fit("EXP", "", _exp_rest, -bound, bound, degree=6))]
    pairs = tuple(parts(c, 24, 24) for c in cubic[:_PAIRS])
    rest = tuple(float(nearest(c)) for c in cubic[_PAIRS:])
    slope = 2 * mpmath.sqrt(2 / mpmath.pi)
    return [
        ("LOG2_E", "1 / log 2", float(nearest(1 / mpmath.log(2)))),
        ("LN_2_PARTS", "log 2 in parts of 16, 16 and 24 bits", parts(mpmath.log(2), 16, 16, 24)),
        ("LN_2", "log 2 as a pair", parts(mpmath.log(2), 24, 24)),
        ("EXP_PAIRS", "(e^r - 1 - r - r^2/2) / r^3: the first coefficients as pairs", pairs),
        ("EXP_REST", "the others", rest),
        ("GELU_LINEAR", "2 sqrt(2/pi) as a pair", parts(slope, 24, 24)),
        ("GELU_CUBIC", "0.044715 times that", parts(slope * mpf("0.044715"), 24, 24)),
    ]


HEADER = '''\
"""Constants of the double-float functions, all f32; made by generate_coefficients."""

from __future__ import annotations

_f32 = float.fromhex

'''


def _text(value: Any, indent: str = "") -> str:
    """An f32, with its 24 bits as six hexadecimal digits, or a tuple, its parts in lines."""
    if not isinstance(value, tuple):
        mantissa, _, exponent = value.hex().partition("p")
        return f'_f32("{mantissa[:-7]}p{exponent}")'
    if indent:
        return f"({', '.join(map(_text, value))})"
    return "(\n" + "".join(f"    {_text(part, '    ')},\n" for part in value) + ")"


def render() -> str:
    """The whole text of ``coefficients.py``."""
    with mpmath.workdps(DIGITS):
        lines = (f"# {about}\n{name} = {_text(value)}\n" for name, about, value in constants())
        return HEADER + "\n".join(lines)


if __name__ == "__main__":
    Path(__file__).with_name("coefficients.py").write_text(render(), encoding="utf-8")
