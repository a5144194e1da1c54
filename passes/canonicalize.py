"""After this pass programs that were written differently and mean the same are the same.

No dead op, no value computed twice, constants at the top level and once each, exact simplifications
made (:mod:`aivmc.passes.simplify`), ops in the one order of :mod:`aivmc.passes.ordering`. Names are
kept; the semantic digest doesn't see them. A canonical program is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aivmc.ir.constants import Constant
from aivmc.ir.core import Bounds, Function, Module, Op, Value
from aivmc.ir.dims import Dim
from aivmc.passes.base import Pass
from aivmc.passes.identity import Digests, symbol_order
from aivmc.passes.legality import require_stage
from aivmc.passes.ordering import in_order
from aivmc.passes.rewriting import Rewriter, rewrite_function
from aivmc.passes.simplify import RULES


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Bring a program into its one form."""

    name: ClassVar[str] = "canonicalize"

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def run(self, module: Module) -> Module:
        functions = {name: _canonical(f) for name, f in module.functions.items()}
        constraints = _canonical_constraints(module.constraints)
        out = Module(functions, module.stage, {}, constraints)
        known = module.symbols
        out.symbols = {name: known.get(name, Bounds()) for name in symbol_order(out)}
        return out


def _canonical(function: Function) -> Function:
    # In order before too: what is found first, and kept, must not depend on how it was written.
    written = Function(function.name, in_order(function.region), function.output_names)
    scopes = _Scopes()
    merged = rewrite_function(written, lambda op, b: _Scope(b, scopes).add(op))
    return Function(function.name, in_order(merged.region), function.output_names)


def _canonical_constraints(pairs: tuple[tuple[Dim, Dim], ...]) -> tuple[tuple[Dim, Dim], ...]:
    """Each once, those that always hold left out, sorted by text."""
    sides = {tuple(sorted(pair, key=str)) for pair in pairs if pair[0] != pair[1]}
    return tuple((a, b) for a, b in sorted(sides, key=lambda pair: (str(pair[0]), str(pair[1]))))


@dataclass
class _Scopes:
    """Results by digest, for each region under way."""

    digests: Digests = field(default_factory=Digests)
    tables: dict[Rewriter, dict[bytes, tuple[Value, ...]]] = field(default_factory=dict)

    def table(self, b: Rewriter) -> dict[bytes, tuple[Value, ...]]:
        if b not in self.tables:
            self.tables[b] = {}
            self.digests.arguments(b.region.arguments, _depth(b))
        return self.tables[b]


@dataclass
class _Scope:
    """Adds ops to one region: simplified, and only if no value in reach is the same."""

    b: Rewriter
    scopes: _Scopes

    def produced_by(self, value: Value, name: str) -> Op | None:
        return self.b.produced_by(value, name)

    def constant_of(self, value: Value) -> Constant | None:
        return self.b.constant_of(value)

    def make(self, name: str, *operands: Value, **attributes: Any) -> Value:
        types = self.b.infer(name, operands, attributes)
        results = tuple(map(Value, types))
        return self.add(Op(name, operands, attributes, results, (), self.b.location))[0]

    def add(self, op: Op) -> tuple[Value, ...]:
        """The results of ``op``, which is appended if it must be."""
        for rule in RULES:
            simpler = rule(op, self)
            if simpler is not None:
                return (simpler,)
        return self._merged(op)

    def _merged(self, op: Op) -> tuple[Value, ...]:
        home = _root(self.b) if op.name == "det.constant" else self.b
        for b in _outwards(self.b):
            self.scopes.table(b)
        types = self.b.infer(op.name, op.operands, op.attributes, op.regions)
        results = tuple(map(Value, types))
        new = Op(op.name, op.operands, op.attributes, results, op.regions, op.location)
        digest = self.scopes.digests.op(new, _depth(self.b))
        for b in _outwards(self.b):
            if digest in self.scopes.table(b):
                return self.scopes.table(b)[digest]
        home.append(new)
        self.scopes.table(home)[digest] = results
        return results


def _outwards(b: Rewriter | None) -> Iterator[Rewriter]:
    while b is not None:
        yield b
        b = b.outer


def _root(b: Rewriter) -> Rewriter:
    return list(_outwards(b))[-1]


def _depth(b: Rewriter) -> int:
    return len(list(_outwards(b))) - 1
