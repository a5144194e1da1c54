"""The audit of machine code refuses what its LLVM IR does not account for, and says where."""

from __future__ import annotations

import re
import struct
from functools import cache

import llvmlite.binding as llvm
import pytest

from aivmc.backends.build import build_artifact
from aivmc.backends.cpu import audit, instructions
from aivmc.backends.cpu.audit import AuditError, AuditReport, audit_entry, audit_ir
from aivmc.backends.cpu.instructions import ARCHITECTURES
from aivmc.backends.cpu.llvm import emit_controls, emit_object
from aivmc.backends.cpu.machine_audit import audit_machine_code
from aivmc.backends.cpu.object_code import ObjectCode
from aivmc.backends.cpu.targets import TARGETS, CpuTarget, llvm_target, resolve
from aivmc.ir.types import DType, TensorType
from tests.compiled_op import one_op

X86, AARCH64, RISCV = 62, 183, 243
NOTHING = AuditReport({"k": {}})


@cache
def object_of(text: str) -> bytes:
    """LLVM's code of x86-64-v3 for IR that needs not pass any audit."""
    machine = llvm_target("x86_64-linux-gnu").create_target_machine(
        cpu="x86-64-v3", opt=3, reloc="pic", codemodel="default"
    )
    module = llvm.parse_assembly(f'target triple = "x86_64-linux-gnu"\n{text}')
    code: bytes = machine.emit_object(module)
    return code


def with_code(code: bytes, machine: int = X86, gap: bytes = b"") -> bytes:
    """An ELF object of one function ``k`` with this code, and ``gap`` after it."""
    names, symbol_names = b"\0.text\0", b"\0k\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0, len(code))
    parts = [code + gap, names, symbol_names, symbols]
    offsets = [64 + sum(map(len, parts[:i])) for i in range(5)]
    # Elf64_Shdr: name, type, flags, addr, offset, size, link, info, addralign, entsize.
    rows = [(0,) * 10, (1, 1, 6, 0, offsets[0], len(parts[0]), 0, 0, 16, 0)]
    rows += [(0, 3, 0, 0, offsets[i], len(parts[i]), 0, 0, 1, 0) for i in (1, 2)]
    rows += [(0, 2, 0, 0, offsets[3], len(symbols), 3, 1, 8, 24)]
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    numbers = (1, machine, 1, 0, 0, offsets[4], 0, 64, 0, 0, 64, len(rows), 2)
    header = ident + struct.pack("<HHIQQQIHHHHHH", *numbers)
    return header + b"".join(parts) + b"".join(struct.pack("<IIQQQQIIQQ", *r) for r in rows)


REFUSED = {
    "x87": "d9 e8",  # fld1
    "x87 arithmetic": "d8 c1",  # fadd st(0), st(1)
    "MMX": "0f fc c1",  # paddb mm0, mm1
    "rcpps": "0f 53 c0",
    "vrcpps": "c5 fc 53 c0",
    "vrsqrtps": "c5 fc 52 c0",
    "vrcp14ps": "62 f2 7d 48 4c c0",
    "vrsqrt14pd": "62 f2 fd 48 4e c0",
    "vpmaddubsw": "c4 e2 7d 04 c1",
    "saturating dot product": "62 f2 7d 48 51 c1",  # vpdpbusds
    "saturating dot product of pairs": "62 f2 7d 48 53 c1",  # vpdpwssds
    "bf16 dot product": "62 f2 76 48 52 c2",  # vdpbf16ps
    "vdpps": "c4 e3 7d 40 c1 ff",
    "rounding in the instruction": "62 f1 7c 78 58 c1",  # vaddps zmm0, zmm0, zmm1, {rz-sae}
    "f16 rounded down": "c4 e3 7d 1d c0 01",  # vcvtps2ph xmm0, ymm0, 1
    "fused multiply-add": "c4 e2 7d b8 c1",  # vfmadd231ps
    "square root": "c5 fc 51 c0",
    "division": "c5 fc 5e c1",
    "ldmxcsr": "0f ae 10",
    "vldmxcsr": "c5 f8 ae 10",
    "fxrstor": "0f ae 08",
    "indirect call": "ff d0",
    "indirect call by memory": "ff 50 08",
    "indirect jump": "ff e0",
    "system call": "0f 05",
    "read of a clock": "0f 31",
    "CPU dispatch": "0f a2",
}


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_refuses(code: str) -> None:
    """Between innocent instructions: nop before, ret after."""
    with pytest.raises(AuditError, match=r"generated code: k at 0x1 has \w+"):
        audit_machine_code(with_code(bytes.fromhex(f"90 {code} c3")), NOTHING)


