"""`aivmc run`: inputs, outputs, and seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import aivmc
from tests.cli.harness import X, aivmc_cli, good, good_json, refused
from tests.onnx_models import build
from tests.small_model import bias


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


# Seeds


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
