"""The audit accepts what IEEE 754 defines to the bit and refuses everything else."""

import pytest

from aivmc.backends.cpu.audit import AuditError, audit_entry, audit_ir


def function(body: str, extra: str = "") -> str:
    return (
        'target triple = "x86_64-linux-gnu"\n\n'
        f"define void @k(ptr %a, float %x, <8 x float> %v, half %h, i64 %n) {{\nstart:\n{body}"
        f"  ret void\n}}\n{extra}"
    )


def test_counts_what_it_accepts() -> None:
    text = function(
        "  %y = fmul float %x, 2.000000e+00\n"
        "  %z = fadd float %y, %x ; a comment\n"
        "  %w = tail call <8 x float> @llvm.fma.v8f32(<8 x float> %v, <8 x float> %v, "
        "<8 x float> %v)\n"
        "  %i = call i32 @llvm.fptosi.sat.i32.f32(float %z)\n"
        "  %b = fcmp olt float %z, %x\n"
        '  %"odd name" = fneg float %x\n'
        "  switch i64 %n, label %other [\n"
        "    i64 0, label %other\n"
        "  ]\n\n"
        "other:                                            ; preds = %start\n"
    )
    report = audit_ir(text)
    assert report.counts == {
        "call": 2,
        "fadd": 1,
        "fcmp": 1,
        "fmul": 1,
        "fneg": 1,
        "llvm.fma": 1,
        "llvm.fptosi.sat": 1,
        "ret": 1,
        "switch": 1,
    }
    assert list(report.counts) == sorted(report.counts)
    assert (report.fma, report.fmul, report.fadd) == (1, 1, 1)
    other = audit_ir(text.replace("@k(", "@other("))
    assert (report + other).fma == 2
    assert set((report + other).functions) == {"k", "other"}


def test_sums_in_the_order_of_elements() -> None:
    """LLVM vectorizes loops so; its manual says that the elements are added one after the other."""
    total = "  %y = call float @llvm.vector.reduce.fadd.v8f32(float %x, <8 x float> %v)\n"
    assert audit_ir(function(total)).counts["llvm.vector.reduce.fadd"] == 1


def test_counts_products_of_bytes() -> None:
    """For which x86 has no instruction but one that saturates in general."""
    wrapping = "@llvm.vp.mul.v16i8(<16 x i8> %b, <16 x i8> %b, <16 x i1> splat (i1 true), i32 16)"
    report = audit_ir(
        function(
            "  %b = load <16 x i8>, ptr %a, align 1\n"
            "  %c = mul <16 x i8> %b, %b\n"
            f"  %d = call <16 x i8> {wrapping}\n"
            "  %e = mul i64 %n, %n\n"
        )
    )
    assert report.counts["mul i8"] == 2


