"""The verifier: a module it accepts keeps every rule of the IR that holds at all stages.

Every value is defined once and before its uses, in the region of the use or around it; every region
ends in its terminator and has no other; ops fit their schemas and have the types these give; every
dim symbol is declared; constants' data is of their type; names are unique. What ops a stage may
hold is the passes' concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import aivmc.ir.ops  # noqa: F401 - registers the definitions
from aivmc.ir.constants import Constant
from aivmc.ir.core import Function, Module, Op, Region, Value
from aivmc.ir.definition import definition, is_defined
from aivmc.ir.diagnostics import Diagnostic
from aivmc.ir.dims import Expr, is_symbol_name, symbols
from aivmc.ir.errors import IRError
from aivmc.ir.text.printer import print_op, value_names
from aivmc.ir.types import OptionalType, SequenceType, TensorType, Type

DEFINED_DIALECTS = ("det.", "kernel.")  # every op of these has a definition


def verify(module: Module, text: str | None = None) -> None:
    """``IRError`` at the first broken rule, showing the op and where it came from.

    ``text`` is what the module was parsed from, to quote the line.
    """
    _verify_module(module)
    seen: set[Value] = set()
    for name, function in module.functions.items():
        if name != function.name:
            raise IRError(f"the function {function.name!r} is listed as {name!r}")
        _FunctionVerifier(module, function, seen, text).verify()


def _verify_module(module: Module) -> None:
    if "main" not in module.functions:
        raise IRError("a module needs a function main")
    for name, bounds in module.symbols.items():
        if not is_symbol_name(name):
            raise IRError(f"{name!r} can't name a dim symbol: use another identifier")
        if bounds.high is not None and bounds.high < bounds.low:
            raise IRError(f"no integer lies in the bounds {bounds.low}..{bounds.high} of {name}")
    for a, b in module.constraints:
        for name in sorted(symbols(a) | symbols(b)):
            if name not in module.symbols:
                raise IRError(f"the constraint {a} == {b} has the undeclared symbol {name}")


class _FunctionVerifier:
    def __init__(
        self, module: Module, function: Function, seen: set[Value], text: str | None
    ) -> None:
        self.module = module
        self.function = function
        self.seen = seen  # all values defined so far, in scope or not
        self.text = text
        self.good_types: set[Type] = set()

    def verify(self) -> None:
        self.names(v.name for v in self.function.inputs)
        self.names(self.function.output_names)
        self.region(self.function.region, set(), "return", None)
        outputs, names = self.function.outputs, self.function.output_names
        if len(outputs) != len(names):
            reason = f"{len(outputs)} values returned, but there are {len(names)} output names"
            raise self.error(self.function.region.terminator, reason)

    def names(self, names: Iterable[str]) -> None:
        known: set[str] = set()
        for name in names:
            if not name or name in known:
                problem = f"the name {name!r} is given twice" if name else "a name is empty"
                raise IRError(f"function {self.function.name!r}: {problem}")
            known.add(name)

    def region(self, region: Region, outer: set[Value], end: str, parent: Op | None) -> None:
        scope = set(outer)
        self.define(region.arguments, scope, parent)
        if not region.ops:
            raise self.error(parent, f"a region is empty; it must end in {end}")
        for op in region.body:
            if op.name in ("return", "yield"):
                raise self.error(op, f"{op.name} stands before the end of the region")
            self.op(op, scope)
        self.terminator(region.terminator, scope, end)

    def terminator(self, op: Op, scope: set[Value], end: str) -> None:
        if op.name != end or op.results or op.attributes or op.regions:
            raise self.error(op, f"the region must end in a plain {end}")
        self.uses(op, scope)

    def op(self, op: Op, scope: set[Value]) -> None:
        self.uses(op, scope)
        for value in op.attributes.values():
            self.attribute(op, value)
        for region in op.regions:
            self.region(region, scope, "yield", op)
        self.contract(op)
        self.define(op.results, scope, op)

    def uses(self, op: Op, scope: set[Value]) -> None:
        for i, value in enumerate(op.operands):
            if value not in scope:
                where = "out of scope" if value in self.seen else "not defined before"
                raise self.error(op, f"operand {i} is {where}")

    def define(self, values: Sequence[Value], scope: set[Value], op: Op | None) -> None:
        for value in values:
            if value in self.seen:
                raise self.error(op, "a value is defined twice")
            self.type(op, value.type)
            self.seen.add(value)
            scope.add(value)

    def contract(self, op: Op) -> None:
        """Schema and types as the op's definition has them."""
        if not is_defined(op.name):
            if op.name.startswith(DEFINED_DIALECTS):
                raise self.error(op, f"there is no op {op.name!r}")
            return
        rule = definition(op.name)
        for i, value in enumerate(op.operands):
            if not isinstance(value.type, TensorType):
                raise self.error(op, f"operand {i} must be a tensor, not {value.type}")
        try:
            rule.check_schema(len(op.operands), op.attributes)
            types = tuple(rule.infer([v.type for v in op.operands], op.attributes, op.regions))
        except IRError as error:
            raise self.error(op, str(error)) from None
        if types != tuple(v.type for v in op.results):
            raise self.error(op, f"the result must be {', '.join(map(str, types)) or 'nothing'}")

    def attribute(self, op: Op, value: Any) -> None:
        match value:
            case tuple():
                for item in value:
                    self.attribute(op, item)
            case TensorType() | SequenceType() | OptionalType():
                self.type(op, value)
            case Expr():
                self.declared(op, value)
            case Constant() if value.is_loaded:
                data = value.data
                if (data.dtype, data.shape) != (value.type.dtype.numpy, value.type.shape):
                    got = f"{data.dtype}{list(data.shape)}"
                    raise self.error(op, f"the constant {value.type} holds an array {got}")

    def type(self, op: Op | None, type: Type) -> None:
        if type in self.good_types:
            return
        match type:
            case SequenceType(element) | OptionalType(element):
                self.type(op, element)
            case TensorType(shape=shape):
                for dim in shape:
                    if isinstance(dim, int) and dim < 0:
                        raise self.error(op, f"{type} has a negative dim")
                    self.declared(op, dim)
        self.good_types.add(type)

    def declared(self, op: Op | None, dim: int | Expr) -> None:
        for name in sorted(symbols(dim)):
            if name not in self.module.symbols:
                raise self.error(op, f"the dim symbol {name} is not declared")

    def error(self, op: Op | None, reason: str) -> IRError:
        """The reason with the op shown: in the source where that is known, else printed."""
        if op is None:
            return IRError(f"function {self.function.name!r}: {reason}")
        place = op.location
        if self.text is not None and place.line:
            node = f" (node {place.name!r})" if place.name else ""
            return Diagnostic(reason + node, self.text, place.line, place.column, place.file)
        line = print_op(op, value_names(self.function))
        caret = " " * max(line.find(op.name), 0) + "^"
        return IRError(f"{place}: {reason}\n    {line}\n    {caret}")
