"""Compiling takes at most 4 times the memory of the weights, the compiler itself included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from tests.onnx_models import Shape, build

ROOT = Path(__file__).parents[1]
LAYERS, WIDTH = 6, 2048
WEIGHTS = LAYERS * WIDTH * WIDTH * 4  # 100 MB, as ResNet-50 has

# Prints bytes: how far the peak of this process rises above what imports take; and the peaks of
# this process and of its largest child.
COMPILE = """
import resource, sys
from aivmc.compiler import compile_file

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

before = peak()
compile_file(sys.argv[1], sys.argv[2], ["x86-64-v3", "x86-64-v4"])
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(peak() - before, peak(), child)
"""


def model() -> onnx.ModelProto:
    """Matrix products, each with a batch normalization to fold."""
    random = np.random.default_rng(3)
    nodes, constants = [], {}
    for i in range(LAYERS):
        constants[f"w{i}"] = random.standard_normal((WIDTH, WIDTH), np.float32)
        features = [f"{name}{i}" for name in ("scale", "shift", "mean", "var")]
        constants |= {name: random.random(WIDTH, np.float32) for name in features}
        nodes += [
            onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"m{i}"]),
            onnx.helper.make_node("BatchNormalization", [f"m{i}", *features], [f"x{i + 1}"]),
        ]
    inputs: dict[str, tuple[Any, Shape]] = {"x0": (TensorProto.FLOAT, ["N", WIDTH])}
    return build(nodes, inputs, [f"x{LAYERS}"], constants)


def test_compiling_takes_at_most_four_times_the_weights(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, tmp_path / "model.onnx", tmp_path / "model.aivm"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    rise, peak, child = (int(word) / WEIGHTS for word in done.stdout.split())
    print(f"{rise=:.2f} {peak=:.2f} {child=:.2f}")
    assert rise < 3
    assert max(peak, child) < 4
    assert (tmp_path / "model.aivm").stat().st_size < 1.1 * WEIGHTS
