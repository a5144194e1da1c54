"""One target's code with its plan and constants: strict in what it takes, quick in taking it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.dims import evaluate
from aivmc.kernel_file.signature import Signature
from aivmc.runtime.native import NativeKernel, Parts
from aivmc.runtime.plan import Plan, Result
from aivmc.runtime.requests import Output, Requests

_ALIGNMENT = 64
_CACHED_SHAPES = 64  # sets of input shapes whose plans are kept
_SMALL = 1 << 16  # bytes of memory at which a run takes about as long as waking threads, 10 µs

Shapes = tuple[tuple[int, ...], ...]
Observer = Callable[[int, Sequence[Array]], None]
"""Sees the number of a step and its results, which are there only until it returns. With several
threads the next step may be running, so it must not write to them."""


@runtime_checkable
class PartedObserver(Protocol):
    """An observer whose work after a step is parts, which threads share.

    It learns of all steps' results before they run, of none where a step is not traced, and may
    look at them only when a part is done. ``kept`` is for what it finds out of them, and there
    again in runs whose results in the arena are where they were; others' are new arrays.
    """

    def divide(self, results: Sequence[Sequence[Array]], kept: dict[int, Any]) -> Parts: ...


@dataclass(frozen=True)
class _Bound:
    """All that doesn't change between runs on inputs of the same shapes."""

    buffers: tuple[int, ...]  # addresses; of inputs and outputs still 0
    stand_ins: tuple[tuple[int, Array], ...]  # (buffer, memory) of inputs that have too little
    outputs: tuple[Output, ...]
    dims: tuple[int, ...]
    tasks: tuple[int, ...]
    scratch: int
    is_small: bool  # so that one thread is the quickest
    views: dict[tuple[int, int], Array]  # results in the arena, by step, once they are looked at
    kept: dict[int, Any]  # by who looked


class Executor:
    """Runs one target's code. Calls from several threads are served one after the other.

    ``arrays`` are the constants by digest; they stay where they are.
    """

    def __init__(
        self, signature: Signature, plan: Plan, code: bytes, arrays: Mapping[str, Array]
    ) -> None:
        self._plan = plan
        self._arrays = arrays  # keeps the memory alive that addresses point into
        self._code = code
        self._requests = Requests(signature, plan, arrays)
        self._constant_bytes = sum(
            arrays[str(which)].nbytes for kind, which in plan.buffers if kind == "constant"
        )
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
        results of each traced step. ``InputError`` where the inputs are not exactly
        those of the signature, or a seed is needed and missing.
        """
        keys = self._requests.stream_keys(seed)
        arrays = self._requests.arrays(inputs)
        shapes = tuple([a.shape for a in arrays])
        with self._lock:
            bound = self._bound.get(shapes)
            if bound is None or len(inputs) != len(arrays):
                bound = self._bind(inputs, arrays)
            buffers = list(bound.buffers)
            for index, position in self._requests.input_buffers:
                buffers[index] = arrays[position].ctypes.data
            for index, memory in bound.stand_ins:
                buffers[index] = memory.ctypes.data
            for index, key in keys:
                buffers[index] = key.ctypes.data
            outputs = {}
            for output in bound.outputs:
                buffers[output.buffer], array = _allocate(output)
                outputs[output.name] = array
            threads = self._default_threads if threads is None else threads
            native = self._native(min(threads, 1) if bound.is_small else threads)
            parts = observer and self._parts(bound, buffers, list(outputs.values()), observer)
            native.run(tuple(buffers), bound.dims, bound.tasks, bound.scratch, parts)
        return outputs

    def close(self) -> None:
        """End the threads and give the memory back."""
        with self._lock:
            for native in self._natives.values():
                native.close()
            self._natives.clear()
            self._bound.clear()
            self._arena = np.empty(0, np.uint8)

    def _parts(
        self, bound: _Bound, buffers: list[int], outputs: list[Array], observer: Observer
    ) -> Parts:
        """What ``observer`` does after each step."""
        traced = self._plan.traced
        results = [
            [
                self._view(bound, (step, number), buffers[result.buffer], outputs, result)
                for number, result in enumerate(results if seen else ())
            ]
            for step, (results, seen) in enumerate(zip(self._plan.results, traced))
        ]
        if isinstance(observer, PartedObserver):
            return observer.divide(results, bound.kept)
        return traced, lambda step, *_: observer(step, results[step])

    def _view(
        self,
        bound: _Bound,
        place: tuple[int, int],
        address: int,
        outputs: list[Array],
        result: Result,
    ) -> Array:
        if place in bound.views:
            return bound.views[place]
        kind, which = self._plan.buffers[result.buffer]
        values = dict(zip(self._plan.symbols, bound.dims))
        shape = tuple([evaluate(d, values) for d in result.type.shape])
        if kind == "output":
            return outputs[int(which)].reshape(shape)
        at = address - self._arena.ctypes.data
        view = np.ndarray(shape, result.type.dtype.numpy, self._arena, at)
        return bound.views.setdefault(place, view)

    def _bind(self, inputs: Mapping[str, Any], arrays: Sequence[Array]) -> _Bound:
        """Check the shapes, and lay out memory for them."""
        values = self._requests.bind(inputs)
        sizes = self._plan.sizes(values)
        readable = [
            (buffer, self._plan.input_bytes(position, values), arrays[position].nbytes)
            for buffer, position in self._requests.input_buffers
        ]
        stand_ins = tuple((buffer, _aligned(n)) for buffer, n, has in readable if n > has)
        if sizes.arena > len(self._arena):
            self._arena = np.empty(0, np.uint8)  # the old one first, so that both never coexist
            self._bound.clear()
            self._arena = _aligned(sizes.arena)
        base = self._arena.ctypes.data
        buffers = [
            self._address(kind, which, base, sizes.offsets) for kind, which in self._plan.buffers
        ]
        outputs = self._requests.outputs(values)
        touched = sum(np.asarray(a).nbytes for a in inputs.values()) + self._constant_bytes
        touched += sizes.arena + sum(output.bytes for output in outputs)
        small = touched <= _SMALL or max(sizes.tasks, default=0) <= 1
        bound = _Bound(
            tuple(buffers),
            stand_ins,
            outputs,
            sizes.dims,
            sizes.tasks,
            sizes.scratch,
            small,
            {},
            {},
        )
        if len(self._bound) >= _CACHED_SHAPES:
            del self._bound[next(iter(self._bound))]
        self._bound[tuple(a.shape for a in arrays)] = bound
        return bound

    def _address(self, kind: str, which: Any, arena: int, offsets: tuple[int, ...]) -> int:
        if kind == "constant":
            return int(self._arrays[which].ctypes.data)
        return arena + offsets[which] if kind == "arena" else 0

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


def _allocate(output: Output) -> tuple[int, Array]:
    memory = np.empty(output.bytes + _ALIGNMENT, np.uint8)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory.data))
    offset = -address % _ALIGNMENT
    return address + offset, np.ndarray(output.shape, output.dtype, memory, offset)


def _aligned(size: int) -> Array:
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]
