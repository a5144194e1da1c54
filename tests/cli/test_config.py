"""``aivmc config``, ``aivmc compile --config`` and ``--provenance``."""

from __future__ import annotations

import base64
import json
import platform
from datetime import datetime
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

import onnx
import pytest

import aivmc
from aivmc.settings import json_schema
from aivmc.trust.envelope import unseal
from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import good, good_json, refused
from tests.small_model import small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    onnx.save(small_model(), folder / "model.onnx")
    (folder / "aivm.toml").write_text(
        'targets = ["x86-64-v4"]\n[shapes]\nx = [5, 8]\n[seed]\nvalue = 7\n'
    )
    return folder


def test_config(folder: Path, tmp_path: Path) -> None:
    assert json.loads(good("config", "--schema")) == json_schema()
    data = good_json("config", folder / "aivm.toml")
    assert data["settings"]["shapes"] == {"x": [5, 8]}
    assert data["manifest"]["seed"] == {"policy": "fixed", "value": "7"}
    assert "avx512f" in data["requires"]["x86-64-v4"]
    (tmp_path / "again.toml").write_text(good("config", folder / "aivm.toml"))
    assert good_json("config", tmp_path / "again.toml") == data
    assert good_json("config")["settings"]["targets"] == ["x86-64-v3"]
    (tmp_path / "bad.toml").write_text("targetz = 1")
    message = refused(2, "config", tmp_path / "bad.toml")
    assert "bad.toml: there is no setting 'targetz': did you mean 'targets'?" in message


def test_options_go_before_the_file(folder: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "k.aivm", "--config", folder / "aivm.toml")
    compiling = ("compile", folder / "model.onnx", *out)
    assert good_json(*compiling)["targets"] == ["x86-64-v4"]
    shape = {"x": (5, 8)}
    same = aivmc.compile(small_model(), "x86-64-v4", shape, seed=7)
    assert aivmc.load(tmp_path / "k.aivm").identity == same.identity
    assert "FAILED" not in good("verify", tmp_path / "k.aivm", folder / "model.onnx")
    good(*compiling, "-t", "cpu", "--shape", "x=3,8", "--seed", 9)
    other = aivmc.compile(small_model(), "cpu", {"x": (3, 8)}, seed=9)
    assert aivmc.load(tmp_path / "k.aivm").identity == other.identity
    good(*compiling, "-t", "cpu", "--seed-policy", "input")
    assert aivmc.load(tmp_path / "k.aivm").seed_policy == "input"


def test_provenance(folder: Path, tmp_path: Path) -> None:
    key = PrivateKey(bytes(32))
    write_private_key(tmp_path / "key.pem", key)
    kernel, file = tmp_path / "k.aivm", tmp_path / "p.json"
    compiling = ("compile", folder / "model.onnx", "-o", kernel)
    identity = good_json(*compiling, "--provenance", file, "--key", tmp_path / "key.pem")[
        "identity"
    ]
    assert identity == good_json(*compiling)["identity"]
    signed = unseal(file.read_bytes())
    assert signed.signer == key.public
    assert signed.statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert signed.statement["subject"] == [
        {"name": identity, "digest": {"sha256": sha256(kernel.read_bytes()).hexdigest()}}
    ]
    build = signed.statement["predicate"]["buildDefinition"]
    assert build["externalParameters"] == good_json("config")["settings"]
    assert build["internalParameters"]["host"]["machine"] == platform.machine()
    model, *packages = build["resolvedDependencies"]
    model_digest = sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert model == {"name": "model", "digest": {"sha256": model_digest}}
    named = {p["uri"].partition("@")[0].removeprefix("pkg:pypi/") for p in packages}
    assert named >= {"aivmc", "apache-tvm", "apache-tvm-ffi", "llvmlite", "capstone", "onnx"}
    record = distribution("llvmlite").read_text("RECORD") or ""
    (llvmlite,) = (p for p in packages if p["uri"].startswith("pkg:pypi/llvmlite@"))
    assert llvmlite["digest"] == {"sha256": sha256(record.encode()).hexdigest()}
    times = signed.statement["predicate"]["runDetails"]["metadata"]
    started, finished = map(datetime.fromisoformat, (times["startedOn"], times["finishedOn"]))
    assert started <= finished
    # Neither is in the kernel.
    assert base64.b64encode(key.public) not in kernel.read_bytes()
    assert "go together" in refused(2, *compiling, "--provenance", file)
    assert "not a receipt" in refused(2, "receipt", "verify", file)