def test_the_same_bytes_are_fine_where_the_ir_accounts_for_them() -> None:
    for kind, need in {
        "fused multiply-add": {"llvm.fma": 1},
        "square root": {"llvm.sqrt": 1},
        "division": {"fdiv": 1},
        "vldmxcsr": {"llvm.x86.sse.ldmxcsr": 1},
        "indirect call": {"indirect call": 1},
        "indirect jump": {"switch": 1},
        "vpmaddubsw": {"mul i8": 1},
    }.items():
        code = with_code(bytes.fromhex(f"{REFUSED[kind]} c3"))
        counts = audit_machine_code(code, AuditReport({"k": need}))
        assert counts["ret"] == 1 and len(counts) == 2
    f16 = bytes.fromhex("c4 e3 7d 1d c0 04 c3")  # as the environment rounds
    audit_machine_code(with_code(f16), NOTHING)


def test_a_switch_allows_no_indirect_call() -> None:
    code = with_code(bytes.fromhex("ff d0 c3"))
    with pytest.raises(AuditError, match="call rax, though its IR has no indirect call"):
        audit_machine_code(code, AuditReport({"k": {"switch": 1}}))


def test_refuses_bytes_that_are_no_instruction() -> None:
    with pytest.raises(AuditError, match="k at 0x1 has 06 90 …, which is no known instruction"):
        audit_machine_code(with_code(bytes.fromhex("90 06 90")), NOTHING)


def test_refuses_code_outside_of_functions() -> None:
    audit_machine_code(with_code(b"\xc3", gap=b"\x90\x0f\x1f\x00"), NOTHING)
    with pytest.raises(AuditError, match=r"\.text at 0x2 has ret, which belongs to no function"):
        audit_machine_code(with_code(b"\xc3", gap=b"\x90\xc3"), NOTHING)


def test_refuses_functions_without_ir() -> None:
    with pytest.raises(AuditError, match="IR doesn't have: k"):
        audit_machine_code(with_code(b"\xc3"), AuditReport({"other": {}}))


def test_refuses_an_architecture_without_a_list() -> None:
    with pytest.raises(AuditError, match="machine 21 of ELF"):
        audit_machine_code(with_code(b"", machine=21), NOTHING)


def test_object_of_another_format_is_refused() -> None:
    with pytest.raises(AuditError, match="ELF64"):
        ObjectCode(b"MZ" + bytes(100))


PAIRS = {
    "sum": "fadd {flag} {type} %p, %c",
    "difference": "fsub {flag} {type} %p, %c",
    "negated product": "fsub {flag} {type} %c, %p",
    "negated sum": "fadd {flag} {type} %p, %c\n  %n = fneg {flag} {type} %s",
    "sum across a fused one": "fadd {flag} {type} %f, %c",
    "square of a fused one": "fadd {flag} {type} %r, %c",
}
MULTIPLY_ADD = """
target triple = "{triple}"
define {type} @k({type} %a, {type} %b, {type} %c) {{
  %p = fmul {flag} {type} %a, %b
  %f = call {flag} {type} @llvm.fma.{name}({type} %a, {type} %c, {type} %p)
  %o = call {type} @llvm.fma.{name}({type} %a, {type} %b, {type} zeroinitializer)
  %r = fmul {flag} {type} %o, %o
  %s = {pair}
  %q = call {type} @llvm.fma.{name}({type} {last}, {type} %b, {type} %c)
  ret {type} %q
}}
declare {type} @llvm.fma.{name}({type}, {type}, {type})
"""
TYPES = {"f32": "float", "f64": "double", "v8f32": "<8 x float>", "v3f64": "<3 x double>"}
FUSING = tuple(t for t in TARGETS if "fma" not in t.lacks)


