"""From requests to seeds: docs/protocol.md's vectors, and everything that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivmc.trust.documents import LONGEST, canonical
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.nonces import note_answer, use_nonce
from aivmc.trust.request import Proof, Request
from aivmc.trust.sources import QUICKNET, Drand, NodeVrf, parse_request, request_from_json
from tests.test_docs import blocks, page
from tests.trust.test_ecvrf import flipped

VECTORS = [v for v in map(json.loads, blocks(page("protocol.md"), "json")) if "seed" in v]
VRF, DRAND = VECTORS
KERNEL = VRF["object"]["kernel"]
INPUTS = VRF["object"]["inputs"]


def proof_of(vector: dict[str, Any]) -> Proof:
    request = parse_request(json.dumps(vector["object"]).encode())
    return Proof(request, bytes.fromhex(vector["proof"]), bytes.fromhex(vector["beacon"]))


@pytest.mark.parametrize("vector", VECTORS, ids=["vrf", "drand"])
def test_the_documents_vectors(vector: dict[str, Any]) -> None:
    proof = proof_of(vector)
    assert proof.request.to_json() == vector["object"]
    assert proof.request.digest().hex() == vector["request"]
    assert proof.request.alpha(proof.beacon).hex() == vector["alpha"]
    assert proof.beta().hex() == vector["beta"]
    assert proof.seed(KERNEL, INPUTS).hex() == vector["seed"]


@pytest.mark.parametrize("vector", VECTORS, ids=["vrf", "drand"])
def test_every_bit_of_a_proof_counts(vector: dict[str, Any]) -> None:
    good = proof_of(vector)
    forged = [
        *(Proof(good.request, flipped(good.proof, i), good.beacon) for i in _bits(good.proof)),
        *(Proof(good.request, good.proof, flipped(good.beacon, i)) for i in _bits(good.beacon)),
    ]
    assert len(forged) >= 384
    for proof in forged:
        with pytest.raises(TrustError):
            proof.seed(KERNEL, INPUTS)


def _bits(data: bytes) -> range:
    return range(8 * len(data))


# Rounds of the League of Entropy's quicknet, as its servers give them: signature and randomness.
ROUNDS = [
    (
        1000,
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"
        "e342b73a8dd2bacbe47e4b6b63ed5e39",
        "fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd",
    ),
    (
        657413,
        "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be"
        "41076862b98fad56e91a6b85b89cd97b",
        "fc1873a13f3545aeade8401532ef5519920652eee6b0d2b19ca12643b87b3587",
    ),
]


@pytest.mark.parametrize(("round", "signature", "randomness"), ROUNDS)
def test_rounds_of_quicknet(round: int, signature: str, randomness: str) -> None:
    proof = bytes.fromhex(signature)
    assert Drand(QUICKNET, round).beta(b"", proof).hex() == randomness
    for other in (round - 1, round + 1, 0, (1 << 53) - 1):
        with pytest.raises(TrustError, match=f"not valid for round {other}"):
            Drand(QUICKNET, other).beta(b"", proof)


# Points of the curves over x = 4 and x = 2, which are outside the subgroups G1 and G2; infinity.
OUTSIDE = b"\x80" + bytes(46) + b"\x04"
OUTSIDE_G2 = b"\x80" + bytes(94) + b"\x02"
INFINITY = b"\xc0" + bytes(47)
SIGNATURE = bytes.fromhex(ROUNDS[0][1])


@pytest.mark.parametrize(
    "signature", [OUTSIDE, INFINITY, flipped(SIGNATURE, 5), b"\xff" * 48, bytes(48)], ids=bytes.hex
)
def test_signatures_that_are_no_points(signature: bytes) -> None:
    with pytest.raises(TrustError, match="not valid for round"):
        Drand(QUICKNET, 1000).beta(b"", signature)


def test_a_network_whose_key_is_no_point_of_the_group_signs_nothing() -> None:
    for key in (b"\xc0" + bytes(95), bytes(96), OUTSIDE_G2):
        for signature in (INFINITY, SIGNATURE):
            with pytest.raises(TrustError, match="not valid for round"):
                Drand(key, 1000).beta(b"", signature)
    with pytest.raises(TrustError, match="48 bytes, not 96"):
        Drand(QUICKNET, 1000).beta(b"", SIGNATURE * 2)


def test_a_proof_is_about_one_request() -> None:
    proof = proof_of(VRF)
    other_kernel = "aivm1:" + "ab" * 32
    with pytest.raises(TrustError, match=f"for the kernel {KERNEL}, and this is {other_kernel}"):
        proof.seed(other_kernel, INPUTS)
    with pytest.raises(TrustError, match="other inputs: 'x' differ"):
        proof.seed(KERNEL, {"x": "00" * 32})
    with pytest.raises(TrustError, match="other inputs: 'x', 'y' differ"):
        proof.seed(KERNEL, {"y": "00" * 32})
    changes: list[dict[str, Any]] = [
        {"nonce": bytes(32)},
        {"expires": 1800000001},
        {"source": NodeVrf(proof.request.source.public_key, "eip155:1", 21000001)},  # type: ignore[union-attr]
        {"source": NodeVrf(proof.request.source.public_key, "eip155:2", 21000000)},  # type: ignore[union-attr]
    ]
    fields = ("kernel", "inputs", "nonce", "expires", "source")
    same = {name: getattr(proof.request, name) for name in fields}
    assert Proof(Request(**same), proof.proof, proof.beacon).beta() == proof.beta()
    for change in changes:
        with pytest.raises(TrustError, match="not valid for this public key and alpha"):
            Proof(Request(**{**same, **change}), proof.proof, proof.beacon).beta()


def test_beacons_of_another_length() -> None:
    for vector, beacon in ((VRF, b""), (VRF, bytes(33)), (DRAND, bytes(32))):
        good = proof_of(vector)
        with pytest.raises(TrustError, match="takes a beacon value of"):
            Proof(good.request, good.proof, beacon).beta()
    request = Request(KERNEL, INPUTS, bytes(32), 0)
    with pytest.raises(TrustError, match="names no source of randomness"):
        Proof(request, b"").beta()


def test_time_and_nonces(tmp_path: Path) -> None:
    store = tmp_path / "nonces"
    first, second = (Request(KERNEL, INPUTS, bytes([n]) * 32, 100) for n in (1, 2))
    use_nonce(store, first, 99)
    use_nonce(store, second, 100)
    with pytest.raises(TrustError, match="nonce was used before"):
        use_nonce(store, first, 100)
    with pytest.raises(TrustError, match="expired 1 s ago"):
        use_nonce(store, first, 101)
    # A nonce is forgotten no sooner than its request is refused for its age.
    use_nonce(store, Request(KERNEL, INPUTS, bytes(32), 200), 150)
    with pytest.raises(TrustError, match="expired 50 s ago"):
        use_nonce(store, second, 150)
    for signer in (bytes(32), bytes([1]) * 32):
        note_answer(tmp_path / "answers", first, signer)
        with pytest.raises(TrustError, match="this is a replay"):
            note_answer(tmp_path / "answers", first, signer)
    store.write_bytes(b"no database" * 100)
    with pytest.raises(MalformedError, match="cannot keep nonces"):
        use_nonce(store, first, 0)


def changed(**changes: Any) -> bytes:
    return json.dumps({**VRF["object"], **changes}).encode()


def randomness(base: dict[str, Any] = VRF, **changes: Any) -> bytes:
    return changed(randomness={**base["object"]["randomness"], **changes})


GOOD = json.dumps(VRF["object"])
BAD = [
    (b"", "request is not valid JSON"),
    (b"{", "request is not valid JSON"),
    (b"[]", "request is not a JSON object"),
    (b"null", "request is not a JSON object"),
    (GOOD.encode() + b"x", "Extra data"),
    (b"\xef\xbb\xbf" + GOOD.encode(), "BOM"),
    (GOOD.encode("utf-16"), "can't decode byte"),
    (GOOD.replace("eip155", "é").encode("latin-1"), "can't decode byte"),
    (GOOD.replace("eip155", "\\ud800").encode(), "surrogates not allowed"),
    (GOOD.replace("1800000000", "9007199254740992").encode(), "integers end at 2\\^53"),
    (GOOD.replace("1800000000", "1" * 5000).encode(), "integers end at 2\\^53"),
    (GOOD.replace("1800000000", "1e3").encode(), "1e3 is not an integer"),
    (GOOD.replace("1800000000", "1.0").encode(), "1.0 is not an integer"),
    (GOOD.replace("1800000000", "NaN").encode(), "NaN is not an integer"),
    (GOOD.replace("1800000000", "-0").encode(), "-0 is no integer"),
    (GOOD.replace("1800000000", "-1").encode(), "expires is not a natural number"),
    (GOOD.replace("1800000000", "true").encode(), "expires is not a natural number"),
    (GOOD.replace("1800000000", '"1800000000"').encode(), "expires is not a natural number"),
    (GOOD.replace('"nonce"', '"kernel": "k", "nonce"').encode(), "'kernel' is there twice"),
    (GOOD.replace('"x"', '"x": "00", "x"').encode(), "'x' is there twice"),
    (b"[" * 200_000, "nested too deeply"),
    (b" " * (LONGEST + 1), "longer than"),
    (changed(more=1), "unknown 'more'"),
    (GOOD.replace('"nonce"', '"once"').encode(), "no 'nonce'"),
    (changed(protocol="aivm-exec 2"), "protocol is 'aivm-exec 2'"),
    (changed(kernel="aivm1:" + "AB" * 32), "request's kernel is not valid"),
    (changed(kernel="aivm1:" + "ab" * 31), "request's kernel is not valid"),
    (changed(kernel="aivm1:" + "ab" * 32 + "\n"), "request's kernel is not valid"),
    (changed(inputs=[]), "inputs are not a JSON object"),
    (changed(inputs={"x": "AB" * 32}), "digest of input 'x' is not in lower-case hex"),
    (changed(inputs={"x": "ab" * 20}), "digest of input 'x' is 32 bytes, not 20"),
    (changed(nonce="00" * 31), "nonce is 32 bytes, not 31"),
    (changed(nonce=5), "nonce is not in lower-case hex"),
    (changed(randomness=None, seed="00"), "request's seed is 32 bytes, not 1"),
    (changed(seed="00" * 32), "has a seed and a source of randomness"),
    (changed(randomness={}), "no known source"),
    (changed(randomness="vrf"), "no known source"),
    (randomness(source="dice"), "no known source"),
    (randomness(public_key="00"), "VRF's public key is 32 bytes, not 1"),
    (randomness(beacon={"chain": "a"}), "no 'round'"),
    (randomness(beacon={"chain": "", "round": 1}), "beacon's chain is not valid"),
    (randomness(beacon={"chain": "a\n", "round": 1}), "beacon's chain is not valid"),
    (randomness(DRAND, scheme="pedersen-bls-chained"), "drand scheme is not valid"),
    (randomness(DRAND, round=-1), "drand round is not a natural number"),
    (randomness(DRAND, public_key="00" * 48), "public key is 96 bytes, not 48"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[m for _, m in BAD])
def test_what_is_not_a_request(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message) as raised:
        parse_request(data)
    assert len(str(raised.value)) < 250


def test_every_flipped_bit_of_a_request_changes_alpha_or_is_refused() -> None:
    data = canonical(VRF["object"])
    good = parse_request(data).digest()
    for bit in _bits(data):
        try:
            request = parse_request(flipped(data, bit))
        except MalformedError:
            continue
        assert request.digest() != good, bit


@pytest.mark.parametrize("vector", VECTORS, ids=["vrf", "drand"])
def test_requests_survive_json(vector: dict[str, Any]) -> None:
    read: Callable[[Any], Request] = request_from_json
    assert read(read(vector["object"]).to_json()) == read(vector["object"])
    plain = {**vector["object"], "randomness": None}
    assert read(plain).source is None
    seeded = read({**plain, "seed": "ab" * 32})
    assert seeded.seed == b"\xab" * 32
    assert read(seeded.to_json()) == seeded
    assert seeded.digest() != read(plain).digest()
