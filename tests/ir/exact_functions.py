"""The elementary functions by mpmath, and their values where there are only limits."""

from __future__ import annotations

import math
from typing import Any

import mpmath
from mpmath import mpf

INF, NAN = math.inf, math.nan
mpmath.mp.prec = 600

EXACT = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpf(2) ** x,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(-abs(x))) + max(x, mpf(0)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "erf": mpmath.erf,
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x / (1 + mpmath.exp(-2 * _gelu_tanh_argument(x))),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
}
# at -infinity and infinity
AT_INFINITY = {
    **{name: (0.0, INF) for name in ("exp", "exp2", "softplus")},
    **{name: (NAN, INF) for name in ("log", "log2", "log10", "log1p", "acosh")},
    **{name: (NAN, NAN) for name in ("sin", "cos", "tan", "asin", "acos", "atanh")},
    **{name: (-0.0, INF) for name in ("silu", "mish", "gelu", "gelu_tanh")},
    **{name: (-INF, INF) for name in ("sinh", "asinh")},
    **{name: (-1.0, 1.0) for name in ("tanh", "erf")},
    "expm1": (-1.0, INF),
    "cosh": (INF, INF),
    "atan": (-math.pi / 2, math.pi / 2),
    "sigmoid": (0.0, 1.0),
    "rsqrt": (NAN, 0.0),
}
# at -0 and 0; every function not named here gives its argument
AT_ZERO = {
    **{name: (1.0, 1.0) for name in ("exp", "exp2", "cos", "cosh")},
    **{name: (-INF, -INF) for name in ("log", "log2", "log10")},
    "acos": (math.pi / 2, math.pi / 2),
    "acosh": (NAN, NAN),
    "sigmoid": (0.5, 0.5),
    "softplus": (math.log(2), math.log(2)),
    "rsqrt": (-INF, INF),
}


def at_limit(name: str, x: float) -> float | None:
    """The value at NaN, infinities and zeros; ``None`` elsewhere."""
    if math.isnan(x):
        return NAN
    if math.isinf(x):
        return AT_INFINITY[name][x > 0]
    if x == 0:
        return AT_ZERO.get(name, (-0.0, 0.0))[math.copysign(1, x) > 0]
    return None


def nearest_f32(exact: Any) -> float:
    """A real number, of whatever size, rounded to nearest even."""
    if not mpmath.isfinite(exact) or exact == 0:
        return float(exact)
    magnitude = abs(exact)
    exponent = max(mpmath.frexp(magnitude)[1] - 24, -149)
    if exponent > 104:
        return math.copysign(INF, exact)
    quantum = mpf(2) ** exponent
    rounded = float(mpmath.nint(magnitude / quantum) * quantum)
    return math.copysign(INF if rounded >= 2.0**128 else rounded, exact)


def expected(name: str, x: float) -> float:
    """The correctly rounded result."""
    if (limit := at_limit(name, x)) is not None:
        return limit
    result = EXACT[name](mpf(x))
    return NAN if isinstance(result, mpmath.mpc) else nearest_f32(result)


def _gelu_tanh_argument(x: Any) -> Any:
    return mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)