REFUSED = {
    "fast": "%y = fmul fast float %x, %x",
    "contract": "%y = fmul contract float %x, %x",
    "reassoc": "%y = fadd reassoc float %x, %x",
    "arcp on a vector": "%y = fdiv arcp <8 x float> %v, %v",
    "nnan on select": "%y = select nnan i1 true, float %x, float %x",
    "afn on a call": "%y = call afn float @llvm.sqrt.f32(float %x)",
    "nsz on fneg": "%y = fneg nsz float %x",
    "imprecise division": "%y = fdiv float %x, %x, !fpmath !0",
    "frem": "%y = frem float %x, %x",
    "fptosi": "%y = fptosi float %x to i32",
    "fptoui": "%y = fptoui float %x to i32",
    "fmuladd": "%y = call float @llvm.fmuladd.f32(float %x, float %x, float %x)",
    "minnum": "%y = call float @llvm.minnum.f32(float %x, float %x)",
    "maxnum": "%y = call float @llvm.maxnum.f32(float %x, float %x)",
    "exp": "%y = call float @llvm.exp.f32(float %x)",
    "powi": "%y = call float @llvm.powi.f32.i32(float %x, i32 3)",
    "constrained": "%y = call float @llvm.experimental.constrained.fadd.f32(float %x, float %x)",
    "sum in any order": "%y = call reassoc float @llvm.vector.reduce.fadd.v8f32(float %x, "
    "<8 x float> %v)",
    "approximate reciprocal": "%y = call <4 x float> @llvm.x86.sse.rcp.ps(<4 x float> undef)",
    "floating-point environment": "call void @llvm.x86.sse.ldmxcsr(ptr %a)",
    "library call": "%y = call float @expf(float %x)",
    "fma library call": "%y = call float @fmaf(float %x, float %x, float %x)",
    "saturating products": "%y = call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw(<32 x i8> undef)",
    "saturating dot product": "%y = call <16 x i32> @llvm.x86.avx512.vpdpbusds.512(ptr %a)",
    "look-alike": "%y = call float @llvm.fmax(float %x)",
    "indirect call": "call void %a(float %x)",
    "inline assembly": 'call void asm sideeffect "fldz", ""()',
    "bf16 arithmetic": "%y = fadd bfloat 1.0, 1.0",
    "x87": "%y = fpext float %x to x86_fp80",
    "quadruple": "%y = fpext float %x to fp128",
    "atomic": "%y = atomicrmw fadd ptr %a, float %x monotonic, align 4",
    "variable arguments": "%y = va_arg ptr %a, float",
    "exception": "resume { ptr, i32 } zeroinitializer",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED.keys())
def test_refuses_instruction(line: str) -> None:
    with pytest.raises(AuditError, match="not allowed"):
        audit_ir(function(f"  {line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        'attributes #0 = { nounwind "unsafe-fp-math"="true" }',
        'attributes #0 = { "no-nans-fp-math"="true" "target-cpu"="x86-64-v3" }',
        "attributes #0 = { strictfp }",
        'attributes #0 = { "denormal-fp-math"="preserve-sign" }',
        "attributes #0 = { denormal_fpenv(preservesign) }",
        'module asm "nop"',
        "@state = internal global float 0.000000e+00",
        "@other = external constant float",
        "@alias = alias void (), ptr @k",
        "declare float @expf(float)",
        "declare float @llvm.fmuladd.f32(float, float, float)",
    ],
)
def test_refuses_outside_of_functions(line: str) -> None:
    with pytest.raises(AuditError, match="not allowed"):
        audit_ir(function("", line + "\n"))


def test_names_and_strings_are_not_flags() -> None:
    audit_ir(
        function(
            "  %fast = fmul float %x, %x\n  %contract.1 = fadd float %fast, %fast\n",
            '@k.text = private unnamed_addr constant [5 x i8] c"fast\\00", align 1\n'
            'attributes #0 = { nounwind "target-cpu"="x86-64-v3" "target-features" }\n'
            '!0 = !{!"fast"}\n',
        )
    )


def test_external_functions_are_those_declared() -> None:
    text = function("  call void @other(ptr %a)\n", "declare void @other(ptr)\n")
    with pytest.raises(AuditError, match="function other"):
        audit_ir(text)
    audit_ir(text, {"other"})


def test_entry_has_no_floats() -> None:
    integers = (
        "define void @aivm_run(ptr %c) {\n"
        "  %f = load ptr, ptr %c, align 8\n"
        "  call void %f(ptr %c)\n"
        "  %n = atomicrmw add ptr %c, i64 1 seq_cst, align 8\n"
        "  call void @llvm.x86.sse.ldmxcsr(ptr %c)\n"
        "  call void @kernel(ptr %c)\n"
        "  ret void\n}\n"
    )
    audit_entry(integers, {"kernel"})
    with pytest.raises(AuditError, match="function kernel"):
        audit_entry(integers, ())
    for line in ("%x = load float, ptr %c, align 4", "%y = fadd double 1.0, 2.0"):
        with pytest.raises(AuditError):
            audit_entry(integers.replace("  ret void", f"  {line}\n  ret void"), {"kernel"})
