"""A kernel-stage program to PTX and the plan by which its kernels are launched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aivmc.backends.artifact import Artifact, Generated, Packing, Progress
from aivmc.backends.cpu.audit import AuditReport, audit_ir
from aivmc.backends.cpu.llvm import compile_functions
from aivmc.backends.cpu.lower import contraction
from aivmc.backends.cuda.lower import GpuFunction, lower
from aivmc.backends.cuda.padding import FoldPadding
from aivmc.backends.cuda.ptx import emit_ptx
from aivmc.backends.cuda.schedules.packing import packing
from aivmc.backends.cuda.targets import CUDA
from aivmc.backends.steps import Program, Step, lower_module
from aivmc.ir.core import Module, Op
from aivmc.ir.text import print_module


@dataclass(frozen=True)
class _Lowering:
    @property
    def name(self) -> str:
        return CUDA.name

    def lower(self, name: str, op: Op, symbols: Iterable[str], packed: bool) -> GpuFunction:
        return lower(name, op, symbols, CUDA, packed)

    def packing(self, op: Op, digest: str) -> Packing | None:
        return packing(contraction(op), digest, CUDA)


def generate(module: Module, progress: Progress) -> Generated:
    """Compile a kernel-stage program, whose large constants need no data.

    ``UnsupportedError`` names what can't be.
    """
    module = FoldPadding().run(module)
    program = lower_module(module, _Lowering())
    functions = list(_functions(program, progress))
    admitted = emit_ptx(functions, CUDA)
    audit = {
        "llvm": sum((audit_ir(ir) for _, ir in functions), AuditReport({})).counts,
        "ptx": admitted.total,
    }
    artifact = Artifact(
        target=CUDA.name,
        requires=CUDA.requires,
        member="kernel.ptx",
        code=admitted.module.text.encode("ascii"),
        plan=program.plan(_launch),
        kernel_ir=print_module(module, locations=False),
        audit=audit,
        constants={},
        packed={},
    )
    return Generated(artifact, tuple(program.packings))


def llvm_text(module: Module) -> str:
    """The audited LLVM IR of a kernel-stage program's code, to read."""
    program = lower_module(FoldPadding().run(module), _Lowering())
    return "\n".join(ir for _, ir in _functions(program, lambda *_: None))


def assembly_text(module: Module) -> str:
    """The PTX of a kernel-stage program, to read."""
    return generate(module, lambda *_: None).artifact.code.decode("ascii")


def _functions(program: Program, progress: Progress) -> Iterator[tuple[GpuFunction, str]]:
    """LLVM IR of one function after the other: LLVM's memory for one serves the next."""
    functions = [f for f in program.functions.values() if isinstance(f, GpuFunction)]
    for done, function in enumerate(sorted(functions, key=lambda f: f.name)):
        progress(done, len(functions), function.name)
        yield function, compile_functions([function.prim], CUDA)
    progress(len(functions), len(functions), "PTX")


def _launch(step: Step) -> dict[str, int]:
    function = step.function
    assert isinstance(function, GpuFunction)
    return {"threads": function.threads, "tasks_per_block": function.tasks_per_block}
