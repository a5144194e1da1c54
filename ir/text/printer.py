"""Printing programs as `.air` text.

The text is canonical: modules that are equal print the same, and :func:`aivmc.ir.text.parse` reads
it back to an equal module. Only input and output names survive; other values are numbered in order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Bounds, Function, Module, Op, Region, Value
from aivmc.ir.dims import Expr, is_symbol_name
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, OptionalType, SequenceType, TensorType, UnknownType

INLINE_LIMIT = 16  # elements; larger constants are named by their digest
TERMINATORS = ("return", "yield")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_OP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_NOT_OP_NAMES = (*TERMINATORS, "loc")

Names = Mapping[Value, str]


def print_module(module: Module, locations: bool = True) -> str:
    """The text of a module, with the ops' locations or without.

    ``IRError`` where an attribute or symbol name has no text form.
    """
    lines = [f"module {_word(module.stage, _NAME)} {{"]
    if module.symbols:
        listed = ", ".join(_symbol(s, module.symbols[s]) for s in sorted(module.symbols))
        lines.append(f"  symbols {{{listed}}}")
    if module.constraints:
        listed = ", ".join(f"{a} == {b}" for a, b in module.constraints)
        lines.append(f"  constraints {{{listed}}}")
    for function in module.functions.values():
        lines += _function(function, locations)
    return "\n".join([*lines, "}"]) + "\n"


def value_names(function: Function) -> dict[Value, str]:
    """How each value of a function is written: inputs by name, the others numbered in order."""
    names = {v: "%" + _word(v.name, _VALUE_NAME) for v in function.inputs}
    for value in _defined(function.region):
        names[value] = f"%{len(names) - len(function.inputs)}"
    return names


def print_op(op: Op, names: Names, last: bool = True) -> str:
    """The op's first line: all of it but the contents of its regions.

    A terminator has a form of its own, which can only be read where it is ``last`` in its region.
    """
    operands = ", ".join(names.get(v, "%<undefined>") for v in op.operands)
    plain = last and not (op.attributes or op.results or op.regions)
    if op.name in TERMINATORS and plain:
        return f"{op.name} {operands}".rstrip()
    results = ", ".join(names.get(v, "%<undefined>") for v in op.results)
    types = ", ".join(str(v.type) for v in op.results) or "()"
    name = _word(op.name, _OP_NAME, _NOT_OP_NAMES)
    operands = operands and f"({operands})"
    return f"{results and results + ' = '}{name}{operands}{_attributes(op)} : {types}"


def is_inline(constant: Constant) -> bool:
    """Whether the text holds the elements rather than the digest."""
    return (
        constant.is_loaded
        and constant.type.dtype is not DType.STRING
        and math.prod(constant.data.shape) <= INLINE_LIMIT
    )


def large_constants(module: Module) -> dict[str, Array]:
    """The arrays that the text names by digest, as far as they are loaded."""
    found = (c for op in module.walk() for c in _constants_in(op.attributes.values()))
    return {c.digest: c.data for c in found if c.is_loaded and not is_inline(c)}


def _constants_in(values: Iterable[object]) -> Iterator[Constant]:
    for value in values:
        if isinstance(value, Constant):
            yield value
        elif isinstance(value, tuple):
            yield from _constants_in(value)


def _defined(region: Region) -> Iterator[Value]:
    """Values defined by the ops of a region, in the order of the text."""
    for op in region.ops:
        yield from op.results
        for inner in op.regions:
            yield from inner.arguments
            yield from _defined(inner)


def _symbol(name: str, bounds: Bounds) -> str:
    if not is_symbol_name(name):
        raise IRError(f"{name!r} can't name a dim symbol: use another identifier")
    high = "" if bounds.high is None else bounds.high
    return name if bounds == Bounds() else f"{name}: {bounds.low}..{high}"


def _function(function: Function, locations: bool) -> Iterator[str]:
    names = value_names(function)
    ops = function.region.ops
    returned = ops[-1].operands if ops and ops[-1].name == "return" else ()
    types = [f": {v.type}" for v in returned] + [""] * len(function.output_names)
    outputs = ", ".join(_word(n, _NAME) + t for n, t in zip(function.output_names, types))
    name = _word(function.name, _VALUE_NAME)
    yield f"  func @{name}({_arguments(function.inputs, names)}) -> ({outputs}) {{"
    yield from _ops(function.region, names, "    ", locations)
    yield "  }"


def _arguments(values: Iterable[Value], names: Names) -> str:
    return ", ".join(f"{names[v]}: {v.type}" for v in values)


def _ops(region: Region, names: Names, indent: str, locations: bool) -> Iterator[str]:
    for op in region.ops:
        shown = locations and op.location.name
        location = f" loc({quote(op.location.name)})" if shown else ""
        line = indent + print_op(op, names, last=op is region.ops[-1])
        for inner in op.regions:
            yield line + " {"
            if inner.arguments:
                yield f"{indent}  ({_arguments(inner.arguments, names)}):"
            deeper = indent + ("    " if inner.arguments else "  ")
            yield from _ops(inner, names, deeper, locations)
            line = indent + "}"
        yield line + location


def _attributes(op: Op) -> str:
    if not op.attributes:
        return ""
    try:
        items = [
            f"{_word(k, _NAME)} = {_attribute(op.attributes[k])}" for k in sorted(op.attributes)
        ]
    except IRError as error:
        raise IRError(f"{op.name} at {op.location}: {error}") from None
    return f" {{{', '.join(items)}}}"


def _attribute(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Expr() | TensorType() | SequenceType() | OptionalType() | UnknownType():
            return str(value)
        case float():
            return float.__repr__(value)
        case str():
            return quote(value)
        case DType():
            return value.value
        case Constant():
            return _constant(value)
        case tuple():
            return f"[{', '.join(map(_attribute, value))}]"
    raise IRError(f"an attribute of type {type(value).__name__} has no text form")


def _constant(constant: Constant) -> str:
    if not is_inline(constant):
        return f"const<{constant.type}, sha256:{constant.digest}>"
    return f"const<{constant.type}, [{', '.join(_elements(constant.data))}]>"


def _elements(array: Array) -> Iterator[str]:
    dtype = DType.of(array.dtype)
    if dtype is DType.BOOL:
        yield from ("true" if v else "false" for v in array.flat)
    elif dtype.is_integer:
        yield from (str(int(v)) for v in array.flat)
    elif dtype.is_float:
        bits = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")
        yield from (_float(float(v), int(b)) for v, b in zip(array.flat, bits))
    else:
        parts = np.stack([array.real, array.imag], axis=-1).reshape(-1)
        texts = list(_elements(parts))
        yield from (f"({re}, {im})" for re, im in zip(texts[::2], texts[1::2]))


def _float(value: float, bits: int) -> str:
    """Shortest text of the value, which is exact in f64; a NaN is its bits."""
    return hex(bits) if math.isnan(value) else repr(value)


def _word(text: str, bare: re.Pattern[str], reserved: Iterable[str] = ()) -> str:
    return text if bare.fullmatch(text) and text not in reserved else quote(text)


def quote(text: str) -> str:
    """A JSON string; in ASCII unless every character can be seen."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
