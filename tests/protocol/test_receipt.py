"""Receipts: what they state, and that no bit and no part of one can be another."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.ir.constants import tensor_digest
from aivmc.protocol import execution
from aivmc.protocol.execution import Session, bind
from aivmc.protocol.receipt import read_receipt, write_receipt
from aivmc.trust.documents import canonical
from aivmc.trust.envelope import pre_authentication, seal, unseal
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.keys import PrivateKey, public_pem
from tests.protocol.test_execution import BEACON, X, kernel, proof, request
from tests.small_model import small_model
from tests.test_docs import blocks, page
from tests.trust.test_ecvrf import flipped

KEY = PrivateKey(bytes(range(32)))
OTHER_KEY = PrivateKey(bytes(32))


@cache
def receipt(policy: str = "vrf", nonce: bytes = bytes(32), key: PrivateKey = KEY) -> bytes:
    """A receipt of a run of the sampler on X."""
    session = Session(kernel(policy).file)
    if policy == "vrf":
        return write_receipt(session.execute({"x": X}, proof=proof(request(nonce=nonce))), key)
    seed = bytes(32) if policy == "input" else None
    return write_receipt(session.execute({"x": X}, seed=seed), key)


def statement(data: bytes) -> Any:
    return json.loads(base64.b64decode(json.loads(data)["payload"]))


def forged(key: PrivateKey = KEY, policy: str = "vrf", **changes: Any) -> bytes:
    """A receipt whose predicate has other values, signed again."""
    stated = statement(receipt(policy))
    stated["predicate"].update(changes)
    return seal(stated, key)


@pytest.mark.parametrize("policy", ["fixed", "input", "vrf"])
def test_what_a_receipt_states(policy: str) -> None:
    data = receipt(policy)
    stated = statement(data)
    predicate = stated["predicate"]
    outputs = Session(kernel(policy).file).again(
        {"x": X}, read_receipt(data).seed, read_receipt(data).proof
    )
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert stated["subject"] == [{"name": "y", "digest": {"sha256": outputs["y"].sha256}}]
    assert predicate["outputs"] == {"y": {"type": "f32[6]", "sha256": outputs["y"].sha256}}
    assert predicate["inputs"] == {"x": {"type": "f32[6]", "sha256": tensor_digest(X)}}
    assert predicate["kernel"] == kernel(policy).identity
    assert predicate["target"] == "x86-64-v3"
    assert predicate["node"]["public_key"] == KEY.public.hex()
    seeds = {
        "fixed": {"policy": "fixed"},
        "input": {"policy": "input", "seed": "00" * 32},
        "vrf": {
            "policy": "vrf",
            "alpha": request().alpha(BEACON).hex(),
            "beacon": BEACON.hex(),
            "proof": proof(request()).proof.hex(),
        },
    }
    assert predicate["seed"] == seeds[policy]
    asked = request().to_json() if policy == "vrf" else None
    assert predicate["request"] == asked


@pytest.mark.parametrize("policy", ["fixed", "input", "vrf"])
def test_a_good_receipt_passes_every_check(policy: str, tmp_path: Path) -> None:
    good = read_receipt(receipt(policy))
    file = kernel(policy).file
    good.check_signer(KEY.public)
    good.check_request()
    good.check_proof()
    good.check_kernel(file)
    good.check_inputs(bind({"x": X})[1])
    good.check_outputs(Session(file).again({"x": X}, good.seed, good.proof))
    if policy == "vrf":
        good.check_answers(request())
        good.check_new(tmp_path / "nonces")


def test_equal_executions_make_equal_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_now", lambda: 1_700_000_000)
    session = Session(kernel().file)
    runs = [
        write_receipt(session.execute({"x": X}, threads, proof=proof(request())), KEY)
        for threads in (1, 2, None)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert canonical(json.loads(runs[0])) == runs[0]


def test_every_flipped_bit_of_a_receipt_is_refused() -> None:
    data = receipt()
    for bit in range(8 * len(data)):
        with pytest.raises((MalformedError, TrustError)):
            read_receipt(flipped(data, bit))


def test_flipped_bits_of_inputs_and_outputs_are_seen() -> None:
    chosen = random.Random(1)
    x = np.frombuffer(chosen.randbytes(1 << 12), np.float32)
    session = Session(aivmc.compile(small_model()).file)
    done = session.execute({"x": x.reshape(-1, 8)})
    good = read_receipt(write_receipt(done, KEY))
    y = done.arrays["y"]
    for _ in range(10_000):
        other = flipped(x.tobytes(), chosen.randrange(8 * x.nbytes))
        with pytest.raises(TrustError, match="other inputs: 'x' differ"):
            good.check_inputs(bind({"x": np.frombuffer(other, np.float32).reshape(-1, 8)})[1])
        other = flipped(y.tobytes(), chosen.randrange(8 * y.nbytes))
        with pytest.raises(TrustError, match="other outputs: 'y' differ"):
            good.check_outputs(bind({"y": np.frombuffer(other, np.float32).reshape(y.shape)})[1])


def test_a_receipt_is_its_signers() -> None:
    stated = statement(receipt())
    with pytest.raises(TrustError, match="signed by another key than that of its node"):
        read_receipt(seal(stated, OTHER_KEY))
    signed_by_other = json.loads(receipt(key=OTHER_KEY))
    mixed = {**json.loads(receipt()), "signatures": signed_by_other["signatures"]}
    with pytest.raises(TrustError, match="signature is not that of the key"):
        read_receipt(canonical(mixed))
    with pytest.raises(TrustError, match="signed it, not"):
        read_receipt(receipt()).check_signer(OTHER_KEY.public)


def test_receipts_for_something_else(tmp_path: Path) -> None:
    good = read_receipt(receipt())
    with pytest.raises(TrustError, match="receipt is for the kernel"):
        good.check_kernel(kernel("input").file)
    with pytest.raises(TrustError, match="other inputs: 'x' differ"):
        good.check_inputs(bind({"x": X + 1})[1])
    with pytest.raises(TrustError, match="other inputs: 'x' differ"):
        good.check_inputs(bind({"x": X.reshape(2, 3)})[1])
    with pytest.raises(TrustError, match="other inputs: 'x', 'z' differ"):
        good.check_inputs(bind({"z": X})[1])
    with pytest.raises(TrustError, match="answers another request"):
        good.check_answers(request(nonce=b"\1" * 32))
    with pytest.raises(TrustError, match="answers another request, or none"):
        read_receipt(receipt("fixed")).check_answers(request())
    with pytest.raises(TrustError, match="has no nonce"):
        read_receipt(receipt("fixed")).check_new(tmp_path / "n")


def test_a_node_answers_a_request_once(tmp_path: Path) -> None:
    store = tmp_path / "nonces"
    read_receipt(receipt()).check_new(store)
    read_receipt(receipt(key=OTHER_KEY)).check_new(store)
    read_receipt(receipt(nonce=b"\1" * 32)).check_new(store)
    for again in (receipt(), receipt(key=OTHER_KEY)):
        with pytest.raises(TrustError, match="this is a replay"):
            read_receipt(again).check_new(store)


def test_lies_that_are_signed() -> None:
    """What a node with a key can state, but can't get through."""
    predicate = statement(receipt())["predicate"]
    seed, asked = predicate["seed"], predicate["request"]

    def check(**changes: Any) -> None:
        read = read_receipt(forged(**changes))
        read.check_request()
        read.check_proof()
        read.check_kernel(kernel().file)

    check()
    with pytest.raises(TrustError, match="expired 1 s ago"):
        check(time=asked["expires"] + 1)
    with pytest.raises(TrustError, match="request is for other inputs"):
        check(inputs={"x": {"type": "f32[6]", "sha256": "00" * 32}})
    with pytest.raises(TrustError, match="request is for the kernel"):
        check(kernel=kernel("input").identity)
    with pytest.raises(TrustError, match="alpha is not that of its request"):
        check(request={**asked, "nonce": "01" * 32})
    with pytest.raises(TrustError, match="alpha is not that of its request"):
        check(seed={**seed, "beacon": "00" * 32})
    with pytest.raises(TrustError, match="VRF proof is not valid"):
        check(seed={**seed, "proof": flipped(bytes.fromhex(seed["proof"]), 639 - 8).hex()})
    with pytest.raises(TrustError, match="seed policy is input, and it is vrf"):
        check(seed={"policy": "input", "seed": "00" * 32}, request=None)
    with pytest.raises(TrustError, match="for another seed"):
        check(seed={"policy": "input", "seed": "00" * 32})
    with pytest.raises(TrustError, match="no target 'abacus'"):
        check(target="abacus")
    outputs = {"y": {**predicate["outputs"]["y"], "type": "f32[7]"}}
    with pytest.raises(TrustError, match="'y' are not as the kernel's types"):
        check(outputs=outputs)
    inputs = {"x": {**predicate["inputs"]["x"], "type": "f32[7]"}}
    with pytest.raises(TrustError, match="inputs are not the kernel's"):
        check(inputs=inputs)


