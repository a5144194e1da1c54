"""One kernel file, many machines: every output has the same bytes on all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.ir.constants import tensor_digest
from aivmc.protocol.dispute import first_difference
from aivmc.protocol.trace import Trace, read_trace
from tests.cross.cases import full_models, op_cases, small_models
from tests.cross.environments import C_NODES, HERE, NATIVE_NODES, QEMU_NODES, PythonNode
from tests.cross.kernels import Digests, write_models, write_vectors
from tests.guarantees.examples_kit import inputs_for
from tests.protocol.test_trace import traced

pytestmark = pytest.mark.cross

TRACING = (HERE, *QEMU_NODES[1:3])  # on Haswell and on aarch64


@dataclass(frozen=True)
class Kernels:
    """``NAME.aivm`` and its inputs, ``NAME.npz``, in a folder, and what they must give."""

    folder: Path
    digests: Digests


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Every op on special values, and the example models: small ones, or all vectors and the full
    ones."""
    everything = request.param == "all"
    folder, models = tmp_path_factory.mktemp("kernels"), tmp_path_factory.mktemp("models")
    digests = write_vectors(folder, everything)
    cases = full_models(models) if everything else [*op_cases(), *small_models(models)]
    return Kernels(folder, digests | write_models(folder, cases))


def _digests(answer: Any) -> Digests:
    return {name: result["outputs"] for name, result in answer["results"].items()}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("node", [*NATIVE_NODES, *QEMU_NODES], ids=lambda node: node.name)
def test_with_python(node: PythonNode, threads: int, kernels: Kernels) -> None:
    if lack := node.lacks():
        pytest.skip(f"{lack}, and there is no emulator of it")
    assert node.missing() is None
    answer = node.run(kernels.folder, threads)
    assert {r["target"] for r in answer["results"].values()} == {node.target}
    assert _digests(answer) == kernels.digests


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Trace]:
    """Kernels, beside which lie their inputs, and what this machine traces."""
    folder, found = tmp_path_factory.mktemp("traces"), {}
    targets = [node.target for node in TRACING]
    for case in small_models(folder):
        if case.name in ("resnet50_small", "gpt2_step_small"):
            kernel = aivmc.compile(case.model, targets)
            inputs, path = inputs_for(kernel.inputs), folder / f"{case.name}.aivm"
            kernel.save(path)
            np.savez(path.with_suffix(".npz"), **inputs)  # type: ignore[arg-type]
            found[path] = traced(kernel, inputs)
    return found


@pytest.mark.parametrize("node", TRACING, ids=lambda node: node.name)
def test_traces(node: PythonNode, traces: dict[Path, Trace], tmp_path: Path) -> None:
    """A dispute between nodes of different architecture finds where they differ."""
    assert node.missing() is None
    for path, here in traces.items():
        inputs, trace = path.with_suffix(".npz"), tmp_path / "t.bin"
        node.execute("traced_run.py", path, inputs, trace, 2)
        there = read_trace(trace)
        assert there.target == node.target
        assert first_difference(here, there)[0] is None
        lie = replace(there, digests=(*there.digests[:-1], bytes(32)))
        assert first_difference(here, lie)[0] == len(here.digests) - 1


@pytest.mark.parametrize("name", C_NODES)
def test_without_python(name: str, kernels: Kernels, tmp_path: Path) -> None:
    node = C_NODES[name]
    assert node.missing() is None
    for case, expected in kernels.digests.items():
        with np.load(kernels.folder / f"{case}.npz") as inputs:
            outputs = node.run(kernels.folder / f"{case}.aivm", dict(inputs), tmp_path, threads=2)
        assert {n: tensor_digest(x) for n, x in outputs.items()} == expected, case
