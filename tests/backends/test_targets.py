"""Every target's code does the same: no library, nothing fused but what is written fused."""

from __future__ import annotations

import itertools
import platform
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.backends import emit_float
from aivmc.backends.build import build_artifact, kernel_module
from aivmc.backends.cpu.audit import audit_ir
from aivmc.backends.cpu.generate import assembly_text
from aivmc.backends.cpu.llvm import compile_functions, emit_assembly, emit_object
from aivmc.backends.cpu.schedules.tile import choose_tile
from aivmc.backends.cpu.targets import TARGETS, CpuTarget, resolve
from aivmc.compiler import canonicalize
from aivmc.ir.interpret import interpret
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.numpy_float import fma_f32, fma_f64
from aivmc.ir.types import DType, TensorType
from tests.backends.test_llvm_route import (
    LANES,
    Loaded,
    elementwise,
    intrinsic,
    same_bits,
    splat,
)
from tests.compiled_op import one_op
from tests.cross.cases import Case, op_cases, specials
from tests.small_model import small_model

V2 = resolve("x86-64-v2")
FUSED = {"x86_64": "vfmadd", "aarch64": "fmla", "riscv64": "fmadd"}  # instructions, by machine

each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code")


@each_target
def test_a_model_compiles_to_equal_objects(target: CpuTarget) -> None:
    """What the object imports is audited on the way; ``aivmc`` runs what it can."""
    canonical, _ = canonicalize(small_model())
    first, second = (build_artifact(canonical, target.name) for _ in range(2))
    assert first.code == second.code
    machine = {"x86_64": 62, "aarch64": 183, "riscv64": 243}[target.triple.split("-")[0]]
    assert int.from_bytes(first.code[18:20], "little") == machine  # e_machine
    assert first.requires == target.requires


@each_target
def test_fused_where_written_and_nowhere_else(target: CpuTarget) -> None:
    fma = intrinsic("llvm.fma", f"float32x{LANES}")
    mnemonic = FUSED[target.triple.split("-")[0]]

    def assembly(expression: Any) -> str:
        function = elementwise(expression, ["float32"] * 3, "float32")
        return emit_assembly([compile_functions([function], target)], target)

    assert mnemonic not in assembly(lambda a, b, c: fma(fma(a, b, splat(-0.0)), splat(1), c))
    fused = assembly(fma)
    assert (mnemonic in fused) == ("fma" not in target.lacks)
    assert "call" not in fused and "\tbl\t" not in fused


@each_target
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I4, DType.U2])
def test_products_of_bytes(target: CpuTarget, dtype: DType) -> None:
    """Without a multiplication of bytes, LLVM makes them by one that saturates in general."""
    module = one_op("det.mul", [TensorType(dtype, (1000,))] * 2, {})
    assert build_artifact(module, target.name).audit["llvm"]["mul i8"] > 0


@each_target
def test_the_code_sets_the_floating_point_environment(target: CpuTarget) -> None:
    canonical, _ = canonicalize(small_model())
    text = assembly_text(kernel_module(canonical), target.name)
    register = {"x86_64": "ldmxcsr", "aarch64": "msr\tFPCR", "riscv64": "fsrm"}
    assert text.count(register[target.triple.split("-")[0]]) >= 4  # two functions, in and out


@each_target
def test_tiles_fit_the_registers(target: CpuTarget) -> None:
    """Those of f32, and of integers in pairs, whose accumulators are twice as wide."""
    shapes = itertools.product((1, 2, 7, 49, 128, 3136), (1, 4, 32, 64))
    for (rows, panels), bits in itertools.product(shapes, (LANES * 32, LANES * 64)):
        tile = choose_tile(target, rows, panels, bits)
        held = tile.rows * tile.panels * bits // target.vector_bits
        assert held < target.registers or (tile.rows, tile.panels) == (1, 1)


def test_native_is_of_this_architecture() -> None:
    assert resolve("native").triple.startswith(platform.machine())


F64 = [0.0, 1.0, 1.5, 1 + 2**-52, 2.0**-1074, 2.0**-1022, 2.0**-1022 - 2.0**-1074, 2.0**-537]
F64 += [2.0**-538, 2.0**-512 * 1.25, 2.0**511, 2.0**512, float.fromhex("0x1.fffffffffffffp1023")]
F64 += [np.inf, np.nan]
F32 = [0.0, 1.0, 1.5, 1 + 2**-23, 2.0**-149, 2.0**-126, 2.0**-126 - 2.0**-149, 2.0**-75, 2.0**-63]
F32 += [2.0**63, 2.0**64, 3.4028234663852886e38, 16777213.0, np.inf, np.nan]


