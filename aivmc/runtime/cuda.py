"""An NVIDIA GPU through the driver's own library, ``libcuda.so.1``, and nothing else of CUDA.

Functions and numbers are those of the CUDA driver API; the driver compiles PTX for its GPU. What
the gate refuses is never given to it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

import numpy as np

from aivmc.ptx.device import kernel_named, pack_arguments
from aivmc.ptx.gate import admit
from aivmc.ptx.gpus import OLDEST, capability, dotted
from aivmc.runtime.errors import NodeError

LIBRARY = "libcuda.so.1"

# Types of the arguments; each function gives a CUresult.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuModuleLoadDataEx": (
        *(POINTER(c_void_p), c_char_p, c_uint),
        *(POINTER(c_int), POINTER(c_void_p)),
    ),
    "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemcpyHtoD_v2": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH_v2": (c_void_p, c_uint64, c_size_t),
    "cuLaunchKernel": (c_void_p, *[c_uint] * 7, c_void_p, POINTER(c_void_p), POINTER(c_void_p)),
}

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # of CUdevice_attribute
_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES = 5, 6  # of CUjit_option
_LOG_BYTES = 8192


class CudaDevice:
    """The first GPU, of compute ``capability`` (major, minor). ``NodeError`` where there is no
    driver, or no GPU.

    ``library`` has the driver's functions; the driver's own where it is None.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _driver() if library is None else library
        self.call("cuInit", 0)
        number, context = c_int(), c_void_p()
        self.call("cuDeviceGet", ctypes.byref(number), 0)
        self.capability = (
            self._attribute(_CAPABILITY_MAJOR, number),
            self._attribute(_CAPABILITY_MINOR, number),
        )
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
        self._context = context

    def call(self, name: str, *arguments: Any, what: str = "") -> None:
        """Call the driver. ``NodeError`` with its words where it fails, about ``what``."""
        result = getattr(self._library, name)(*arguments)
        if result:
            words = c_char_p()
            self._library.cuGetErrorString(result, ctypes.byref(words))
            reason = (words.value or b"unknown error").decode("utf-8", "replace")
            raise NodeError(f"{what or 'the GPU'}: {name} gives {result}, {reason}")

    def enter(self) -> None:
        """Make the device's context this thread's."""
        self.call("cuCtxSetCurrent", self._context)

    def load(self, text: str, gpu: str = OLDEST) -> CudaModule:
        """A module of PTX for ``gpu``. ``PtxError`` where the gate refuses it, ``NodeError`` where
        this GPU is older, or the driver can't compile it."""
        return CudaModule(self, text, gpu)

    def allocate(self, size: int) -> int:
        """The address of ``size`` new bytes."""
        self.enter()
        address = c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), max(size, 1), what=f"{size} bytes")
        return address.value

    def free(self, address: int) -> None:
        """Give the memory at an address from :meth:`allocate` back. Where a kernel has failed, its
        error is the one to be seen: the GPU gives the memory back with the process."""
        self._library.cuCtxSetCurrent(self._context)
        self._library.cuMemFree_v2(address)

    def write(self, address: int, data: Any) -> None:
        """Copy an array's bytes to the device."""
        array = np.ascontiguousarray(data)
        if array.nbytes:
            self.enter()
            self.call("cuMemcpyHtoD_v2", address, array.ctypes.data, array.nbytes)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes from an address on."""
        data = ctypes.create_string_buffer(max(size, 1))
        if size:
            self.enter()
            self.call("cuMemcpyDtoH_v2", data, address, size)
        return data.raw[:size]

    def _attribute(self, which: int, device: c_int) -> int:
        value = c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value


class CudaModule:
    """PTX, compiled by the driver for its GPU."""

    def __init__(self, device: CudaDevice, text: str, gpu: str) -> None:
        self._device = device
        self._kernels = admit(text, gpu).module.kernels
        if device.capability < capability(gpu):
            has, least = dotted(device.capability), dotted(capability(gpu))
            raise NodeError(f"the GPU has compute capability {has}; {least} is needed")
        self._functions: dict[str, c_void_p] = {}
        self._module = c_void_p()
        log = ctypes.create_string_buffer(_LOG_BYTES)
        options = (c_int * 2)(_JIT_ERROR_LOG, _JIT_ERROR_LOG_BYTES)
        values = (c_void_p * 2)(ctypes.addressof(log), _LOG_BYTES)
        device.enter()
        try:
            device.call(
                "cuModuleLoadDataEx",
                *(ctypes.byref(self._module), text.encode("ascii"), 2, options, values),
                what="compiling the PTX",
            )
        except NodeError as error:
            words = log.value.decode("utf-8", "replace").strip()
            raise NodeError(f"{error}\n{words}" if words else str(error)) from None

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[int | float],
    ) -> None:
        """Run the kernel ``name`` to its end, with ``grid`` blocks of ``block`` threads (x, y, z; 1
        where missing). Pointers are addresses. ``NodeError`` names the kernel where it fails."""
        kernel = kernel_named(self._kernels, name)
        packed = pack_arguments(kernel, arguments)
        at = [packed.ctypes.data + p.offset for p in kernel.parameters]
        pointers = (c_void_p * max(len(at), 1))(*at)
        sizes = (*_three(grid), *_three(block))
        self._device.enter()
        function = self._function(name)
        self._device.call("cuLaunchKernel", function, *sizes, 0, None, pointers, None, what=name)
        # Or another call would report what this kernel does wrong.
        self._device.call("cuCtxSynchronize", what=name)

    def _function(self, name: str) -> c_void_p:
        if name not in self._functions:
            function = c_void_p()
            found = (ctypes.byref(function), self._module, name.encode())
            self._device.call("cuModuleGetFunction", *found, what=name)
            self._functions[name] = function
        return self._functions[name]


def _three(sizes: Sequence[int]) -> tuple[int, ...]:
    return (*sizes, *[1] * (3 - len(sizes)))


def _driver() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
        for name, types in FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, c_int
    except (OSError, AttributeError) as error:
        raise NodeError(
            f"no NVIDIA driver can be loaded ({error}): install one, or use the device ptx-sim"
        ) from None
    return library
