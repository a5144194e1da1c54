"""A kernel-stage program to one target's code and the plan by which it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aivmc.backends.artifact import Artifact, Generated, Packing, Progress
from aivmc.backends.cpu.audit import AuditReport, audit_entry, audit_ir
from aivmc.backends.cpu.contraction import needs_control
from aivmc.backends.cpu.entry import Step, build_entry
from aivmc.backends.cpu.llvm import compile_functions, emit_assembly, emit_control, emit_object
from aivmc.backends.cpu.lower import contraction, lower, weights_packing
from aivmc.backends.cpu.machine_audit import audit_machine_code
from aivmc.backends.cpu.targets import CpuTarget, resolve
from aivmc.ir.constants import Constant
from aivmc.ir.core import Module, Op, Value
from aivmc.ir.dims import Dim, dim_max
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.text import print_module
from aivmc.passes.plan_memory import Buffer, MemoryPlan, plan_memory
from aivmc.passes.trace_points import traced_values


@dataclass
class _Build:
    """Code in the making."""

    module: Module
    target: CpuTarget
    memory: MemoryPlan
    traced: Collection[Value]
    packings: dict[Packing, int] = field(default_factory=dict)
    functions: dict[Any, _Function] = field(default_factory=dict)  # by what they compute
    buffers: dict[tuple[str, int | str], int] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def buffer(self, kind: str, which: int | str) -> int:
        return self.buffers.setdefault((kind, which), len(self.buffers))


@dataclass(frozen=True)
class _Function:
    name: str
    tasks: Dim
    scratch: Dim
    prim: Any


def generate(module: Module, target: str, progress: Progress) -> Generated:
    """Compile a kernel-stage program, whose large constants need no data, for one target.

    ``UnsupportedError`` names what can't be.
    """
    build = _lower_module(module, resolve(target))
    modules = [_entry(build), *_functions(build, progress)]
    code = emit_object(modules, build.target)
    artifact = Artifact(
        target=build.target.name,
        requires=build.target.requires,
        member="kernel.o",
        code=code,
        plan=_plan(build),
        kernel_ir=print_module(module, locations=False),
        audit=_audit(build, modules, code),
        constants={},
        packed={},
    )
    return Generated(artifact, tuple(build.packings))


def _audit(build: _Build, modules: Sequence[str], code: bytes) -> dict[str, Any]:
    """What was counted while every instruction of IR and object was checked."""
    entry, *kernels = modules
    reports = [audit_ir(text) for text in kernels]
    kernel_ir = sum(reports, AuditReport({}))
    entry_ir = audit_entry(entry, {f.name for f in build.functions.values()})
    unclear = [
        text
        for text, report in zip(kernels, reports)
        if any(map(needs_control, report.functions.values()))
    ]
    control = emit_control(unclear, build.target) if unclear else None
    machine = audit_machine_code(code, entry_ir + kernel_ir, control)
    return {
        "control": {"functions": len(unclear)},
        "llvm": kernel_ir.counts,
        "machine": machine,
    }


def llvm_text(module: Module, target: str) -> str:
    """The audited LLVM IR of a kernel-stage program's code, to read."""
    return "\n".join(_llvm_modules(_lower_module(module, resolve(target))))


def assembly_text(module: Module, target: str) -> str:
    """The assembly of a kernel-stage program's code, to read."""
    build = _lower_module(module, resolve(target))
    return emit_assembly(_llvm_modules(build), build.target)


def _lower_module(module: Module, target: CpuTarget) -> _Build:
    build = _Build(module, target, plan_memory(module), traced_values(module))
    constants = {
        op.result: op.attributes["value"]
        for op in module.main.region.body
        if op.name == "det.constant"
    }
    refused: list[str] = []
    for op in module.main.region.body:
        if op.name in ("det.constant", "det.stream_key", "det.reshape"):
            continue
        try:
            _add_step(build, op, constants)
        except UnsupportedError as error:
            refused.append(f"{op.location}: {error}")
    if refused:
        listed = "\n".join(f"  {line}" for line in dict.fromkeys(refused))
        raise UnsupportedError(f"{target.name} can't take this model yet:\n{listed}")
    return build


