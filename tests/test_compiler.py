"""Compiling: a kernel's identity follows from the model and the options, and from nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import aivmc
from aivmc.compiler import canonicalize
from aivmc.ir.interpret import interpret
from aivmc.kernel_file.comparison import differences
from aivmc.passes.manager import Timing
from tests.small_model import small_model, weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def kernel() -> aivmc.Kernel:
    return aivmc.compile(small_model())


def test_the_kernel_gives_the_bits_of_the_reference(kernel: aivmc.Kernel) -> None:
    canonical, _ = canonicalize(small_model())
    x = np.random.default_rng(2).standard_normal((5, 8)).astype(np.float32)
    (want,) = interpret(canonical, {"x": x}).values()
    for threads in (1, 2, 4):
        (got,) = kernel.run({"x": x}, threads).values()
        assert got.tobytes() == want.tobytes()


def test_all_forms_of_a_model_give_one_kernel(kernel: aivmc.Kernel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small_model(), path)
    for model in (path, str(path), path.read_bytes()):
        assert aivmc.compile(model).identity == kernel.identity


def test_the_identity_does_not_see_names_and_notes(kernel: aivmc.Kernel) -> None:
    model = small_model(prefix="other_", doc="a note")
    assert aivmc.compile(model).identity == kernel.identity


def test_a_kernel_is_the_same_everywhere(kernel: aivmc.Kernel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small_model(), path)
    code = "import aivmc, sys; aivmc.compile(sys.argv[1]).save(sys.argv[2])"
    kernel.save(tmp_path / "here.aivm")
    for seed, folder in (("1", tmp_path), ("77", ROOT)):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        out = tmp_path / f"{seed}.aivm"
        subprocess.run(
            [sys.executable, "-c", code, path, out], check=True, cwd=folder, env=environment
        )
        assert out.read_bytes() == (tmp_path / "here.aivm").read_bytes()


def _one_bit() -> onnx.ModelProto:
    w = weights()
    w.view(np.uint32)[3, 5] ^= 1
    return small_model(w)


@pytest.mark.parametrize(
    ("model", "options", "parts"),
    [
        (_one_bit(), {}, {"semantic", "program", "weights", "packed"}),
        (small_model(), {"seed": 1}, {"config"}),
        (
            small_model(),
            {"target": ["x86-64-v3", "x86-64-v4"]},
            {"config", "targets/x86-64-v4/code", "targets/x86-64-v4/requires"},
        ),
    ],
    ids=["a weight's bit", "the seed", "a target"],
)
def test_what_differs_is_named(
    kernel: aivmc.Kernel, model: onnx.ModelProto, options: Mapping[str, Any], parts: set[str]
) -> None:
    other = aivmc.compile(model, **options)
    assert other.identity != kernel.identity
    assert parts <= {d.part for d in differences(kernel.file, other.file)}


def test_shapes_specialize(kernel: aivmc.Kernel) -> None:
    fixed = aivmc.compile(small_model(), shapes={"x": (3, 8)})
    assert str(fixed.inputs["x"]) == "f32[3, 8]"
    x = np.ones((3, 8), np.float32)
    assert fixed.run({"x": x})["y"].tobytes() == kernel.run({"x": x})["y"].tobytes()
    with pytest.raises(aivmc.AivmcError, match="dim 0 must be 3"):
        fixed.run({"x": x[:2]})


def test_targets_agree_and_come_in_one_order() -> None:
    one, other = (
        aivmc.compile(small_model(), target=targets)
        for targets in (["x86-64-v4", "cpu"], ["x86-64-v3", "llvm", "x86-64-v4"])
    )
    assert one.identity == other.identity
    assert one.targets == ("x86-64-v3", "x86-64-v4")


def test_the_observer_sees_the_passes() -> None:
    timing = Timing()
    aivmc.compile(small_model(), observer=timing)
    names = [name for name, _ in timing.seconds]
    assert "canonicalize" in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "z80"}, "unknown target 'z80'"),
        ({"target": []}, "at least one target"),
        ({"shapes": {"z": (1,)}}, "'z'"),
        ({"shapes": {"x": (1, 2, 3)}}, "has 2 dims"),
    ],
)
def test_options_that_are_not_good(options: dict[str, Any], message: str) -> None:
    with pytest.raises(aivmc.AivmcError, match=message):
        aivmc.compile(small_model(), **options)


def test_a_compiled_kernel_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kernel = aivmc.compile(small_model())
    assert list(tmp_path.iterdir()) == []
    kernel.run({"x": np.ones((1, 8), np.float32)})
