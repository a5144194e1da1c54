"""Functions to PTX: each gets an entry, whose threads or blocks take the function's tasks.

The functions' LLVM IR is audited like a CPU's; llvmlite makes PTX of it, fusing nothing, and what
comes out passes the gate. No CUDA toolkit takes part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import llvmlite.binding as llvm

from aivmc.backends.cpu.audit import AuditError
from aivmc.backends.cpu.contraction import without_fused
from aivmc.backends.cpu.targets import CODE_OPTIONS, llvm_target
from aivmc.backends.cuda.lower import GpuFunction
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.ptx.gate import AdmittedModule, admit
from aivmc.ptx.parser import parse
from aivmc.ptx.syntax import Kernel

ALIGNMENT = 64  # of every buffer
_SHARED_ALIGNMENT = 128

# No arithmetic on f16, which newer GPUs have: LLVM would make it of that on f32.
llvm.set_option("", "--nvptx-no-f16-math")
# Addresses of shared memory have 32 bits, for registers are few.
llvm.set_option("", "--nvptx-short-ptr")
_SPECIAL = ("tid", "ctaid", "nctaid")
_DEFINITION = re.compile(r"^define void @(\w+)\((.*)\)([^{\n()]*)\{$", re.MULTILINE)


def emit_ptx(functions: Sequence[tuple[GpuFunction, str]], target: CudaTarget) -> AdmittedModule:
    """The PTX, as the gate admits it, of functions with their LLVM IR: modules with one each,
    ``void f(ptr buffer…, i64 dim…, ptr scratch, i64 begin, i64 end)``.

    Each entry has its function's name and takes its buffers, dims, scratch memory, the bytes of it
    of each thread, and the number of tasks. ``AuditError`` or ``PtxError`` where something in it
    could change bits.
    """
    linked, *others = (llvm.parse_assembly(_with_entry(f, text)) for f, text in functions)
    for other in others:
        linked.link_in(other)
    linked.verify()
    machine = llvm_target(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, **CODE_OPTIONS
    )
    builder = llvm.create_pass_builder(machine, _tuning())
    builder.getModulePassManager().run(linked, builder)
    shared = {function.name: function.shared for function, _ in functions if function.shared}
    optimized = _with_shared_memory(linked, shared)
    text = str(optimized)  # before emission, which changes the module
    admitted = admit(_all_written(str(machine.emit_assembly(optimized))), target.cpu)
    _require_fused_as_written(text, admitted, machine, target)
    return admitted


def _require_fused_as_written(
    text: str, admitted: AdmittedModule, machine: Any, target: CudaTarget
) -> None:
    """No fused multiply-add in PTX was made of a product and a sum: without those of the IR
    ``text``, there is none (:mod:`aivmc.backends.cpu.contraction`)."""
    built: list[Mapping[str, Kernel]] = [admitted.module.kernels]
    if "@llvm.fma." in text:
        built = [_control(without, machine, target) for without in without_fused(text)]
    for name, kernel in (item for kernels in built for item in kernels.items()):
        if any(i.opcode.startswith("fma.") for i in kernel.instructions):
            raise AuditError(f"{name}: LLVM has made a fused multiply-add of a product and a sum")


def _control(text: str, machine: Any, target: CudaTarget) -> Mapping[str, Kernel]:
    module = llvm.parse_assembly(text)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.run(module, llvm.create_pass_builder(machine, _tuning()))
    return parse(str(machine.emit_assembly(module)), target.cpu).kernels


# The halves of a word that LLVM fills with nothing, in registers that nothing else names.
_PACKED = re.compile(r"\tmov\.b32 \t%r\d+, \{(%rs\d+), (%rs\d+)\};")
_WRITTEN = re.compile(
    r"^\t(?:@!?%p\d+ )?(?:\{ \.reg \.b16 tmp; )?[\w.:]+ \t?(\{[^}]*\}|%\w+)", re.M
)
_DECLARATIONS = re.compile(r"^\{\n.*?\n\n", re.M | re.S)


def _all_written(ptx: str) -> str:
    """The gate wants every register written that is read, and LLVM leaves out those whose value
    doesn't matter: they get one."""
    head, *entries = re.split(r"(?=^\.visible \.entry)", ptx, flags=re.M)
    return head + "".join(map(_entry_all_written, entries))


def _entry_all_written(entry: str) -> str:
    packed = {name for pair in _PACKED.findall(entry) for name in pair}
    if not packed:
        return entry
    written = {name for found in _WRITTEN.findall(entry) for name in re.findall(r"%\w+", found)}
    zeros = "".join(f"\tmov.b16 \t{name}, 0;\n" for name in sorted(packed - written))
    return _DECLARATIONS.sub(lambda match: match[0] + zeros, entry, count=1)


def _tuning() -> Any:
    return llvm.create_pipeline_tuning_options(speed_level=3)


