"""Rewriting op by op: a function is rebuilt from its first op to its last through one rule.

The rule sees each op with operands of the new function, appends what replaces it and returns the
new results, or says why it does not match; then the op is kept. Types are inferred anew on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Constant
from aivmc.ir.core import Function, Module, Op, Region, Value
from aivmc.ir.definition import definition, is_defined
from aivmc.ir.errors import IRError
from aivmc.ir.types import Type
from aivmc.passes.base import Pass


@dataclass(frozen=True)
class NoMatch:
    """Why a rule leaves an op alone."""

    reason: str


class Rewriter(Builder):
    """A builder that knows the op behind each value it has made, in outer regions too."""

    def __init__(self, arguments: Sequence[Value] = (), outer: Rewriter | None = None) -> None:
        super().__init__(arguments)
        self.outer = outer
        self._producers: dict[Value, Op] = {} if outer is None else outer._producers
        self._uses: dict[Value, int] = {} if outer is None else outer._uses

    def append(self, op: Op) -> None:
        super().append(op)
        for value in op.results:
            self._producers[value] = op

    def producer(self, value: Value) -> Op | None:
        """The op that makes ``value``; None for an argument."""
        return self._producers.get(value)

    def produced_by(self, value: Value, name: str) -> Op | None:
        """The op that makes ``value`` if it is a ``name``."""
        op = self.producer(value)
        return op if op is not None and op.name == name else None

    def constant_of(self, value: Value) -> Constant | None:
        """The constant that ``value`` is, if it is one."""
        op = self.produced_by(value, "det.constant")
        return None if op is None else op.attributes["value"]

    def used_once(self, value: Value) -> bool:
        """Whether the value that ``value`` stands for had one use in the old function."""
        return self._uses.get(value, 0) == 1

    def like(self, op: Op, **attributes: Any) -> tuple[Value, ...]:
        """Append an op like this one, with some attributes changed and types inferred anew."""
        merged = {**op.attributes, **attributes} if attributes else op.attributes
        types: Sequence[Type] = [v.type for v in op.results]
        if is_defined(op.name):
            types = self.infer(op.name, op.operands, merged, op.regions)
        results = tuple(map(Value, types))
        self.append(Op(op.name, op.operands, merged, results, op.regions, self.location))
        return results

    def inline(self, region: Region, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Append the ops of a region run on ``operands``; the values that it ends with."""
        values = dict(zip(region.arguments, operands))
        for op in region.body:
            values.update(zip(op.results, self.copy(op, values)))
        return tuple(values.get(v, v) for v in region.terminator.operands)


Results: TypeAlias = Value | tuple[Value, ...]
Rule: TypeAlias = Callable[[Op, Rewriter], Results | NoMatch]
Refusal: TypeAlias = Callable[[Op, str], None]


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that looks at one op at a time."""

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        """What takes the place of ``op``: the value, or as many as the op has results."""
        raise TypeError(f"{self.name} has no rule")

    def run(self, module: Module) -> Module:
        return rewrite_module(module, self.rewrite)


def explain(pass_: RewritePass, module: Module) -> list[tuple[Op, str]]:
    """The ops that the pass leaves alone in ``module``, each with the reason."""
    refusals: list[tuple[Op, str]] = []
    rewrite_module(module, pass_.rewrite, lambda op, reason: refusals.append((op, reason)))
    return refusals


def rewrite_module(module: Module, rule: Rule, refused: Refusal | None = None) -> Module:
    """``module`` with every function rebuilt through ``rule``."""
    functions = {
        name: rewrite_function(function, rule, refused)
        for name, function in module.functions.items()
    }
    return Module(functions, module.stage, dict(module.symbols), module.constraints)


def rewrite_function(function: Function, rule: Rule, refused: Refusal | None = None) -> Function:
    """``function`` rebuilt through ``rule``; names of inputs and outputs are kept."""
    region = _Rewriting(rule, refused).region(function.region, {}, None)
    return Function(function.name, region, function.output_names)


@dataclass(frozen=True)
class _Rewriting:
    rule: Rule
    refused: Refusal | None

    def region(self, old: Region, outer: Mapping[Value, Value], b: Rewriter | None) -> Region:
        arguments = tuple(Value(v.type, v.name) for v in old.arguments)
        inner = Rewriter(arguments, b)
        values = {**outer, **dict(zip(old.arguments, arguments))}
        uses = _use_counts(old)
        for op in old.body:
            new = self.op(op, values, inner)
            values.update(zip(op.results, new))
            for before, after in zip(op.results, new):
                inner._uses[after] = inner._uses.get(after, 0) + uses.get(before, 0)
        end = old.terminator
        inner.location = end.location
        return inner.terminate(end.name, *(values.get(v, v) for v in end.operands))

    def op(self, old: Op, values: Mapping[Value, Value], b: Rewriter) -> tuple[Value, ...]:
        regions = tuple(self.region(r, values, b) for r in old.regions)
        operands = tuple(values.get(v, v) for v in old.operands)
        op = Op(old.name, operands, old.attributes, old.results, regions, old.location)
        b.location = old.location
        new = self.rule(op, b)
        if isinstance(new, NoMatch):
            if self.refused is not None:
                self.refused(old, new.reason)
            new = b.like(op)
        new = (new,) if isinstance(new, Value) else new
        if len(new) != len(old.results):
            raise IRError(
                f"{old.name} at {old.location}: {len(new)} results in place of {len(old.results)}"
            )
        for before, after in zip(old.results, new):
            after.name = after.name or before.name
        return new


def _use_counts(region: Region) -> dict[Value, int]:
    counts: dict[Value, int] = {}
    for op in region.walk():
        for value in op.operands:
            counts[value] = counts.get(value, 0) + 1
    return counts


def is_elementwise(op: Op) -> bool:
    return is_defined(op.name) and definition(op.name).is_elementwise


__all__ = [
    "NoMatch",
    "Results",
    "RewritePass",
    "Rewriter",
    "Rule",
    "explain",
    "is_elementwise",
    "rewrite_function",
    "rewrite_module",
]
