"""Code of a kernel-stage program for any target. A target's compiler is loaded when it is used."""

from __future__ import annotations

from aivmc.backends.artifact import Generated, Progress
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.backends.targets import resolve
from aivmc.ir.core import Module


def generate(module: Module, target: str, progress: Progress) -> Generated:
    """Compile a program, whose large constants need no data. ``UnsupportedError`` names what the
    target can't take."""
    found = resolve(target)
    if isinstance(found, CudaTarget):
        from aivmc.backends.cuda.generate import generate as generate_cuda

        return generate_cuda(module, found, progress)
    from aivmc.backends.cpu.generate import generate as generate_cpu

    return generate_cpu(module, target, progress)


def llvm_text(module: Module, target: str) -> str:
    """The audited LLVM IR of a kernel-stage program's code, to read."""
    found = resolve(target)
    if isinstance(found, CudaTarget):
        from aivmc.backends.cuda.generate import llvm_text as cuda_text

        return cuda_text(module, found)
    from aivmc.backends.cpu.generate import llvm_text as cpu_text

    return cpu_text(module, target)


def assembly_text(module: Module, target: str) -> str:
    """The assembly or PTX of a kernel-stage program's code, to read."""
    found = resolve(target)
    if isinstance(found, CudaTarget):
        from aivmc.backends.cuda.generate import assembly_text as cuda_text

        return cuda_text(module, found)
    from aivmc.backends.cpu.generate import assembly_text as cpu_text

    return cpu_text(module, target)
