"""A GPU that isn't there: memory by address, modules of PTX, launches; executed on this CPU.

Every launch runs to its end before it returns. What a GPU leaves undefined stops it with a
:class:`KernelFault`: docs/ptx.md lists what is watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aivmc.ptx import context as abi
from aivmc.ptx.compiled import CompiledKernel
from aivmc.ptx.context import Fault
from aivmc.ptx.errors import DeviceError, KernelFault
from aivmc.ptx.gate import admit
from aivmc.ptx.gpus import OLDEST
from aivmc.ptx.syntax import BITS, Kernel, Parameter

Bytes = npt.NDArray[np.uint8]
Extent = tuple[int, int, int]

MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS = (1024, 1024, 64)
MOST_THREADS_OF_A_BLOCK = 1024
_FEW_NUMBERS = 4096  # of buffers


class Device:
    """``order`` decides in which order blocks, and threads between barriers, run: ascending for 0,
    shuffled by any other number. ``canonical_nan``: whether results that are NaN are NVIDIA's one
    NaN, or this machine's. Neither changes the outputs of a kernel that keeps docs/numerics.md."""

    def __init__(self, order: int = 0, canonical_nan: bool = True) -> None:
        self.order, self.canonical_nan = order, canonical_nan
        self._buffers: dict[int, Bytes] = {}  # by number
        self._next = 1
        self._freed: deque[int] = deque()

    def load(self, text: str, gpu: str = OLDEST) -> DeviceModule:
        """A module of PTX for ``gpu``. ``PtxError`` where the gate refuses it."""
        return DeviceModule(self, text, gpu)

    def allocate(self, size: int) -> int:
        """The address of ``size`` new bytes."""
        if not 0 <= size < 1 << abi.OFFSET_BITS:
            raise DeviceError(f"can't allocate {size} bytes")
        number = self._new_number()
        self._buffers[number] = _aligned(size, abi.FRESH)
        return number << abi.OFFSET_BITS

    def free(self, address: int) -> None:
        """Give the memory at an address from :meth:`allocate` back."""
        number, offset = _split(address)
        if offset or number not in self._buffers:
            raise DeviceError(f"0x{address:x} is not the address of an allocation")
        del self._buffers[number]
        self._freed.append(number)

    def write(self, address: int, data: Any) -> None:
        """Copy an array's bytes, or ``bytes``, to the device."""
        source = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self._memory(address, source.size)[:] = source

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes from an address on."""
        return self._memory(address, size).tobytes()

    def _new_number(self) -> int:
        """One that has not been used, so that what was freed is not found again; or, of many, the
        one that was freed first."""
        if self._next >= _FEW_NUMBERS and self._freed:
            return self._freed.popleft()
        self._next += 1
        return self._next - 1

    def _memory(self, address: int, size: int) -> Bytes:
        number, offset = _split(address)
        buffer = self._buffers.get(number)
        if buffer is None or size < 0 or offset + size > buffer.size:
            raise DeviceError(f"{size} bytes at {self.describe(address)} are not allocated")
        return buffer[offset : offset + size]

    def describe(self, address: int) -> str:
        """An address in words."""
        number, offset = _split(address)
        if number not in self._buffers:
            return f"0x{address:x}, in no buffer"
        return f"offset {offset} of buffer {number}, which has {self._buffers[number].size} bytes"

    def _table(self) -> npt.NDArray[np.int64]:
        table = np.zeros((self._next, 2), np.int64)
        for number, buffer in self._buffers.items():
            table[number] = buffer.ctypes.data, buffer.size
        return table


class DeviceModule:
    """PTX on a device; ``counts`` is the gate's report."""

    def __init__(self, device: Device, text: str, gpu: str) -> None:
        self._device, self._text = device, text
        self._admitted = admit(text, gpu)
        self.counts = self._admitted.counts
        self._compiled: dict[str, CompiledKernel] = {}

    def kernel(self, name: str) -> Kernel:
        """The kernel ``name``. ``DeviceError`` where there is none."""
        return kernel_named(self._admitted.module.kernels, name)

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[int | float],
    ) -> None:
        """Run the kernel ``name`` with ``grid`` blocks of ``block`` threads (x, y, z; 1 where
        missing). Pointers are addresses. ``KernelFault`` where it does what it may not."""
        kernel = self.kernel(name)
        grid3, block3 = _extent(grid, "grid", MOST_BLOCKS), _extent(block, "block", MOST_THREADS)
        _check_block(kernel, block3)
        packed = pack_arguments(kernel, arguments)
        if name not in self._compiled:
            canonical = self._device.canonical_nan
            self._compiled[name] = CompiledKernel(self._admitted, name, canonical)
        launch = _Launch(self._device, self._compiled[name], grid3, block3, packed)
        launch.run()
        launch.check(self._text)


