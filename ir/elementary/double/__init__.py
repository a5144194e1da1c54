"""Elementary functions on f64: fixed sequences, which docs/numerics-f64.md lists.

They are branch free and use f64 with fma, 64-bit integers, and no tables but the bits of 2/pi, from
which words are selected. NaN results are the canonical one.
"""

from __future__ import annotations

from aivmc.ir.elementary.double.activation import (
    erf,
    gelu,
    gelu_tanh,
    mish,
    sigmoid,
    silu,
    softplus,
)
from aivmc.ir.elementary.double.exponential import exp, exp2, expm1
from aivmc.ir.elementary.double.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from aivmc.ir.elementary.double.logarithmic import log, log1p, log2, log10
from aivmc.ir.elementary.double.power import pow, rsqrt
from aivmc.ir.elementary.double.trigonometric import acos, asin, atan, cos, sin, tan

FUNCTIONS = (
    *(exp, exp2, expm1, log, log2, log10, log1p),
    *(sin, cos, tan, asin, acos, atan),
    *(sinh, cosh, tanh, asinh, acosh, atanh),
    *(sigmoid, silu, softplus, mish, erf, gelu, gelu_tanh, rsqrt, pow),
)
