"""A kernel-stage program to PTX and the plan by which its kernels are launched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aivmc.backends.artifact import Artifact, Generated, Packing, Progress
from aivmc.backends.cpu.audit import AuditReport, audit_ir
from aivmc.backends.cpu.llvm import compile_functions
from aivmc.backends.cpu.lower import contraction
from aivmc.backends.cuda.lower import GpuFunction, lower
from aivmc.backends.cuda.padding import FoldPadding
from aivmc.backends.cuda.ptx import emit_ptx
from aivmc.backends.cuda.schedules.packing import packing
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.backends.steps import Program, Step, lower_module
from aivmc.ir.core import Module, Op
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.text import print_module
from aivmc.ptx.parser import MOST_PARAMETER_BYTES


@dataclass(frozen=True)
class _Lowering:
    target: CudaTarget

    @property
    def name(self) -> str:
        return self.target.name

    def lower(self, name: str, op: Op, symbols: Iterable[str], packed: bool) -> GpuFunction:
        _check_parameters(op, list(symbols))
        return lower(name, op, symbols, self.target, packed)

    def packing(self, op: Op, digest: str) -> Packing | None:
        return packing(contraction(op), digest, self.target)


def generate(module: Module, target: CudaTarget, progress: Progress) -> Generated:
    """Compile a kernel-stage program, whose large constants need no data.

    ``UnsupportedError`` names what can't be.
    """
    program = lower_module(FoldPadding().run(module), _Lowering(target))
    functions = list(_functions(program, target, progress))
    admitted = emit_ptx(functions, target)
    audit = {
        "llvm": sum((audit_ir(ir) for _, ir in functions), AuditReport({})).counts,
        "ptx": admitted.total,
    }
    artifact = Artifact(
        target=target.name,
        requires=target.requires,
        member="kernel.ptx",
        code=admitted.module.text.encode("ascii"),
        plan=program.plan(_launch),
        kernel_ir=print_module(module, locations=False),
        audit=audit,
        constants={},
        packed={},
    )
    return Generated(artifact, tuple(program.packings))


def llvm_text(module: Module, target: CudaTarget) -> str:
    """The audited LLVM IR of a kernel-stage program's code, to read."""
    program = lower_module(FoldPadding().run(module), _Lowering(target))
    return "\n".join(ir for _, ir in _functions(program, target, lambda *_: None))


def assembly_text(module: Module, target: CudaTarget) -> str:
    """The PTX of a kernel-stage program, to read."""
    return generate(module, target, lambda *_: None).artifact.code.decode("ascii")


def _functions(
    program: Program, target: CudaTarget, progress: Progress
) -> Iterator[tuple[GpuFunction, str]]:
    """LLVM IR of one function after the other: LLVM's memory for one serves the next."""
    functions = [f for f in program.functions.values() if isinstance(f, GpuFunction)]
    for done, function in enumerate(sorted(functions, key=lambda f: f.name)):
        progress(done, len(functions), function.name)
        yield function, compile_functions([function.prim], target)
    progress(len(functions), len(functions), "PTX")


def _check_parameters(op: Op, symbols: Sequence[str]) -> None:
    """``UnsupportedError`` where an entry would have more than there may be, all of 8 bytes: its
    buffers, dims, and three numbers."""
    buffers, most = len(op.operands) + len(op.results), MOST_PARAMETER_BYTES // 8
    if buffers + len(symbols) + 3 > most:
        inner = ", ".join(dict.fromkeys(o.name for o in op.regions[0].body))
        raise UnsupportedError(f"{inner} on {buffers} tensors at once, of at most {most - 3}")


def _launch(step: Step) -> dict[str, Any]:
    function = step.function
    assert isinstance(function, GpuFunction)
    return {
        "threads": function.threads,
        "tasks_per_block": function.tasks_per_block,
        "scratch": function.has_scratch,
        "narrow": list(map(str, function.narrow)),
    }
