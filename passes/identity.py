"""What a program means, as a digest.

Two values have one digest if the same ops with the same attributes, constants and orders compute
them from the same inputs. So the semantic digest of a module does not see the names of values,
inputs, outputs and symbols, the order of ops, locations, dead or repeated ops, and where a constant
stands; it changes with every attribute, bit of a constant, type, bound and constraint.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from aivmc.ir.constants import Constant
from aivmc.ir.core import Bounds, Function, Module, Op, Region, Value
from aivmc.ir.dims import Dim, Expr, substitute, symbol, symbols
from aivmc.ir.types import DType, OptionalType, SequenceType, TensorType, Type
from aivmc.passes.ordering import live_in_order

VERSION = b"aivmc semantic digest 1"


def semantic_digest(module: Module) -> str:
    """SHA-256 in hex of what ``module`` means (see the head of this file)."""
    names = symbol_order(module)
    renaming = {name: symbol(f"s{i}") for i, name in enumerate(names)}
    digests = Digests(renaming)
    functions = [
        part
        for name, function in sorted(module.functions.items())
        for part in (name.encode(), digests.function(function))
    ]
    bounds = [_bounds_text(module.symbols.get(name, Bounds())) for name in names]
    constraints = sorted(
        " = ".join(sorted(str(substitute(d, renaming)) for d in pair))
        for pair in module.constraints
    )
    head = (module.stage.encode(), _digest(b.encode() for b in bounds))
    return _digest((VERSION, *head, _digest(c.encode() for c in constraints), *functions)).hex()


class Digests:
    """Digests of values, given op by op in the order of the program.

    Symbols are renamed through ``renaming`` first.
    """

    def __init__(self, renaming: Mapping[str, Dim] | None = None) -> None:
        self._renaming = renaming or {}
        self._values: dict[Value, bytes] = {}
        self._type_texts: dict[Type, bytes] = {}

    def function(self, function: Function) -> bytes:
        return self.region(function.region, 0)

    def region(self, region: Region, depth: int) -> bytes:
        """The digest of a region; those of the outer values that it uses are known."""
        self.arguments(region.arguments, depth)
        for op in live_in_order(region):
            self.op(op, depth)
        types = (self._type(v.type) for v in region.arguments)
        outputs = (self._values[v] for v in region.terminator.operands)
        return _digest((b"region", _digest(types), _digest(outputs)))

    def arguments(self, arguments: Iterable[Value], depth: int) -> None:
        for i, value in enumerate(arguments):
            self._values[value] = _digest((b"argument", b"%d %d" % (depth, i)))

    def op(self, op: Op, depth: int) -> bytes:
        """Take in one op, whose operands are known; equal digests mean equal results."""
        attributes = (
            part
            for name, value in sorted(op.attributes.items())
            for part in (name.encode(), self._attribute(value))
        )
        digest = _digest(
            (
                op.name.encode(),
                _digest(self._values[v] for v in op.operands),
                _digest(attributes),
                _digest(self._type(v.type) for v in op.results),
                _digest(self.region(r, depth + 1) for r in op.regions),
            )
        )
        for i, value in enumerate(op.results):
            self._values[value] = digest + b"%d" % i
        return digest

    def _attribute(self, value: Any) -> bytes:
        match value:
            case bool():
                return b"bool %d" % value
            case int() | Expr():
                return f"dim {substitute(value, self._renaming)}".encode()
            case float():
                return b"float " + struct.pack(">d", value)
            case str():
                return b"string " + value.encode()
            case DType():
                return b"dtype " + value.value.encode()
            case TensorType() | SequenceType() | OptionalType():
                return b"type " + self._type(value)
            case Constant():
                return b"constant " + value.digest.encode()
            case tuple():
                return b"tuple " + _digest(map(self._attribute, value))
        raise TypeError(f"an attribute cannot be a {type(value).__name__}")

    def _type(self, type: Type) -> bytes:
        if type not in self._type_texts:
            self._type_texts[type] = str(_renamed(type, self._renaming)).encode()
        return self._type_texts[type]


def _digest(parts: Iterable[bytes]) -> bytes:
    """SHA-256 of a list of byte strings, lengths included."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def _renamed(type: Type, renaming: Mapping[str, Dim]) -> Type:
    match type:
        case TensorType():
            return type.with_shape(tuple(substitute(d, renaming) for d in type.shape))
        case SequenceType(element):
            return SequenceType(_renamed(element, renaming))
        case OptionalType(element):
            return OptionalType(_renamed(element, renaming))
    return type


def _bounds_text(bounds: Bounds) -> str:
    return f"{bounds.low} {bounds.high}"


def symbol_order(module: Module) -> list[str]:
    """Symbols in use as they appear: in inputs, in ops in their one order, in constraints."""
    found: dict[str, None] = {}
    for _, function in sorted(module.functions.items()):
        _collect(function.region, found)
    for pair in module.constraints:
        for dim in pair:
            found.update(dict.fromkeys(sorted(symbols(dim))))
    return list(found)


def _collect(region: Region, found: dict[str, None]) -> None:
    for value in region.arguments:
        found.update(dict.fromkeys(_symbols_of_type(value.type)))
    for op in live_in_order(region):
        for _, attribute in sorted(op.attributes.items()):
            found.update(dict.fromkeys(attribute_symbols(attribute)))
        for inner in op.regions:
            _collect(inner, found)
        for value in op.results:
            found.update(dict.fromkeys(_symbols_of_type(value.type)))


def _symbols_of_type(type: Type) -> list[str]:
    match type:
        case TensorType():
            return attribute_symbols(type.shape)
        case SequenceType(element) | OptionalType(element):
            return _symbols_of_type(element)
    return []


def attribute_symbols(value: Any) -> list[str]:
    """Names of the symbols in an attribute."""
    if isinstance(value, tuple):
        return [name for item in value for name in attribute_symbols(item)]
    return sorted(symbols(value)) if isinstance(value, Expr) else []
