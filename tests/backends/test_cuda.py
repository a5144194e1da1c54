"""Programs compiled for GPUs and executed there give the bytes of the reference semantics."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.backends.build import build_artifact
from aivmc.backends.cpu.audit import AuditError
from aivmc.backends.cuda import ptx
from aivmc.backends.targets import resolve, resolve_all
from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.errors import AivmcError, UnsupportedError
from aivmc.ir.interpret import interpret
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.manifest import SELFTEST
from aivmc.kernel_file.signature import Signature
from aivmc.ptx.device import Device
from aivmc.ptx.errors import KernelFault
from aivmc.runtime.device_executor import DeviceExecutor
from aivmc.runtime.kernel import open_target
from aivmc.runtime.launches import LaunchPlan
from aivmc.runtime.selftest import SEED, check
from examples.models.make import FULL, make
from tests.backends.op_harness import (
    Array,
    assert_same,
    executor,
    loaded,
    program,
    program_of_cases,
)
from tests.backends.test_ops import compiled_cases
from tests.ir.ops.cases import CASES

F32 = DType.F32
M, N, K = symbol("M"), symbol("N"), symbol("K")
_RANDOM = np.random.default_rng(11)


def run_on(device: Device, module: Module, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    kernel = executor(module, "cuda", device)
    outputs = kernel.run(inputs)
    kernel.close()
    return outputs


RUNS = ((0, True), (1, False))  # orders of blocks and threads, and both conventions of NaN


def assert_on_gpu(
    module: Module,
    *inputs: Mapping[str, Array],
    target: str = "cuda",
    runs: Sequence[tuple[int, bool]] = RUNS,
) -> None:
    artifact = build_artifact(module, target)
    for order, canonical_nan in runs:
        kernel = loaded(module, artifact, Device(order, canonical_nan))
        for given in inputs:
            assert_same(kernel.run(given), interpret(module, given), f"order {order}")
        kernel.close()


# Of each op a case or two; all of them: below, slow.
SOME = [cases[len(op) % len(cases)] for op in sorted(CASES) if (cases := compiled_cases(op))]


@pytest.mark.parametrize("first", range(0, len(SOME), 8), ids=lambda first: SOME[first][0])
def test_ops(first: int) -> None:
    module, inputs = program_of_cases(SOME[first : first + 8], symbolic=False)
    assert_same(run_on(Device(order=5), module, inputs), interpret(module, inputs), "cuda")


@pytest.mark.slow
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("op", sorted(CASES))
def test_op_in_all_cases(op: str, symbolic: bool) -> None:
    module, inputs = program_of_cases(compiled_cases(op), symbolic)
    assert_on_gpu(module, inputs, runs=[RUNS[symbolic]])


@pytest.mark.parametrize("op", ["det.shift_left", "det.shift_right"])
@pytest.mark.parametrize("dtype", [DType.I64, DType.U64])
def test_shifts_by_counts_of_more_than_32_bits(op: str, dtype: DType) -> None:
    """LLVM would make them shifts by the low half of the count."""
    counts = [0, 1, 63, 64, 65, 1 << 32, (1 << 32) + 1, 1 << 40, (1 << 63) - 1, 1 << 63, -1]
    x = np.array([3, -5, 1 << 62], np.int64)[:, None] + np.zeros(len(counts), np.int64)
    inputs = {
        "x": x.astype(dtype.numpy),
        "y": np.array([c % (1 << 64) for c in counts], np.uint64).astype(dtype.numpy),
    }
    types = {n: TensorType(dtype, a.shape) for n, a in inputs.items()}
    module = program(types, lambda b, x, y: b.op(op, x, y))
    assert_same(run_on(Device(), module, inputs), interpret(module, inputs), "cuda")


# Matrix products


def values(*shape: int) -> Array:
    """Normal numbers, and a few that are infinite, NaN, or so small that products vanish."""
    x = _RANDOM.standard_normal(shape).astype(np.float32)
    special = np.array([np.inf, -np.inf, np.nan, -0.0, 1e-30, -1e-30], np.float32)
    where = _RANDOM.random(shape) < min(0.002, 5 / max(x.size, 1))
    return np.where(where, _RANDOM.choice(special, shape), x)


def matmul(a: tuple[Any, ...], b: tuple[Any, ...]) -> Module:
    types = {"a": TensorType(F32, a), "b": TensorType(F32, b)}
    return program(types, lambda builder, x, y: builder.op("det.matmul", x, y, block=512))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((64, 64), (64, 64)),
        ((70, 33), (33, 101)),  # parts of tiles in all directions
        ((2, 65, 518), (518, 66)),  # two blocks of k; B for all of the batch
        ((256, 20), (20, 264)),  # the large tile
    ],
)
def test_matrix_products_by_tiles(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    assert_on_gpu(matmul(a, b), {"a": values(*a), "b": values(*b)})


def test_matrix_products_of_any_size() -> None:
    sizes = [(1, 1, 1), (64, 64, 8), (3, 70, 513), (65, 2, 0), (0, 5, 3), (5, 0, 3)]
    inputs = [{"a": values(m, k), "b": values(k, n)} for m, n, k in sizes]
    assert_on_gpu(matmul((M, K), (K, N)), *inputs)


def test_small_products_vanish_with_their_sign() -> None:
    """A sum of -0 is -0 within a block of k, and a part of a tile must not make it +0."""
    a = np.full((32, 9), -1e-30, np.float32)
    assert_on_gpu(matmul((32, 9), (9, 32)), {"a": a, "b": -a.T})
    assert_on_gpu(matmul((32, 9), (9, 32)), {"a": a, "b": -a.T.copy()[::-1]})


def test_what_follows_a_matrix_product_is_in_its_kernel() -> None:
    def body(b: Builder, x: Value, y: Value, bias: Value) -> Value:
        z = b.op("det.add", b.op("det.matmul", x, y, block=512), bias)
        return b.op("det.maximum", z, b.constant(np.zeros((), np.float32)))

    shapes = {"x": (40, 30), "y": (30, 36), "bias": (36,)}
    module = program({n: TensorType(F32, s) for n, s in shapes.items()}, body)
    assert len(build_artifact(module, "cuda").plan["steps"]) == 1
    assert_on_gpu(module, {n: values(*s) for n, s in shapes.items()})


# Convolutions


def convolution_attributes(w: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    return {
        "strides": (1, 1),
        "dilations": (1, 1),
        "low": (1, 1),
        "high": (1, 1),
        "group": 1,
        "layout": "channels_first",
        "block": min(max(16, 512 // (w[2] * w[3]) // 16 * 16), w[1]),
        **changes,
    }


def convolution(x: tuple[Any, ...], w: tuple[int, ...], **changes: Any) -> Module:
    attributes = convolution_attributes(w, **changes)
    types = {"x": TensorType(F32, x), "w": TensorType(F32, w)}
    return program(types, lambda b, x, w: b.op("det.conv", x, w, **attributes))


NOT_PADDED: dict[str, Any] = {"low": (0, 0), "high": (0, 0)}


@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        ((1, 40, 9, 7), (36, 40, 3, 3), {}),  # parts of tiles, two blocks of channels
        ((1, 64, 6, 6), (64, 64, 1, 1), NOT_PADDED),  # vectors of channels
        ((2, 66, 9, 7), (64, 33, 3, 3), {"group": 2, "strides": (2, 1), "dilations": (1, 2)}),
        ((1, 3, 20, 20), (64, 3, 7, 7), {"strides": (2, 2), "low": (3, 3), "high": (2, 3)}),
    ],
)
def test_convolutions_by_tiles(
    x: tuple[int, ...], w: tuple[int, ...], changes: dict[str, Any]
) -> None:
    module = convolution(x, w, **changes)
    steps = build_artifact(module, "cuda").plan["steps"]
    assert [s["tasks_per_block"] for s in steps if "contract" in s["function"]] == [1]
    assert_on_gpu(module, {"x": values(*x), "w": values(*w)})


def test_convolutions_of_any_size() -> None:
    h = symbol("H")
    module = convolution((N, 40, h, 5), (40, 40, 3, 3))
    sizes = [(1, 1), (2, 17), (0, 4)]
    assert_on_gpu(
        module, *({"x": values(n, 40, i, 5), "w": values(40, 40, 3, 3)} for n, i in sizes)
    )


def test_parts_of_a_vector_at_the_end_of_a_buffer() -> None:
    """LLVM reads a whole vector for three elements."""

    def body(b: Builder, x: Value) -> list[Value]:
        return [
            b.op("det.reduce_max", x, axes=(0,), keepdims=False),
            b.op("det.reduce_sum", x, axes=(0,), keepdims=False, order="lanes16"),
        ]

    for length in (3, 87):
        module = program({"x": TensorType(F32, (length,))}, body)
        assert_on_gpu(module, {"x": values(length)})


# Models


@pytest.mark.parametrize("name", sorted(FULL))
def test_small_models_have_the_references_bits(name: str, tmp_path: Path) -> None:
    assert_small_model(name, tmp_path, "ptx-sim")


def assert_small_model(name: str, folder: Path, device: str) -> None:
    """Of a kernel for GPUs alone, the reference semantics record the self-test."""
    make(name, str(folder / "model.onnx"), small=True)
    file = aivmc.compile(folder / "model.onnx", "cuda").file
    _, executor = open_target(file, device=device)
    recorded = file.json(SELFTEST)
    assert check(file.manifest.signature, recorded, lambda x: executor.run(x, seed=SEED)) == []
    executor.close()


# The artifact


def softmax_like() -> Module:
    def body(b: Builder, x: Value) -> Value:
        largest = b.op("det.reduce_max", x, axes=(1,), keepdims=True)
        e = b.op("det.exp", b.op("det.sub", x, largest))
        total = b.op("det.reduce_sum", e, axes=(1,), keepdims=True, order="lanes16")
        return b.op("det.div", e, total)

    return program({"x": TensorType(F32, (N, 40))}, body)


def test_the_artifact() -> None:
    artifact = build_artifact(matmul((64, 64), (64, 64)), "cuda")
    assert (artifact.target, artifact.member) == ("cuda", "kernel.ptx")
    assert artifact.code.startswith(b"//\n// Generated by LLVM NVPTX Back-End\n")
    (step,) = artifact.plan["steps"]
    assert (step["threads"], step["tasks_per_block"], step["tasks"]) == (256, 1, "1")
    counts = artifact.audit["ptx"]
    # At least 8 fused multiply-adds for a load from shared memory.
    assert counts["fma.rn.f32"] == 8 * counts["ld.shared.v4.b32"]
    assert not any("local" in opcode for opcode in counts)


def test_equal_programs_give_equal_bytes_in_every_process() -> None:
    code = (
        "from hashlib import sha256; from tests.backends.test_cuda import *\n"
        "for module in (softmax_like(), matmul((N, 40), (40, 70))):\n"
        "    artifact = build_artifact(module, 'cuda')\n"
        "    print(sha256(artifact.code + repr(artifact.plan).encode()).hexdigest())\n"
    )
    outputs = set()
    for seed in ("1", "2"):
        paths = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("written", [False, True])
def test_a_product_and_a_sum_that_are_fused_are_noticed(
    written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LLVM would, were it told that it may; beside one that is ``written``, or not."""
    original: Callable[..., str] = ptx._with_entry

    def fusing(function: Any, text: str) -> str:
        return original(function, re.sub(r"\b(fmul|fadd) ", r"\1 contract ", text))

    monkeypatch.setattr(ptx, "_with_entry", fusing)

    def body(b: Builder, x: Value, y: Value) -> Value:
        z = b.op("det.add", b.op("det.mul", x, y), y)
        return b.op("det.fma", z, x, y) if written else z

    types = {"x": TensorType(F32, (100,)), "y": TensorType(F32, (100,))}
    with pytest.raises(AuditError, match="k0_map: LLVM has made a fused multiply-add"):
        build_artifact(program(types, body), "cuda")


