"""What launches cost on GPUs that aren't there."""

from __future__ import annotations

import pytest

from aivmc.backends.build import build_artifact, kernel_module
from aivmc.backends.cuda.cost import Launched, launch_cost
from aivmc.backends.cuda.occupancy import GPUS, MULTIPROCESSORS, occupancy, resident_blocks
from aivmc.backends.cuda.ptxas import Usage, find_ptxas, usages
from aivmc.backends.steps import kernel_ops
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import program
from tests.backends.test_cuda import matmul

# Of cudaOccMaxActiveBlocksPerMultiprocessor in cuda_occupancy.h of CUDA 13.0, with the most shared
# memory that a multiprocessor can have: threads, registers, shared bytes; then blocks by GPU.
NVIDIAS = [
    ((128, 37, 0), (8, 12, 12, 12)),
    ((256, 128, 16384), (2, 2, 2, 2)),
    ((256, 64, 16640), (3, 4, 4, 4)),
    ((256, 255, 0), (1, 1, 1, 1)),
    ((320, 37, 0), (3, 4, 4, 4)),
    ((1024, 64, 0), (1, 1, 1, 1)),
    ((1024, 32, 49152), (1, 2, 1, 2)),
    ((128, 16, 12288), (5, 12, 7, 16)),
    ((64, 90, 2048), (10, 10, 10, 10)),
    ((32, 24, 0), (16, 32, 24, 32)),
    ((96, 40, 1000), (10, 16, 16, 16)),
    ((512, 65, 33000), (1, 1, 1, 1)),
]


@pytest.mark.parametrize(("kernel", "blocks"), NVIDIAS)
def test_blocks_of_a_multiprocessor(kernel: tuple[int, int, int], blocks: tuple[int, ...]) -> None:
    threads, registers, shared = kernel
    architectures = ("sm_75", "sm_80", "sm_89", "sm_90")
    assert blocks == tuple(
        resident_blocks(MULTIPROCESSORS[a], threads, shared, registers) for a in architectures
    )


def test_occupancies_that_nvidia_names() -> None:
    """CUDA C++ Best Practices Guide, "Calculating Occupancy": 37 registers, 64 warps."""
    sm = MULTIPROCESSORS["sm_80"]
    assert [occupancy(sm, t, resident_blocks(sm, t, 0, 37)) for t in (128, 320)] == [0.75, 0.625]


def test_without_registers_the_rest_decides() -> None:
    assert resident_blocks(MULTIPROCESSORS["sm_80"], 256, 16384, None) == 8
    assert resident_blocks(MULTIPROCESSORS["sm_75"], 256, 16384, None) == 4


def test_peaks_are_nvidias() -> None:
    """TFLOP/s of f32 and f64 in the data sheets."""
    sheets = {"A100": (19.5, 9.7), "H100": (67, 34), "RTX 4090": (82.6, 1.29), "T4": (8.1, 0.254)}
    for name, peaks in sheets.items():
        gpu = GPUS[name]
        clocks = 2 * gpu.multiprocessors * gpu.clock / 1e12
        assert (clocks * gpu.f32, clocks * gpu.f64) == pytest.approx(peaks, rel=0.02)


def test_the_roofline_of_a_matrix_product() -> None:
    (op,) = kernel_ops(kernel_module(matmul((1024, 1024), (1024, 1024))))
    launched = Launched("k", 64, 256, 16384, Usage(128, 0))
    cost = launch_cost(op, {}, launched, "A100")
    assert cost.flops == {"f32": 2 * 1024**3}
    assert cost.bytes == 3 * 4 * 1024**2
    assert cost.intensity == pytest.approx(1024 / 6)
    assert (cost.resident, cost.occupancy) == (2, 0.25)
    assert cost.waves == pytest.approx(64 / 216)
    assert cost.bound == "f32"
    assert cost.seconds == pytest.approx(2**31 / 19.49e12, rel=1e-3)


def test_memory_bounds_a_sum() -> None:
    types = {n: TensorType(DType.F32, (1000, 1000)) for n in "xy"}
    (op,) = kernel_ops(kernel_module(program(types, lambda b, x, y: b.op("det.add", x, y))))
    cost = launch_cost(op, {}, Launched("k", 1, 128, 0, None), "T4")
    assert (cost.bytes, cost.flops) == (12_000_000, {"f32": 1_000_000})
    assert cost.bound == "memory"
    assert cost.seconds == pytest.approx(12e6 / 320e9)


PTXAS = find_ptxas()


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
def test_what_ptxas_can_not_assemble_for() -> None:
    code = build_artifact(matmul((4, 4), (4, 4)), "cuda").code.decode()
    assert usages(str(PTXAS), code, "sm_11") is None