def multiply_add(target: CpuTarget, pair: str, name: str, flag: str = "") -> str:
    """A product, a sum of it, and a fused multiply-add of that. With flags, LLVM may make one of
    the first two."""
    last = "%n" if "%n" in PAIRS[pair] else "%s"
    text = MULTIPLY_ADD.replace("{pair}", PAIRS[pair])
    return text.format(triple=target.triple, type=TYPES[name], name=name, flag=flag, last=last)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("target", FUSING, ids=lambda target: target.name)
def test_contraction_is_refused(target: CpuTarget, pair: str, name: str) -> None:
    """The IR says two roundings, and LLVM was allowed to make one of them."""
    plain, contracted = ([multiply_add(target, pair, name, f)] for f in ("", "contract reassoc"))
    report = audit_ir(plain[0])
    code = emit_object(plain, target)
    assert sum(audit_machine_code(code, report, emit_controls(plain, target)).values()) > 3
    fused = emit_object(contracted, target)
    with pytest.raises(AuditError, match=r"k has .* that were made of a product and a sum"):
        audit_machine_code(fused, report, emit_controls(contracted, target))


@pytest.mark.parametrize("target", FUSING, ids=lambda target: target.name)
def test_fused_multiply_adds_are_accounted_for(target: CpuTarget) -> None:
    text = multiply_add(target, "sum", "v8f32")
    report, code = audit_ir(text), emit_object([text], target)
    with pytest.raises(AuditError, match="k has no control"):
        audit_machine_code(code, report)
    without = {k: n for k, n in report.functions["k"].items() if k != "llvm.fma"}
    with pytest.raises(AuditError, match=r"no llvm\.fma"):
        audit_machine_code(code, AuditReport({"k": without}))


@pytest.mark.parametrize("target", FUSING, ids=lambda target: target.name)
def test_sums_that_llvm_merges_behind_branches_are_no_contraction(target: CpuTarget) -> None:
    build_artifact(one_op("det.mish", [TensorType(DType.F64, ())], {}), target.name)


def test_a_split_fused_multiply_add_is_refused() -> None:
    with pytest.raises(AuditError, match=r"k fuses nothing where its IR has llvm\.fma"):
        audit_machine_code(with_code(b"\xc3"), AuditReport({"k": {"llvm.fma": 1}}))


APPROXIMATE = """
define <4 x float> @k(<4 x float> %x) {
  %y = call <4 x float> @llvm.x86.sse.rcp.ps(<4 x float> %x)
  ret <4 x float> %y
}
declare <4 x float> @llvm.x86.sse.rcp.ps(<4 x float>)
"""
FAST_DIVISION = """
define <8 x float> @k(<8 x float> %x) #0 {
  %y = fdiv fast <8 x float> splat (float 1.0), %x
  ret <8 x float> %y
}
attributes #0 = { "reciprocal-estimates"="all" }
"""
EXTENDED = """
define x86_fp80 @k(x86_fp80 %x) {
  %y = fmul x86_fp80 %x, %x
  ret x86_fp80 %y
}
"""
FLUSHING = """
define void @k(ptr %p) {
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
declare void @llvm.x86.sse.ldmxcsr(ptr)
"""


@pytest.mark.parametrize(
    "text, instruction",
    [(APPROXIMATE, "vrcpps"), (FAST_DIVISION, "vrcpps"), (EXTENDED, "fld"), (FLUSHING, "vldmxcsr")],
)
def test_refuses_what_llvm_makes_of_bad_ir(text: str, instruction: str) -> None:
    with pytest.raises(AuditError, match=rf"k at 0x\w+ has {instruction}"):
        audit_machine_code(object_of(text), AuditReport({"k": {"fdiv": 1}}))


def test_the_environment_is_set_in_the_entry_only() -> None:
    audit_machine_code(object_of(FLUSHING), audit_entry(FLUSHING, ()))
    with pytest.raises(AuditError):
        audit_ir(FLUSHING)


