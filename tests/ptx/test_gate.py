"""The gate admits what the table has, with operands as the ISA wants them, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aivmc.ptx.errors import PtxError
from aivmc.ptx.gate import admit
from aivmc.ptx.gpus import VERSIONS, capability
from aivmc.ptx.instructions import Form, Slot, instructions
from tests.ptx.isa import width
from tests.ptx.matmul import MATMUL
from tests.ptx.text import HEADER, NEWER_HEADER, kernel, lines, module, register

# Instructions that could change bits, or that can't be followed, and why they are refused.
FORBIDDEN = {
    "add.f32 %r0, %r1, %r2": "doesn't say .rn",
    "sub.f64 %d0, %d1, %d2": "doesn't say .rn",
    "mul.f32 %r0, %r1, %r2": "doesn't say .rn",
    "fma.f32 %r0, %r1, %r2, %r3": "doesn't say .rn",
    "mad.f32 %r0, %r1, %r2, %r3": "doesn't say .rn",
    "add.rz.f32 %r0, %r1, %r2": "doesn't round to nearest even",
    "add.rm.f32 %r0, %r1, %r2": "doesn't round to nearest even",
    "fma.rp.f64 %d0, %d1, %d2, %d3": "doesn't round to nearest even",
    "mad.rn.f32 %r0, %r1, %r2, %r3": "has modifiers or types that are not known",
    "add.rn.ftz.f32 %r0, %r1, %r2": "flushes subnormals to zero",
    "setp.lt.ftz.f32 %p0, %r1, %r2": "flushes subnormals to zero",
    "max.ftz.f32 %r0, %r1, %r2": "flushes subnormals to zero",
    "cvt.rn.ftz.f32.f64 %r0, %d1": "flushes subnormals to zero",
    "add.rn.sat.f32 %r0, %r1, %r2": "saturates",
    "add.sat.s32 %r0, %r1, %r2": "saturates",
    "cvt.sat.u8.s32 %r0, %r1": "saturates",
    "div.approx.f32 %r0, %r1, %r2": "is approximate",
    "div.full.f32 %r0, %r1, %r2": "is approximate",
    "rcp.approx.ftz.f64 %d0, %d1": "is approximate",
    "sqrt.approx.f32 %r0, %r1": "is approximate",
    "rsqrt.approx.f32 %r0, %r1": "is approximate",
    "sin.approx.f32 %r0, %r1": "is approximate",
    "ex2.approx.f32 %r0, %r1": "is approximate",
    "lg2.approx.f32 %r0, %r1": "is approximate",
    "tanh.approx.f32 %r0, %r1": "is approximate",
    "max.NaN.f32 %r0, %r1, %r2": "max.NaN.f32 needs sm_80, and the module is for sm_52",
    "cvt.f32.f64 %r0, %d1": "has modifiers or types that are not known",
    "cvt.rna.tf32.f32 %r0, %r1": "doesn't round to nearest even",
    "add.rn.f16 %h0, %h1, %h2": "has modifiers or types that are not known",
    "add.f16x2 %r0, %r1, %r2": "doesn't say .rn",
    "fma.rn.bf16x2 %r0, %r1, %r2, %r3": "has modifiers or types that are not known",
    "atom.global.add.f32 %r0, [%d0], %r1": "combines in no order of ours",
    "red.global.add.f32 [%d0], %r1": "combines in no order of ours",
    "red.shared.add.u32 [%d0], %r1": "combines in no order of ours",
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r0}, {%r1}, {%r2}, {%r3}": "no order",
    "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {%r0}, {%r1}, {%r2}, {%r3}": "no order",
    "call foo": "goes where it can't be followed",
    "brx.idx %r0, ts": "goes where it can't be followed",
    "tex.1d.v4.f32.s32 {%r0, %r1, %r2, %r3}, [%d0]": "reads by formats of its own",
    "ld.u32 %r0, [%d0]": "doesn't say which memory",
    "st.f32 [%d0], %r0": "doesn't say which memory",
    "cvta.local.u64 %d0, %d1": "has modifiers or types that are not known",
    "ld.volatile.global.u32 %r0, [%d0]": "is for memory that others change",
    "ld.global.cv.u32 %r0, [%d0]": "has modifiers or types that are not known",
    "ld.global.v4.f64 {%d0, %d1, %d2, %d3}, [%d4]": "has modifiers or types that are not known",
    "cp.async.ca.shared.global [%d0], [%d1], 16": "works apart from its thread",
    "shfl.sync.bfly.b32 %r0, %r1, 1, 31, -1": "works across a warp",
    "bar.warp.sync -1": "has modifiers or types that are not known",
    "bar.arrive 0, 32": "has modifiers or types that are not known",
    "membar.gl": "orders memory between blocks",
    "trap": "'trap' is not allowed",
    "madeup.u32 %r0, %r1": "'madeup.u32' is not allowed",
    "dp4a.s32.s32 %r0, %r1, %r2, %r3": "dp4a.s32.s32 needs sm_61, and the module is for sm_52",
}


@pytest.mark.parametrize("instruction", FORBIDDEN)
def test_what_could_change_bits_is_refused(instruction: str) -> None:
    text = module(kernel(lines(f"{instruction}; ret")))
    with pytest.raises(PtxError, match=re.escape(FORBIDDEN[instruction])) as caught:
        admit(text)
    assert f"\t{instruction};".expandtabs(1) in str(caught.value)


def test_the_header_is_the_targets() -> None:
    body = kernel(lines("max.NaN.f32 %r0, 0f00000000, 0f3F800000; ret"))
    assert admit(NEWER_HEADER + body, "sm_80").counts == {"k": {"max.NaN.f32": 1, "ret": 1}}
    for gpu in VERSIONS:
        if gpu != "sm_80":
            with pytest.raises(PtxError, match=r"unexpected '7\.0'|unexpected 'sm_80'"):
                admit(NEWER_HEADER + body, gpu)


WRONG = {
    "add.s32 %r0, %r1": "takes 3 operands, not 2",
    "add.s32 %d0, %r1, %r2": "%d0 is of type b64; s32 is needed",
    "add.s32 %r0, %h1, %r2": "%h1 is of type b16; s32 is needed",
    "add.rn.f32 %r0, %r1, 1": "this is no number of type f32",
    "add.rn.f32 %r0, %r1, 0d3FF0000000000000": "this is no number of type f32",
    "add.s32 %r0, %r1, 0f3F800000": "this is no number of type s32",
    "add.s32 %r0, %r1, 4294967296": "this is no number of type s32",
    "add.s32 %r0, %r1, -2147483649": "this is no number of type s32",
    "add.s32 5, %r1, %r2": "a result of type s32 must stand here",
    "add.s32 %r0, %r1, %p1": "%p1 is of type pred; s32 is needed",
    "and.pred %p0, %p1, 2": "this is no number of type pred",
    "mov.u32 %r0, %nosuch": "unknown register '%nosuch'",
    "mov.u32 %tid.x, %r0": "a special register is read by mov.u32 only",
    "add.u32 %r0, %tid.x, 1": "a special register is read by mov.u32 only",
    "mov.u32 %r0, %clock": "unknown register '%clock'",
    "mov.u32 %r0, %laneid": "unknown register '%laneid'",
    "mov.u64 %d0, nosuch": "unknown operand 'nosuch'",
    "mov.b16 %h0, sh": "unknown operand 'sh'",
    "mov.f32 %r0, sh": "unknown operand 'sh'",
    "mov.f64 %d0, sh": "unknown operand 'sh'",
    "add.u64 %d0, sh, 4": "unknown operand 'sh'",
    "mov.b64 {%r0, %r1, %r2}, %d0": "no mov takes vectors so",
    "mov.b64 {%r0, %r1}, {%r2, %r3}": "no mov takes vectors so",
    "mov.b32 {%r0, %r1}, %r2": "%r0 is of type b32; b16 is needed",
    "mov.b64 {%r0, %r0}, 5": "%r0 is written twice",
    "mov.b64 %d0, {_, 5}": "'_' is no source",
    "ld.global.u32 %r0, %d0": "an address in brackets must stand here",
    "ld.global.u32 %r0, [%r1]": "%r1 is of type b32; u64 is needed",
    "ld.shared.u32 %r0, [%h1]": "%h1 is of type b16; u64 is needed",
    "ld.shared.u32 %r0, [%f]": "%f is of type f32; u32 is needed",
    "ld.shared.u32 %r0, [%nosuch]": "unknown register '%nosuch'",
    "ld.global.u32 %r0, [sh]": "'sh' is no address in global memory",
    "ld.shared.u32 %r0, [p0]": "'p0' is no address in shared memory",
    "ld.param.u32 %r0, [sh]": "'sh' is no address in param memory",
    "ld.param.u32 %r0, [%d0]": "'%d0' is no address in param memory",
    "ld.param.u32 %r0, [p0]": "p0 is one u64 and is loaded whole",
    "ld.param.u64 %d0, [p0+8]": "p0 is one u64 and is loaded whole",
    "ld.global.f32 %d0, [%d1]": "%d0 is of type b64; f32 is needed",
    "ld.global.u64 %r0, [%d1]": "%r0 is of type b32; u64 is needed",
    "ld.global.v2.u32 %r0, [%d1]": "2 operands in braces must stand here",
    "ld.global.v2.u32 {%r0, %r1, %r2}, [%d1]": "2 operands in braces must stand here",
    "st.global.v2.u32 [%d1], {%r0, 0f00000000}": "this is no number of type u32",
    "cvt.rn.f32.s32 %d0, %r1": "%d0 is of type b64; f32 is needed",
    "bra nowhere": "a label of this kernel must stand here",
    "bra %r0": "a label of this kernel must stand here",
    "@%r0 bra end": "%r0 is of type b32; pred is needed",
    "@%p0 bra.uni end": "bra.uni under a predicate",
    "@%p0 bar.sync 0": "a barrier under a predicate",
    "bar.sync 1": "only barrier 0",
    "bar.sync %r0": "only barrier 0",
    "bar.sync 0, 32": "takes 1 operands, not 2",
    "mov.f32 %x, %r0": "%x is of type u32; f32 is needed",
    "add.s32 %f, %r0, 1": "%f is of type f32; s32 is needed",
}


@pytest.mark.parametrize("instruction", WRONG)
def test_wrong_operands_are_refused(instruction: str) -> None:
    declared = ".reg .u32 %x; .reg .f32 %f; .shared .align 4 .b8 sh[4]"
    text = module(kernel(lines(f"{declared}; {instruction}; ret; end: ret"), ("u64",)))
    with pytest.raises(PtxError, match=re.escape(WRONG[instruction])):
        admit(text)


FLOW = {
    "never written": ("add.s32 %r1, %r0, 1; ret", "%r0 may be read"),
    "written on one way": (
        "mov.u32 %r2, %tid.x; setp.eq.u32 %p0, %r2, 0; @%p0 bra go; mov.u32 %r0, 1;"
        "go: add.s32 %r1, %r0, 1; ret",
        "%r0 may be read before it is written",
    ),
    "written under a predicate": (
        "setp.eq.u32 %p0, 1, 1; @%p0 mov.u32 %r0, 1; add.s32 %r1, %r0, 1; ret",
        "%r0 may be read",
    ),
    "written by a later round": (
        "mov.u32 %r2, 0; go: add.s32 %r2, %r2, %r0; mov.u32 %r0, 1; setp.lt.u32 %p0, %r2, 9;"
        "@%p0 bra go; ret",
        "%r0 may be read",
    ),
    "an unknown predicate": ("@%p0 bra go; go: ret", "%p0 may be read"),
    "an unknown address": ("st.global.u32 [%d0], 1; ret", "%d0 may be read"),
    "part of a vector": ("mov.u32 %r0, 1; mov.b64 %d0, {%r0, %r1}; ret", "%r1 may be read"),
    "no end": ("mov.u32 %r0, 1", "goes on after its last instruction"),
    "an end for some": (
        "mov.u32 %r0, %tid.x; setp.eq.u32 %p0, %r0, 0; @%p0 ret",
        "goes on after its last instruction",
    ),
    "a label at the end": ("ret; end: ", "the label 'end' has no instruction"),
}


@pytest.mark.parametrize("case", FLOW)
def test_registers_have_values_and_kernels_an_end(case: str) -> None:
    body, message = FLOW[case]
    text = lines(body) if not body.endswith(": ") else lines("ret") + "end:\n"
    with pytest.raises(PtxError, match=re.escape(message)):
        admit(module(kernel(text)))


def test_values_from_every_way_are_enough() -> None:
    body = (
        "mov.u32 %r2, %tid.x; setp.eq.u32 %p0, %r2, 0; @%p0 bra one; mov.u32 %r0, 1; bra.uni go;"
        "one: mov.u32 %r0, 2; go: add.s32 %r1, %r0, 1; @!%p0 mov.u32 %r1, 5; ret"
    )
    assert admit(module(kernel(lines(body)))).counts["k"]["mov.u32"] == 4


def test_the_report_counts_by_kernel_and_opcode() -> None:
    other = kernel(lines("add.rn.f32 %r0, 0f00000000, 0f3F800000; exit"), name="a")
    counts = admit(MATMUL + other).counts
    assert list(counts) == ["a", "matmul"]
    assert counts["a"] == {"add.rn.f32": 1, "exit": 1}
    assert counts["matmul"]["fma.rn.f32"] == 8
    assert list(counts["matmul"]) == sorted(counts["matmul"])


def test_every_float_instruction_says_how_it_rounds_or_is_exact() -> None:
    exact = {"abs", "neg", "min", "max", "copysign", "setp", "selp", "mov", "ld", "st"}
    integral = re.compile(r"cvt\.r[nzmp]i\.")
    for name, form in instructions().items():
        family, *modifiers = name.split(".")
        if form.type not in ("f16", "f32", "f64") or family in exact or integral.match(name):
            continue
        widens = family == "cvt" and width(form.slots[0].type) > width(form.type)
        assert "rn" in modifiers or widens, name
    assert not any(m in name for name in instructions() for m in ("ftz", "approx", "sat", "atom"))


# An independent judge of the table, where there is one.

PTXAS = shutil.which("ptxas")


def _written(name: str, form: Form) -> str:
    numbers = iter(range(1, 9))

    def operand(slot: Slot) -> str:
        if slot.role == "address":
            known = {"param": "[q]", "shared": "[sh]", "global": "[%d30]", "local": "[lo]"}
            return known[slot.type]
        if slot.role == "label":
            return "end"
        if slot.lanes > 1:
            return (
                "{" + ", ".join(register(slot.type, next(numbers)) for _ in range(slot.lanes)) + "}"
            )
        return register(slot.type, next(numbers))

    if form.family == "barrier":
        return f"{name} 0"
    return f"{name} {', '.join(map(operand, form.slots))}".strip()


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
@pytest.mark.parametrize("gpu", ["sm_75", "sm_90"])
def test_ptxas_takes_every_instruction_of_the_table(gpu: str, tmp_path: Path) -> None:
    kernels = []
    for n, (name, form) in enumerate(instructions().items()):
        if capability(form.gpu) > capability(gpu):
            continue
        memory = ".shared .align 16 .b8 sh[16]; .local .align 16 .b8 lo[16]"
        body = lines(f"{memory}; {_written(name, form)}; end: ret")
        kind = form.type if form.family == "ld_param" else "u32"
        kernels.append(kernel(body, name=f"k{n}").replace(f"k{n}()", f"k{n}(.param .{kind} q)"))
    source = tmp_path / "table.ptx"
    header = HEADER.replace("sm_52", "sm_61") if gpu == "sm_75" else NEWER_HEADER
    source.write_text(header + "\n".join(kernels), "ascii")
    command = [str(PTXAS), f"-arch={gpu}", "-O0", str(source), "-o", str(tmp_path / "table.cubin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[:2000]
