"""`aivmc inspect`, `verify` and `diff`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

import aivmc
from tests.cli.harness import aivmc_cli, good, good_json, refused
from tests.small_model import small_model


def test_inspect(folder: Path) -> None:
    identity = aivmc.load(folder / "model.aivm").identity
    data = good_json("inspect", folder / "model.aivm")
    assert data["identity"] == identity
    assert data["signature"]["outputs"] == [{"name": "y", "type": "f32[N, 24]"}]
    assert set(data["parts"]["targets"]) == {"x86-64-v3"}
    assert good_json("inspect", folder / "model.onnx") == data
    text = good("inspect", folder / "model.aivm")
    for word in (identity, "f32[N, 24]", "semantic", data["parts"]["semantic"], "x86-64-v3"):
        assert word in text


def test_stages(folder: Path) -> None:
    model, kernel = folder / "model.onnx", folder / "model.aivm"
    assert "onnx.MatMul" in good("inspect", model, "--stage", "onnx")
    assert "det.matmul" in good("inspect", model, "--stage", "det")
    for file in (model, kernel):
        assert good("inspect", file, "--stage", "canonical").startswith("module canonical {")
        assert good("inspect", file, "--stage", "kernel").startswith("module kernel {")
        assert "define void @aivm_run" in good("inspect", file, "--stage", "llvm")
        assert "aivm_run:" in good("inspect", file, "--stage", "asm", "-t", "x86-64-v3")
    data = good_json("inspect", kernel, "--stage", "canonical")
    assert data == {"stage": "canonical", "text": good("inspect", kernel, "--stage", "canonical")}


def test_the_audit_is_shown(folder: Path) -> None:
    """For a kernel what it recorded, for a model the same anew."""
    model, kernel = folder / "model.onnx", folder / "model.aivm"
    text = good("inspect", kernel, "--stage", "audit")
    assert text == good("inspect", model, "--stage", "audit")
    first, *lines = text.splitlines()
    assert first == "target x86-64-v3"
    counts = {(part, " ".join(name)): int(n) for part, *name, n in map(str.split, lines)}
    assert {part for part, _ in counts} == {"llvm", "machine", "control"}
    assert counts["llvm", "llvm.fma"] > 0 and counts["machine", "vldmxcsr"] == 4
    assert sum(n for (_, name), n in counts.items() if name.startswith("vfmadd")) > 0
    assert counts["control", "functions"] == 1  # softmax; the product and the sum are no pair
    arm = good("inspect", model, "--stage", "audit", "-t", "aarch64")
    assert arm.startswith("target aarch64\n") and "\nmachine fmla " in arm


def test_inspect_refuses(folder: Path) -> None:
    kernel = folder / "model.aivm"
    assert "choose one of" in refused(2, "inspect", kernel, "--stage", "tir")
    assert "give the model" in refused(2, "inspect", kernel, "--stage", "onnx")
    assert "x86-64-v3" in refused(2, "inspect", kernel, "--stage", "asm", "-t", "x86-64-v4")
    refused(2, "inspect", kernel, "--shape", "x=1,8")
    refused(2, "inspect", folder / "missing")


# verify and diff


def test_verify(folder: Path) -> None:
    data = good_json("verify", folder / "model.aivm", folder / "model.onnx")
    assert data["verified"]
    assert [c["passed"] for c in data["checks"]] == [True] * 5
    assert "rebuild" in good("verify", folder / "model.aivm", folder / "model.onnx")


def test_verify_rebuilds_with_the_kernel_s_options(folder: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "k"
    good("compile", folder / "model.onnx", "-o", kernel, "--shape", "x=2,8", "--seed", 5)
    good("verify", kernel, folder / "model.onnx")


def test_verify_finds_another_model(folder: Path) -> None:
    result = aivmc_cli("verify", folder / "other.aivm", folder / "model.onnx", "--json")
    assert result.exit_code == 1
    failed = [c for c in json.loads(result.stdout)["checks"] if c["passed"] is False]
    assert [c["check"] for c in failed] == ["rebuild"]
    assert "weights" in failed[0]["reason"]


def test_diff(folder: Path, tmp_path: Path) -> None:
    a, b = folder / "model.aivm", folder / "other.aivm"
    assert good_json("diff", a, a)["same"] is True
    result = aivmc_cli("diff", a, b, "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert not data["same_semantics"]
    parts = {d["part"]: d for d in data["differences"]}
    assert {"semantic", "program", "weights"} <= parts.keys()
    changed = [line for line in parts["program"]["diff"] if line[0] in "+-"]
    assert len(changed) == 2
    assert all("det.constant" in line and "f32[8, 24]" in line for line in changed)
    text = aivmc_cli("diff", a, b).stdout
    assert all(line in text for line in changed)
    refused(2, "diff", a, tmp_path / "missing")


def test_diff_shows_an_op_more_and_not_what_it_renumbers(folder: Path, tmp_path: Path) -> None:
    model = small_model()
    model.graph.node[3].input[0] = "n"
    model.graph.node.insert(3, onnx.helper.make_node("Neg", ["r"], ["n"]))
    aivmc.compile(model).save(tmp_path / "neg.aivm")
    result = aivmc_cli("diff", folder / "model.aivm", tmp_path / "neg.aivm", "--json")
    parts = {d["part"]: d for d in json.loads(result.stdout)["differences"]}
    changed = [line for line in parts["program"]["diff"] if line[0] in "+-"]
    assert len(changed) == 1
    assert "det.neg" in changed[0]
