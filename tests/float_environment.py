"""This thread's floating-point environment (MXCSR), to make it hostile and to see it restored."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import llvmlite.binding as llvm
import numpy as np

DEFAULT = 0x1F80
HOSTILE = [
    DEFAULT | 0x8040,  # flush to zero, denormals are zero
    DEFAULT | 0x2000,  # round down
    DEFAULT | 0x4000 | 0x8040,  # round up, flush
    DEFAULT | 0x6000,  # round to zero
]

_CODE = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @get(ptr %p) {
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  ret void
}
define void @set(ptr %p) {
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}"""


class Environment:
    """Reads and writes this thread's MXCSR."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_CODE), machine)
        self.engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._get, self._set = (
            kind(self.engine.get_function_address(name)) for name in ("get", "set")
        )
        self.word = np.zeros(1, np.uint32)

    @property
    def control(self) -> int:
        """MXCSR without its sticky exception flags."""
        self._get(self.word.ctypes.data)
        return int(self.word[0]) & ~0x3F

    @contextmanager
    def mode(self, control: int) -> Iterator[None]:
        self._write(control)
        try:
            yield
        finally:
            self._write(DEFAULT)

    def _write(self, control: int) -> None:
        self.word[0] = control
        self._set(self.word.ctypes.data)


ENVIRONMENT = Environment()
