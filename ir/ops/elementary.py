"""Elementary functions (numerics, clause 6): correctly rounded on f32, fixed sequences on f64.

Narrower floats are round(f32 function).
"""

from __future__ import annotations

from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.elementary import ELEMENTARY, UNARY
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.ops._elementwise import Elementwise, require_float, same_dtype
from aivmc.ir.types import DType


class _Elementary(Elementwise):
    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        return require_float(same_dtype(dtypes))


@define
class Pow(_Elementary):
    """``a`` to the power ``b``: a fixed sequence; on f32 it is rounded once from f64."""

    name = "det.pow"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return emit.elementary("pow", a, b)


def _define_unary(name: str) -> None:
    class Unary(_Elementary):
        operands = ("x",)
        one_nan = True

        def scalar(self, emit: Emit, x: Scalar) -> Scalar:
            return emit.elementary(name, x)

    Unary.name = f"det.{name}"
    Unary.__name__ = Unary.__qualname__ = name.title().replace("_", "")
    Unary.__doc__ = ELEMENTARY[name, DType.F32].__doc__
    define(Unary)


for _name in UNARY:
    _define_unary(_name)
