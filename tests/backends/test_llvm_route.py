"""The way from PrimFuncs to object code keeps every float operation, and gives equal bytes."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
import tvm
from tvm import tirx

from aivmc.backends.cpu.audit import audit_ir
from aivmc.backends.cpu.llvm import compile_functions, emit_assembly, emit_object
from aivmc.backends.cpu.targets import CpuTarget, resolve
from aivmc.ir.errors import AivmcError

NATIVE = resolve("native")
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-42, 1.5, 2.5, -2.5, -0.5, 3e38]
SPECIAL += [1.0000001, -7.25, 2147483648.0, -3e9]
LANES = 16


def i64(value: int) -> Any:
    return tirx.const(value, "int64")


def pointer(name: str, dtype: str) -> Any:
    return tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype)))


def elementwise(
    expression: Callable[..., Any], inputs: list[str], output: str, lanes: int = LANES
) -> Any:
    """``out[i] = expression(in0[i], …)``, as one vector (or scalar) operation."""
    dtypes = [*inputs, output]
    pointers = [pointer(f"p{i}", d) for i, d in enumerate(dtypes)]
    buffers = [
        tirx.decl_buffer((lanes,), d, name=f"b{i}", data=p)
        for i, (d, p) in enumerate(zip(dtypes, pointers))
    ]
    index = [i64(0)] if lanes == 1 else [tirx.Ramp(i64(0), i64(1), lanes)]
    value = expression(*(tirx.BufferLoad(b, index) for b in buffers[:-1]))
    body = tirx.SeqStmt(
        [
            *(tirx.DeclBuffer(b, data=p) for b, p in zip(buffers, pointers)),
            tirx.BufferStore(buffers[-1], value, index),
        ]
    )
    function = tirx.PrimFunc(pointers, body)
    return function.with_attr("global_symbol", "k").with_attr("tirx.noalias", True)


def scaled(symbol: str = "k") -> Any:
    """``b[i] = a[i] * 3`` for an ``n`` known at run time."""
    a, b, n = pointer("a", "float32"), pointer("b", "float32"), tirx.Var("n", "int64")
    source = tirx.decl_buffer((n,), "float32", name="source", data=a)
    result = tirx.decl_buffer((n,), "float32", name="result", data=b)
    i = tirx.Var("i", "int64")
    product = intrinsic("llvm.fma", "float32")(tirx.BufferLoad(source, [i]), f32(3), f32(-0.0))
    loop = tirx.For(i, i64(0), n, tirx.ForKind.SERIAL, tirx.BufferStore(result, product, [i]))
    body = tirx.SeqStmt([tirx.DeclBuffer(source, data=a), tirx.DeclBuffer(result, data=b), loop])
    function = tirx.PrimFunc([a, b, n], body)
    return function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)


def intrinsic(name: str, dtype: str) -> Callable[..., Any]:
    return lambda *operands: tirx.call_llvm_pure_intrin(dtype, name, *operands)


def f32(value: float) -> Any:
    return tirx.const(value, "float32")


def splat(value: float, dtype: str = "float32") -> Any:
    return tirx.Broadcast(tirx.const(value, dtype), LANES)


class Loaded:
    """The function ``k`` of an object."""

    def __init__(self, code: bytes) -> None:
        machine = llvm.Target.from_default_triple().create_target_machine(
            jit=True, codemodel="jitdefault"
        )
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()

    def __call__(self, *arguments: Any) -> None:
        values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(values))
        kind(self.engine.get_function_address("k"))(*values)


def run(
    expression: Callable[..., Any],
    *inputs: Any,
    output: str = "float32",
    target: CpuTarget = NATIVE,
) -> np.ndarray[Any, Any]:
    text = compile_functions(
        [elementwise(expression, [str(x.dtype) for x in inputs], output)], target
    )
    result = np.zeros(LANES, output)
    Loaded(emit_object([text], target))(*inputs, result)
    return result


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal bytes, where all NaNs count as one."""
    assert a.dtype == b.dtype
    either_nan = np.isnan(a) | np.isnan(b)
    return bool((np.isnan(a) == np.isnan(b)).all()) and (
        np.where(either_nan, 0, a).tobytes() == np.where(either_nan, 0, b).tobytes()
    )


