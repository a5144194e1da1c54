"""``aivmc run --receipt`` and ``aivmc receipt verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.trust.keys import PrivateKey, public_pem, write_private_key
from tests.cli.harness import aivmc_cli, good, good_json, refused
from tests.small_model import small_model, weights

KEY = PrivateKey(bytes(32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel, inputs, a key, a request and a receipt; and others of the same kinds."""
    folder = tmp_path_factory.mktemp("receipts")
    for name, model in (("k", small_model()), ("other", small_model(weights() * 2))):
        aivmc.compile(model).save(folder / f"{name}.aivm")
    for name, rows in (("in", 3), ("more", 4)):
        np.savez(folder / f"{name}.npz", x=np.ones((rows, 8), np.float32))
    write_private_key(folder / "node.pem", KEY)
    (folder / "node.pub").write_bytes(public_pem(KEY.public))
    (folder / "other.pub").write_bytes(public_pem(PrivateKey(b"1" * 32).public))
    kernel, inputs = folder / "k.aivm", ("--inputs", folder / "in.npz")
    for name in ("request", "another"):
        good("request", kernel, *inputs, "--out", folder / f"{name}.json")
    request = ("--request", folder / "request.json")
    data = good_json(*running(folder, "--key", folder / "node.pem", *request))
    assert data["receipt"] == str(folder / "r.json")
    return folder


def running(folder: Path, *options: object) -> tuple[object, ...]:
    files = ("--inputs", folder / "in.npz", "--output", folder / "out.npz")
    return ("run", folder / "k.aivm", *files, "--receipt", folder / "r.json", *options)


def checks(folder: Path, code: int, *options: object) -> dict[str, Any]:
    """What each check found."""
    result = aivmc_cli("receipt", "verify", folder / "r.json", *options, "--json")
    assert result.exit_code == code, result.output
    data = json.loads(result.stdout)
    assert data["verified"] == (code == 0)
    assert data["signer"] == KEY.public.hex()
    return {check["check"]: check["passed"] for check in data["checks"]}


def test_help() -> None:
    assert "Example" in good("receipt", "verify", "--help")


def test_all_checks(folder: Path, tmp_path: Path) -> None:
    own = checks(folder, 0)
    assert own == {
        "signature": True,
        "request": True,
        "proof": None,
        "kernel": None,
        "inputs": None,
    }
    files = ("--kernel", folder / "k.aivm", "--inputs", folder / "in.npz")
    key = ("--public-key", folder / "node.pub")
    asked = ("--request", folder / "request.json", "--nonces", tmp_path / "nonces")
    every = checks(folder, 0, *files, *key, *asked, "--rerun")
    assert every.pop("proof") is None
    assert every == dict.fromkeys(
        ("signature", "signer", "request", "answer", "nonce", "kernel", "inputs", "rerun"), True
    )
    assert checks(folder, 1, *asked)["nonce"] is False
    assert "\nok      kernel: " in good("receipt", "verify", folder / "r.json", *files)


def test_what_is_found(folder: Path) -> None:
    for option, file, check in (
        ("--kernel", "other.aivm", "kernel"),
        ("--inputs", "more.npz", "inputs"),
        ("--public-key", "other.pub", "signer"),
        ("--request", "another.json", "answer"),
    ):
        found = checks(folder, 1, option, folder / file)
        assert [name for name, passed in found.items() if passed is False] == [check]


def test_wrong_bits_are_found(folder: Path, tmp_path: Path) -> None:
    """Another kernel's outputs, under this one's name, signed."""
    from aivmc.protocol.execution import open_session
    from aivmc.protocol.receipt import write_receipt

    with open_session(folder / "other.aivm") as session:
        done = session.execute({"x": np.ones((3, 8), np.float32)})
    with aivmc.load(folder / "k.aivm") as kernel:
        lie = {**done.__dict__, "kernel": kernel.identity}
    (tmp_path / "r.json").write_bytes(write_receipt(type(done)(**lie), KEY))
    files = ("--kernel", folder / "k.aivm", "--inputs", folder / "in.npz")
    assert all(passed is not False for passed in checks(tmp_path, 0, *files).values())
    found = checks(tmp_path, 1, *files, "--rerun")
    assert [name for name, passed in found.items() if passed is False] == ["rerun"]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    verify = ("receipt", "verify")
    assert "needs --kernel and --inputs" in refused(2, *verify, folder / "r.json", "--rerun")
    data = (folder / "r.json").read_bytes()
    bad = tmp_path / "bad.json"
    bad.write_bytes(data.replace(b'"sig":"', b'"sig":"AAAA'))
    assert "the signature is not that of the key" in refused(1, *verify, bad)
    bad.write_bytes(data[:-1])
    assert "is not valid JSON" in refused(2, *verify, bad)
    assert "cannot read" in refused(2, *verify, tmp_path / "missing")
    assert "go together" in refused(2, *running(folder))
    before = (folder / "r.json").read_bytes()
    write_private_key(tmp_path / "open.pem", KEY)
    (tmp_path / "open.pem").chmod(0o644)
    assert "chmod 600" in refused(1, *running(folder, "--key", tmp_path / "open.pem"))
    assert (folder / "r.json").read_bytes() == before
