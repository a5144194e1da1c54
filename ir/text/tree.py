"""The syntax tree of a program, made rule by rule: names unresolved, constants not yet arrays."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lark import Token

from aivmc.ir.diagnostics import Diagnostic
from aivmc.ir.dims import Dim, Expr, FloorDiv, Max, dim_max, floor_div, is_symbol_name, symbol
from aivmc.ir.types import DType, OptionalType, SequenceType, TensorType, Type, UnknownType

_DIM_TERMS, _DIM_DEPTH, _DIM_LENGTH = 256, 16, 2000
_INTEGER_DIGITS = 400

Argument = tuple[Token, Type]


class OpNode(NamedTuple):
    name: Token
    results: list[Token]
    operands: list[Token]
    attributes: list[tuple[Token, Any]]
    types: list[Type]
    regions: list[RegionNode]
    location: str


class RegionNode(NamedTuple):
    arguments: list[Argument]
    ops: list[OpNode]


class FunctionNode(NamedTuple):
    name: Token
    region: RegionNode
    outputs: list[tuple[Token, Type | None]]


class SymbolNode(NamedTuple):
    name: Token
    low: int
    high: int | None


class ModuleNode(NamedTuple):
    stage: Token
    symbols: list[SymbolNode]
    constraints: list[tuple[Dim, Dim]]
    functions: list[FunctionNode]


class ConstantNode(NamedTuple):
    """``content`` is a digest or the elements: int, float, bool, :class:`Bits`, pairs of those."""

    token: Token
    type: Type
    content: str | list[Any]


class Bits(NamedTuple):
    """A float given by its encoding."""

    bits: int


class Fault(Exception):  # noqa: N818 - carries a reason to where the text is known
    """What is wrong at a token."""

    def __init__(self, reason: str, token: Token) -> None:
        super().__init__(reason)
        self.reason, self.token = reason, token

    def diagnostic(self, text: str, file: str) -> Diagnostic:
        line, column = self.token.line or 1, self.token.column or 1
        return Diagnostic(self.reason, text, line, column, file)


def word(token: Token) -> str:
    """The name a token gives: without its sigil, and unquoted."""
    text = token[1:] if token.type in ("VALUE", "FUNCTION") else str(token)
    return unquote(text) if text.startswith('"') else text


def unquote(text: str) -> str:
    r"""The string that a quoted string means: ``\n``, ``\u0041`` and so on replaced."""
    if "\\" not in text:
        return text[1:-1]
    return (
        _ESCAPE.sub(_unescape, text[1:-1])
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "surrogatepass")
    )


_ESCAPE = re.compile(r"\\(?:u(....)|(.))")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescape(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else _ESCAPES.get(letter, letter)


Children = list[Any]


def _items(children: Children) -> Children:
    """Without the placeholder of an empty list."""
    return [] if children == [None] else children


class TreeBuilder:
    """One method for each rule of the grammar, called with what its parts gave."""

    def start(self, children: Children) -> ModuleNode:
        stage, symbols, constraints, functions = children
        return ModuleNode(stage, symbols or [], constraints or [], functions)

    def functions(self, children: Children) -> Children:
        return children

    regions = values = types = functions

    def ops(self, children: Children) -> Children:
        return children if children[-1] else children[:-1]

    def symbols(self, children: Children) -> Children:
        return _items(children)

    constraints = arguments = outputs = attributes = elements = symbols

    def symbol(self, children: Children) -> SymbolNode:
        name, low, high = children
        if not is_symbol_name(name):
            raise Fault(f"{str(name)!r} can't name a dim symbol", name)
        return SymbolNode(name, low or 0, high)

    def bound(self, children: Children) -> int:
        minus, digits = children
        return -_integer(digits) if minus else _integer(digits)

    def constraint(self, children: Children) -> tuple[Any, ...]:
        return tuple(children)

    argument = output = attribute = complex = constraint

    def function(self, children: Children) -> FunctionNode:
        name, arguments, outputs, ops = children
        return FunctionNode(name, RegionNode(arguments, ops), outputs)

    def region(self, children: Children) -> RegionNode:
        arguments, ops = children
        return RegionNode(arguments or [], ops)

    def op(self, children: Children) -> OpNode:
        results, name, operands, attributes, types, regions, location = children
        return OpNode(
            name, results or [], operands or [], attributes or [], types, regions, location or ""
        )

    def terminator(self, children: Children) -> OpNode:
        name, operands, location = children
        return OpNode(name, [], operands or [], [], [], [], location or "")

    # Types

    def tensor_type(self, children: Children) -> TensorType:
        dtype, *shape = children
        return TensorType(DType(dtype), tuple(_items(shape)))

    def sequence_type(self, children: Children) -> SequenceType:
        return SequenceType(children[0])

    def optional_type(self, children: Children) -> OptionalType:
        return OptionalType(children[0])

    def unknown_type(self, children: Children) -> UnknownType:
        return UnknownType()

    # Attribute values

    def sequence(self, children: Children) -> tuple[Any, ...]:
        return tuple(_items(children))

    def string(self, children: Children) -> str:
        return unquote(children[0])

    location = string

    def dtype(self, children: Children) -> DType:
        return DType(children[0])

    def decimal(self, children: Children) -> float:
        return _float(children[0])

    def negative_decimal(self, children: Children) -> float:
        return -_float(children[1])

    def boolean(self, children: Children) -> bool:
        token: Token = children[0]
        return str(token) == "true"

    def constant(self, children: Children) -> ConstantNode:
        return ConstantNode(*children)

    def bits(self, children: Children) -> Bits:
        return Bits(int(children[0], 16))

    def integer(self, children: Children) -> int:
        return _integer(children[0])

    def negative_integer(self, children: Children) -> int:
        return -_integer(children[1])

    # Dims

    def dim_symbol(self, children: Children) -> Dim:
        name: Token = children[0]
        if not is_symbol_name(name):
            raise Fault(f"{str(name)!r} can't name a dim symbol", name)
        return symbol(str(name))

    def dim_operation(self, children: Children) -> Dim:
        a, operator, b = children
        if isinstance(a, Expr) and isinstance(b, Expr) and len(a.terms) * len(b.terms) > _DIM_TERMS:
            raise Fault("this dim has too many terms", operator)
        return _bounded(_operate(a, operator, b), operator)

    def dim_negation(self, children: Children) -> Dim:
        dim: Dim = children[1]
        return -dim

    def dim_maximum(self, children: Children) -> Dim:
        token, a, b = children
        return _bounded(dim_max(a, b), token)


def _operate(a: Dim, operator: Token, b: Dim) -> Dim:
    match operator.type:
        case "PLUS":
            return a + b
        case "MINUS":
            return a - b
        case "TIMES":
            return a * b
    if isinstance(b, int) and b <= 0:
        raise Fault("the divisor of a dim must be positive", operator)
    return floor_div(a, b)


def _integer(token: Token) -> int:
    if len(token) > _INTEGER_DIGITS:
        raise Fault(f"an integer has at most {_INTEGER_DIGITS} digits", token)
    return int(token)


def _float(token: Token) -> float:
    value = float(token)
    if value == float("inf") and token.type != "INFINITY":
        raise Fault("this float is too large for f64; infinity is written inf", token)
    return value


def _bounded(dim: Dim, token: Token) -> Dim:
    """The dim, if later work on it is sure to stay cheap."""
    if isinstance(dim, Expr) and (_depth(dim) > _DIM_DEPTH or len(str(dim)) > _DIM_LENGTH):
        raise Fault("this dim is too large", token)
    return dim


def _depth(dim: Dim) -> int:
    """How deep divisions and maxima are nested."""
    if isinstance(dim, int):
        return 0
    depth = 0
    for monomial, _ in dim.terms:
        for atom in monomial:
            match atom:
                case FloorDiv(a, b) | Max(a, b):
                    depth = max(depth, 1 + _depth(a), 1 + _depth(b))
    return depth
