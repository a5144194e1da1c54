"""On a machine with an NVIDIA GPU: its bits are the reference's. Run by `make test-gpu`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aivmc
from aivmc.ir.constants import tensor_digest
from aivmc.ir.interpret import interpret
from aivmc.runtime.cuda import CudaDevice
from tests.backends.op_harness import assert_same, executor, program_of_cases
from tests.backends.test_cuda import matmul, values
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


def test_a_model(tmp_path: Path) -> None:
    aivmc.compile(MODEL, ["cpu", "cuda"]).save(tmp_path / "k.aivm")
    x = np.random.default_rng(2).standard_normal((2, 3, 48, 320)).astype(np.float32)
    digests = []
    for device in ("cpu", "cuda"):
        with aivmc.load(tmp_path / "k.aivm", device=device) as kernel:
            digests.append({n: tensor_digest(a) for n, a in kernel.run({"x": x}).items()})
    assert digests[0] == digests[1]