# LLVM's optimizer doesn't see the alignment of shared memory through a cast to a generic pointer.
# So the pointer comes from a function, until the alignment of every access has been found.
_PLACE = re.compile(rf"(?:tail )?call align {_SHARED_ALIGNMENT} ptr @(\w+)\.place\(\)(?: #\d+)?")
_DECLARED_PLACE = re.compile(r"^declare ptr @\w+\.place\(\).*\n", re.MULTILINE)


def _with_shared_memory(module: Any, shared: Mapping[str, int]) -> Any:
    text = _DECLARED_PLACE.sub("", str(module))
    text = _PLACE.sub(r"addrspacecast ptr addrspace(3) @\1.shared to ptr", text)
    text = _with_masked_counts(text)
    for name, size in shared.items():
        if f"@{name}.shared " not in text:  # LLVM has found nothing to share, of no elements
            continue
        memory = f"[{size} x i8] undef, align {_SHARED_ALIGNMENT}"
        text += f"@{name}.shared = internal addrspace(3) global {memory}\n"
    module = llvm.parse_assembly(text)
    module.verify()
    return module


# LLVM 22 makes one shift of "a shift if the count is less than 64, else 0", since PTX's gives 0
# then. But PTX's takes 32 bits of the count, so counts of 2^32 and more would be others.
_SHIFT = re.compile(
    r"^(  \S+ = (?:shl|lshr)(?: nuw| nsw| exact)* (i64|<\d+ x i64>) .+), (%\S+)$", re.M
)


def _with_masked_counts(text: str) -> str:
    """Shifts of 64 bits by a count that LLVM doesn't see to be the one that is compared."""
    numbers = count()

    def masked(match: re.Match[str]) -> str:
        name, mask = f"%count.{next(numbers)}", "63" if match[2] == "i64" else "splat (i64 63)"
        return f"  {name} = and {match[2]} {match[3]}, {mask}\n{match[1]}, {name}"

    return _SHIFT.sub(masked, text)


def _with_entry(function: GpuFunction, text: str) -> str:
    """The module of a function, made internal, and of its entry."""
    module = llvm.parse_assembly(text)
    *shared, _, _, _ = module.get_function(function.name).arguments
    parameters = [_parameter(a) for a in shared]
    listed = ", ".join([*parameters, "ptr %scratch", "i64 %scratch.bytes", "i64 %tasks"])
    passed = "".join(f"{a.type} %{a.name}, " for a in shared)
    body = _by_blocks(function, passed) if function.shared else _by_threads(function, passed)
    internal = _DEFINITION.sub(r"define internal void @\1.tasks(\2)\3alwaysinline {", text)
    if function.shared:
        attributes = "nounwind willreturn speculatable memory(none)"
        internal += f"declare ptr @{function.name}.place() {attributes}\n"
    attributes = f'"nvvm.reqntid"="{function.threads},1,1"'
    if function.registers:
        attributes += f' "nvvm.maxnreg"="{function.registers}"'
    return f"""{internal}
define ptx_kernel void @{function.name}({listed}) {attributes} {{
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %ctaid = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %nctaid = call i32 @llvm.nvvm.read.ptx.sreg.nctaid.x()
  %thread = zext i32 %tid to i64
  %block = zext i32 %ctaid to i64
  %blocks = zext i32 %nctaid to i64
{body}
done:
  ret void
}}
""" + "".join(f"declare i32 @llvm.nvvm.read.ptx.sreg.{s}.x()\n" for s in _SPECIAL)


def _by_threads(function: GpuFunction, passed: str) -> str:
    """A thread has one task, if it can: in a loop, LLVM would compute all that tasks have in common
    before it, and keep it in registers."""
    goes_on = str(function.has_scratch).lower()
    return f"""  %before = mul nuw nsw i64 %block, {function.threads}
  %first = add nuw nsw i64 %before, %thread
  %all = mul nuw nsw i64 %blocks, {function.threads}
  %offset = mul i64 %first, %scratch.bytes
  %own = getelementptr i8, ptr %scratch, i64 %offset
  %any = icmp slt i64 %first, %tasks
  br i1 %any, label %task, label %done
task:
  %begin = phi i64 [%first, %entry], [%next, %task]
  %end = add nuw nsw i64 %begin, 1
  call void @{function.name}.tasks({passed}ptr %own, i64 %begin, i64 %end)
  %next = add nuw nsw i64 %begin, %all
  %is_left = icmp slt i64 %next, %tasks
  %more = and i1 %is_left, {goes_on}
  br i1 %more, label %task, label %done"""


def _by_blocks(function: GpuFunction, passed: str) -> str:
    return f"""  %any = icmp slt i64 %block, %tasks
  br i1 %any, label %task, label %done
task:
  %memory = call align {_SHARED_ALIGNMENT} ptr @{function.name}.place()
  call void @{function.name}.tasks({passed}ptr %memory, i64 %block, i64 %thread)
  br label %done"""


def _parameter(argument: Any) -> str:
    """Buffers that a kernel writes are no others, and start where the memory plan has them."""
    kind = str(argument.type)
    if kind == "ptr":
        kind += f" noalias align {ALIGNMENT}" + " readonly" * ("readonly" in str(argument))
    return f"{kind} %{argument.name}"