def _triples(values: list[float], dtype: str, count: int) -> list[Any]:
    """All triples of the values with signs for c; random ones whose sum cancels; random bits."""
    some = [-x for x in values] + values
    product = np.array(list(itertools.product(values, some, some)), dtype).T
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(count) * 2.0 ** random.integers(-60, 60, count) for _ in "ab")
    a, b = a.astype(dtype), b.astype(dtype)
    nearly = (-a * b * (1 + random.integers(-3, 4, count) * np.finfo(dtype).eps)).astype(dtype)
    unsigned = f"u{a.itemsize}"
    bits = random.integers(0, np.iinfo(unsigned).max, (3, count), unsigned).view(dtype)
    columns = np.concatenate([product, [a, b, nearly], bits], axis=1)
    return list(columns[:, : columns.shape[1] // LANES * LANES])


@on_x86
@pytest.mark.parametrize(
    ("dtype", "values", "reference"),
    [("float32", F32, fma_f32), ("float64", F64, fma_f64)],
    ids=["f32", "f64"],
)
@pytest.mark.parametrize("lanes", [1, 2, 3, LANES])
def test_emulated_fma_is_exact(dtype: str, values: list[float], reference: Any, lanes: int) -> None:
    kind = dtype if lanes == 1 else f"{dtype}x{lanes}"
    function = elementwise(intrinsic("llvm.fma", kind), [dtype] * 3, dtype, lanes)
    text = compile_functions([function], V2)
    assert audit_ir(text).fma == 0
    code = Loaded(emit_object([text], V2))
    a, b, c = _triples(values, dtype, 1024)
    got = np.zeros_like(a)
    for i in range(0, len(a) - lanes + 1, lanes):
        code(a[i:], b[i:], c[i:], got[i:])
    end = len(a) // lanes * lanes
    with np.errstate(all="ignore"):
        assert same_bits(got[:end], reference(a, b, c)[:end])


def test_f16_by_bits() -> None:
    """Both ways as NumPy: every f16, and around every f16 and every tie the f32 next to it."""
    emit = NumpyEmit()
    halves = np.arange(2**16).astype(np.uint16).view(np.float16)
    wide = halves.astype(np.float32)
    codes = np.arange(2**16).astype(np.uint32)
    assert same_bits(emit_float.decode(emit, codes, DType.F16), wide)
    finite = np.sort(wide[np.isfinite(wide)])
    ties = np.concatenate([(finite[1:] + finite[:-1]) / 2, [65520, -65520]]).astype(np.float32)
    near = [np.nextafter(x, np.float32(to)) for x in (wide, ties) for to in (np.inf, -np.inf)]
    x = np.concatenate([wide, ties, *near, specials("float32", 1000)])
    with np.errstate(over="ignore", invalid="ignore"):
        got = emit_float.encode(emit, x, DType.F16).astype(np.uint16).view(np.float16)
        assert same_bits(got, x.astype(np.float16))


@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.U16, DType.I16])
def test_small_integers_by_sums(dtype: DType) -> None:
    """Truncated, saturating, 0 for NaN: as by f64, which holds every step."""
    limits: Any = np.iinfo(str(dtype.numpy))
    near = np.array([limits.min, limits.max, 0], np.float32)
    edges = [near + np.float32(d) for d in (-1, -0.5, -(2.0**-12), 0, 2.0**-12, 0.5, 1, 1.5)]
    x = np.concatenate([specials("float32", 5000), *edges])
    exact = np.clip(np.trunc(np.nan_to_num(x.astype(np.float64))), limits.min, limits.max)
    assert same_bits(emit_float.to_small_integer(NumpyEmit(), x, dtype), exact.astype(dtype.numpy))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_by_sums(dtype: str) -> None:
    emit = NumpyEmit()
    ties = np.arange(-9, 9, 0.25)
    limit = 2.0 ** (23 if dtype == "float32" else 52)
    edges = [limit, limit - 0.5, limit - 1, limit / 2 + 0.5, 0.49999999999999994, limit + 1]
    x = np.concatenate([specials(dtype, 2000), ties, edges, np.negative(edges)]).astype(dtype)
    for ours, theirs in (
        (emit_float.rint, np.rint),
        (emit_float.floor, np.floor),
        (emit_float.ceil, np.ceil),
        (emit_float.trunc, np.trunc),
    ):
        with np.errstate(invalid="ignore"):
            assert same_bits(ours(emit, x), theirs(x))


@on_x86
@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_without_fma_the_same_bytes(case: Case) -> None:
    """x86-64-v2 on special values: as the reference semantics, which test v3 and v4 elsewhere."""
    assert case.inputs is not None
    canonical, _ = canonicalize(case.model)
    expected = interpret(canonical, case.inputs)
    got = aivmc.compile(case.model, "x86-64-v2").run(case.inputs)
    assert {n: x.tobytes() for n, x in got.items()} == {n: x.tobytes() for n, x in expected.items()}


@pytest.mark.parametrize(
    "target", [t for t in TARGETS if t.vector_bits == 512], ids=lambda target: target.name
)
def test_a_register_of_512_bits_is_a_table_of_eight(target: CpuTarget) -> None:
    """``exp`` looks up in one, and owes half its speed to that; where there is none it selects."""
    program = kernel_module(one_op("det.exp", [TensorType(DType.F32, (64,))], {}))
    assert "vperm" in assembly_text(program, target.name)
    assert "vperm" not in assembly_text(program, V2.name)