X = np.array(SPECIAL, np.float32)
Y = np.roll(X, 5)

UNARY = {
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "roundeven": np.rint,
    "fabs": np.abs,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_intrinsic(name: str, dtype: str) -> None:
    x = X.astype(dtype)
    got = run(intrinsic(f"llvm.{name}", f"{dtype}x{LANES}"), x, output=dtype)
    with np.errstate(invalid="ignore"):
        assert same_bits(got, UNARY[name](x))


def maximum(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """IEEE 754-2019 maximum: NaN wins, -0 < +0."""
    zeros = np.where(np.signbit(a), b, a)
    return np.where((a == 0) & (b == 0), zeros, np.maximum(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_maximum_and_minimum(dtype: str) -> None:
    vector = f"{dtype}x{LANES}"
    for shift in (1, 5, 9):
        x, y = X.astype(dtype), np.roll(X, shift).astype(dtype)
        upper = run(intrinsic("llvm.maximum", vector), x, y, output=dtype)
        lower = run(intrinsic("llvm.minimum", vector), x, y, output=dtype)
        assert same_bits(upper, maximum(x, y))
        assert same_bits(lower, -maximum(-x, -y))


ARITHMETIC: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "add": (lambda a, b: (a, splat(1), b), np.add, "fadd"),
    "sub": (lambda a, b: (b, splat(-1), a), np.subtract, "fsub"),
    "mul": (lambda a, b: (a, b, splat(-0.0)), np.multiply, "fmul"),
}


@pytest.mark.parametrize(
    "target", [resolve("x86-64-v3"), resolve("x86-64-v4")], ids=lambda t: t.name
)
@pytest.mark.parametrize("name", ARITHMETIC)
def test_opaque_arithmetic_becomes_plain(name: str, target: CpuTarget) -> None:
    """The spelling that TVM cannot simplify: LLVM makes one plain instruction of it."""
    operands, reference, opcode = ARITHMETIC[name]
    fma = intrinsic("llvm.fma", f"float32x{LANES}")
    function = elementwise(lambda a, b: fma(*operands(a, b)), ["float32", "float32"], "float32")
    report = audit_ir(compile_functions([function], target))
    assert report.fma == 0
    assert report.counts[opcode] == 1
    with np.errstate(all="ignore"):
        assert same_bits(run(lambda a, b: fma(*operands(a, b)), X, Y), reference(X, Y))
        assert same_bits(run(lambda a: fma(*operands(a, a)), X), reference(X, X))


def test_division_is_ieee() -> None:
    with np.errstate(all="ignore"):
        assert same_bits(run(tirx.Div, X, Y), X / Y)
        assert same_bits(run(lambda a: tirx.Div(a, a), X), X / X)
        assert same_bits(run(lambda a: tirx.Div(splat(0), a), X), np.float32(0) / X)
        assert same_bits(run(lambda a: tirx.Div(a, splat(3)), X), X / np.float32(3))


def test_multiply_and_add_are_not_fused() -> None:
    """a*b + c with both roundings, and with one, where the two differ."""
    fma = intrinsic("llvm.fma", f"float32x{LANES}")
    a = np.full(LANES, 1 + 2**-12, np.float32)
    c = np.full(LANES, -(1 + 2**-11), np.float32)
    separate = run(lambda a, c: fma(fma(a, a, splat(-0.0)), splat(1), c), a, c)
    assert same_bits(separate, a * a + c)
    fused = run(lambda a, c: fma(a, a, c), a, c)
    assert (fused == np.float32(2**-24)).all() and (separate == 0).all()
    for target in (resolve("x86-64-v3"), resolve("x86-64-v4")):
        function = elementwise(
            lambda a, c: fma(fma(a, a, splat(-0.0)), splat(1), c), ["float32"] * 2, "float32"
        )
        assembly = emit_assembly([compile_functions([function], target)], target)
        assert "vmulps" in assembly and "vaddps" in assembly and "vfm" not in assembly


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_float_to_integer_saturates(dtype: str) -> None:
    name = "llvm.fptoui.sat" if dtype[0] == "u" else "llvm.fptosi.sat"
    got = run(intrinsic(name, f"{dtype}x{LANES}"), X, output=dtype)
    limits = np.iinfo(dtype)
    expected = [
        0
        if np.isnan(x)
        else limits.max
        if x > limits.max
        else max(limits.min, int(x))
        if np.isfinite(x)
        else limits.min
        for x in map(float, X)
    ]
    assert got.tolist() == expected


def test_conversions() -> None:
    vector = f"float32x{LANES}"
    integers = np.array([0, 1, -1, 2**24 + 1, 2**31 - 1, -(2**31), 3, 5] * 2, np.int32)
    assert same_bits(run(lambda x: tirx.Cast(vector, x), integers), integers.astype(np.float32))
    assert same_bits(
        run(lambda x: tirx.Cast(f"float64x{LANES}", x), X, output="float64"), X.astype(np.float64)
    )
    halves = np.arange(0, 2**16, 4099).astype(np.uint16).view(np.float16)
    assert same_bits(run(lambda x: tirx.Cast(vector, x), halves), halves.astype(np.float32))
    with np.errstate(over="ignore"):
        got = run(lambda x: tirx.Cast(f"float16x{LANES}", x), X, output="float16")
        assert same_bits(got, X.astype(np.float16))


def test_comparisons_select_and_bits() -> None:
    def as_bool(condition: Any) -> Any:
        return tirx.Select(condition, splat(1, "int8"), splat(0, "int8"))

    pairs: list[tuple[Callable[..., Any], Any]] = [
        (tirx.LT, X < Y),
        (tirx.LE, X <= Y),
        (tirx.EQ, X == Y),
        (lambda a, b: tirx.bitwise_not(tirx.LT(a, b)), ~(X < Y)),
        (lambda a, b: tirx.isnan(a), np.isnan(X)),
        (lambda a, b: tirx.bitwise_and(tirx.LT(a, b), tirx.isnan(b)), (X < Y) & np.isnan(Y)),
    ]
    for expression, expected in pairs:
        got = run(lambda a, b, e=expression: as_bool(e(a, b)), X, Y, output="int8")
        assert got.tolist() == expected.astype(np.int8).tolist()
    bits = run(lambda x: tirx.reinterpret(f"uint32x{LANES}", x), X, output="uint32")
    assert bits.tobytes() == X.tobytes()
    shifted = run(lambda x: tirx.shift_right(x, splat(23, "uint32")), bits, output="uint32")
    assert shifted.tolist() == (bits >> 23).tolist()


@pytest.mark.parametrize(
    "expression",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: tirx.Max(a, b),
        lambda a, b: tirx.Min(a, b),
        lambda a, b: tirx.Select(tirx.NE(a, b), a, b),
        lambda a, b: tirx.Select(tirx.EQ(a, a), a, b),
        lambda a, b: tirx.Select(tirx.Not(tirx.LT(a, b)), a, b),
        lambda a, b: tirx.Select(tirx.Or(tirx.LT(a, b), tirx.LE(b, a)), a, b),
    ],
)
def test_float_arithmetic_that_tvm_sees_is_refused(expression: Callable[..., Any]) -> None:
    with pytest.raises(AivmcError, match="left in TIR"):
        compile_functions([elementwise(expression, ["float32"] * 2, "float32")], NATIVE)


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: tirx.exp(x),
        lambda x: tirx.Cast(f"int32x{LANES}", x),
        lambda x: tirx.call_llvm_pure_intrin(f"float32x{LANES}", "llvm.maxnum", x, splat(1)),
    ],
)
def test_library_and_poison_are_refused(expression: Callable[..., Any]) -> None:
    output = str(expression(splat(0)).ty.dtype).split("x")[0]
    with pytest.raises(AivmcError, match="not allowed"):
        compile_functions([elementwise(expression, ["float32"], output)], NATIVE)


