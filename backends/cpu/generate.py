"""A kernel-stage program to one CPU target's code and the plan by which it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aivmc.backends.artifact import Artifact, Generated, Packing, Progress
from aivmc.backends.cpu.audit import AuditReport, audit_entry, audit_ir
from aivmc.backends.cpu.contraction import needs_control
from aivmc.backends.cpu.entry import Step, build_entry
from aivmc.backends.cpu.llvm import compile_functions, emit_assembly, emit_controls, emit_object
from aivmc.backends.cpu.lower import lower, weights_packing
from aivmc.backends.cpu.machine_audit import audit_machine_code
from aivmc.backends.cpu.targets import CpuTarget, resolve
from aivmc.backends.steps import Function, Program, lower_module
from aivmc.ir.core import Module, Op
from aivmc.ir.text import print_module


@dataclass(frozen=True)
class _Lowering:
    target: CpuTarget

    @property
    def name(self) -> str:
        return self.target.name

    def lower(self, name: str, op: Op, symbols: Iterable[str], packed: bool) -> Function:
        kernel = lower(name, op, symbols, self.target, packed)
        return Function(name, kernel.tasks, kernel.scratch_bytes, kernel.function())

    def packing(self, op: Op, digest: str) -> Packing | None:
        return weights_packing(op, digest)


def generate(module: Module, target: str, progress: Progress) -> Generated:
    """Compile a kernel-stage program, whose large constants need no data, for one target.

    ``UnsupportedError`` names what can't be.
    """
    cpu = resolve(target)
    program = lower_module(module, _Lowering(cpu))
    modules = [_entry(program, cpu), *_functions(program, cpu, progress)]
    code = emit_object(modules, cpu)
    artifact = Artifact(
        target=cpu.name,
        requires=cpu.requires,
        member="kernel.o",
        code=code,
        plan=program.plan(lambda step: {"parallel": step.function.tasks != 1}),
        kernel_ir=print_module(module, locations=False),
        audit=_audit(program, modules, code, cpu),
        constants={},
        packed={},
    )
    return Generated(artifact, tuple(program.packings))


def _audit(
    program: Program, modules: Sequence[str], code: bytes, target: CpuTarget
) -> dict[str, Any]:
    """What was counted while every instruction of IR and object was checked."""
    entry, *kernels = modules
    reports = [audit_ir(text) for text in kernels]
    kernel_ir = sum(reports, AuditReport({}))
    entry_ir = audit_entry(entry, {f.name for f in program.functions.values()})
    unclear = [
        text
        for text, report in zip(kernels, reports)
        if any(map(needs_control, report.functions.values()))
    ]
    controls = emit_controls(unclear, target)
    machine = audit_machine_code(code, entry_ir + kernel_ir, controls)
    return {
        "control": {"functions": len(unclear)},
        "llvm": kernel_ir.counts,
        "machine": machine,
    }


def llvm_text(module: Module, target: str) -> str:
    """The audited LLVM IR of a kernel-stage program's code, to read."""
    cpu = resolve(target)
    return "\n".join(_llvm_modules(lower_module(module, _Lowering(cpu)), cpu))


def assembly_text(module: Module, target: str) -> str:
    """The assembly of a kernel-stage program's code, to read."""
    cpu = resolve(target)
    return emit_assembly(_llvm_modules(lower_module(module, _Lowering(cpu)), cpu), cpu)


def _entry(program: Program, target: CpuTarget) -> str:
    dims = tuple(program.dims)
    steps = [
        Step(s.function.name, s.buffers, dims, s.function.tasks != 1, len(s.results), s.traced)
        for s in program.steps
    ]
    return build_entry(steps, target.triple)


def _functions(program: Program, target: CpuTarget, progress: Progress) -> Iterator[str]:
    """LLVM IR of one function after the other: LLVM's memory for one serves the next."""
    functions = sorted(program.functions.values(), key=lambda f: f.name)
    for done, function in enumerate(functions):
        progress(done, len(functions), function.name)
        yield compile_functions([function.prim], target)
    progress(len(functions), len(functions), "machine code")


def _llvm_modules(program: Program, target: CpuTarget) -> list[str]:
    return [_entry(program, target), *_functions(program, target, lambda *_: None)]
