"""``aivmc request`` and the runs that answer requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import good, good_json, refused
from tests.protocol.test_execution import sampler

BEACON = "be" * 32
ROUND_1000 = (
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
    "e342b73a8dd2bacbe47e4b6b63ed5e39"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("requests")
    for policy in ("vrf", "fixed", "input"):
        aivmc.compile(sampler(), seed_policy=policy).save(folder / f"{policy}.aivm")
    np.savez(folder / "in.npz", x=np.arange(6, dtype=np.float32))
    np.savez(folder / "other.npz", x=np.ones(6, np.float32))
    write_private_key(folder / "key.pem", PrivateKey(bytes(32)))
    return folder


def asked(folder: Path, *options: object, kernel: str = "vrf") -> tuple[Path, Any]:
    out = folder / "request.json"
    words = ("request", folder / f"{kernel}.aivm", "--inputs", folder / "in.npz", "--out", out)
    return out, good_json(*words, *options)


def running(folder: Path, *options: object, kernel: str = "vrf", inputs: str = "in") -> Any:
    files = ("--inputs", folder / f"{inputs}.npz", "--output", folder / "out.npz")
    return ("run", folder / f"{kernel}.aivm", *files, *options)


def test_a_nodes_vrf(folder: Path, tmp_path: Path) -> None:
    public = PrivateKey(bytes(32)).public.hex()
    path, data = asked(folder, "--vrf", public, "--beacon", "eip155:1@7", "--nonce", "ab" * 32)
    assert json.loads(path.read_bytes()) == data["request"]
    assert data["request"]["nonce"] == "ab" * 32
    proving = ("vrf", "prove", "--key", folder / "key.pem", "--request", path, "--beacon")
    proof = good_json(*proving, BEACON)["proof"]
    answer = ("--request", path, "--beacon", BEACON, "--proof", proof)
    drawn = good_json(*running(folder, *answer))
    assert drawn["inputs"]["x"]["sha256"] == data["request"]["inputs"]["x"]
    assert good_json(*running(folder, *answer, "--threads", 2)) == drawn
    other = ("--request", path, "--beacon", "00" * 32, "--proof", proof)
    assert "VRF proof is not valid" in refused(1, *running(folder, *other))
    assert "other inputs: 'x' differ" in refused(1, *running(folder, *answer, inputs="other"))
    assert "takes a beacon value of 32 bytes" in refused(
        1, *running(folder, *answer[:2], *other[4:])
    )
    store = ("--nonces", tmp_path / "nonces")
    good(*running(folder, *answer, *store))
    assert "this is a replay" in refused(1, *running(folder, *answer, *store))


def test_a_drand_round(folder: Path) -> None:
    path, data = asked(folder, "--beacon", "quicknet@1000")
    assert data["request"]["randomness"]["round"] == 1000
    answer = ("--request", path, "--proof", ROUND_1000)
    assert good_json(*running(folder, *answer))["outputs"]["y"]["type"] == "f32[6]"
    path, _ = asked(folder, "--beacon", "quicknet@1001")
    assert "not valid for round 1001" in refused(1, *running(folder, *answer))


def test_a_request_without_randomness(folder: Path) -> None:
    path, data = asked(folder, kernel="fixed")
    assert data["request"]["randomness"] is None
    assert good("request", folder / "fixed.aivm", "--inputs", folder / "in.npz", "--out", path)
    good(*running(folder, "--request", path, kernel="fixed"))
    assert "other inputs" in refused(
        1, *running(folder, "--request", path, kernel="fixed", inputs="other")
    )
    assert "only with a proof" in refused(2, *running(folder, "--request", path))


def test_a_request_with_a_seed(folder: Path) -> None:
    path, data = asked(folder, "--seed", "AB" * 32, kernel="input")
    assert data["request"]["seed"] == "ab" * 32
    drawn = good_json(*running(folder, "--request", path, kernel="input"))
    assert drawn == good_json(*running(folder, "--seed", "ab" * 32, kernel="input"))
    other = running(folder, "--request", path, "--seed", "00" * 32, kernel="input")
    assert "the request is for another seed" in refused(1, *other)


def test_what_does_not_go_together(folder: Path, tmp_path: Path) -> None:
    assert "only with a proof" in refused(2, *running(folder))
    for option in (("--proof", "00"), ("--beacon", "00"), ("--nonces", "n")):
        assert "goes with --request" in refused(2, *running(folder, *option))
    bad = tmp_path / "bad.json"
    assert "cannot read" in refused(2, *running(folder, "--request", bad))
    bad.write_text('{"nonce": 1, "nonce": 2}')
    assert "'nonce' is there twice" in refused(2, *running(folder, "--request", bad))
    words = ("request", folder / "vrf.aivm", "--inputs", folder / "in.npz", "--out", bad)
    for options, message in (
        (("--vrf", "00" * 32), "needs --beacon"),
        (("--beacon", "quicknet"), "not of the form CHAIN@ROUND"),
        (("--beacon", "mainnet@3"), "not bytes in hex"),
        (("--beacon", "00@3"), "public key is 96 bytes, not 1"),
        (("--vrf", "00", "--beacon", "a@3"), "public key is 32 bytes, not 1"),
        (("--nonce", "00"), "nonce is 32 bytes, not 1"),
    ):
        assert message in refused(2, *words, *options)
    assert bad.read_text().startswith('{"nonce"')


def test_proofs_for_requests_need_the_key_that_is_asked(folder: Path) -> None:
    key = ("vrf", "prove", "--key", folder / "key.pem")
    for options in ((), ("--beacon", "00"), ("--alpha", "00", "--request", "r")):
        assert "give what the proof is about" in refused(2, *key, *options)
    for options in (("--vrf", "01" * 32, "--beacon", "a@1"), ("--beacon", "quicknet@3")):
        path, _ = asked(folder, *options)
        assert "doesn't ask for the VRF of this key" in refused(
            2, *key, "--request", path, "--beacon", BEACON
        )
