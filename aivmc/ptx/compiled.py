"""A kernel translated and compiled for this machine."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from aivmc.ir.float_environment import default_float_environment
from aivmc.ptx.context import RUN
from aivmc.ptx.gate import AdmittedModule
from aivmc.ptx.schedule import module_text
from aivmc.ptx.translate import translate


class CompiledKernel:
    """Machine code of one kernel of an admitted module."""

    def __init__(self, admitted: AdmittedModule, name: str, canonical_nan: bool) -> None:
        translation = translate(admitted, name, canonical_nan)
        self.kernel = admitted.module.kernels[name]
        self.barriers = translation.barriers
        self.state_bytes, self.granule = translation.state_bytes, translation.granule
        machine = _machine()
        text = module_text(translation, machine.triple, self.kernel.shared_bytes)
        module = llvm.parse_assembly(text)
        module.verify()
        _optimize(module, machine)
        self._engine = llvm.create_mcjit_compiler(module, machine)  # owns the code
        self._engine.finalize_object()
        address = self._engine.get_function_address(RUN)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def run(self, context: int) -> None:
        """Call the code; see :mod:`aivmc.ptx.context`. The GIL is not held."""
        with default_float_environment():
            self._run(context)


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _machine() -> Any:
    """A new one each time, since an engine takes it. Code of this machine only: it is not kept."""
    _initialize()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )


def _optimize(module: Any, machine: Any) -> None:
    """LLVM's standard passes, which keep to IEEE 754 as no flag says otherwise; but not its SLP
    vectorizer, which in LLVM 22 shifts bytes of words by 255."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
