"""Every target's code does the same: no library, nothing fused but what is written fused."""

from __future__ import annotations

import itertools
import platform
from typing import Any

import numpy as np
import pytest

from aivmc.backends.build import build_artifact, kernel_module
from aivmc.backends.cpu.audit import audit_ir
from aivmc.backends.cpu.generate import assembly_text
from aivmc.backends.cpu.llvm import compile_functions, emit_assembly, emit_object
from aivmc.backends.cpu.schedules.tile import choose_tile
from aivmc.backends.cpu.targets import TARGETS, CpuTarget, resolve
from aivmc.compiler import canonicalize
from aivmc.ir.numpy_float import fma_f32, fma_f64
from tests.backends.test_llvm_route import LANES, elementwise, intrinsic, same_bits, splat
from tests.backends.test_llvm_route import run as run_vector
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
def test_the_code_sets_the_floating_point_environment(target: CpuTarget) -> None:
    canonical, _ = canonicalize(small_model())
    text = assembly_text(kernel_module(canonical), target.name)
    register = {"x86_64": "ldmxcsr", "aarch64": "msr\tFPCR", "riscv64": "fsrm"}
    assert text.count(register[target.triple.split("-")[0]]) >= 4  # two functions, in and out


@each_target
def test_tiles_fit_the_registers(target: CpuTarget) -> None:
    for rows, panels in itertools.product((1, 2, 7, 49, 128, 3136), (1, 4, 32, 64)):
        tile = choose_tile(target, rows, panels)
        held = tile.rows * tile.panels * LANES * 32 // target.vector_bits
        assert held < target.registers


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
def test_emulated_fma_is_exact(dtype: str, values: list[float], reference: Any) -> None:
    code = compile_functions(
        [elementwise(intrinsic("llvm.fma", f"{dtype}x{LANES}"), [dtype] * 3, dtype)], V2
    )
    assert audit_ir(code).fma == 0
    from tests.backends.test_llvm_route import Loaded

    function = Loaded(emit_object([code], V2))
    a, b, c = _triples(values, dtype, 4096)
    got = np.zeros_like(a)
    for i in range(0, len(a), LANES):
        function(a[i:], b[i:], c[i:], got[i:])
    with np.errstate(all="ignore"):
        assert same_bits(got, reference(a, b, c))


@on_x86
def test_emulated_fma_of_a_scalar() -> None:
    text = compile_functions(
        [elementwise(intrinsic("llvm.fma", "float64"), ["float64"] * 3, "float64", lanes=1)], V2
    )
    assert "fmul double" in text and audit_ir(text).fma == 0
    with pytest.raises(AssertionError):
        assert run_vector is None
