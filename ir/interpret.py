"""Running a program op by op with the ops' reference semantics: what every backend must equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import aivmc.ir.ops  # noqa: F401 - registers the definitions
from aivmc.ir.binding import InputError, bind_symbols
from aivmc.ir.constants import Array, only_values
from aivmc.ir.core import Module, Op, Region, Value
from aivmc.ir.definition import OpDef, definition, is_defined
from aivmc.ir.dims import Expr, evaluate
from aivmc.ir.errors import IRError, UnsupportedError
from aivmc.ir.seeds import stream_key
from aivmc.ir.types import DType, TensorType

Trace = Callable[[Op, tuple[Array, ...]], None]


def interpret(
    module: Module,
    inputs: Mapping[str, Array],
    trace: Trace | None = None,
    seed: bytes | None = None,
) -> dict[str, Array]:
    """The outputs of ``main`` by name. ``trace`` sees each op with its results as it has run.

    ``seed`` is for programs that take one. ``InputError`` where the inputs don't fit; ``IRError``
    where an op can't be run, or its reference gives another type than the program says.
    """
    main = module.main
    arguments = [(v.name, v.tensor) for v in main.inputs]
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    bounds = {name: (b.low, b.high) for name, b in module.symbols.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    symbols = bind_symbols(arguments, shapes, module.constraints, bounds)
    for name, type in arguments:
        if arrays[name].dtype != type.dtype.numpy:
            raise InputError(f"input {name!r} must be {type}, not {arrays[name].dtype}")
    run = _Run(symbols, trace, seed)
    given = [only_values(arrays[name]) for name, _ in arguments]
    outputs = run.region(main.region, given, {})
    return dict(zip(main.output_names, outputs))


def interpret_op(
    op: Op,
    operands: Sequence[Array],
    symbols: Mapping[str, int],
    seed: bytes | None = None,
) -> tuple[Array, ...]:
    """The results of one op, which uses no values but its operands; errors as :func:`interpret`."""
    run = _Run(symbols, None, seed)
    results = run.op(op, dict(zip(op.operands, operands)))
    run.check(op, results)
    return results


class _Run:
    """One execution: the symbols are bound."""

    def __init__(self, symbols: Mapping[str, int], trace: Trace | None, seed: bytes | None) -> None:
        self.symbols = symbols
        self.trace = trace
        self.seed = seed

    def region(
        self, region: Region, arguments: Sequence[Array], outer: Mapping[Value, Array]
    ) -> tuple[Array, ...]:
        """What the terminator yields."""
        values = {**outer, **dict(zip(region.arguments, arguments))}
        for op in region.body:
            results = self.op(op, values)
            self.check(op, results)
            values.update(zip(op.results, results))
            if self.trace:
                self.trace(op, results)
        return tuple(values[v] for v in region.terminator.operands)

    def op(self, op: Op, values: Mapping[Value, Array]) -> tuple[Array, ...]:
        operands = [values[v] for v in op.operands]
        if op.name == "det.if":
            taken = op.regions[0 if operands[0] else 1]
            return self.region(taken, operands[1:], values)
        if op.name == "det.stream_key":
            if self.seed is None:
                raise InputError("the program takes a seed, and none is given")
            return (stream_key(self.seed, op.attributes["stream"]),)
        if is_defined(op.name) and type(definition(op.name)).reference is not OpDef.reference:
            attributes = {name: self.bind(v) for name, v in op.attributes.items()}
            try:
                results = definition(op.name).reference(*operands, **attributes)
            except IRError as error:
                raise IRError(f"{op.name} at {op.location}: {error}") from None
            return results if isinstance(results, tuple) else (results,)
        if len(op.regions) == 1:
            return self.region(op.regions[0], operands, values)
        raise UnsupportedError(f"{op.name} at {op.location} has no reference semantics to run")

    def bind(self, value: Any) -> Any:
        """An attribute with its dims evaluated."""
        if isinstance(value, Expr):
            return evaluate(value, self.symbols)
        if isinstance(value, tuple):
            return tuple(map(self.bind, value))
        return value

    def check(self, op: Op, results: Sequence[Array]) -> None:
        """The reference and the type rule of an op must agree."""
        got = [TensorType(DType.of(a.dtype), a.shape) for a in results]
        want = [
            TensorType(t.dtype, tuple(map(self.bind, t.shape)))
            for t in (v.type for v in op.results)
            if isinstance(t, TensorType)
        ]
        if got != want:
            said, gave = (", ".join(map(str, types)) for types in (want, got))
            raise IRError(f"{op.name} at {op.location} is {said}, but its reference gave {gave}")