LIBRARY = """
define float @k(float %x) {
  %y = call float @expf(float %x)
  ret float %y
}
declare float @expf(float)
"""


def test_refuses_library_functions() -> None:
    with pytest.raises(AuditError, match="calls outside functions: expf"):
        audit_machine_code(object_of(LIBRARY), NOTHING)


TO_HALF = """target triple = "x86_64-linux-gnu"
define void @k(ptr %a, double %x) {
  %y = fptrunc double %x to half
  store half %y, ptr %a
  ret void
}
"""
FMA = """target triple = "x86_64-linux-gnu"
define float @k(float %x) {
  %y = call float @llvm.fma.f32(float %x, float %x, float %x)
  ret float %y
}
declare float @llvm.fma.f32(float, float, float)
"""


def test_object_that_needs_a_library_is_refused() -> None:
    with pytest.raises(AuditError, match="__truncdfhf2"):
        emit_object([TO_HALF], resolve("x86-64-v3"))


def test_fma_without_the_instruction_is_refused() -> None:
    emit_object([FMA], resolve("x86-64-v3"))
    without = CpuTarget("x86-64-v2", "x86_64-linux-gnu", "x86-64-v2", "", 128, 16, ())
    with pytest.raises(AuditError, match="fmaf"):
        emit_object([FMA], without)


@pytest.mark.parametrize(
    "machine, code",
    [
        (AARCH64, "00 d8 a1 4e"),  # frecpe v0.4s, v0.4s
        (AARCH64, "00 d8 a1 6e"),  # frsqrte v0.4s, v0.4s
        (AARCH64, "00 44 1b d5"),  # msr fpcr, x0
        (AARCH64, "40 d0 1b d5"),  # msr tpidr_el0, x0
        (AARCH64, "00 00 3f d6"),  # blr x0
        (AARCH64, "01 00 00 d4"),  # svc #0
        (AARCH64, "00 fc 42 2e"),  # bfdot v0.2s, v0.4h, v2.4h
        (RISCV, "73 10 25 00"),  # fsrm a0
        (RISCV, "73 00 00 00"),  # ecall
        (RISCV, "53 95 05 00"),  # fadd.s fa0, fa1, fa0, rtz
        (RISCV, "53 75 b5 18"),  # fdiv.s fa0, fa0, fa1
        (RISCV, "82 85"),  # c.jr a1
    ],
)
def test_refuses_elsewhere(machine: int, code: str) -> None:
    with pytest.raises(AuditError, match=r"k at 0x0 has"):
        audit_machine_code(with_code(bytes.fromhex(code), machine), NOTHING)


def test_needs_are_what_the_audit_of_ir_counts() -> None:
    known = audit._KERNEL.intrinsics | audit._ENTRY.intrinsics | audit._KERNEL.opcodes
    for number in ARCHITECTURES:
        needs = set(ARCHITECTURES[number].allowed.values()) - {""}
        assert needs - known <= {"mul i8", "llvm.aarch64.set.fpcr"}


def test_no_approximate_instruction_is_on_a_list() -> None:
    bad = re.compile(r"rcp|rsqrt|recp|sqrte|dpbf|bfdot|dpps|dpbusds|dpwssds|exp2|scalef|mxcsr$")
    for architecture in ARCHITECTURES.values():
        assert [n for n, need in architecture.allowed.items() if bad.search(n) and not need] == []
    assert "vpdpbusd" in instructions._X86.allowed


def test_every_compile_is_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    x = TensorType(DType.F32, (40,))
    artifact = build_artifact(one_op("det.exp", [x], {}), "x86-64-v3")
    machine, ir = artifact.audit["machine"], artifact.audit["llvm"]
    assert list(machine) == sorted(machine) and list(ir) == sorted(ir)
    fused = sum(n for name, n in machine.items() if name.startswith("vf"))
    assert ir["llvm.fma"] > 0 and fused > 0 and machine["vldmxcsr"] > 0
    monkeypatch.delitem(instructions._X86.allowed, "vldmxcsr")
    with pytest.raises(AuditError, match=r"aivm\..* has vldmxcsr"):
        build_artifact(one_op("det.exp", [x], {}), "x86-64-v3")
