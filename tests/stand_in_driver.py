"""A driver library without a GPU: the functions of libcuda that we call, as C functions, on the
PTX executor."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int
from typing import Any

from aivmc.ir.errors import AivmcError
from aivmc.ptx.device import Device, DeviceModule
from aivmc.ptx.errors import DeviceError, KernelFault, PtxError
from aivmc.ptx.gpus import capability
from aivmc.ptx.syntax import BITS
from aivmc.runtime.cuda import FUNCTIONS

# Of CUresult.
INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, INVALID_PTX = 1, 2, 201, 218
NO_DEVICE, NOT_FOUND, ILLEGAL_ADDRESS = 100, 500, 700
_WORDS = {
    INVALID_VALUE: b"invalid argument",
    OUT_OF_MEMORY: b"out of memory",
    NO_DEVICE: b"no CUDA-capable device is detected",
    INVALID_CONTEXT: b"invalid device context",
    INVALID_PTX: b"a PTX JIT compilation failed",
    NOT_FOUND: b"named symbol not found",
    ILLEGAL_ADDRESS: b"an illegal memory access was encountered",
}
_CONTEXT = 0xC0


class StandIn:
    """Has the functions as attributes. ``memory`` is what can be allocated, in bytes; ``calls``
    the names of the functions called."""

    def __init__(
        self, capability: tuple[int, int] = (8, 0), memory: int = 1 << 30, gpus: int = 1
    ) -> None:
        self.capability, self.memory, self.gpus = capability, memory, gpus
        self.device = Device()
        self.calls: list[str] = []
        self.sizes: dict[int, int] = {}
        self._context: int | None = None
        self._failure = 0  # of a launch, until somebody asks
        self._modules: dict[int, DeviceModule] = {}
        self._functions: dict[int, tuple[DeviceModule, str]] = {}
        self._kept = [c_char_p(words) for words in _WORDS.values()]
        for name, types in FUNCTIONS.items():
            handler = self._counted(name, getattr(self, f"_{name}"))
            setattr(self, name, ctypes.CFUNCTYPE(c_int, *types)(handler))

    def _counted(self, name: str, handler: Callable[..., int | None]) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            needs_context = name.startswith(("cuMem", "cuModule", "cuLaunch"))
            if needs_context and self._context != _CONTEXT:
                return INVALID_CONTEXT
            if needs_context and self._failure:
                return self._failure  # a context is of no use any more
            if name == "cuInit" and not self.gpus:
                return NO_DEVICE
            try:
                return handler(*arguments) or 0
            except DeviceError:
                return INVALID_VALUE

        return call

    def _cuInit(self, flags: int) -> None:  # noqa: N802
        assert flags == 0

    def _cuDeviceGet(self, device: Any, ordinal: int) -> None:  # noqa: N802
        device[0] = ordinal

    def _cuDeviceGetAttribute(self, value: Any, which: int, device: int) -> None:  # noqa: N802
        value[0] = self.capability[which - 75]

    def _cuDevicePrimaryCtxRetain(self, context: Any, device: int) -> None:  # noqa: N802
        context[0] = _CONTEXT

    def _cuCtxSetCurrent(self, context: int) -> None:  # noqa: N802
        self._context = context

    def _cuCtxSynchronize(self) -> int:  # noqa: N802
        return self._failure

    def _cuGetErrorString(self, error: int, words: Any) -> None:  # noqa: N802
        words[0] = self._kept[list(_WORDS).index(error)]

    def _cuModuleLoadDataEx(  # noqa: N802
        self, module: Any, image: bytes, count: int, options: Any, values: Any
    ) -> int:
        text = image.decode()
        gpu = text.partition(".target ")[2].split()[0].rstrip(",")
        if capability(gpu) > self.capability:
            return INVALID_PTX
        try:
            loaded = self.device.load(text, gpu)
        except PtxError as error:
            assert list(options[:count]) == [5, 6]
            ctypes.memmove(values[0], f"ptxas: {error.reason}".encode()[: values[1] - 1], values[1])
            return INVALID_PTX
        self._modules[len(self._modules) + 1] = loaded
        module[0] = len(self._modules)
        return 0

    def _cuModuleGetFunction(self, function: Any, module: int, name: bytes) -> int:  # noqa: N802
        loaded = self._modules[module]
        if name.decode() not in loaded.counts:
            return NOT_FOUND
        self._functions[len(self._functions) + 1] = (loaded, name.decode())
        function[0] = len(self._functions)
        return 0

    def _cuMemAlloc_v2(self, address: Any, size: int) -> int:  # noqa: N802
        if size == 0:
            return INVALID_VALUE
        if sum(self.sizes.values()) + size > self.memory:
            return OUT_OF_MEMORY
        address[0] = self.device.allocate(size)
        self.sizes[address[0]] = size
        return 0

    def _cuMemFree_v2(self, address: int) -> None:  # noqa: N802
        self.device.free(address)
        del self.sizes[address]

    def _cuMemcpyHtoD_v2(self, to: int, source: int, size: int) -> None:  # noqa: N802
        self.device.write(to, ctypes.string_at(source, size))

    def _cuMemcpyDtoH_v2(self, to: int, source: int, size: int) -> None:  # noqa: N802
        ctypes.memmove(to, self.device.read(source, size), size)

    def _cuLaunchKernel(self, function: int, *rest: Any) -> int:  # noqa: N802
        *sizes, shared, stream, parameters, extra = rest
        assert (shared, stream, bool(extra)) == (0, None, False)
        loaded, name = self._functions[function]
        kinds = [p.type for p in loaded.kernel(name).parameters]
        arguments = [_value(parameters[i], kind) for i, kind in enumerate(kinds)]
        try:
            loaded.launch(name, sizes[:3], sizes[3:], arguments)
        except KernelFault:
            self._failure = ILLEGAL_ADDRESS
        except AivmcError:
            return INVALID_VALUE
        return 0


def _value(address: int, kind: str) -> int:
    assert kind[0] != "f"
    return int.from_bytes(ctypes.string_at(address, BITS[kind] // 8), "little")
