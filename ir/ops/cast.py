"""Conversions between element types, by value and by bits, and the one NaN that leaves a kernel."""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.numpy_emit import CANONICAL_NAN
from aivmc.ir.ops._elementwise import Elementwise, require_float
from aivmc.ir.types import DType

_NOT_NUMBERS = (DType.C64, DType.C128, DType.STRING)


@define
class Cast(Elementwise):
    """Numeric conversion with one rounding, nearest even (numerics, clause 4).

    Float to integer truncates and saturates, NaN gives 0; to bool is ``x != 0``; integers wrap.
    """

    name = "det.cast"
    operands = ("x",)
    attributes = {"to": "dtype"}

    def result_dtype(self, *dtypes: DType, to: DType) -> DType:
        for dtype in (dtypes[0], to):
            if dtype in _NOT_NUMBERS:
                raise IRError(f"there is no cast from or to {dtype.value}")
        return to

    def scalar(self, emit: Emit, x: Scalar, *, to: DType) -> Scalar:
        return emit.cast(x, to)


@define
class Bitcast(Elementwise):
    """The same bits as another dtype of equal width; a NaN becomes the canonical one first."""

    name = "det.bitcast"
    operands = ("x",)
    attributes = {"to": "dtype"}

    def result_dtype(self, *dtypes: DType, to: DType) -> DType:
        (source,) = dtypes
        for dtype in (source, to):
            if dtype is DType.BOOL or dtype in _NOT_NUMBERS:
                raise IRError(f"there is no bitcast from or to {dtype.value}")
        if source.bits != to.bits:
            raise IRError(f"{source.value} and {to.value} differ in width")
        return to

    def rounded_scalar(self, emit: Emit, *xs: Scalar, **attributes: Any) -> Scalar:
        return emit.bitcast(canonical_nan(emit, xs[0]), attributes["to"])


@define
class CanonicalNan(Elementwise):
    """``x`` with the canonical NaN for every NaN; applied where floats leave a kernel."""

    name = "det.canonical_nan"
    operands = ("x",)
    one_nan = True

    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        return require_float(dtypes[0])

    def rounded_scalar(self, emit: Emit, *xs: Scalar, **attributes: Any) -> Scalar:
        return canonical_nan(emit, xs[0])


def canonical_nan(emit: Emit, x: Scalar) -> Scalar:
    """``x``, or the canonical NaN of its dtype if it is NaN; other dtypes are unchanged."""
    dtype = emit.dtype(x)
    if dtype not in CANONICAL_NAN:
        return x
    bits = emit.const(CANONICAL_NAN[dtype], DType(f"u{dtype.bits}"))
    nan = emit.bitcast(bits, dtype)
    return emit.select(emit.is_nan(x), nan, x)