def test_what_can_not_be_compiled_is_named() -> None:
    module = program(
        {"x": TensorType(DType.C64, (3,))},
        lambda b, x: b.op("det.transpose", x, permutation=(0,)),
    )
    with pytest.raises(UnsupportedError, match=r"cuda can't take this .*\n.*det\.transpose on c64"):
        build_artifact(module, "cuda")


def test_more_tensors_than_a_kernel_takes_are_named() -> None:
    types = {f"x{i}": TensorType(F32, (1,)) for i in range(510)}
    module = program(types, lambda b, *xs: b.op("det.concat", *xs, axis=0))
    message = r"cuda can't take this .*\n.*det\.concat on 511 tensors at once, of at most 509"
    with pytest.raises(UnsupportedError, match=message):
        build_artifact(module, "cuda")


def test_targets_by_name() -> None:
    assert resolve("cuda").name == "cuda"
    assert [t.name for t in resolve_all(["cuda", "cpu", "cuda"])] == ["cuda", "x86-64-v3"]
    with pytest.raises(AivmcError, match=r"unknown target 'pdp-11': choose one of .*, cuda, cuda:"):
        resolve("pdp-11")


@pytest.mark.parametrize("gpu", ["sm_61", "sm_90"])
def test_ops_for_newer_gpus(gpu: str) -> None:
    """LLVM has other instructions for them: of f16, of pairs of bytes, maximum."""

    def body(b: Builder, x: Value, z: Value, y: Value, bits: Value) -> list[Value]:
        return [
            b.op("det.maximum", x, z),
            b.op("det.add", y, y),
            b.op("det.abs", y),
            b.op("det.reduce_square_sum", bits, axes=(), keepdims=False, order="exact"),
        ]

    types = {n: TensorType(F32, (40,)) for n in "xz"} | {"y": TensorType(DType.F16, (40,))}
    module = program({**types, "bits": TensorType(DType.U2, (3, 4, 2))}, body)
    x = np.array([np.nan, -0.0, 0.0, np.inf, 1, -2, 3, 4], np.float32).repeat(5)
    bits = (np.arange(24) % 4).astype(DType.U2.numpy).reshape(3, 4, 2)
    inputs: dict[str, Any] = {"x": x, "z": x[::-1].copy(), "y": x.astype(np.float16), "bits": bits}
    kernel = executor(module, f"cuda:{gpu}", Device(order=3))
    assert_same(kernel.run(inputs), interpret(module, inputs), gpu)
    counts = build_artifact(module, f"cuda:{gpu}").audit["ptx"]
    assert ("max.NaN.f32" in counts) == (gpu == "sm_90")


