"""`aivmc compile` and `aivmc opt`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import aivmc
from aivmc.cli import main
from tests.cli.harness import good, good_json, refused


def test_compile(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "k.aivm"
    data = good_json("compile", folder / "model.onnx", "-o", out)
    assert data["identity"] == aivmc.load(folder / "model.aivm").identity
    assert data["targets"] == ["x86-64-v3"]
    assert out.read_bytes() == (folder / "model.aivm").read_bytes()


def test_compile_writes_beside_the_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes((folder / "model.onnx").read_bytes())
    text = good("compile", tmp_path / "m.onnx")
    assert aivmc.load(tmp_path / "m.aivm").identity in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.aivm", "m.onnx"]


def test_compile_options(folder: Path, tmp_path: Path) -> None:
    data = good_json(
        *("compile", folder / "model.onnx", "-o", tmp_path / "k", "-t", "cpu", "-t", "x86-64-v4"),
        *("--shape", "x=2,8", "--seed", "7", "--dump-ir", tmp_path / "ir"),
    )
    assert data["targets"] == ["x86-64-v3", "x86-64-v4"]
    inspected = good_json("inspect", tmp_path / "k")
    assert inspected["signature"]["inputs"] == [{"name": "x", "type": "f32[2, 8]"}]
    assert inspected["config"]["seed"] == {"policy": "fixed", "value": "7"}
    dumped = sorted(p.name for p in (tmp_path / "ir").iterdir())
    assert dumped[0] == "00-input.air"
    assert any(name.endswith("-canonicalize.air") for name in dumped)


def test_print_after(folder: Path, tmp_path: Path) -> None:
    arguments = ("compile", folder / "model.onnx", "-o", tmp_path / "k")
    text = good(*arguments, "--print-after", "canonicalize")
    assert "// after canonicalize\nmodule canonical {" in text
    good_json(*arguments, "--print-after", "canonicalize")
    assert "there are" in refused(2, *arguments, "--print-after", "canonicalise")


def test_pass_plugin(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "relu_plugin.py").write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from aivmc.passes.rewriting import NoMatch, RewritePass\n"
        "@dataclass(frozen=True)\n"
        "class RemoveRelu(RewritePass):\n"
        "    name: ClassVar[str] = 'remove-relu'\n"
        "    def rewrite(self, op, b):\n"
        "        return op.operands[0] if op.name == 'det.relu' else NoMatch('no relu')\n"
        "PASSES = (RemoveRelu,)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    out = tmp_path / "k.aivm"
    good("compile", folder / "model.onnx", "-o", out, "--pass-plugin", "relu_plugin")
    assert "det.relu" in good("inspect", folder / "model.aivm", "--stage", "canonical")
    assert "det.relu" not in good("inspect", out, "--stage", "canonical")
    steps = [step["pass"] for step in good_json("inspect", out)["ledger"]]
    assert "remove-relu" in steps
    assert good("verify", out, folder / "model.onnx", "--pass-plugin", "relu_plugin")
    assert "can't import" in refused(
        2, "compile", folder / "model.onnx", "-o", out, "--pass-plugin", "no_such_module"
    )


@pytest.mark.parametrize("shape", ["x", "=1", "x=1,,2", "x=1,2,3", "x=a b,8", "z=1", "x=-1,8"])
def test_shapes_that_can_not_be_read(folder: Path, tmp_path: Path, shape: str) -> None:
    refused(2, "compile", folder / "model.onnx", "-o", tmp_path / "k", "--shape", shape)
    assert list(tmp_path.iterdir()) == []


def test_models_that_are_not_good(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes((folder / "model.onnx").read_bytes()[:200])
    (tmp_path / "text.onnx").write_text("hello")
    for name in ("cut.onnx", "text.onnx", "missing.onnx", "."):
        refused(2, "compile", tmp_path / name, "-o", tmp_path / "k.aivm")
    refused(2, "compile", folder / "model.onnx", "-t", "z80", "-o", tmp_path / "k.aivm")
    assert not (tmp_path / "k.aivm").exists()


@pytest.mark.parametrize("place", ["", "missing/k.aivm", "file/k.aivm"])
def test_outputs_that_can_not_be_written(folder: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    message = refused(2, "compile", folder / "model.onnx", "-o", tmp_path / place)
    assert "cannot write" in message
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# opt


PROGRAM = """module det {
  func @main(%x: f32[3]) -> (y: f32[3]) {
    %0 = det.add(%x, %x) : f32[3]
    %1 = det.mul(%x, %x) : f32[3]
    return %0
  }
}
"""


def test_opt(tmp_path: Path) -> None:
    path = tmp_path / "p.air"
    path.write_text(PROGRAM)
    text = good("opt", path, "-p", "canonicalize")
    assert "det.mul" not in text
    assert CliRunner().invoke(main, ["opt", "-", "-p", "canonicalize"], PROGRAM).stdout == text
    data = good_json("opt", path, "-p", "canonicalize")
    assert data["program"] == text
    assert data["ledger"][0]["pass"] == "canonicalize"
    assert good("opt", path, "-p", "canonicalize", "--print-after", "canonicalize").endswith(text)


def test_opt_refuses(tmp_path: Path) -> None:
    path = tmp_path / "p.air"
    path.write_text(PROGRAM.replace("det.add(%x, %x)", "det.add(%x, %z)"))
    message = refused(2, "opt", path, "-p", "canonicalize")
    assert f"{path}:3:" in message
    assert "^" in message
    path.write_text(PROGRAM)
    assert "did you mean 'canonicalize'" in refused(2, "opt", path, "-p", "canonicalise")
    refused(2, "opt", path, "-p", "canonicalize{x=1}")
    refused(2, "opt", tmp_path / "missing", "-p", "canonicalize")
    path.write_bytes(b"\xff\xfe")
    refused(2, "opt", path, "-p", "canonicalize")
