"""On a machine with an NVIDIA GPU: its bits are the reference's. Run by `make test-gpu`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aivmc
from aivmc.backends.cuda.targets import TARGETS
from aivmc.ir.constants import tensor_digest
from aivmc.ir.interpret import interpret
from aivmc.ptx.gpus import capability
from aivmc.runtime.cuda import CudaDevice
from examples.models.make import FULL
from tests.backends.op_harness import assert_same, executor, program_of_cases
from tests.backends.test_cuda import assert_small_model, matmul, values
from tests.backends.test_ops import compiled_cases
from tests.conformance.check import check_compiled
from tests.conformance.test_vectors import OPS, PATHS, vectors
from tests.ir.ops.cases import CASES

pytestmark = pytest.mark.gpu

MODEL = Path(__file__).parents[2] / "examples" / "ocr" / "small.onnx"


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("op", sorted(CASES))
def test_op(op: str, symbolic: bool) -> None:
    module, inputs = program_of_cases(compiled_cases(op), symbolic)
    kernel = executor(module, "cuda", CudaDevice())
    assert_same(kernel.run(inputs), interpret(module, inputs), "cuda")
    kernel.close()


@pytest.mark.parametrize("size", [(64, 64, 64), (70, 33, 101), (256, 600, 264)])
def test_matrix_products(size: tuple[int, int, int]) -> None:
    m, k, n = size
    module, inputs = matmul((m, k), (k, n)), {"a": values(m, k), "b": values(k, n)}
    kernel = executor(module, "cuda", CudaDevice())
    assert_same(kernel.run(inputs), interpret(module, inputs), "cuda")
    kernel.close()


@pytest.mark.parametrize("path", PATHS, ids=OPS)
def test_conformance_vectors(path: Path) -> None:
    check_compiled(vectors(path), "cuda", CudaDevice())


@pytest.mark.parametrize("name", sorted(FULL))
def test_small_models(name: str, tmp_path: Path) -> None:
    assert_small_model(name, tmp_path, "cuda")


def test_the_newest_target_that_the_gpu_can_run(tmp_path: Path) -> None:
    """Its bits are those of the oldest."""
    least = CudaDevice().capability
    names = [name for name, target in TARGETS.items() if capability(target.cpu) <= least]
    aivmc.compile(MODEL, names).save(tmp_path / "k.aivm")
    x = np.random.default_rng(2).standard_normal((2, 3, 48, 320)).astype(np.float32)
    digests = set()
    for name in names:
        with aivmc.load(tmp_path / "k.aivm", name, "cuda") as kernel:
            digests |= {tensor_digest(a) for a in kernel.run({"x": x}).values()}
    assert len(digests) == 1


def test_a_model(tmp_path: Path) -> None:
    aivmc.compile(MODEL, ["cpu", "cuda"]).save(tmp_path / "k.aivm")
    x = np.random.default_rng(2).standard_normal((2, 3, 48, 320)).astype(np.float32)
    digests = []
    for device in ("cpu", "cuda"):
        with aivmc.load(tmp_path / "k.aivm", device=device) as kernel:
            digests.append({n: tensor_digest(a) for n, a in kernel.run({"x": x}).items()})
    assert digests[0] == digests[1]
