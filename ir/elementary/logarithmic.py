"""log, log2, log10, log1p: correctly rounded; -infinity at 0, NaN below it."""

from __future__ import annotations

from aivmc.ir.elementary._common import (
    LN_2,
    LOG2_E,
    at_domain_edges,
    f64,
    horner,
    log1p_fraction,
    log1p_of,
    patch,
    split_logarithm,
    to_f32,
    to_f64,
    with_sign_of,
)
from aivmc.ir.elementary.coefficients import ATANH
from aivmc.ir.emit import Emit, Scalar

_LOG10_2 = 0.30102999566398120
_LOG10_E = 0.43429448190325182

_LOG_PATCHES = {
    0x3C413D3A: 0xC08E158F,
    0x41178FEB: 0x400FE5E7,
    0x4C5D65A5: 0x418F034B,
    0x65D890D3: 0x4254D1F9,
    0x6F31A8EC: 0x42845A89,
}
_LOG10_PATCHES = {0x0EFEEE7A: 0xC1E99D23}
_LOG1P_PATCHES = {
    0x35400003: 0x353FFFFF,
    0x3710001B: 0x370FFFF3,
    0x3770004B: 0x376FFFDB,
    0x41078FEB: 0x400FE5E7,
    0x65D890D3: 0x4254D1F9,
    0x6F31A8EC: 0x42845A89,
    0xB53FFFFD: 0xB5400001,
    0xB70FFFE5: 0xB710000D,
    0xBB0EC8C4: 0xBB0EF0A5,
}


def log(e: Emit, x: Scalar) -> Scalar:
    """k log 2 + 2 atanh(f / (2 + f))."""
    k, f = split_logarithm(e, to_f64(e, x))
    s = e.div(f, e.add(f64(e, 2.0), f))
    series = e.mul(e.add(s, s), horner(e, ATANH, e.mul(s, s)))
    result = to_f32(e, e.fma(k, f64(e, LN_2), series))
    return at_domain_edges(e, x, patch(e, x, result, _LOG_PATCHES), 0.0)


def log2(e: Emit, x: Scalar) -> Scalar:
    """k + log(1 + f) / log 2."""
    k, f = split_logarithm(e, to_f64(e, x))
    result = to_f32(e, e.fma(log1p_fraction(e, f), f64(e, LOG2_E), k))
    return at_domain_edges(e, x, result, 0.0)


def log10(e: Emit, x: Scalar) -> Scalar:
    """k log10 2 + log(1 + f) log10 e."""
    k, f = split_logarithm(e, to_f64(e, x))
    fraction = e.mul(log1p_fraction(e, f), f64(e, _LOG10_E))
    result = to_f32(e, e.fma(k, f64(e, _LOG10_2), fraction))
    return at_domain_edges(e, x, patch(e, x, result, _LOG10_PATCHES), 0.0)


def log1p(e: Emit, x: Scalar) -> Scalar:
    """log(1 + x); log1p(-0) = -0."""
    result = with_sign_of(e, x, to_f32(e, log1p_of(e, to_f64(e, x))))
    return at_domain_edges(e, x, patch(e, x, result, _LOG1P_PATCHES), -1.0)
