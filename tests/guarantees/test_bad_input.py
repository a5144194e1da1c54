"""Whatever a command is given, it ends with one clear message, an exit code of 1 or 2, no
traceback, and no file half-written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import onnx
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

import aivmc
from aivmc.cli import main
from aivmc.compiler import canonicalize
from aivmc.kernel_file import container
from aivmc.kernel_file.container import Member
from aivmc.kernel_file.errors import IntegrityError, KernelFileError
from aivmc.kernel_file.manifest import CANONICAL, MANIFEST, SELFTEST, WEIGHTS
from aivmc.kernel_file.reader import open_kernel, read_kernel
from examples.models.make import SMALL
from tests.guarantees.file_variations import copy
from tests.guarantees.hostile_models import HOSTILE, mutate
from tests.onnx_models import build
from tests.small_model import small_model

ROOT = Path(__file__).parents[2]
F32 = np.float32
X = np.random.default_rng(3).standard_normal((3, 8)).astype(F32)
CHECK_FAILED, BAD_INPUT = 1, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its kernel, inputs."""
    folder = tmp_path_factory.mktemp("good")
    onnx.save(small_model(), folder / "model.onnx")
    aivmc.compile(small_model()).save(folder / "model.aivm")
    np.savez(folder / "in.npz", x=X)
    return folder


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def refused(code: int, *arguments: object) -> str:
    """The message of a command that fails as it should."""
    result = command(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    _check_message(result.stderr)
    return result.stderr


def _check_message(text: str) -> None:
    assert text.startswith("error: "), text
    assert text.count("error: ") == 1
    assert "Traceback" not in text
    assert "aivmc itself failed" not in text, text


# Models.


def test_the_good_ones_are_good(folder: Path, tmp_path: Path) -> None:
    """What follows would prove nothing if these failed too."""
    out = tmp_path / "out.npz"
    rest = ("--inputs", folder / "in.npz", "--output", out)
    assert command("run", folder / "model.aivm", *rest).exit_code == 0
    assert command("compile", folder / "model.onnx", "-o", tmp_path / "k").exit_code == 0
    assert command("verify", folder / "model.aivm", folder / "model.onnx").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k", "out.npz"]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_models(what: str, tmp_path: Path) -> None:
    make, words = HOSTILE[what]
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    assert words in refused(BAD_INPUT, "compile", path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("length", [0, 1, 17, 200, -200, -1])
def test_truncated_models(length: int, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((folder / "model.onnx").read_bytes()[:length])
    assert "is not an ONNX model" in refused(BAD_INPUT, "compile", path)


@pytest.mark.parametrize(
    "data",
    [
        random.Random(1).randbytes(5000),
        b"hello",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\x08" * 100_000,
        b"\x12\x80\x80\x80\x80\x10",
        b":" + b"\xff" * 50,
    ],
    ids=["random", "text", "picture", "repeated", "a length that lies", "a varint without end"],
)
def test_files_that_are_no_models(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert "is not an ONNX model" in refused(BAD_INPUT, "compile", path)
    refused(BAD_INPUT, "inspect", path)


def test_paths_that_are_no_models(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", folder / "model.aivm", "/dev/null", "x" * 5000):
        refused(BAD_INPUT, "compile", path, "-o", tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_a_model_over_2_gib(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(3 << 30)
    assert "over 2 GiB" in refused(BAD_INPUT, "compile", tmp_path / "model.onnx")


def test_a_model_of_very_many_ops(tmp_path: Path) -> None:
    """Its depth is no depth of recursion."""
    count = 2000
    nodes = [helper.make_node("Abs", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    nodes = [
        helper.make_node("Add", ["t0", f"t{i}"], [f"t{i + 1}"]) if i % 2 else n
        for i, n in enumerate(nodes)
    ]
    model = build(nodes, {"t0": (F32, [3])}, [f"t{count}"])
    x = np.array([1, -2, 0.5], F32)
    (y,) = aivmc.compile(model).run({"t0": x}).values()
    expected = x
    for i in range(count):
        expected = x + expected if i % 2 else np.abs(expected)
    assert y.tobytes() == expected.tobytes()


def _external(folder: Path, **entries: str) -> Path:
    """A model whose weights are in w.bin beside it, or as ``entries`` say."""
    w = np.array([1, 2, 3], F32)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = build(nodes, {"x": (F32, [3])}, ["y"], {"w": w})
    (folder / "w.bin").write_bytes(w.tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_that_is_good(tmp_path: Path) -> None:
    assert command("compile", _external(tmp_path)).exit_code == 0


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "gone.bin"}, "'gone.bin' is missing"),
        ({"location": "../secret.bin"}, "leaves the model's folder"),
        ({"location": "sub/../../secret.bin"}, "leaves the model's folder"),
        ({"location": "/etc/hostname"}, "leaves the model's folder"),
        ({"location": "link.bin"}, "leaves the model's folder"),
        ({"location": "link/secret.bin"}, "leaves the model's folder"),
        ({"location": "pipe"}, "'pipe'"),
        ({"location": "."}, "is missing"),
        ({"location": "w.bin", "offset": "8"}, "too short"),
        ({"location": "w.bin", "offset": "-4"}, "offset -4"),
        ({"location": "w.bin", "length": "99999999999999999999"}, "w"),
    ],
)
def test_external_data_that_is_not(entries: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert words in refused(BAD_INPUT, "compile", _external(folder, **entries))
    assert not (folder / "model.aivm").exists()


def test_every_unsupported_op_is_named_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], "stem/foo"),
        helper.make_node("Bar", ["a"], ["b"], "head/bar", domain="com.example"),
        helper.make_node("Foo", ["x"], ["c"], "head/foo"),
        helper.make_node("NonZero", ["x"], ["d"], "where"),
        helper.make_node("MatMul", ["x", "x"], ["e"], "misfit"),
        helper.make_node("Sum", ["b", "c", "d", "e"], ["y"], "total"),
        helper.make_node("Baz", ["y"], ["z"], "tail/baz"),
    ]
    model = build(nodes, {"x": (F32, [2, 3])}, ["z"])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "model.onnx")
    message = refused(BAD_INPUT, "compile", tmp_path / "model.onnx")
    for words in ("Foo ('stem/foo', 'head/foo')", "Bar", "'head/bar'", "'tail/baz'", "'misfit'"):
        assert words in message
    assert "'where'" in message
    assert "'total'" not in message, "it is unsupported only because its operands are"


def test_a_dead_op_need_not_be_supported(tmp_path: Path) -> None:
    nodes = [helper.make_node("Foo", ["x"], ["a"]), helper.make_node("Relu", ["x"], ["y"])]
    onnx.save(build(nodes, {"x": (F32, [2])}, ["y"]), tmp_path / "model.onnx")
    assert command("compile", tmp_path / "model.onnx").exit_code == 0


# Inputs of a run.


def _pickled(path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(path.parent / "pwned"),))

    np.savez(path, x=np.array([Bomb()], object))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: np.savez(path, x=X.astype(np.float64)), "not of dtype float64"),
        (lambda path: np.savez(path, x=X.astype(np.int32)), "not of dtype int32"),
        (lambda path: np.savez(path, x=X[:, :4]), "dim 1 must be 8"),
        (lambda path: np.savez(path, x=X[0]), "2 dims are needed"),
        (lambda path: np.savez(path, X=X), "'x' is missing; the inputs are 'x'"),
        (lambda path: np.savez(path), "'x' is missing"),
        (lambda path: np.savez(path, x=X, extra=X), "there is no input 'extra'"),
        (lambda path: np.save(path.open("wb"), X), "without a name"),
        (_pickled, "not an .npz file of plain arrays"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and so on"), "not an .npz file"),
        (lambda path: path.write_bytes(random.Random(2).randbytes(3000)), "not an .npz file"),
        (lambda path: path.touch(), "not an .npz file"),
        (lambda path: path.mkdir(), "cannot read"),
        (lambda path: None, "cannot read"),
    ],
    ids=[
        *("f64", "i32", "shape", "rank", "name", "nothing", "one more", "npy", "pickle"),
        *("broken zip", "random", "empty", "folder", "missing"),
    ],
)
def test_inputs(make: Callable[[Path], None], words: str, folder: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    make(path)
    message = refused(BAD_INPUT, "run", folder / "model.aivm", "--inputs", path, "--output", out)
    assert words in message
    assert {p.name for p in tmp_path.iterdir()} <= {"in.npz"}


def test_truncated_inputs(folder: Path, tmp_path: Path) -> None:
    data = (folder / "in.npz").read_bytes()
    path = tmp_path / "in.npz"
    for length in range(0, len(data), 13):
        path.write_bytes(data[:length])
        refused(
            *(BAD_INPUT, "run", folder / "model.aivm"),
            *("--inputs", path, "--output", tmp_path / "out.npz"),
        )
    assert [p.name for p in tmp_path.iterdir()] == ["in.npz"]


def test_an_array_that_claims_to_be_huge(folder: Path, tmp_path: Path) -> None:
    """Its header says 8 EiB, its data are 96 bytes."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": (1 << 58, 8)}).ljust(117) + "\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + X.tobytes()
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:
        archive.writestr("x.npy", npy)
    refused(
        *(BAD_INPUT, "run", folder / "model.aivm"),
        *("--inputs", tmp_path / "in.npz", "--output", tmp_path / "out.npz"),
    )


# Kernels.


def _members(kernel: Path) -> list[str]:
    return sorted(open_kernel(kernel).members)


MEMBERS = (
    *("ir/canonical.air", "manifest.json", "selftest/selftest.json", "weights.bin"),
    *(f"targets/x86-64-v3/{n}" for n in ("audit.json", "kernel.air", "kernel.o", "plan.json")),
)


def test_these_are_all_members(folder: Path) -> None:
    assert _members(folder / "model.aivm") == sorted(MEMBERS)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_tampered_member(member: str, place: str, folder: Path, tmp_path: Path) -> None:
    kernel = open_kernel(folder / "model.aivm")
    data = bytearray(kernel.data)
    view = kernel.members[member]
    start = (
        np.frombuffer(view, np.uint8).ctypes.data - np.frombuffer(kernel.data, np.uint8).ctypes.data
    )
    data[start + {"first": 0, "middle": len(view) // 2, "last": len(view) - 1}[place]] ^= 1
    path = tmp_path / "k.aivm"
    path.write_bytes(data)
    message = refused(
        *(CHECK_FAILED, "run", path, "--inputs", folder / "in.npz"),
        *("--output", tmp_path / "out.npz"),
    )
    assert str(path) in message
    assert member in message
    refused(CHECK_FAILED, "inspect", path)
    refused(CHECK_FAILED, "diff", path, folder / "model.aivm")
    verified = command("verify", path)
    assert verified.exit_code == CHECK_FAILED
    assert "FAILED" in verified.stdout
    with pytest.raises(IntegrityError):
        aivmc.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["k.aivm"]


@pytest.mark.parametrize("length", [0, 3, 30, 64, 5000, -5000, -100, -1])
def test_a_truncated_kernel(length: int, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "k.aivm"
    path.write_bytes((folder / "model.aivm").read_bytes()[:length])
    rest = ("--inputs", folder / "in.npz", "--output", tmp_path / "out.npz")
    result = command("run", path, *rest)
    assert result.exit_code in (CHECK_FAILED, BAD_INPUT)
    _check_message(result.stderr)


def test_something_appended_to_a_kernel(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "k.aivm"
    path.write_bytes((folder / "model.aivm").read_bytes() + b"\0")
    refused(CHECK_FAILED, "inspect", path)


def _forged(kernel: Path, member: str, change: Callable[[bytes], bytes]) -> bytes:
    """The kernel with another member, and a manifest and an archive that agree with it."""
    members = {name: bytes(data) for name, data in open_kernel(kernel).members.items()}
    members[member] = change(members[member])
    manifest = json.loads(members[MANIFEST])
    digest = hashlib.sha256(members[member]).hexdigest()
    manifest["members"][member].update(bytes=len(members[member]), sha256=digest)
    members[MANIFEST] = rfc8785.dumps(manifest)
    names = sorted(members)
    layout = container.layout([Member(n, len(members[n]), crc32(members[n])) for n in names])
    pieces = [p for n, header in zip(names, layout.headers) for p in (header, members[n])]
    return b"".join([*pieces, layout.directory])


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


FORGERIES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    # What is forged: the member, the change, the check that finds it even without the model.
    "a weight": (WEIGHTS, _flipped, "contents"),
    "the program": (CANONICAL, lambda t: t.replace(b"det.relu", b"det.abs"), "program"),
    "no program": (CANONICAL, lambda t: b"hello", "program"),
    "the self-test": (
        SELFTEST,
        lambda t: t.replace(b'"outputs":{"y":"', b'"outputs":{"y":"0'),
        "self-test",
    ),
    "no self-test": (SELFTEST, lambda t: b"{}", "self-test"),
    "no code": ("targets/x86-64-v3/kernel.o", lambda t: b"hello", "self-test"),
    "other code's audit": ("targets/x86-64-v3/audit.json", lambda t: b"{}", "rebuild"),
    "the kernel's text": ("targets/x86-64-v3/kernel.air", lambda t: t + b"\n", "rebuild"),
    "no plan": ("targets/x86-64-v3/plan.json", lambda t: b"{}", "self-test"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_kernel(what: str, folder: Path, tmp_path: Path) -> None:
    """Its identity is another one already; verifying says what else is wrong."""
    member, change, check = FORGERIES[what]
    path = tmp_path / "k.aivm"
    path.write_bytes(_forged(folder / "model.aivm", member, change))
    assert open_kernel(path).identity != open_kernel(folder / "model.aivm").identity
    model = [folder / "model.onnx"] if check == "rebuild" else []
    verified = command("verify", path, *model, "--json")
    assert verified.exit_code == CHECK_FAILED, verified.output
    failed = [c["check"] for c in json.loads(verified.stdout)["checks"] if c["passed"] is False]
    assert any(name.startswith(check) for name in failed), failed


@pytest.mark.parametrize("field", ["format", "numerics"])
def test_a_kernel_of_the_future(
    field: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by this aivmc, as if it were the next one."""
    constant = {"format": "FORMAT_VERSION", "numerics": "NUMERICS_VERSION"}[field]
    with monkeypatch.context() as future:
        future.setattr(f"aivmc.kernel_file.manifest.{constant}", 2)
        aivmc.compile(small_model()).save(tmp_path / "k.aivm")
    rest = ("--inputs", folder / "in.npz", "--output", tmp_path / "out.npz")
    assert f"{field} version 2" in refused(BAD_INPUT, "run", tmp_path / "k.aivm", *rest)


def test_a_node_without_the_features(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "aivmc.runtime.environment.cpu_features", lambda: frozenset({"sse2", "avx"})
    )
    rest = ("--inputs", folder / "in.npz", "--output", tmp_path / "out.npz")
    message = refused(CHECK_FAILED, "run", folder / "model.aivm", *rest)
    assert "avx2" in message
    assert "fma" in message
    assert list(tmp_path.iterdir()) == []
    assert command("inspect", folder / "model.aivm").exit_code == 0
    assert command("compile", folder / "model.onnx", "-o", tmp_path / "k").exit_code == 0
    assert (tmp_path / "k").read_bytes() == (folder / "model.aivm").read_bytes()
    assert command("doctor").exit_code == CHECK_FAILED


# Outputs.


@pytest.mark.parametrize("place", ["", "missing/out", "file/out", "x" * 300, "/dev/full", "loop"])
def test_places_that_can_not_be_written(place: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    out = tmp_path / place
    assert "cannot write" in refused(BAD_INPUT, "compile", folder / "model.onnx", "-o", out)
    rest = ("--inputs", folder / "in.npz", "--output", out)
    assert "cannot write" in refused(BAD_INPUT, "run", folder / "model.aivm", *rest)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "loop"]


def test_what_was_there_stays_after_a_failure(folder: Path, tmp_path: Path) -> None:
    kernel, out = tmp_path / "k.aivm", tmp_path / "out.npz"
    for path in (kernel, out):
        path.write_bytes(b"what was there")
    np.savez(tmp_path / "bad.npz", x=X[0])
    (tmp_path / "bad.onnx").write_bytes(_cyclic())
    refused(BAD_INPUT, "compile", tmp_path / "bad.onnx", "-o", kernel)
    refused(
        *(BAD_INPUT, "run", folder / "model.aivm"),
        *("--inputs", tmp_path / "bad.npz", "--output", out),
    )
    assert kernel.read_bytes() == out.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 4


def _cyclic() -> bytes:
    data: bytes = HOSTILE["a cycle"][0]().SerializeToString()
    return data


def test_a_disk_that_fills_up(folder: Path, tmp_path: Path) -> None:
    """In the middle of writing; a limit on the size of files stands in for it."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from aivmc.cli import main; main()"
    )
    kernel, out = tmp_path / "k.aivm", tmp_path / "out.npz"
    for path in (kernel, out):
        path.write_bytes(b"what was there")
    np.savez(tmp_path / "in.npz", x=np.ones((100, 8), F32))
    for arguments in (
        ("compile", folder / "model.onnx", "-o", kernel),
        ("run", folder / "model.aivm", "--inputs", tmp_path / "in.npz", "--output", out),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == BAD_INPUT
        _check_message(done.stderr)
    assert kernel.read_bytes() == out.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_compiler_that_is_killed_leaves_no_kernel(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model.onnx", tmp_path)
    for delay in (0.5, 1.5, 2.2):
        child = subprocess.Popen(
            [sys.executable, "-c", "from aivmc.cli import main; main()", "compile", "model.onnx"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kernel = tmp_path / "model.aivm"
        if kernel.exists():  # it was quicker
            assert kernel.read_bytes() == (folder / "model.aivm").read_bytes()
            kernel.unlink()


# JSON.


def test_json_is_alone_on_standard_output(folder: Path, tmp_path: Path) -> None:
    kernel, rest = folder / "model.aivm", ("--inputs", folder / "in.npz")
    for arguments in (
        ("compile", folder / "model.onnx", "-o", tmp_path / "k", "--print-after", "legalize"),
        ("run", kernel, *rest, "--output", tmp_path / "out.npz"),
        ("inspect", kernel),
        ("inspect", kernel, "--stage", "asm"),
        ("verify", kernel, folder / "model.onnx"),
        ("diff", kernel, kernel),
        ("doctor",),
    ):
        result = command(*arguments, "--json")
        assert result.exit_code == 0
        json.loads(result.stdout)


def test_a_failure_prints_no_json(folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for arguments in (
        ("compile", missing),
        ("run", missing, "--inputs", missing, "--output", missing),
        ("inspect", missing),
        ("verify", missing),
        ("diff", missing, missing),
        ("opt", missing, "-p", "canonicalize"),
    ):
        refused(BAD_INPUT, *arguments, "--json")


# Anything.


@cache
def _kernel_bytes() -> bytes:
    return bytes(aivmc.compile(small_model()).file.data)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_change_of_a_kernel_is_refused(data: st.DataObject) -> None:
    whole = _kernel_bytes()
    start = data.draw(st.integers(0, len(whole)))
    new = data.draw(st.binary(max_size=100))
    removed = len(new) if data.draw(st.booleans()) else data.draw(st.integers(0, 200))
    changed = whole[:start] + new + whole[start + removed :]
    if changed != whole:
        with pytest.raises((IntegrityError, KernelFileError)):
            read_kernel(memoryview(changed))


@cache
def _models() -> list[Any]:
    return [*(SMALL[name]() for name in sorted(SMALL)), small_model()]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_mutated_models_are_compiled_or_refused(seed: int, count: int) -> None:
    random_ = random.Random(seed)
    model = copy(random_.choice(_models()))
    for _ in range(count):
        mutate(model, random_)
    with warnings.catch_warnings(), suppress(aivmc.AivmcError):
        warnings.simplefilter("ignore")
        canonicalize(model)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_models_run_or_are_refused(seed: int) -> None:
    random_ = random.Random(seed)
    model = copy(small_model())
    mutate(model, random_)
    with warnings.catch_warnings(), suppress(aivmc.AivmcError):
        warnings.simplefilter("ignore")
        aivmc.compile(model).close()
