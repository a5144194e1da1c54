"""One target's code with its plan and constants: strict in what it takes, quick in taking it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
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
from aivmc.runtime.native import NativeKernel
from aivmc.runtime.plan import Plan, Result

_ALIGNMENT = 64
_CACHED_SHAPES = 64  # sets of input shapes whose plans are kept
_SMALL = 1 << 16  # bytes of memory at which a run takes about as long as waking threads, 10 µs

Shapes = tuple[tuple[int, ...], ...]
Observer = Callable[[int, Sequence[Array]], None]
"""Sees the number of a step and its results, which are there only until it returns."""


@dataclass(frozen=True)
class _Output:
    buffer: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


@dataclass(frozen=True)
class _Bound:
    """All that doesn't change between runs on inputs of the same shapes."""

    buffers: tuple[int, ...]  # addresses; of inputs and outputs still 0
    outputs: tuple[_Output, ...]
    dims: tuple[int, ...]
    tasks: tuple[int, ...]
    scratch: int
    is_small: bool  # so that one thread is the quickest


class Executor:
    """Runs one target's code. Calls from several threads are served one after the other.

    ``arrays`` are the constants by digest; they stay where they are.
    """

    def __init__(
        self, signature: Signature, plan: Plan, code: bytes, arrays: Mapping[str, Array]
    ) -> None:
        self._signature = signature
        self._plan = plan
        self._arrays = arrays  # keeps the memory alive that addresses point into
        self._code = code
        self._inputs = [(name, t.dtype.numpy) for name, t in signature.inputs]
        self._input_buffers, self._output_buffers = self._resolve_buffers()
        self._constant_bytes = sum(
            arrays[str(which)].nbytes for kind, which in plan.buffers if kind == "constant"
        )
        self._stream_buffers = [
            (i, int(which)) for i, (kind, which) in enumerate(plan.buffers) if kind == "stream"
        ]
        self._bound: dict[Shapes, _Bound] = {}
        self._arena = np.empty(0, np.uint8)
        self._lock = threading.Lock()
        self._natives: dict[int, NativeKernel] = {}  # by number of threads
        self._default_threads = len(os.sched_getaffinity(0))

    def run(
        self,
        inputs: Mapping[str, Any],
        threads: int | None = None,
        seed: bytes | None = None,
        observer: Observer | None = None,
    ) -> dict[str, Array]:
        """The outputs, by name, for these inputs; fresh arrays, aligned to 64 bytes.

        ``seed`` is what code with streams draws from; other code ignores it. ``observer`` sees the
        results of each traced step once it is done. ``InputError`` where the inputs are not exactly
        those of the signature, or a seed is needed and missing.
        """
        keys = self._stream_keys(seed)
        arrays = [self._array(inputs, name, dtype) for name, dtype in self._inputs]
        shapes = tuple([a.shape for a in arrays])
        with self._lock:
            bound = self._bound.get(shapes)
            if bound is None or len(inputs) != len(arrays):
                bound = self._bind(inputs, shapes)
            buffers = list(bound.buffers)
            for index, position in self._input_buffers:
                buffers[index] = arrays[position].ctypes.data
            for index, key in keys:
                buffers[index] = key.ctypes.data
            outputs = {}
            for output in bound.outputs:
                buffers[output.buffer], array = _allocate(output)
                outputs[output.name] = array
            threads = self._default_threads if threads is None else threads
            native = self._native(min(threads, 1) if bound.is_small else threads)
            if observer is None:
                native.run(tuple(buffers), bound.dims, bound.tasks, bound.scratch)
            else:
                self._observe(native, bound, buffers, list(outputs.values()), observer)
        return outputs

    def close(self) -> None:
        """End the threads and give the memory back."""
        with self._lock:
            for native in self._natives.values():
                native.close()
            self._natives.clear()
            self._bound.clear()
            self._arena = np.empty(0, np.uint8)

    def _observe(
        self,
        native: NativeKernel,
        bound: _Bound,
        buffers: list[int],
        outputs: list[Array],
        observer: Observer,
    ) -> None:
        """Run up to each traced step in turn: steps without tasks do nothing."""
        values, addresses = dict(zip(self._plan.symbols, bound.dims)), tuple(buffers)
        last, first = len(bound.tasks) - 1, 0
        for step, traced in enumerate(self._plan.traced):
            if not traced and step != last:
                continue
            tasks = tuple(n if first <= i <= step else 0 for i, n in enumerate(bound.tasks))
            native.run(addresses, bound.dims, tasks, bound.scratch)
            first = step + 1
            if traced:
                results = self._plan.results[step]
                observer(step, [self._result(r, values, buffers, outputs) for r in results])

    def _result(
        self, result: Result, values: Mapping[str, int], buffers: list[int], outputs: list[Array]
    ) -> Array:
        """What a step has left, where it lies."""
        kind, which = self._plan.buffers[result.buffer]
        shape = tuple(evaluate(d, values) for d in result.type.shape)
        if kind == "output":
            return outputs[int(which)].reshape(shape)
        offset = buffers[result.buffer] - self._arena.ctypes.data
        return np.ndarray(shape, result.type.dtype.numpy, self._arena, offset)

    def _stream_keys(self, seed: bytes | None) -> list[tuple[int, Array]]:
        """(buffer, key) of each stream."""
        if not self._stream_buffers:
            return []
        if seed is None:
            raise InputError("the kernel takes a seed with each request, and none is given")
        return [(i, stream_key(seed, stream)) for i, stream in self._stream_buffers]

    def _array(self, inputs: Mapping[str, Any], name: str, dtype: np.dtype[Any]) -> Array:
        """An input in the form that the code reads; a copy only where it isn't yet."""
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

    def _bind(self, inputs: Mapping[str, Any], shapes: Shapes) -> _Bound:
        """Check the shapes, and lay out memory for them."""
        names = {name: np.shape(array) for name, array in inputs.items()}
        bounds = {n: (b.low, b.high) for n, b in self._signature.symbols.items()}
        arguments, constraints = self._signature.inputs, self._signature.constraints
        values = bind_symbols(arguments, names, constraints, bounds)
        sizes = self._plan.sizes(values)
        if sizes.arena > len(self._arena):
            self._arena = np.empty(0, np.uint8)  # the old one first, so that both never coexist
            self._bound.clear()
            self._arena = _aligned(sizes.arena)
        base = self._arena.ctypes.data
        buffers = [
            self._address(kind, which, base, sizes.offsets) for kind, which in self._plan.buffers
        ]
        outputs = [
            _output(self._output_buffers[i], name, type, values)
            for i, (name, type) in enumerate(self._signature.outputs)
        ]
        touched = sum(np.asarray(a).nbytes for a in inputs.values()) + self._constant_bytes
        touched += sizes.arena + sum(output.bytes for output in outputs)
        small = touched <= _SMALL or max(sizes.tasks, default=0) <= 1
        bound = _Bound(
            tuple(buffers), tuple(outputs), sizes.dims, sizes.tasks, sizes.scratch, small
        )
        if len(self._bound) >= _CACHED_SHAPES:
            del self._bound[next(iter(self._bound))]
        self._bound[shapes] = bound
        return bound

    def _address(self, kind: str, which: Any, arena: int, offsets: tuple[int, ...]) -> int:
        if kind == "constant":
            return int(self._arrays[which].ctypes.data)
        return arena + offsets[which] if kind == "arena" else 0

    def _resolve_buffers(self) -> tuple[list[tuple[int, int]], dict[int, int]]:
        """(buffer, input) pairs, and the buffer of each output. ``IntegrityError`` where the plan
        names what isn't there."""
        counts = {
            "input": range(len(self._signature.inputs)),
            "output": range(len(self._signature.outputs)),
            "constant": self._arrays,
            "stream": range(1 << 53),
            "arena": range(len(self._plan.slots)),
        }
        numbered = list(enumerate(self._plan.buffers))
        for _, (kind, which) in numbered:
            if which not in counts.get(kind, ()):
                raise IntegrityError(f"the plan has a buffer for {kind} {which}, which isn't there")
        inputs = [(i, int(which)) for i, (kind, which) in numbered if kind == "input"]
        outputs = {int(which): i for i, (kind, which) in numbered if kind == "output"}
        if len(outputs) != len(self._signature.outputs):
            raise IntegrityError("the plan doesn't have one buffer for each output")
        return inputs, outputs

    def _native(self, threads: int) -> NativeKernel:
        native = self._natives.get(threads)
        if native is None:
            plan = self._plan
            sizes = {
                "buffers": len(plan.buffers),
                "dims": len(plan.symbols),
                "steps": len(plan.tasks),
            }
            native = NativeKernel(self._code, **sizes, threads=threads)
            self._natives[threads] = native
        return native


def _output(buffer: int, name: str, type: TensorType, values: Mapping[str, int]) -> _Output:
    shape = tuple(evaluate(d, values) for d in type.shape)
    size = int(np.prod(shape, dtype=object)) if shape else 1
    dtype = type.dtype.numpy
    return _Output(buffer, name, shape, dtype, size * dtype.itemsize)


def _allocate(output: _Output) -> tuple[int, Array]:
    memory = np.empty(output.bytes + _ALIGNMENT, np.uint8)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory.data))
    offset = -address % _ALIGNMENT
    return address + offset, np.ndarray(output.shape, output.dtype, memory, offset)


def _aligned(size: int) -> Array:
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]
