"""Runs a GPU target's kernels on a device; constants stay there between runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.dims import evaluate
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import Signature
from aivmc.ptx.errors import PtxError
from aivmc.ptx.gpus import OLDEST
from aivmc.runtime.executor import Observer
from aivmc.runtime.launches import Launch, LaunchPlan
from aivmc.runtime.plan import Sizes
from aivmc.runtime.requests import Output, Requests

Shapes = tuple[tuple[int, ...], ...]


_KEY_BYTES = 16  # of a stream
# A buffer's memory is a whole number of these, one at least: code may read such a vector of which
# only a part is there, and then not use the rest.
_VECTOR_BYTES = 16


class LoadedModule(Protocol):
    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[int | float],
    ) -> None:
        """Run a kernel; pointers are addresses."""


class Device(Protocol):
    """What :class:`aivmc.ptx.device.Device` is."""

    def load(self, text: str, gpu: str) -> LoadedModule: ...

    def allocate(self, size: int) -> int: ...

    def free(self, address: int) -> None: ...

    def write(self, address: int, data: Any) -> None: ...

    def read(self, address: int, size: int) -> bytes: ...


@dataclass(frozen=True)
class _Bound:
    """All that doesn't change between runs on inputs of the same shapes."""

    shapes: Shapes
    outputs: tuple[Output, ...]
    sizes: Sizes
    addresses: tuple[int, ...]  # of the buffers
    scratch: int


class DeviceExecutor:
    """Runs one target's PTX. Calls from several threads are served one after the other.

    ``arrays`` are the constants by digest.
    """

    def __init__(
        self,
        signature: Signature,
        plan: LaunchPlan,
        code: bytes,
        arrays: Mapping[str, Array],
        device: Device,
        gpu: str = OLDEST,
    ) -> None:
        """The code is for ``gpu``. ``IntegrityError`` where plan and code don't fit together, or
        the code is refused."""
        self._plan, self._device = plan, device
        self._requests = Requests(signature, plan.plan, arrays)
        try:
            self._module = device.load(code.decode("ascii"), gpu)
        except UnicodeDecodeError:
            raise IntegrityError("the kernel's PTX is not ASCII") from None
        except PtxError as error:
            raise IntegrityError(f"the kernel's PTX is refused: {error}") from None
        self._lock = threading.Lock()
        self._constants = {
            which: self._upload(arrays[str(which)])
            for kind, which in plan.plan.buffers
            if kind == "constant"
        }
        self._bound: _Bound | None = None
        self._memory: list[int] = []  # what is allocated for it

    def run(
        self,
        inputs: Mapping[str, Any],
        threads: int | None = None,
        seed: bytes | None = None,
        observer: Observer | None = None,
    ) -> dict[str, Array]:
        """The outputs, by name, for these inputs; fresh arrays. A device has its own ``threads``.

        ``seed`` and ``observer`` are as in :meth:`aivmc.runtime.executor.Executor.run`.
        ``InputError`` where the inputs are not exactly those of the signature, or a seed is needed
        and missing.
        """
        keys = self._requests.stream_keys(seed)
        arrays = self._requests.arrays(inputs)
        with self._lock:
            shapes = tuple(a.shape for a in arrays)
            bound = self._bound
            if bound is None or bound.shapes != shapes or len(inputs) != len(arrays):
                bound = self._bound = self._bind(inputs, arrays)
            for buffer, position in self._requests.input_buffers:
                self._device.write(bound.addresses[buffer], arrays[position])
            for buffer, key in keys:
                self._device.write(bound.addresses[buffer], key)
            for step, launch in enumerate(self._plan.launches):
                self._launch(bound, launch, bound.sizes.tasks[step])
                if observer is not None and self._plan.plan.traced[step]:
                    observer(step, self._results(bound, step))
            return {
                o.name: self._download(bound, o.buffer, o.shape, o.dtype) for o in bound.outputs
            }

    def close(self) -> None:
        """Give the device's memory back."""
        with self._lock:
            self._free()
            for address in self._constants.values():
                self._device.free(address)
            self._constants.clear()

    def _upload(self, array: Array) -> int:
        address = self._device.allocate(_whole(array.nbytes))
        self._device.write(address, array)
        return address

    def _download(
        self, bound: _Bound, buffer: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        size = prod(shape) * dtype.itemsize
        data = bytearray(self._device.read(bound.addresses[buffer], size))
        return np.ndarray(shape, dtype, data)

    def _results(self, bound: _Bound, step: int) -> list[Array]:
        """What a step has left."""
        values = dict(zip(self._plan.plan.symbols, bound.sizes.dims, strict=True))
        results = self._plan.plan.results[step]
        shapes = [tuple(evaluate(d, values) for d in r.type.shape) for r in results]
        return [
            self._download(bound, r.buffer, shape, r.type.dtype.numpy)
            for r, shape in zip(results, shapes, strict=True)
        ]

    def _bind(self, inputs: Mapping[str, Any], arrays: list[Array]) -> _Bound:
        """Check the shapes, and allocate memory for all buffers but constants. Slots are allocated
        one by one, for a device that checks bounds."""
        self._free()
        values = self._requests.bind(inputs)
        for launch in self._plan.launches:
            launch.require_narrow(values)
        outputs = self._requests.outputs(values)
        plan = self._plan.plan
        sizes = plan.sizes(values)
        slots = [self._new(size) for size in plan.slot_bytes(values)]
        own = {b: plan.input_bytes(i, values) for b, i in self._requests.input_buffers}
        own |= {output.buffer: output.bytes for output in outputs}

        def place(buffer: int, kind: str, which: int | str) -> int:
            if kind == "constant":
                return self._constants[which]
            return slots[int(which)] if kind == "arena" else self._new(own.get(buffer, _KEY_BYTES))

        addresses = tuple(place(i, *buffer) for i, buffer in enumerate(plan.buffers))
        threads = (
            launch.blocks(tasks, sizes.scratch) * launch.threads
            for launch, tasks in zip(self._plan.launches, sizes.tasks, strict=True)
            if launch.has_scratch
        )
        scratch = self._new(max(threads, default=0) * sizes.scratch)
        shapes = tuple(a.shape for a in arrays)
        return _Bound(shapes, outputs, sizes, addresses, scratch)

    def _launch(self, bound: _Bound, launch: Launch, tasks: int) -> None:
        if tasks == 0:
            return
        scratch = bound.sizes.scratch
        arguments = [
            *(bound.addresses[b] for b in launch.buffers),
            *(bound.sizes.dims[d] for d in launch.dims),
            *(bound.scratch, scratch, tasks),
        ]
        grid = (launch.blocks(tasks, scratch),)
        self._module.launch(launch.function, grid, (launch.threads,), arguments)

    def _new(self, size: int) -> int:
        address = self._device.allocate(_whole(size))
        self._memory.append(address)
        return address

    def _free(self) -> None:
        self._bound = None
        for address in self._memory:
            self._device.free(address)
        self._memory.clear()


def _whole(size: int) -> int:
    return max(size + -size % _VECTOR_BYTES, _VECTOR_BYTES)