def test_loops_over_64_bit_dims() -> None:
    code = emit_object([compile_functions([scaled()], NATIVE)], NATIVE)
    for n in (0, 1, 7, 64, 1000):
        a = np.arange(n, dtype=np.float32)
        b = np.full(n + 1, -1, np.float32)
        Loaded(code)(a, b, n)
        assert same_bits(b[:n], a * np.float32(3)) and b[n] == -1


def test_functions_call_each_other_over_modules() -> None:
    a, b, n = pointer("a", "float32"), pointer("b", "float32"), tirx.Var("n", "int64")
    call = tirx.Evaluate(tirx.call_extern("void", "inner", a, b, n))
    outer = tirx.PrimFunc([a, b, n], call).with_attr("global_symbol", "k")
    x, y = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    Loaded(emit_object([compile_functions([outer, scaled("inner")], NATIVE)], NATIVE))(x, y, 40)
    assert same_bits(y, x * np.float32(3))


def test_stack_accumulators_stay_in_registers() -> None:
    a, b, n = pointer("a", "float32"), pointer("b", "float32"), tirx.Var("n", "int64")
    source = tirx.decl_buffer((n * LANES,), "float32", name="source", data=a)
    result = tirx.decl_buffer((LANES,), "float32", name="result", data=b)
    sums = tirx.decl_buffer((LANES,), "float32", name="sums", scope="local")
    i = tirx.Var("i", "int64")
    lanes = [tirx.Ramp(i64(0), i64(1), LANES)]
    fma = intrinsic("llvm.fma", f"float32x{LANES}")
    element = tirx.BufferLoad(source, [tirx.Ramp(i * LANES, i64(1), LANES)])
    update = tirx.BufferStore(sums, fma(element, splat(1), tirx.BufferLoad(sums, lanes)), lanes)
    body = tirx.SeqStmt(
        [
            tirx.DeclBuffer(source, data=a),
            tirx.DeclBuffer(result, data=b),
            tirx.AllocBuffer(sums, {"disable_lower_builtin": tirx.const(1, "bool")}),
            tirx.BufferStore(sums, splat(0), lanes),
            tirx.For(i, i64(0), n, tirx.ForKind.SERIAL, update),
            tirx.BufferStore(result, tirx.BufferLoad(sums, lanes), lanes),
        ]
    )
    function = tirx.PrimFunc([a, b, n], body).with_attr("global_symbol", "k")
    text = compile_functions([function.with_attr("tirx.noalias", True)], NATIVE)
    assert "alloca" not in audit_ir(text).counts
    x, y = np.arange(5 * LANES, dtype=np.float32), np.zeros(LANES, np.float32)
    Loaded(emit_object([text], NATIVE))(x, y, 5)
    assert same_bits(y, x.reshape(5, LANES).sum(0))