@pytest.mark.slow
@pytest.mark.parametrize("gpu", ["sm_61", "sm_90"])
@pytest.mark.parametrize("op", sorted(CASES))
def test_op_for_newer_gpus(op: str, gpu: str) -> None:
    module, inputs = program_of_cases(compiled_cases(op)[::5], symbolic=False)
    kernel = executor(module, f"cuda:{gpu}", Device(order=4))
    assert_same(kernel.run(inputs), interpret(module, inputs), gpu)
    kernel.close()


# Running it


def test_constants_stay_and_memory_follows_the_shapes() -> None:
    weights = values(24, 40)
    module = program(
        {"x": TensorType(F32, (N, 24))},
        lambda b, x: b.op("det.matmul", x, b.constant(weights), block=512),
    )
    device = Device()
    kernel = executor(module, "cuda", device)
    for n in (3, 3, 50, 0, 1):
        given = {"x": values(n, 24)}
        assert_same(kernel.run(given), interpret(module, given), f"{n} rows")
    kernel.close()
    assert not device._buffers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buffers": [0, 1, 99]}, "a buffer that isn't there"),
        ({"dims": [4]}, "a dim that isn't there"),
        ({"threads": 2000}, "a block of 2000 threads"),
        ({"tasks_per_block": 0}, "a plan is not valid"),
        ({"function": None, "threads": "x"}, "a plan is not valid"),
    ],
)
def test_a_plan_that_is_none_is_refused(change: dict[str, Any], message: str) -> None:
    plan = build_artifact(matmul((64, 64), (64, 64)), "cuda").plan
    broken = {**plan, "steps": [{**plan["steps"][0], **change}]}
    with pytest.raises(IntegrityError, match=message):
        LaunchPlan.from_json(broken)


