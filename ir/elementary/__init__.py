"""Elementary functions on f32: one definition each, for the reference and for every backend.

The unary functions are correctly rounded for all 2^32 inputs; ``pow`` is a fixed sequence. All are
branch free, use f64 with fma, and give the canonical NaN. The few inputs at which a definition
would round wrongly are patched by their bits.
"""

from __future__ import annotations

from collections.abc import Callable

from aivmc.ir.elementary.activation import erf, gelu, gelu_tanh, mish, sigmoid, silu, softplus
from aivmc.ir.elementary.exponential import exp, exp2, expm1
from aivmc.ir.elementary.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from aivmc.ir.elementary.logarithmic import log, log1p, log2, log10
from aivmc.ir.elementary.power import pow, rsqrt
from aivmc.ir.elementary.trigonometric import acos, asin, atan, cos, sin, tan
from aivmc.ir.emit import Emit, Scalar

_UNARY: tuple[Callable[[Emit, Scalar], Scalar], ...] = (
    *(exp, exp2, expm1, log, log2, log10, log1p),
    *(sin, cos, tan, asin, acos, atan),
    *(sinh, cosh, tanh, asinh, acosh, atanh),
    *(sigmoid, silu, softplus, mish, erf, gelu, gelu_tanh, rsqrt),
)
ELEMENTARY = {function.__name__: function for function in _UNARY}
"""Every unary function by name: an f32 scalar in, an f32 scalar out."""

__all__ = ["ELEMENTARY", "pow", *ELEMENTARY]
