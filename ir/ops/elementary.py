"""Elementary functions, correctly rounded in f32 (numerics, clause 6).

Narrower floats are round(f32 function); f64 has no definition yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aivmc.ir.definition import define
from aivmc.ir.elementary import ELEMENTARY, pow
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.ops._elementwise import Elementwise, require_float, same_dtype
from aivmc.ir.types import DType


class _Elementary(Elementwise):
    def result_dtype(self, *dtypes: DType, **attributes: Any) -> DType:
        dtype = require_float(same_dtype(dtypes))
        if dtype is DType.F64:
            raise IRError(f"{self.name} is not defined for f64 yet: cast to f32")
        return dtype


@define
class Pow(_Elementary):
    """``a`` to the power ``b``: a fixed sequence, rounded once from f64."""

    name = "det.pow"
    operands = ("a", "b")

    def scalar(self, emit: Emit, a: Scalar, b: Scalar) -> Scalar:
        return pow(emit, a, b)


def _define_unary(name: str, function: Callable[[Emit, Scalar], Scalar]) -> None:
    class Unary(_Elementary):
        operands = ("x",)
        one_nan = True

        def scalar(self, emit: Emit, x: Scalar) -> Scalar:
            return function(emit, x)

    Unary.name = f"det.{name}"
    Unary.__name__ = Unary.__qualname__ = name.title().replace("_", "")
    Unary.__doc__ = function.__doc__
    define(Unary)


for _name, _function in ELEMENTARY.items():
    _define_unary(_name, _function)
