"""One kernel file, many machines: every output has the same bytes on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.backends.cpu.targets import TARGETS
from tests.cross.cases import model_cases, op_cases
from tests.cross.environments import PYTHON_NODES
from tests.guarantees.examples_kit import inputs_for

pytestmark = pytest.mark.cross

Digests = dict[str, dict[str, str]]  # by case and output


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case's kernel, for all targets, and inputs."""
    folder = tmp_path_factory.mktemp("cases")
    for case in (*op_cases(), *model_cases(tmp_path_factory.mktemp("models"))):
        kernel = aivmc.compile(case.model, [t.name for t in TARGETS])
        kernel.save(folder / f"{case.name}.aivm")
        inputs = case.inputs if case.inputs is not None else inputs_for(kernel.inputs)
        np.savez(folder / f"{case.name}.npz", **inputs)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def here(folder: Path) -> Digests:
    """What this machine gives."""
    return _digests(PYTHON_NODES[0].run(folder, 1))


def _digests(answer: Any) -> Digests:
    return {name: result["outputs"] for name, result in answer["results"].items()}