def test_v4_uses_512_bit_registers_also_in_loops_that_llvm_vectorizes() -> None:
    v3, v4 = resolve("x86-64-v3"), resolve("x86-64-v4")
    assert "%zmm" in emit_assembly([compile_functions([scaled()], v4)], v4)
    assembly = emit_assembly([compile_functions([scaled()], v3)], v3)
    assert "%zmm" not in assembly and "%ymm" in assembly


def digests() -> list[str]:
    """Of the IR text and the object of one kernel, for both targets."""
    out = []
    for name in ("x86-64-v3", "x86-64-v4"):
        target = resolve(name)
        text = compile_functions([scaled()], target)
        code = emit_object([text], target)
        out += [hashlib.sha256(b).hexdigest() for b in (text.encode(), code)]
    return out


@pytest.mark.parametrize(("seed", "lines"), [("0", 0), ("1", 57)])
def test_equal_in_other_processes_folders_seeds_and_source_lines(
    seed: str, lines: int, tmp_path: Path
) -> None:
    script = tmp_path / "moved.py"
    source = Path(__file__).read_text(encoding="utf-8")
    script.write_text("\n" * lines + source + "\nprint(*digests())\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == digests()


def test_text_holds_no_trace_of_the_build() -> None:
    text = compile_functions([scaled()], NATIVE)
    for trace in ("!dbg", "#dbg", "!tbaa", "DILocation", "tvm_target", "section"):
        assert trace not in text


def test_targets() -> None:
    assert resolve("cpu") == resolve("llvm") == resolve("x86-64-v3")
    assert resolve("native").name.startswith("x86-64-v")
    with pytest.raises(AivmcError, match=r"x86-64-v3.*cpu.*native"):
        resolve("pdp-11")
