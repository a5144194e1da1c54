"""What the tests of several commands use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import aivmc
from tests.cli.harness import X
from tests.small_model import small_model, weights


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its kernel, another kernel, inputs."""
    folder = tmp_path_factory.mktemp("cli")
    onnx.save(small_model(), folder / "model.onnx")
    aivmc.compile(small_model()).save(folder / "model.aivm")
    aivmc.compile(small_model(weights() * 2)).save(folder / "other.aivm")
    np.savez(folder / "in.npz", x=X)
    return folder
