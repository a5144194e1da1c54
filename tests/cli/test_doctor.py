"""`aivmc doctor`."""

from __future__ import annotations

import platform
from pathlib import Path

import aivmc
from aivmc.kernel_file.writer import write_kernel
from tests.cli.harness import aivmc_cli, good, good_json, refused
from tests.hand_made import contents
from tests.small_model import small_model


def test_doctor() -> None:
    data = good_json("doctor")
    assert data["targets"]["x86-64-v3"] == []
    assert data["compiler"]["apache-tvm"]
    assert "x86-64-v3 (default)" in good("doctor")


def test_doctor_compares_a_kernel(folder: Path, tmp_path: Path) -> None:
    fat, foreign = tmp_path / "fat.aivm", tmp_path / "foreign.aivm"
    aivmc.compile(small_model(), ["cpu", "riscv64"]).save(fat)
    data = good_json("doctor", fat)
    items = {i["item"]: i for i in data["requirements"]["riscv64"]}
    assert items["operating system"]["met"]
    assert items["ABI"] == {"item": "ABI", "needed": "gnu", "found": "gnu", "met": True}
    assert items["architecture"] == {
        "item": "architecture",
        "needed": "riscv64",
        "found": platform.machine(),
        "met": False,
    }
    ours = data["requirements"]["x86-64-v3"]
    assert all(i["met"] for i in ours)
    assert {"CPU feature fma", "CPU feature avx2"} <= {i["item"] for i in ours}
    passed = {c["check"]: c["passed"] for c in data["checks"]}
    assert passed == {"self-test of riscv64": None, "self-test of x86-64-v3": True}
    assert "MISSING" in good("doctor", fat)
    aivmc.compile(small_model(), "riscv64").save(foreign)
    result = aivmc_cli("doctor", foreign)
    assert result.exit_code == 1
    assert "this node lacks architecture, CPU feature riscv64" in result.stdout
    assert "CPU features that the kernel needs: riscv64 needs riscv64" in refused(
        1, "run", foreign, "--inputs", folder / "in.npz", "--output", tmp_path / "o.npz"
    )


def test_doctor_finds_other_bits(tmp_path: Path) -> None:
    wrong = {**contents().selftest, "outputs": {"y": "00" * 32}}
    write_kernel(contents(selftest=wrong), tmp_path / "k.aivm")
    result = aivmc_cli("doctor", tmp_path / "k.aivm")
    assert result.exit_code == 1
    assert "FAILED  self-test of x86-64-v3: this node gives other bits" in result.stdout
