"""Programs: modules of functions over SSA values, ops with regions, and where each came from.

Every value is defined once, before its uses, in the region that uses it or one around it. A region
is one straight-line list of ops that ends in a terminator. Programs are rebuilt rather than edited
in place: see :mod:`aivmc.ir.builder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aivmc.ir.dims import Dim
from aivmc.ir.types import TensorType, Type

STAGES = ("onnx", "det", "canonical", "kernel")


@dataclass(frozen=True)
class Location:
    """Where an op came from: the model's node name, or a span of a text file."""

    name: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.file:
            return f"{self.file}:{self.line}:{self.column}"
        return f"node {self.name!r}" if self.name else "unknown location"


class Value:
    """One SSA value. ``name`` is a hint for printing; identity is the object's."""

    __slots__ = ("name", "type")

    def __init__(self, type: Type, name: str = "") -> None:
        self.type = type
        self.name = name

    @property
    def tensor(self) -> TensorType:
        """The type, known to be a tensor."""
        assert isinstance(self.type, TensorType), self.type
        return self.type

    def __repr__(self) -> str:
        return f"Value({self.name or '?'}: {self.type})"


@dataclass(eq=False)
class Op:
    """One operation: ``results = name(operands) {attributes} regions``."""

    name: str
    operands: tuple[Value, ...]
    attributes: Mapping[str, Any]
    results: tuple[Value, ...]
    regions: tuple[Region, ...] = ()
    location: Location = Location()

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    def __repr__(self) -> str:
        return f"Op({self.name} at {self.location})"


@dataclass(eq=False)
class Region:
    """Arguments and ops; the last op is the terminator."""

    arguments: tuple[Value, ...]
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Op:
        return self.ops[-1]

    @property
    def body(self) -> list[Op]:
        """The ops before the terminator."""
        return self.ops[:-1]

    def walk(self) -> Iterator[Op]:
        """Every op, outer before inner."""
        for op in self.ops:
            yield op
            for region in op.regions:
                yield from region.walk()


@dataclass(eq=False)
class Function:
    """A named region. Input names are its arguments' names."""

    name: str
    region: Region
    output_names: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.region.arguments

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.region.terminator.operands


@dataclass(frozen=True)
class Bounds:
    """What is known of a dim symbol: ``low <= symbol``, and ``symbol <= high`` if that is given."""

    low: int = 0
    high: int | None = None


@dataclass(eq=False)
class Module:
    """A program: functions (``main`` is the entry), its dim symbols, and what must hold of them.

    ``constraints`` are pairs of dims that must be equal when inputs are bound; a shape rule that
    can't be decided at compile time becomes one.
    """

    functions: dict[str, Function]
    stage: str = "det"
    symbols: dict[str, Bounds] = field(default_factory=dict)
    constraints: tuple[tuple[Dim, Dim], ...] = ()

    @property
    def main(self) -> Function:
        return self.functions["main"]

    def walk(self) -> Iterator[Op]:
        for function in self.functions.values():
            yield from function.region.walk()

    def with_main(self, main: Function, **changes: Any) -> Module:
        """A module with another entry function, and other fields where given."""
        fields = {
            "stage": self.stage,
            "symbols": dict(self.symbols),
            "constraints": self.constraints,
        } | changes
        return Module({**self.functions, "main": main}, **fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Module) and _same_module(self, other)

    __hash__ = None  # type: ignore[assignment]


def users(region: Region) -> dict[Value, list[Op]]:
    """Ops that use each value, in order, inner regions included."""
    out: dict[Value, list[Op]] = {}
    for op in region.walk():
        for value in dict.fromkeys(op.operands):
            out.setdefault(value, []).append(op)
    return out


def same_attributes(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equal names and values, where ``1``, ``1.0`` and ``True`` differ, as do ``0.0`` and ``-0.0``,
    and all NaNs are one value."""
    return a.keys() == b.keys() and all(_same_attribute(a[k], b[k]) for k in a)


def _same_attribute(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_attribute, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return a == b


def _same_module(a: Module, b: Module) -> bool:
    if (a.stage, a.symbols, a.constraints) != (b.stage, b.symbols, b.constraints):
        return False
    if list(a.functions) != list(b.functions):
        return False
    return all(
        f.output_names == g.output_names
        and [v.name for v in f.inputs] == [v.name for v in g.inputs]
        and _same_region(f.region, g.region, {})
        for f, g in zip(a.functions.values(), b.functions.values())
    )


def _same_region(a: Region, b: Region, match: dict[Value, Value]) -> bool:
    if len(a.arguments) != len(b.arguments) or len(a.ops) != len(b.ops):
        return False
    return _pair(a.arguments, b.arguments, match) and all(
        _same_op(p, q, match) for p, q in zip(a.ops, b.ops)
    )


def _same_op(a: Op, b: Op, match: dict[Value, Value]) -> bool:
    if a.name != b.name or not same_attributes(a.attributes, b.attributes):
        return False
    if len(a.operands) != len(b.operands) or len(a.regions) != len(b.regions):
        return False
    if any(match.get(v) is not w for v, w in zip(a.operands, b.operands)):
        return False
    if not all(_same_region(r, s, match) for r, s in zip(a.regions, b.regions)):
        return False
    return a.location.name == b.location.name and _pair(a.results, b.results, match)


def _pair(a: tuple[Value, ...], b: tuple[Value, ...], match: dict[Value, Value]) -> bool:
    if len(a) != len(b) or any(v.type != w.type for v, w in zip(a, b)):
        return False
    match.update(zip(a, b))
    return True
