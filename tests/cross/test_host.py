"""The host that compiles leaves no mark: an emulated aarch64 host makes the same kernels."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import aivmc
from examples.models.make import make
from examples.published import ROOT
from tests.cross.environments import COMPILING_HOST

pytestmark = pytest.mark.cross

TARGETS = ["x86-64-v3", "x86-64-v4", "aarch64"]
CODE = """
import sys, aivmc
model, *targets = sys.argv[1:]
print(aivmc.compile(model, targets).identity)
"""


@pytest.mark.parametrize(
    "model",
    ["gpt2_step", *(pytest.param(m, marks=pytest.mark.slow) for m in ("bert_base", "resnet50"))],
)
def test_an_aarch64_host_makes_the_same_kernel(model: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    make(model, str(path), small=True)
    if missing := COMPILING_HOST.missing():
        pytest.skip(missing)
    command = [*COMPILING_HOST.emulator, COMPILING_HOST.python, "-c", CODE, str(path), *TARGETS]
    packages = os.pathsep.join([str(ROOT), str(COMPILING_HOST.site)])
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": packages},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == aivmc.compile(path, TARGETS).identity
