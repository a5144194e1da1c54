"""PrimFuncs to audited LLVM IR, and LLVM IR to object code.

TVM lowers and optimizes, but its own code generator would fuse ``a * b + c`` whatever it is told.
So its optimized IR is taken as text, audited, and turned into machine code by llvmlite, which fuses
nothing. Functions have plain C signatures. Equal functions give equal text and equal object bytes:
what depends on addresses or on Python source lines is stripped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import tvm
from tvm import tirx
from tvm_ffi import structural_equal, structural_walk

from aivmc.backends.cpu.audit import audit_ir
from aivmc.backends.cpu.contraction import without_fused
from aivmc.backends.cpu.instruction_order import in_one_order
from aivmc.backends.cpu.machine_audit import audit_imports
from aivmc.backends.cpu.soft_fma import without_fma
from aivmc.backends.cpu.targets import CODE_OPTIONS, CodeTarget, CpuTarget, llvm_target
from aivmc.ir.errors import AivmcError

_PASSES = (
    tirx.transform.FlattenBuffer,
    tirx.transform.VectorizeLoop,
    tirx.transform.UnrollLoop,
    tirx.transform.StmtSimplify,
    tirx.transform.RemoveNoOp,
    tirx.transform.VerifyMemory,
    tirx.transform.LowerTVMBuiltin,
    tirx.transform.LowerIntrin,
)
# StorageRewrite is left out: it would merge the accumulators of a register tile into one array,
# which then spills. NarrowDataType is left out: indices stay 64-bit.


def compile_functions(functions: Sequence[Any], target: CodeTarget) -> str:
    """LLVM IR of a module with these PrimFuncs as C functions, optimized, stripped and audited.

    Each has a ``global_symbol``; its parameters are pointers (``PointerType``), on which its body
    declares buffers, and integers. ``AivmcError`` where the code breaks a rule of numerics.
    """
    check_toolchain()
    for function in functions:
        _require_opaque_floats(function)
    module = tvm.IRModule({f.attrs["global_symbol"]: f for f in functions})
    tvm_target = _tvm_target(target)
    bound = tirx.transform.BindTarget(tvm_target.with_host(tvm_target))(module)
    lowered = tvm.ir.transform.Sequential([make() for make in _PASSES])(bound)
    built = tvm.get_global_func("target.build.llvm")(lowered, tvm_target)
    names = [function.attrs["global_symbol"] for function in functions]
    text = _optimized(in_one_order(_strip(built.inspect_source("ll")), names), target)
    if "fma" in target.lacks:
        text = without_fma(text, _machine(target))
    audit_ir(text)
    return text


def emit_object(ir_modules: Sequence[str], target: CpuTarget) -> bytes:
    """The object code of these modules linked, audited for what it imports."""
    module, machine = _link(ir_modules, target)
    code: bytes = machine.emit_object(module)
    audit_imports(code)
    return code


def emit_controls(ir_modules: Sequence[str], target: CpuTarget) -> list[bytes]:
    """The object code of these modules without their fused multiply-adds, for the audit
    (:mod:`aivmc.backends.cpu.contraction`)."""
    return [_emit_control(texts, target) for texts in zip(*map(without_fused, ir_modules))]


def _emit_control(ir_modules: Sequence[str], target: CpuTarget) -> bytes:
    module, machine = _link(ir_modules, target)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    code: bytes = machine.emit_object(module)
    return code


def emit_assembly(ir_modules: Sequence[str], target: CpuTarget) -> str:
    """The assembly of what :func:`emit_object` makes, to read."""
    module, machine = _link(ir_modules, target)
    return str(machine.emit_assembly(module))


@cache
def check_toolchain() -> None:
    """Prepare TVM, once. ``AivmcError`` where their LLVMs differ: the IR of one could
    mean something else to the other."""
    ours, theirs = llvm.llvm_version_info[0], tvm.target.codegen.llvm_version_major()
    if ours != theirs:
        raise AivmcError(
            f"llvmlite has LLVM {ours} but tvm has LLVM {theirs}: install the pinned versions"
        )
    for kind in ("llvm", "default"):
        # Without this, TVM rewrites a*b+c to llvm.fmuladd.
        tirx.register_intrin_lowering("tirx.fma", target=kind, f=lambda op: None, level=99)


def _tvm_target(target: CodeTarget) -> Any:
    config: dict[str, object] = {"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu}
    config["opt-level"] = 0  # LLVM shall see the instructions in one order first
    if target.features:
        config["mattr"] = target.features.split(",")
    if target.triple.startswith("nvptx"):
        config["vector-width"] = 128  # TVM guesses it with a warning
    return tvm.target.Target(config)


_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.NE, tirx.Min, tirx.Max)
_COMPARISON = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ)
_LOGIC = (tirx.Not, tirx.And, tirx.Or)


def _require_opaque_floats(function: Any) -> None:
    """TVM simplifies floats as if they were reals, without NaN; so it may see neither arithmetic
    on them nor logic on their comparisons (``not a < b`` is not ``b <= a``)."""
    found: list[Any] = []  # an exception would lose its type on its way through the walk

    def check_arithmetic(node: Any) -> None:
        if _is_float(node.a):
            found.append(node)

    def check_equality(node: Any) -> None:
        if _is_float(node.a) and structural_equal(node.a, node.b):
            found.append(node)

    def check_logic(node: Any) -> None:
        operands = [node.a] if isinstance(node, tirx.Not) else [node.a, node.b]
        if any(isinstance(x, _COMPARISON) and _is_float(x.a) for x in operands):
            found.append(node)

    structural_walk(
        function.body,
        [(_ARITHMETIC, check_arithmetic), (tirx.EQ, check_equality), (_LOGIC, check_logic)],
    )
    if found:
        what = type(found[0]).__name__
        raise AivmcError(
            f"{function.attrs['global_symbol']}: float {what} is left in TIR: {found[0]}"
        )


def _is_float(expression: Any) -> bool:
    dtype: str = expression.ty.dtype
    return dtype.startswith(("float", "bfloat"))


_DEBUG_RECORD = re.compile(r"^ +#dbg_.*\n", re.MULTILINE)
_NAMED_METADATA = re.compile(r"^!(?:llvm\.dbg\.cu|llvm\.module\.flags) = .*\n", re.MULTILINE)
_ATTACHED_METADATA = re.compile(r",? !(?:dbg|tbaa) !\d+")


def _strip(text: str) -> str:
    """IR without what TVM adds: source lines, and alias classes named by addresses."""
    for pattern in (_DEBUG_RECORD, _NAMED_METADATA, _ATTACHED_METADATA):
        text = pattern.sub("", text)
    return text.replace("define dllexport ", "define ")


def _optimized(text: str, target: CodeTarget) -> str:
    """The module optimized by LLVM for its target. Nothing in it allows to change a float."""
    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(_machine(target), tuning)
    passes.getModulePassManager().run(module, passes)
    return str(module)


def _link(ir_modules: Sequence[str], target: CpuTarget) -> tuple[Any, Any]:
    check_toolchain()
    linked, *others = (llvm.parse_assembly(text) for text in ir_modules)
    for other in others:
        linked.link_in(other)
    linked.verify()
    return linked, _machine(target)


def _machine(target: CodeTarget) -> Any:
    return llvm_target(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, **CODE_OPTIONS
    )
