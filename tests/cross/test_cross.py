"""One kernel file, many machines: every output has the same bytes on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.backends.cpu.targets import TARGETS
from aivmc.compiler import canonicalize
from aivmc.ir.constants import tensor_digest
from aivmc.ir.interpret import interpret
from tests.cross.cases import model_cases, op_cases
from tests.cross.environments import C_NODES, HERE, PYTHON_NODES, PythonNode
from tests.guarantees.examples_kit import inputs_for

pytestmark = pytest.mark.cross

Digests = dict[str, dict[str, str]]  # by case and output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case's kernel, with code for all targets, and its inputs."""
    folder = tmp_path_factory.mktemp("cases")
    for case in (*op_cases(), *model_cases(tmp_path_factory.mktemp("models"))):
        kernel = aivmc.compile(case.model, [t.name for t in TARGETS])
        kernel.save(folder / f"{case.name}.aivm")
        inputs = case.inputs if case.inputs is not None else inputs_for(kernel.inputs)
        np.savez(folder / f"{case.name}.npz", **inputs)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def here(folder: Path) -> Digests:
    """What this machine gives."""
    return _digests(HERE.run(folder, 1))


def _digests(answer: Any) -> Digests:
    return {name: result["outputs"] for name, result in answer["results"].items()}


def test_here_is_the_reference(here: Digests) -> None:
    for case in op_cases():
        assert case.inputs is not None
        outputs = interpret(canonicalize(case.model)[0], case.inputs)
        assert here[case.name] == {n: tensor_digest(x) for n, x in outputs.items()}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("node", PYTHON_NODES, ids=lambda node: node.name)
def test_with_python(node: PythonNode, threads: int, folder: Path, here: Digests) -> None:
    if missing := node.missing():
        pytest.skip(missing)
    answer = node.run(folder, threads)
    assert {r["target"] for r in answer["results"].values()} == {node.target}
    assert _digests(answer) == here


@pytest.mark.parametrize("name", C_NODES)
def test_without_python(name: str, folder: Path, here: Digests, tmp_path: Path) -> None:
    node = C_NODES[name]
    if missing := node.missing():
        pytest.skip(missing)
    for case, expected in here.items():
        with np.load(folder / f"{case}.npz") as inputs:
            outputs = node.run(folder / f"{case}.aivm", dict(inputs), tmp_path, threads=2)
        assert {n: tensor_digest(x) for n, x in outputs.items()} == expected, case
