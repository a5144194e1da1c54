"""GPU code from the command line, without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from aivmc.cli import cost_report
from aivmc.kernel_file.reader import open_kernel
from tests.cli.harness import X, good, good_json, refused
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


def test_cost(folder: Path) -> None:
    command = ("inspect", folder / "fat.aivm", "--stage", "cost")
    data = good_json(*command, "--gpu", "H100", "--shape", "x=64,8")
    assert (data["target"], data["gpu"], data["sizes"]) == ("cuda", "H100", {"N": 64})
    plan = open_kernel(folder / "fat.aivm").json("targets/cuda/plan.json")
    assert [c["kernel"] for c in data["launches"]] == [s["function"] for s in plan["steps"]]
    product = next(c for c in data["launches"] if "matmul" in c["ops"])
    assert product["flops"]["f32"] >= 2 * 64 * 8 * 24
    assert data["total"]["seconds"] == pytest.approx(sum(c["seconds"] for c in data["launches"]))
    for cost in data["launches"]:
        assert cost["intensity"] == pytest.approx(sum(cost["flops"].values()) / cost["bytes"])
    text = good(*command)
    assert "A100: 19.5 TFLOP/s of f32, 9.7 of f64, 1555 GB/s" in text
    assert all(cost["kernel"] in text for cost in data["launches"])
    of_model = good_json("inspect", folder / "model.onnx", "--stage", "cost")
    assert len(of_model["launches"]) == len(data["launches"])


def test_cost_without_ptxas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_report, "find_ptxas", lambda: None)
    command = ("inspect", folder / "gpu.aivm", "--stage", "cost")
    assert "unknown: ptxas is not installed" in good(*command)
    assert "≤ " in good(*command)
    assert {c["registers"] for c in good_json(*command)["launches"]} == {None}


def test_cost_of_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    command = ("inspect", folder / "fat.aivm", "--stage", "cost")
    assert "nothing is known of the GPU 'TPU': choose one of A100" in refused(
        2, *command, "--gpu", "TPU"
    )
    assert "there is no input 'y'" in refused(2, *command, "--shape", "y=1")
    assert "needs a number" in refused(2, *command, "--shape", "x=M,8")
    assert "dim 1 must be 8" in refused(2, *command, "--shape", "x=3,9")
    assert "--gpu goes with --stage cost" in refused(2, *command[:2], "--gpu", "T4")
    good("compile", folder / "model.onnx", "-o", tmp_path / "cpu.aivm")
    message = refused(1, "inspect", tmp_path / "cpu.aivm", "--stage", "cost")
    assert "no GPU runs this code, which is for x86-64-v3" in message


def test_targets_for_newer_gpus(folder: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "k.aivm"
    good("compile", folder / "model.onnx", "-t", "cuda:sm_70", "-t", "cpu", "-o", kernel)
    assert ".target sm_70" in good("inspect", kernel, "--stage", "asm", "-t", "cuda:sm_70")
    assert good_json("verify", kernel, folder / "model.onnx")["verified"]
    needs = good_json("doctor", kernel)["requirements"]["cuda:sm_70"]
    item = "NVIDIA GPU of compute capability 7.0 or more"
    assert [(n["item"], n["found"], n["met"]) for n in needs] == [(item, "missing", False)]
    assert f"this node lacks {item}" in good("doctor", kernel)
    assert "cuda:sm_70" in refused(2, "compile", folder / "model.onnx", "-t", "cuda:sm_71")