BAD_PREDICATES: list[tuple[dict[str, Any], str]] = [
    ({"more": 1}, "unknown 'more'"),
    ({"protocol": "aivm-exec 2"}, "protocol is not 'aivm-exec 1'"),
    ({"kernel": 1}, "receipt's kernel is not valid"),
    ({"time": -1}, "receipt's time is not a natural number"),
    ({"seed": None}, "no known seed policy"),
    ({"seed": {"policy": "dice"}}, "no known seed policy"),
    ({"seed": {"policy": "fixed", "seed": "00"}}, "unknown 'seed'"),
    ({"seed": {"policy": "input", "seed": "00"}}, "receipt's seed is 32 bytes, not 1"),
    ({"request": None}, "has a proof, and no request"),
    ({"request": {}}, "request has no 'protocol'"),
    ({"inputs": []}, "inputs are not a JSON object"),
    ({"inputs": {"x": {"type": "f32[N]", "sha256": "00" * 32}}}, "no type of known size"),
    ({"inputs": {"x": {"type": "f32[9**9**9]", "sha256": "00" * 32}}}, "no type of known size"),
    ({"inputs": {"x": {"type": "f32[007]", "sha256": "00" * 32}}}, "no type of known size"),
    ({"inputs": {"x": {"type": "q7[1]", "sha256": "00" * 32}}}, "no type of known size"),
    ({"inputs": {"x": {"type": "f32[1]", "sha256": "0" * 63}}}, "not in lower-case hex"),
    ({"trace": {"root": "00" * 32, "leaves": 1}}, "trace has no 'program'"),
    ({"trace": {"root": "00", "leaves": 1, "program": "00" * 32}}, "root is 32 bytes, not 1"),
    ({"target": "\x1b[2J"}, "receipt's target is not valid"),
    ({"node": []}, "node is not a JSON object"),
    ({"node": {"public_key": KEY.public.hex(), "cpu": "\x1b[2J"}}, "no printable 'cpu'"),
    ({"node": {"public_key": KEY.public.hex(), "cpu": ["a", "\n"]}}, "no printable 'cpu'"),
    ({"node": {"public_key": KEY.public.hex(), "cpu": 3}}, "no printable 'cpu'"),
    ({"outputs": {}}, "not about the receipt's outputs"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_PREDICATES, ids=[m for _, m in BAD_PREDICATES])
def test_predicates_that_are_not_valid(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read_receipt(forged(**changes))


def test_statements_that_are_no_receipts() -> None:
    stated = statement(receipt())
    for change, message in (
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "not a receipt"),
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not a receipt"),
        ({"subject": []}, "not about the receipt's outputs"),
        ({"more": 1}, "unknown 'more'"),
    ):
        with pytest.raises(MalformedError, match=message):
            read_receipt(seal({**stated, **change}, KEY))


def raw_envelope(payload: bytes) -> bytes:
    """An envelope with a good signature of whatever this is."""
    signature = base64.b64encode(KEY.sign(pre_authentication(payload))).decode()
    return canonical(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"keyid": KEY.public.hex(), "sig": signature}],
        }
    )


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"a":1,"a":1}', "'a' is there twice"),
        (b'{"a":9007199254740992}', r"integers end at 2\^53"),
        (b'{"a":1.5}', "1.5 is not an integer"),
        (b'{"a": 1}', "not in canonical form"),
        (b'{"b":1,"a":1}', "not in canonical form"),
        (b'"\xff"', "can't decode byte"),
        (b'{"a":1}', "statement has no '_type'"),
    ],
)
def test_signed_payloads_that_are_not_canonical(payload: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read_receipt(raw_envelope(payload))


def test_envelopes_that_are_not_canonical() -> None:
    good = json.loads(receipt())
    (signature,) = good["signatures"]
    signatures: list[Any] = [[], [signature] * 2, [{**signature, "more": 1}], {}, None]
    changes: list[tuple[dict[str, Any], str]] = [
        *(({"signatures": s}, "one signature|unknown 'more'") for s in signatures),
        ({"payloadType": "text/plain"}, "payload is not application"),
        ({"payload": good["payload"] + "\n"}, "padded standard base64"),
        ({"payload": good["payload"].rstrip("=") + "#"}, "padded standard base64"),
        ({"payload": 3}, "padded standard base64"),
        ({"signatures": [{**signature, "sig": signature["sig"][:-2]}]}, "base64"),
        ({"signatures": [{**signature, "keyid": "node"}]}, "lower-case hex"),
        ({"more": 1}, "unknown 'more'"),
    ]
    for change, message in changes:
        with pytest.raises(MalformedError, match=message):
            unseal(canonical({**good, **change}))
    for data in (
        json.dumps(good, indent=1).encode(),
        receipt() + b"\n",
        b"\xef\xbb\xbf" + receipt(),
    ):
        with pytest.raises(MalformedError):
            unseal(data)


def test_the_envelopes_encoding_is_that_of_dsse() -> None:
    # As the specification's example, "DSSEv1 29 http://example.com/HelloWorld 11 hello world".
    assert pre_authentication(b"hello").startswith(
        b"DSSEv1 28 application/vnd.in-toto+json 5 hello"
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_the_documents_recipe(tmp_path: Path) -> None:
    (recipe,) = blocks(page("protocol.md"), "sh")
    (tmp_path / "r.json").write_bytes(receipt())
    (tmp_path / "node.pub").write_bytes(public_pem(KEY.public))

    def follow() -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"]}
        command = ["sh", "-c", recipe]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    done = follow()
    assert done.returncode == 0, done.stderr
    verified, _, payload = done.stdout.partition("\n")
    assert verified == "Signature Verified Successfully"
    assert json.loads(payload) == statement(receipt())
    (tmp_path / "node.pub").write_bytes(public_pem(OTHER_KEY.public))
    done = follow()
    assert done.returncode != 0
    assert "Verified Successfully" not in done.stdout