def with_code(change: Callable[[str], str]) -> DeviceExecutor:
    """A product of matrices with its PTX changed."""
    module = matmul((64, 64), (64, 64))
    artifact = build_artifact(module, "cuda")
    code = change(artifact.code.decode()).encode()
    plan = LaunchPlan.from_json(artifact.plan)
    return DeviceExecutor(Signature.of(module), plan, code, {}, Device())


def test_changed_code_is_refused_or_stopped() -> None:
    with pytest.raises(IntegrityError, match=r"PTX is refused: .*'fma\.rn\.ftz\.f32'"):
        with_code(lambda text: text.replace("fma.rn.f32", "fma.rn.ftz.f32"))
    inputs = {"a": values(64, 64), "b": values(64, 64)}
    with pytest.raises(KernelFault, match=r"a race|before anything"):
        with_code(lambda text: text.replace("\tbar.sync \t0;\n", "", 1)).run(inputs)
    with pytest.raises(IntegrityError, match=r"PTX is refused: .*'fma\.f32' .*doesn't say \.rn"):
        with_code(lambda text: text.replace("fma.rn.f32", "fma.f32", 1))
    right = with_code(lambda text: text).run(inputs)["out0"]
    swapped = re.compile(r"(fma\.rn\.f32 \t%\w+), (%\w+), (%\w+), (%\w+);")
    wrong = with_code(lambda text: swapped.sub(r"\1, \4, \3, \2;", text, count=1)).run(inputs)
    assert wrong["out0"].tobytes() != right.tobytes()
    store = re.compile(r"(st\.global\.v4\.b32 \t\[%rd\d+)\]")
    with pytest.raises(KernelFault, match=r"k0_contract, .* out of bounds"):
        with_code(lambda text: store.sub(r"\1+16384]", text)).run(inputs)
