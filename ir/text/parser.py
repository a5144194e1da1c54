"""Reading `.air` text: resolves names, makes constants, and points at what is wrong.

For any text :func:`parse` either returns a module or raises ``IRError``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lark import Token

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Bounds, Function, Location, Module, Op, Region, Value
from aivmc.ir.text.syntax import read
from aivmc.ir.text.tree import (
    Argument,
    Bits,
    ConstantNode,
    Fault,
    FunctionNode,
    OpNode,
    RegionNode,
    SymbolNode,
    word,
)
from aivmc.ir.types import DType, TensorType

Scope = Mapping[str, Value]  # written name -> value


def parse(text: str, file: str = "<string>", constants: Mapping[str, Array] = {}) -> Module:
    """The module that ``text`` is. ``Diagnostic`` (an ``IRError``) where it isn't one.

    ``constants`` are arrays by digest for the constants that the text names by theirs; those it
    lacks stay unloaded. Every op is located in ``file``.
    """
    tree = read(text, file)
    try:
        reader = _Reader(file, constants)
        return Module(
            _unique((f.name, reader.function(f)) for f in tree.functions),
            word(tree.stage),
            _unique((s.name, _bounds(s)) for s in tree.symbols),
            tuple(tree.constraints),
        )
    except Fault as fault:
        raise fault.diagnostic(text, file) from None


def _unique(items: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for token, value in items:
        if word(token) in out:
            raise Fault(f"{token} is given twice", token)
        out[word(token)] = value
    return out


def _bounds(node: SymbolNode) -> Bounds:
    if node.high is not None and node.high < node.low:
        raise Fault(f"no integer lies in {node.low}..{node.high}", node.name)
    return Bounds(node.low, node.high)


class _Reader:
    """Makes functions from their syntax."""

    def __init__(self, file: str, constants: Mapping[str, Array]) -> None:
        self.file = file
        self.constants = constants

    def function(self, node: FunctionNode) -> Function:
        function = Function(
            word(node.name), self.region(node.region, {}), tuple(word(n) for n, _ in node.outputs)
        )
        ops = function.region.ops
        returned = ops[-1].operands if ops and ops[-1].name == "return" else ()
        for i, (name, type) in enumerate(node.outputs):
            if type is not None and i >= len(returned):
                raise Fault(
                    f"{len(returned)} values are returned, none for the output {name}", name
                )
            if type is not None and returned[i].type != type:
                raise Fault(f"output {name} is {type}, but {returned[i].type} is returned", name)
        return function

    def region(self, node: RegionNode, outer: Scope) -> Region:
        scope = dict(outer)
        arguments = self.arguments(node.arguments, scope)
        return Region(arguments, [self.op(op, scope) for op in node.ops])

    def arguments(self, nodes: Sequence[Argument], scope: dict[str, Value]) -> tuple[Value, ...]:
        return tuple(_bind(token, Value(type, _name(token)), scope) for token, type in nodes)

    def op(self, node: OpNode, scope: dict[str, Value]) -> Op:
        if len(node.results) != len(node.types):
            raise Fault(f"{len(node.results)} results, but {len(node.types)} types", node.name)
        operands = tuple(_resolve(token, scope) for token in node.operands)
        attributes = _unique((k, self.attribute(v)) for k, v in node.attributes)
        regions = tuple(self.region(r, scope) for r in node.regions)
        pairs = zip(node.results, node.types)
        results = tuple(_bind(token, Value(type, _name(token)), scope) for token, type in pairs)
        location = Location(node.location, self.file, node.name.line or 0, node.name.column or 0)
        return Op(word(node.name), operands, attributes, results, regions, location)

    def attribute(self, value: Any) -> Any:
        if isinstance(value, ConstantNode):
            return self.constant(value)
        if type(value) is tuple:
            return tuple(map(self.attribute, value))
        return value

    def constant(self, node: ConstantNode) -> Constant:
        type = node.type
        if not isinstance(type, TensorType) or not type.is_static:
            raise Fault("a constant needs a tensor type with integer dims", node.token)
        if isinstance(node.content, list):
            return Constant.of(_array(type, node.content, node.token))
        digest = node.content.removeprefix("sha256:")
        if digest not in self.constants:
            return Constant(type, None, digest)
        constant = Constant.of(self.constants[digest])
        if constant.type != type or constant.digest != digest:
            raise Fault(
                f"the array given for this constant is {constant.type} sha256:{constant.digest}",
                node.token,
            )
        return constant


def _name(token: Token) -> str:
    return "" if token[1].isdigit() else word(token)


def _key(token: Token) -> str:
    """What tells names apart: `%0` is the value numbered 0, `%"0"` the one named 0."""
    return str(token) if token[1].isdigit() else "%" + word(token) if token[1] != '"' else token[1:]


def _bind(token: Token, value: Value, scope: dict[str, Value]) -> Value:
    key = _key(token)
    if key in scope:
        raise Fault(f"{token} is defined twice", token)
    scope[key] = value
    return value


def _resolve(token: Token, scope: Scope) -> Value:
    value = scope.get(_key(token))
    if value is None:
        raise Fault(f"{token} is not defined here", token)
    return value


def _array(type: TensorType, elements: Sequence[Any], token: Token) -> Array:
    shape = [int(d) for d in type.shape if isinstance(d, int)]
    if min(shape, default=0) < 0 or math.prod(shape) != len(elements):
        raise Fault(f"{type} can't hold {len(elements)} elements", token)
    if type.dtype is DType.STRING:
        raise Fault("string constants are named by digest", token)
    out = np.zeros(len(elements), type.dtype.numpy)
    for i, element in enumerate(elements):
        _store(out[i : i + 1], type.dtype, element, token)
    try:
        return out.reshape(shape)
    except ValueError as error:
        raise Fault(f"{type} can't be a constant: {error}", token) from None


def _store(cell: Array, dtype: DType, element: Any, token: Token) -> None:
    """Write one element; ``Fault`` where the dtype has no such value."""
    if dtype in (DType.C64, DType.C128) and type(element) is tuple:
        half = DType.F32 if dtype is DType.C64 else DType.F64
        _store(cell.real, half, element[0], token)
        _store(cell.imag, half, element[1], token)
    elif dtype.is_float and isinstance(element, Bits) and not element.bits >> 8 * cell.itemsize:
        cell.view(f"u{cell.itemsize}")[0] = element.bits
    elif _fits(dtype, element):
        cell[0] = element
    else:
        hint = "; a float is written 1.0" if type(element) is int and not dtype.is_integer else ""
        raise Fault(f"{_shown(element)} can't be an element of {dtype.value}{hint}", token)


def _fits(dtype: DType, element: Any) -> bool:
    """Whether the element is of the dtype's kind and, but for rounding of floats, in its range."""
    if dtype is DType.BOOL:
        return type(element) is bool
    if dtype.is_integer and type(element) is int:
        low = -(1 << dtype.bits - 1) if dtype.is_signed else 0
        return low <= element < low + (1 << dtype.bits)
    if dtype.is_float and type(element) is float:
        with np.errstate(all="ignore"):
            return math.isfinite(element) == math.isfinite(float(dtype.numpy.type(element)))
    return False


def _shown(element: Any) -> str:
    return hex(element.bits) if isinstance(element, Bits) else str(element)
