"""GPU code from the command line, without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from aivmc.kernel_file.reader import open_kernel
from tests.cli.test_cli import X, good, good_json, refused
from tests.small_model import small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its kernel for CPUs and GPUs, and for GPUs only; inputs."""
    folder = tmp_path_factory.mktemp("cuda")
    onnx.save(small_model(), folder / "model.onnx")
    np.savez(folder / "in.npz", x=X)
    good("compile", folder / "model.onnx", "-t", "cpu", "-t", "cuda", "-o", folder / "fat.aivm")
    good("compile", folder / "model.onnx", "-t", "cuda", "-o", folder / "gpu.aivm")
    return folder


def test_run_on_the_simulated_gpu(folder: Path, tmp_path: Path) -> None:
    outputs = []
    for kernel, device in (("fat", "cpu"), ("fat", "ptx-sim"), ("gpu", "ptx-sim")):
        out = tmp_path / f"{kernel}-{device}.npz"
        data = good_json(
            *("run", folder / f"{kernel}.aivm", "--inputs", folder / "in.npz"),
            *("--output", out, "--device", device),
        )
        outputs.append((data["outputs"], out.read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]


def test_code_for_slow_f64_has_the_same_bits(folder: Path, tmp_path: Path) -> None:
    kernel, model = tmp_path / "slow.aivm", folder / "model.onnx"
    data = good_json("compile", model, "-t", "cuda:slow-f64", "-o", kernel)
    assert data["targets"] == ["cuda:slow-f64"]
    ways = ((kernel, "ptx-sim"), (folder / "fat.aivm", "cpu"))
    slow, cpu = (
        good_json("run", k, "--inputs", folder / "in.npz", "--output", tmp_path / d, "--device", d)
        for k, d in ways
    )
    assert slow["outputs"] == cpu["outputs"]
    semantic = [open_kernel(k).manifest.semantic for k, _ in ways]
    assert semantic[0] == semantic[1]
    checks = good_json("verify", kernel, model)["checks"]
    assert {c["check"]: c["passed"] for c in checks}["self-test of cuda:slow-f64"] is True


def test_devices_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    run = ("run", folder / "gpu.aivm", "--inputs", folder / "in.npz", "--output", tmp_path / "o")
    assert "no CPU runs this code" in refused(1, *run)
    assert "there is no device 'tpu'" in refused(1, *run, "--device", "tpu")


def test_inspect_and_verify(folder: Path) -> None:
    assert ".target sm_52" in good("inspect", folder / "model.onnx", "--stage", "asm", "-t", "cuda")
    assert "nvptx64" in good("inspect", folder / "gpu.aivm", "--stage", "llvm", "-t", "cuda")
    assert "ptx fma.rn.f32" in good("inspect", folder / "gpu.aivm", "--stage", "audit")
    checks = good_json("verify", folder / "fat.aivm", folder / "model.onnx")["checks"]
    assert {c["check"]: c["passed"] for c in checks}["self-test of cuda"] is True
    assert all(c["passed"] for c in checks)