def _add_step(build: _Build, op: Op, constants: Mapping[Value, Constant]) -> None:
    buffers = [build.memory.buffers[v] for v in op.operands]
    packed = op.name == "kernel.contract" and _pack(build, op, constants, buffers)
    key = (packed, describe(op))
    if key not in build.functions:
        kernel = lower(_name(build, op), op, build.module.symbols, build.target, packed)
        build.functions[key] = _Function(
            kernel.name, kernel.tasks, kernel.scratch_bytes, kernel.function()
        )
    function = build.functions[key]
    buffers += [build.memory.buffers[v] for v in op.results]
    numbers = [build.buffer(b.kind, b.which) for b in buffers]
    build.steps.append(
        {
            "function": function.name,
            "buffers": numbers,
            "dims": list(range(len(build.module.symbols))),
            "tasks": str(function.tasks),
            "parallel": function.tasks != 1,
            "results": [str(v.type) for v in op.results],
            "traced": op.results[0] in build.traced,
        }
    )


def _pack(
    build: _Build, op: Op, constants: Mapping[Value, Constant], buffers: list[Buffer]
) -> bool:
    """Give a contraction its constant weights packed, if it takes them so."""
    from_root = _weights_operand(op)
    constant = constants.get(op.operands[from_root]) if from_root is not None else None
    if constant is None or from_root is None:
        return False
    packing = weights_packing(op, constant.digest)
    if packing is None:
        return False
    buffers[from_root] = Buffer("packed", build.packings.setdefault(packing, len(build.packings)))
    return True


def _weights_operand(op: Op) -> int | None:
    """Number of the operand that is a contraction's weights and nothing else."""
    region = op.regions[0]
    root = contraction(op)
    weights = root.operands[1]
    if weights not in region.arguments or any(
        weights in o.operands for o in region.ops if o is not root
    ):
        return None
    return None if weights is root.operands[0] else region.arguments.index(weights)


def _name(build: _Build, op: Op) -> str:
    return f"k{len(build.functions)}_{op.name.removeprefix('kernel.')}"


def describe(op: Op) -> Any:
    """What an op computes, equal for ops that one function can serve."""
    numbers: dict[Value, int] = {}

    def number(values: Iterable[Value]) -> tuple[tuple[int, str], ...]:
        return tuple((numbers.setdefault(v, len(numbers)), str(v.type)) for v in values)

    def shape(o: Op) -> Any:
        attributes = tuple(sorted((k, repr(v)) for k, v in o.attributes.items()))
        return (o.name, number(o.operands), attributes, number(o.results))

    region = op.regions[0]
    return (op.name, number(region.arguments), tuple(shape(o) for o in region.ops))


def _entry(build: _Build) -> str:
    steps = [
        Step(s["function"], tuple(s["buffers"]), tuple(s["dims"]), s["parallel"])
        for s in build.steps
    ]
    return build_entry(steps, build.target.triple)


def _functions(build: _Build, progress: Progress) -> Iterator[str]:
    """LLVM IR of one function after the other: LLVM's memory for one serves the next."""
    functions = sorted(build.functions.values(), key=lambda f: f.name)
    for done, function in enumerate(functions):
        progress(done, len(functions), function.name)
        yield compile_functions([function.prim], build.target)
    progress(len(functions), len(functions), "machine code")


def _llvm_modules(build: _Build) -> list[str]:
    return [_entry(build), *_functions(build, lambda *_: None)]


def _plan(build: _Build) -> dict[str, Any]:
    scratch: Dim = 0
    for function in build.functions.values():
        scratch = dim_max(scratch, function.scratch)
    return {
        "symbols": list(build.module.symbols),
        "buffers": [[kind, which] for kind, which in build.buffers],
        "slots": [str(size) for size in build.memory.slots],
        "steps": build.steps,
        "scratch": str(scratch),
    }
