"""What a run is given, checked against the signature: arrays, shapes, seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aivmc.ir.binding import InputError, bind_symbols
from aivmc.ir.constants import Array
from aivmc.ir.dims import evaluate
from aivmc.ir.seeds import stream_key
from aivmc.ir.types import TensorType
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import Signature
from aivmc.runtime.plan import Plan


@dataclass(frozen=True)
class Output:
    """An output of bound shape, and the number of its buffer."""

    buffer: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


class Requests:
    """Reads requests for one target's plan. ``IntegrityError`` where the plan names what isn't
    there; ``constants`` are the digests that are."""

    def __init__(self, signature: Signature, plan: Plan, constants: Mapping[str, Array]) -> None:
        self._signature = signature
        self._inputs = [(name, t.dtype.numpy) for name, t in signature.inputs]
        self._streams = [
            (i, int(which)) for i, (kind, which) in enumerate(plan.buffers) if kind == "stream"
        ]
        self.input_buffers, self._output_buffers = _resolve_buffers(signature, plan, constants)

    def arrays(self, inputs: Mapping[str, Any]) -> list[Array]:
        """The inputs in order, each in the form that code reads; a copy only where it isn't yet.
        ``InputError`` where one is missing or of another dtype."""
        return [self._array(inputs, name, dtype) for name, dtype in self._inputs]

    def stream_keys(self, seed: bytes | None) -> list[tuple[int, Array]]:
        """(buffer, key) of each stream. ``InputError`` where a seed is needed and missing."""
        if not self._streams:
            return []
        if seed is None:
            raise InputError("the kernel takes a seed with each request, and none is given")
        return [(i, stream_key(seed, stream)) for i, stream in self._streams]

    def bind(self, inputs: Mapping[str, Any]) -> dict[str, int]:
        """The symbols' values for inputs of these shapes. ``InputError`` where they don't fit."""
        names = {name: np.shape(array) for name, array in inputs.items()}
        bounds = {n: (b.low, b.high) for n, b in self._signature.symbols.items()}
        arguments, constraints = self._signature.inputs, self._signature.constraints
        return bind_symbols(arguments, names, constraints, bounds)

    def outputs(self, values: Mapping[str, int]) -> tuple[Output, ...]:
        """The outputs for these values of the symbols."""
        return tuple(
            _output(self._output_buffers[i], name, type, values)
            for i, (name, type) in enumerate(self._signature.outputs)
        )

    def _array(self, inputs: Mapping[str, Any], name: str, dtype: np.dtype[Any]) -> Array:
        array = inputs.get(name)
        if type(array) is np.ndarray and array.dtype is dtype:
            flags = array.flags
            if flags.c_contiguous and flags.aligned:
                return array
        return self._converted(inputs, name, dtype)

    def _converted(self, inputs: Mapping[str, Any], name: str, dtype: np.dtype[Any]) -> Array:
        if name not in inputs:
            known = ", ".join(repr(n) for n, _ in self._inputs)
            raise InputError(f"input {name!r} is missing; the inputs are {known}")
        array = np.asarray(inputs[name])
        if array.dtype.newbyteorder("=") != dtype:
            wanted = dict(self._signature.inputs)[name]
            raise InputError(f"input {name!r} must be {wanted}, not of dtype {array.dtype}")
        return np.require(array, dtype, ("C", "A"))


def _resolve_buffers(
    signature: Signature, plan: Plan, constants: Mapping[str, Array]
) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """(buffer, input) pairs, and the buffer of each output."""
    counts = {
        "input": range(len(signature.inputs)),
        "output": range(len(signature.outputs)),
        "constant": constants,
        "stream": range(1 << 53),
        "arena": range(len(plan.slots)),
    }
    numbered = list(enumerate(plan.buffers))
    for _, (kind, which) in numbered:
        if which not in counts.get(kind, ()):
            raise IntegrityError(f"the plan has a buffer for {kind} {which}, which isn't there")
    if len(plan.readable_inputs) != len(signature.inputs):
        raise IntegrityError("the plan doesn't say what is readable of each input")
    inputs = [(i, int(which)) for i, (kind, which) in numbered if kind == "input"]
    outputs = {int(which): i for i, (kind, which) in numbered if kind == "output"}
    if len(outputs) != len(signature.outputs):
        raise IntegrityError("the plan doesn't have one buffer for each output")
    return inputs, outputs


def _output(buffer: int, name: str, type: TensorType, values: Mapping[str, int]) -> Output:
    shape = tuple(evaluate(d, values) for d in type.shape)
    size = int(np.prod(shape, dtype=object)) if shape else 1
    dtype = type.dtype.numpy
    return Output(buffer, name, shape, dtype, size * dtype.itemsize)
