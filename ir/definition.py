"""How an op is defined: one class, in one file, that holds its whole contract.

A definition gives the schema (operands, attributes), the result types, the reference semantics on
NumPy arrays (bit-exact, written for clarity), and, for ops whose result can be had element by
element, the expression of one element. Backends and tests need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Region
from aivmc.ir.dims import Dim, Expr
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType, Type

Attributes = Mapping[str, Any]
Index = Scalar  # an i64 scalar that also takes Python's + - * // %
Load = Callable[[int, Sequence[Index]], Scalar]  # operand number, index -> element


@dataclass(frozen=True)
class Site:
    """What an op's element definition may know of the op: types and attributes."""

    types: tuple[TensorType, ...]
    result: TensorType
    attributes: Attributes


def is_dims(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(v, int | Expr) and not isinstance(v, bool) for v in value
    )


# Attribute kinds: name in messages, and the check.
KINDS: dict[str, Callable[[object], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "ints": lambda v: is_dims(v) and all(isinstance(d, int) for d in v),  # type: ignore[attr-defined]
    "dim": lambda v: isinstance(v, int | Expr) and not isinstance(v, bool),
    "dims": is_dims,
    "float": lambda v: isinstance(v, float),
    "bool": lambda v: isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "strings": lambda v: isinstance(v, tuple) and all(isinstance(s, str) for s in v),
    "dtype": lambda v: isinstance(v, DType),
    "constant": lambda v: isinstance(v, Constant),
    "floats": lambda v: isinstance(v, tuple) and all(isinstance(f, float) for f in v),
}


class OpDef:
    """The contract of one op. Subclass, set the class variables, decorate with :func:`define`."""

    name: ClassVar[str]
    operands: ClassVar[tuple[str, ...]] = ()  # "*xs" last for any number
    attributes: ClassVar[Mapping[str, str]] = {}  # attribute name -> kind; all are required
    results: ClassVar[int] = 1
    reduces: ClassVar[bool] = False  # combines several elements in floating point: needs an order
    pure: ClassVar[bool] = True
    one_nan: ClassVar[bool] = False  # the NaNs of an f32 result are canonical

    def infer(
        self, types: Sequence[Any], attributes: Attributes, regions: Sequence[Region]
    ) -> tuple[Type, ...]:
        """Result types. ``IRError`` where operands and attributes do not fit."""
        return (self.result_type(*types, **attributes),)

    def result_type(self, *types: Any, **attributes: Any) -> TensorType:
        """The type of the only result; what most ops define in place of :meth:`infer`."""
        raise TypeError(f"{self.name} has no type rule")

    def reference(self, *arrays: Array, **attributes: Any) -> Array | tuple[Array, ...]:
        """The bits of the results for these operands; dims in attributes are integers by now."""
        raise TypeError(f"{self.name} has no reference semantics")

    def element(self, emit: Emit, load: Load, index: Sequence[Index], site: Site) -> Scalar:
        """One element of the only result, at ``index`` (one i64 scalar for each dim)."""
        raise TypeError(f"{self.name} is not defined element by element")

    @property
    def is_elementwise(self) -> bool:
        """Whether an element depends only on the operands' elements at the same index."""
        return False

    @property
    def has_element(self) -> bool:
        return type(self).element is not OpDef.element

    def check_schema(self, operand_count: int, attributes: Attributes) -> None:
        """``IRError`` unless the number of operands and the attributes' kinds fit."""
        variadic = bool(self.operands) and self.operands[-1].startswith("*")
        least = len(self.operands) - variadic
        if operand_count < least or (operand_count > least and not variadic):
            raise IRError(
                f"{self.name} takes {'at least ' if variadic else ''}{least} operands "
                f"({', '.join(self.operands)}), not {operand_count}"
            )
        for name in sorted(self.attributes.keys() | attributes.keys()):
            if name not in self.attributes:
                raise IRError(f"{self.name} has no attribute {name!r}")
            if name not in attributes:
                raise IRError(f"{self.name} needs the attribute {name!r}")
            kind = self.attributes[name]
            if not KINDS[kind](attributes[name]):
                raise IRError(f"{self.name}: attribute {name!r} must be a {kind}")


_DEFINITIONS: dict[str, OpDef] = {}
D = TypeVar("D", bound=type[OpDef])


def define(cls: D) -> D:
    """Register an op definition under its name."""
    if cls.name in _DEFINITIONS:
        raise ValueError(f"{cls.name} is defined twice")
    _DEFINITIONS[cls.name] = cls()
    return cls


def definition(name: str) -> OpDef:
    """The definition of an op; ``IRError`` for a name that has none."""
    if name not in _DEFINITIONS:
        raise IRError(f"there is no op {name!r}")
    return _DEFINITIONS[name]


def definitions() -> Mapping[str, OpDef]:
    """All registered definitions by name."""
    return _DEFINITIONS


def is_defined(name: str) -> bool:
    return name in _DEFINITIONS


__all__ = [
    "Attributes",
    "Dim",
    "Index",
    "Load",
    "OpDef",
    "Site",
    "define",
    "definition",
    "definitions",
    "is_defined",
]
