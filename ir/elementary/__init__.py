"""Elementary functions: one definition for each dtype, for the reference and for every backend.

On f32 the unary functions are correctly rounded for all 2^32 inputs, and ``pow`` is a fixed
sequence; on f64 all are fixed sequences. They are branch free, use f64 with fma, and give the
canonical NaN. The few f32 inputs at which a definition would round wrongly are patched by their
bits.
"""

from __future__ import annotations

from collections.abc import Callable

from aivmc.ir.elementary import double
from aivmc.ir.elementary.activation import erf, gelu, gelu_tanh, mish, sigmoid, silu, softplus
from aivmc.ir.elementary.exponential import exp, exp2, expm1
from aivmc.ir.elementary.hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from aivmc.ir.elementary.logarithmic import log, log1p, log2, log10
from aivmc.ir.elementary.power import pow, rsqrt
from aivmc.ir.elementary.trigonometric import acos, asin, atan, cos, sin, tan
from aivmc.ir.emit import Scalar
from aivmc.ir.types import DType

_SINGLE: tuple[Callable[..., Scalar], ...] = (
    *(exp, exp2, expm1, log, log2, log10, log1p),
    *(sin, cos, tan, asin, acos, atan),
    *(sinh, cosh, tanh, asinh, acosh, atanh),
    *(sigmoid, silu, softplus, mish, erf, gelu, gelu_tanh, rsqrt, pow),
)
ELEMENTARY: dict[tuple[str, DType], Callable[..., Scalar]] = {
    (function.__name__, dtype): function
    for dtype, functions in ((DType.F32, _SINGLE), (DType.F64, double.FUNCTIONS))
    for function in functions
}
"""Every function by name and dtype: an emitter and scalars of that dtype in, a scalar out."""
NAMES = tuple(function.__name__ for function in _SINGLE)
UNARY = tuple(name for name in NAMES if name != "pow")