class _Launch:
    """One launch's context, and all that it points at."""

    def __init__(
        self,
        device: Device,
        compiled: CompiledKernel,
        grid: Extent,
        block: Extent,
        arguments: Bytes,
    ) -> None:
        self._device, self._compiled, self._grid, self._block = device, compiled, grid, block
        kernel = compiled.kernel
        blocks, threads = int(np.prod(grid)), int(np.prod(block))
        watched = 4 * -(-kernel.shared_bytes // compiled.granule)
        random = np.random.default_rng(device.order)
        table = device._table()
        self._memory: dict[str, npt.NDArray[Any]] = {
            "buffers": table,
            "parameters": arguments,
            "shared": _aligned(kernel.shared_bytes, abi.FRESH),
            "writers": _aligned(watched),
            "readers": _aligned(watched),
            "states": _aligned(compiled.state_bytes * threads),
            "block_order": _order(blocks, device.order, random),
            "thread_order": _order(threads, device.order, random),
        }
        self._words = np.zeros(len(abi.WORDS), np.int64)
        for name, memory in self._memory.items():
            self._set(name, memory.ctypes.data)
        for name, value in (
            ("buffer_count", len(table)),
            ("block_count", blocks),
            ("thread_count", threads),
        ):
            self._set(name, value)
        for axis, of_grid, of_block in zip("xyz", grid, block):
            self._set(f"nctaid.{axis}", of_grid)
            self._set(f"ntid.{axis}", of_block)

    def _set(self, name: str, value: int) -> None:
        self._words[abi.OFFSETS[name] // 8] = value

    def _get(self, name: str) -> int:
        return int(self._words[abi.OFFSETS[name] // 8])

    def run(self) -> None:
        self._compiled.run(self._words.ctypes.data)

    def check(self, text: str) -> None:
        """``KernelFault`` if the code has reported one."""
        fault = Fault(self._get("fault"))
        if fault is Fault.NONE:
            return
        at = self._get("fault_at")
        if fault is Fault.DIVERGENCE:
            at = self._where(at) if at else self._where(self._get("fault_other"))
        kernel = self._compiled.kernel
        instruction = kernel.instructions[at]
        raise KernelFault(
            self._reason(fault),
            kernel.name,
            text,
            instruction.place.line,
            _coordinates(self._get("fault_block"), self._grid),
            _coordinates(self._get("fault_thread"), self._block),
        )

    def _where(self, barrier: int) -> int:
        return self._compiled.barriers[barrier - 1]

    def _reason(self, fault: Fault) -> str:
        address = self._get("fault_address") & (2**64 - 1)
        match fault:
            case Fault.GLOBAL_ADDRESS:
                return (
                    "an access to global memory out of bounds or misaligned, at "
                    + self._device.describe(address)
                )
            case Fault.SHARED_ADDRESS:
                size = self._compiled.kernel.shared_bytes
                return (
                    f"an access to shared memory out of bounds or misaligned, at offset {address} "
                    f"of {size}"
                )
            case Fault.LOCAL_ADDRESS:
                size = self._compiled.kernel.local_bytes
                return (
                    f"an access to local memory out of bounds or misaligned, at offset {address} "
                    f"of {size}"
                )
            case Fault.READ_RACE:
                return f"a race: reads shared offset {address}, which {self._other()} wrote"
            case Fault.WRITE_RACE:
                return f"a race: writes shared offset {address}, which {self._other()} used"
            case Fault.UNINITIALIZED:
                return f"reads shared offset {address} before anything is written there"
            case Fault.DIVISION:
                return "a division by zero, or one that overflows"
            case Fault.DIVERGENCE:
                return self._divergence()
            case _:
                return f"a block with more than {abi.MOST_INTERVALS} barriers"

    def _other(self) -> str:
        thread = self._get("fault_other") & abi.MANY_THREADS
        if thread == abi.MANY_THREADS:
            return "several threads"
        return f"thread {_coordinates(thread, self._block)} since the last barrier"

    def _divergence(self) -> str:
        instructions = self._compiled.kernel.instructions

        def place(reached: int) -> str:
            if reached == 0:
                return "has ended"
            line = instructions[self._where(reached)].place.line
            return f"waits at the barrier in line {line}"

        here, others = self._get("fault_at"), self._get("fault_other")
        return f"a barrier that not all reach: this thread {place(here)}, another {place(others)}"


def _aligned(size: int, value: int = 0) -> Bytes:
    memory = np.full(size + abi.BUFFER_ALIGNMENT, value, np.uint8)
    start = -memory.ctypes.data % abi.BUFFER_ALIGNMENT
    return memory[start : start + size]


def _split(address: int) -> tuple[int, int]:
    return address >> abi.OFFSET_BITS, address & ((1 << abi.OFFSET_BITS) - 1)


def _order(count: int, order: int, random: np.random.Generator) -> npt.NDArray[np.uint32]:
    numbers = np.arange(count, dtype=np.uint32)
    return random.permutation(numbers) if order else numbers


def _coordinates(number: int, size: Extent) -> Extent:
    x, y, _ = size
    return number % x, number // x % y, number // (x * y)


def _extent(sizes: Sequence[int], what: str, most: Extent) -> Extent:
    padded = (*map(int, sizes), 1, 1, 1)
    x, y, z = padded[:3]
    for size, limit in zip((x, y, z), most):
        if not 1 <= size <= limit or len(sizes) > 3:
            raise DeviceError(f"a {what} of {tuple(sizes)}: each size is 1 to its limit in {most}")
    return x, y, z


def _check_block(kernel: Kernel, block: Extent) -> None:
    threads = block[0] * block[1] * block[2]
    if kernel.block is not None and kernel.block != block:
        raise DeviceError(f"{kernel.name} needs blocks of {kernel.block} threads, not {block}")
    most = min(kernel.most_threads or MOST_THREADS_OF_A_BLOCK, MOST_THREADS_OF_A_BLOCK)
    if threads > most:
        raise DeviceError(f"{kernel.name} takes blocks of at most {most} threads, not {threads}")


def kernel_named(kernels: Mapping[str, Kernel], name: str) -> Kernel:
    """The kernel ``name`` of a module's. ``DeviceError`` where there is none."""
    if name not in kernels:
        raise DeviceError(f"there is no kernel {name!r}; the module has {', '.join(kernels)}")
    return kernels[name]


def pack_arguments(kernel: Kernel, arguments: Sequence[int | float]) -> Bytes:
    """The arguments' bytes, each at its parameter's offset. ``DeviceError`` where one is missing or
    doesn't fit."""
    if len(arguments) != len(kernel.parameters):
        wanted = len(kernel.parameters)
        raise DeviceError(f"{kernel.name} takes {wanted} arguments, not {len(arguments)}")
    packed = _aligned(kernel.parameter_bytes)
    for parameter, argument in zip(kernel.parameters, arguments):
        data = _argument(kernel, parameter, argument)
        packed[parameter.offset : parameter.offset + len(data)] = np.frombuffer(data, np.uint8)
    return packed


def _argument(kernel: Kernel, parameter: Parameter, argument: int | float) -> bytes:
    bits = BITS[parameter.type]
    if parameter.type[0] == "f":
        return np.array(argument, f"<f{bits // 8}").tobytes()
    if not isinstance(argument, int):
        raise DeviceError(f"{kernel.name}: {parameter.name} takes an integer, not {argument!r}")
    value = argument
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise DeviceError(f"{kernel.name}: {argument} doesn't fit {parameter.name}")
    return (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
