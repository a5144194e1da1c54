"""The onnx stage to the det stage.

Every op is converted by the function registered for it. Ops that can't be converted are all named
in one error. Dims that the program needs to be equal become one dim, or a constraint.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import aivmc.ir.ops  # noqa: F401 - registers the definitions
from aivmc.ir.builder import Builder
from aivmc.ir.core import Bounds, Function, Module, Op, Region, Value
from aivmc.ir.dims import Dim, substitute, symbols
from aivmc.ir.errors import IRError, UnsupportedError
from aivmc.ir.types import DType, TensorType, Type
from aivmc.passes.base import Pass
from aivmc.passes.legality import require_stage
from aivmc.passes.legalize import (  # noqa: F401 - each registers its converters
    activation,
    convolution,
    einsum,
    elementwise,
    linear_models,
    matmul,
    movement,
    normalization,
    quantized,
    random,
    reduction,
    shape,
    tree,
)
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, converter
from aivmc.passes.legalize.equations import Equations, Solved


@dataclass(frozen=True)
class Legalize(Pass):
    """Turn ONNX ops into deterministic ones: onnx to det stage."""

    name: ClassVar[str] = "legalize"

    def requires(self, module: Module) -> None:
        require_stage(module, "onnx")

    def run(self, module: Module) -> Module:
        return legalize(module)

    def ensures(self, module: Module) -> None:
        require_stage(module, "det")


def legalize(module: Module) -> Module:
    """The det-stage program of an onnx-stage one.

    Raises ``UnsupportedError`` that lists every op that can't be converted, with its nodes and
    the reason.
    """
    solved: dict[str, Dim] = {}
    while True:
        try:
            return _attempt(module, solved)
        except Solved as event:
            found = {event.name: event.dim}
            solved = {name: substitute(dim, found) for name, dim in solved.items()} | found


def _attempt(module: Module, solved: Mapping[str, Dim]) -> Module:
    arguments = tuple(Value(_typed(v.type, solved), v.name) for v in module.main.inputs)
    shapes = [v.type.shape for v in arguments if isinstance(v.type, TensorType)]
    used = list(dict.fromkeys(s for dims in shapes for d in dims for s in sorted(symbols(d))))
    equations = Equations(used, module.symbols)
    builder = Builder(arguments)
    legalizer = _Legalizer(Conversion(builder, equations))
    for old, new in zip(module.main.inputs, arguments):
        legalizer.define_input(old, new)
    outputs = legalizer.region(module.main.region)
    legalizer.raise_unsupported()
    builder.location = module.main.region.terminator.location
    results = [v for v in outputs if v is not None]
    region = _without_dead_ops(builder.terminate("return", *results))
    return Module(
        {"main": Function("main", region, module.main.output_names)},
        "det",
        {name: module.symbols.get(name, Bounds()) for name in used},
        equations.constraints,
    )


def _typed(type: Type, solved: Mapping[str, Dim]) -> Type:
    if not isinstance(type, TensorType):
        return type
    return type.with_shape(tuple(substitute(d, solved) for d in type.shape))


def _without_dead_ops(region: Region) -> Region:
    needed = set(region.terminator.operands)
    kept = [region.terminator]
    for op in reversed(region.body):
        if needed.intersection(op.results):
            kept.append(op)
            needed.update(op.operands)
            needed.update(v for inner in op.regions for o in inner.walk() for v in o.operands)
    return Region(region.arguments, kept[::-1])


_RANDOM = (
    *("onnx.Bernoulli", "onnx.Multinomial", "onnx.RandomNormal", "onnx.RandomNormalLike"),
    *("onnx.RandomUniform", "onnx.RandomUniformLike"),
)
_NOT_COMPUTED = (DType.STRING, DType.C64, DType.C128)


def _why_not(name: str) -> str:
    if name in _RANDOM:
        return "there is no seeded generator for it yet; make what it draws an input"
    return "it has no deterministic form here yet"


@dataclass
class _Legalizer:
    """Converts op by op; values without a meaning here are left out of ``values``."""

    conversion: Conversion
    values: dict[Value, Value | None] = field(default_factory=dict)  # None: an omitted input
    missing: dict[Value, tuple[str, str, str]] = field(default_factory=dict)
    unsupported: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A cycle would keep all constants of the old program alive until it is collected.
        me = weakref.proxy(self)
        self.conversion.convert_region = lambda region: me.region(region)

    def define_input(self, old: Value, new: Value) -> None:
        if isinstance(new.type, TensorType):
            self.values[old] = new
        else:
            self._reject("input", old.name, f"{new.type} is not a tensor")

    def region(self, region: Region) -> tuple[Value | None, ...]:
        """Convert the ops of a region into the program; its results' values, None if unknown."""
        for op in region.body:
            self.conversion.builder.location = op.location
            self._op(op)
        for value in region.terminator.operands:
            if value in self.missing:
                self._reject(*self.missing[value])
        return tuple(self.values.get(v) for v in region.terminator.operands)

    def _op(self, op: Op) -> None:
        if op.name == "onnx.none":
            self.values[op.result] = None
        elif op.name == "det.constant":
            value = self.conversion.det("constant", **op.attributes)
            value.name = op.result.name
            self.values[op.result] = value
        elif converter(op.name) is None:
            self._reject(op.name, op.location.name, _why_not(op.name))
            self._check_regions(op)
        else:
            self._convert(op)

    def _check_regions(self, op: Op) -> None:
        """Name what is unsupported inside the regions of an op that is not converted itself."""
        for inner in (o for region in op.regions for o in region.walk()):
            known = inner.name in ("onnx.none", "det.constant", "yield") or converter(inner.name)
            if not known:
                self._reject(inner.name, inner.location.name, _why_not(inner.name))

    def _convert(self, op: Op) -> None:
        for value in op.operands:
            if value in self.missing:
                self._reject(*self.missing[value])
        if any(v not in self.values for v in op.operands):
            return self._check_regions(op)  # the cause is reported where it arose
        convert = converter(op.name)
        assert convert is not None
        operands = [v for v in (self.values[v] for v in op.operands) if v is not None]
        strange = [v.tensor.dtype for v in operands if v.tensor.dtype in _NOT_COMPUTED]
        if strange:
            return self._reject(op.name, op.location.name, f"no {strange[0].value} is supported")
        try:
            results = convert(self.conversion, Node(op, [self.values[v] for v in op.operands]))
        except (Reject, IRError) as error:
            return self._reject(op.name, op.location.name, str(error))
        results = results if isinstance(results, tuple) else (results,)
        for old, new in zip(op.results, results):
            if new is not None:
                new.name = new.name or old.name
                self.values[old] = new
        for i, old in enumerate(op.results[len(results) :], len(results)):
            self.missing[old] = (op.name, op.location.name, f"its output {i} is not supported")
        return None

    def _reject(self, kind: str, name: str, reason: str) -> None:
        self.unsupported.setdefault((kind, reason), {})[name] = None

    def raise_unsupported(self) -> None:
        if not self.unsupported:
            return
        lines = []
        for (kind, reason), names in self.unsupported.items():
            listed = ", ".join(repr(name) for name in names)
            lines.append(f"  {kind.removeprefix('onnx.')} ({listed}): {reason}")
        raise UnsupportedError("the model can't be compiled:\n" + "\n".join(lines))
