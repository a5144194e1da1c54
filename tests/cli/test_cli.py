"""The commands: what they print, their exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import aivmc
from aivmc.cli import main
from aivmc.kernel_file.writer import write_kernel
from aivmc.trust.keys import PrivateKey, write_private_key
from tests.hand_made import contents
from tests.onnx_models import build
from tests.small_model import bias, small_model, weights

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "compile",
    "run",
    "config",
    "request",
    "inspect",
    "opt",
    "verify",
    "diff",
    "bisect",
    "audit",
    "doctor",
)
X = np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its kernel, another kernel, inputs."""
    folder = tmp_path_factory.mktemp("cli")
    onnx.save(small_model(), folder / "model.onnx")
    aivmc.compile(small_model()).save(folder / "model.aivm")
    aivmc.compile(small_model(weights() * 2)).save(folder / "other.aivm")
    np.savez(folder / "in.npz", x=X)
    return folder


def aivmc_cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def good(*arguments: object) -> str:
    result = aivmc_cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def good_json(*arguments: object) -> Any:
    return json.loads(good(*arguments, "--json"))


def refused(code: int, *arguments: object) -> str:
    """The one message of a command that fails with this code."""
    result = aivmc_cli(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    return result.stderr


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from aivmc.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


# Help.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    text = good(command, "--help")
    assert "Usage" in text
    assert "Example" in text


def test_help_imports_no_compiler() -> None:
    code = (
        "import sys\nfrom aivmc.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sorted({'tvm', 'onnx', 'numpy', 'lark'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"
    assert all(command in done.stdout for command in COMMANDS)


NODE = """
import sys
from aivmc.cli import main
try: main(sys.argv[1:])
except SystemExit as ended: assert ended.code == 0
compiler = {"tvm", "onnx", "lark", "aivmc.passes", "aivmc.ir.ops", "aivmc.compiler"}
print(*sorted(compiler & sys.modules.keys()), file=sys.stderr)
"""


def test_nodes_need_no_compiler(folder: Path, tmp_path: Path) -> None:
    run = ["run", folder / "model.aivm", "--inputs", folder / "in.npz"]
    write_private_key(tmp_path / "key.pem", PrivateKey(bytes(32)))
    signed = ["--receipt", tmp_path / "r.json", "--key", tmp_path / "key.pem"]
    for arguments in (
        [*run, "--output", tmp_path / "o.npz", *signed, "--trace", tmp_path / "t.bin"],
        ["receipt", "verify", tmp_path / "r.json"],
        ["audit", tmp_path],
        ["vrf", "prove", "--key", tmp_path / "key.pem", "--alpha", "00"],
    ):
        command = [sys.executable, "-c", NODE, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stderr == "\n", arguments[0]


def test_version() -> None:
    assert good("--version").startswith("aivmc ")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["compile"], ["run", "k.aivm"], ["compile", "m", "--seed", "x"]]
)
def test_bad_usage(arguments: list[str]) -> None:
    result = aivmc_cli(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stdout == ""


# compile


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


# run


def test_run(folder: Path, tmp_path: Path) -> None:
    kernel = aivmc.load(folder / "model.aivm")
    expected = kernel.run({"x": X})
    written = []
    for threads in (1, 2):
        out = tmp_path / f"{threads}.npz"
        data = good_json(
            *("run", folder / "model.aivm", "--inputs", folder / "in.npz"),
            *("--output", out, "--threads", threads),
        )
        assert data["kernel"] == kernel.identity
        assert data["inputs"] == {
            "x": {"type": "f32[3, 8]", "sha256": aivmc.tensor_digest(X)},
        }
        assert data["outputs"]["y"]["sha256"] == aivmc.tensor_digest(expected["y"])
        with np.load(out) as arrays:
            assert arrays["y"].tobytes() == expected["y"].tobytes()
        written.append(out.read_bytes())
    assert written[0] == written[1]
    text = good("run", folder / "model.aivm", "--inputs", folder / "in.npz", "--output", out)
    assert aivmc.tensor_digest(expected["y"]) in text


def _pickled(path: Path) -> None:
    np.savez(path, x=np.array([{}], object))


def _single(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: np.savez(path, x=X.astype(np.float64)),
        lambda path: np.savez(path, z=X),
        lambda path: np.savez(path, x=X[:, :4]),
        lambda path: np.savez(path),
        lambda path: path.write_bytes(b"PK\x03\x04 and so on"),
        lambda path: path.write_text("hello"),
        lambda path: path.touch(),
        lambda path: path.mkdir(),
        lambda path: None,
        _pickled,
        _single,
    ],
    ids=[
        *("dtype", "name", "shape", "nothing", "broken zip", "text", "empty file", "folder"),
        *("missing", "pickle", "npy"),
    ],
)
def test_inputs_that_are_not_good(
    folder: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "in.npz"
    make(path)
    out = tmp_path / "out.npz"
    refused(2, "run", folder / "model.aivm", "--inputs", path, "--output", out)
    assert not out.exists()


def test_kernels_that_are_not_good(folder: Path, tmp_path: Path) -> None:
    data = (folder / "model.aivm").read_bytes()
    tampered = bytearray(data)
    tampered[data.index(bias().tobytes())] ^= 1
    (tmp_path / "tampered").write_bytes(tampered)
    (tmp_path / "cut").write_bytes(data[:-100])
    (tmp_path / "text").write_text("hello")
    for name, code in (("tampered", 1), ("cut", 1), ("text", 2), ("missing", 2), (".", 2)):
        rest = ("--inputs", folder / "in.npz", "--output", tmp_path / "out.npz")
        message = refused(code, "run", tmp_path / name, *rest)
        assert str(tmp_path / name) in message
        assert aivmc_cli("verify", tmp_path / name).exit_code == code
        if name != "text":  # which would be a model
            refused(code, "inspect", tmp_path / name)
    assert not (tmp_path / "out.npz").exists()


def test_a_run_that_can_not_write(folder: Path, tmp_path: Path) -> None:
    arguments = ("run", folder / "model.aivm", "--inputs", folder / "in.npz", "--output", tmp_path)
    assert "cannot write" in refused(2, *arguments)
    assert list(tmp_path.iterdir()) == []


# seeds


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that draws, its kernels with the seed policies fixed and input, and inputs."""
    folder = tmp_path_factory.mktemp("sampler")
    noise = onnx.helper.make_node("RandomNormalLike", ["x"], ["y"])
    onnx.save(build([noise], {"x": (np.float32, ["N", 8])}, ["y"], opset=15), folder / "m.onnx")
    good("compile", folder / "m.onnx", "-o", folder / "fixed", "--seed", 3)
    good("compile", folder / "m.onnx", "-o", folder / "input", "--seed-policy", "input")
    np.savez(folder / "in.npz", x=X)
    return folder


def _drawn(kernel: Path, *options: object) -> str:
    files = ("--inputs", kernel.parent / "in.npz", "--output", kernel.parent / "out.npz")
    digest: str = good_json("run", kernel, *files, *options)["outputs"]["y"]["sha256"]
    return digest


def test_seed_policies(sampler: Path) -> None:
    fixed, asked = sampler / "fixed", sampler / "input"
    assert good_json("inspect", asked)["config"]["seed"] == {"policy": "input"}
    lines = [line.split() for line in good("inspect", asked).splitlines()]
    assert ["seed", "input", "32", "bytes"] in lines
    three, four = (f"{n:064X}" for n in (3, 4))
    assert _drawn(asked, "--seed", three) == _drawn(fixed)
    assert _drawn(asked, "--seed", four) != _drawn(fixed)
    for kernel in (fixed, asked):
        assert "FAILED" not in good("verify", kernel, sampler / "m.onnx")


def test_seeds_that_are_not_good(sampler: Path) -> None:
    files = ("--inputs", sampler / "in.npz", "--output", sampler / "no.npz")
    fixed, asked = (("run", sampler / name, *files) for name in ("fixed", "input"))
    assert "takes a seed with each request" in refused(2, *asked)
    assert "seed is fixed" in refused(2, *fixed, "--seed", "00" * 32)
    for seed in ("00" * 31, "0" * 65, "zz" * 32, "7", ""):
        assert "is not 64 hex digits" in refused(2, *asked, "--seed", seed)
    assert not (sampler / "no.npz").exists()
    compiling = ("compile", sampler / "m.onnx", "-o", sampler / "no")
    assert "can only be 'fixed' or 'input'" in refused(2, *compiling, "--seed-policy", "other")
    policy = ("--seed-policy", "vrf", "--seed", 1)
    assert "comes with each request" in refused(2, *compiling, *policy)
    assert "a seed is 0 to" in refused(2, *compiling, "--seed", -1)
    assert not (sampler / "no").exists()


# inspect


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


# doctor


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


# The process.


def test_json_is_all_that_is_on_standard_output(folder: Path, tmp_path: Path) -> None:
    done = process("compile", folder / "model.onnx", "-o", tmp_path / "k", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["kernel"] == str(tmp_path / "k")
    assert done.stderr == ""


def test_a_reader_that_leaves(folder: Path) -> None:
    command = [sys.executable, "-c", "from aivmc.cli import main; main()"]
    with subprocess.Popen(
        [*command, "inspect", folder / "model.aivm", "--stage", "asm"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141


def test_an_interrupt(folder: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.air"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", "from aivmc.cli import main; main()"]
    child = subprocess.Popen(
        [*command, "opt", fifo, "-p", "canonicalize"],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # A shell's background jobs ignore interrupts, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Opening the other end waits until the command reads.
    with child, fifo.open("w"):
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        message = child.stderr.read()
    assert (child.returncode, message) == (130, b"error: interrupted\n")


def test_a_disk_that_is_full(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for it."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from aivmc.cli import main; main()"
    )
    out = tmp_path / "k.aivm"
    done = subprocess.run(
        [sys.executable, "-c", code, "compile", folder / "model.onnx", "-o", out],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
