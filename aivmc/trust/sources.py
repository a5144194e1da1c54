"""The sources of public randomness: a node's VRF, and the drand beacon."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import pyblst

from aivmc.ir.seeds import SEED_BYTES
from aivmc.trust import ecvrf
from aivmc.trust.documents import Json, hex_bytes, members, natural, parse, text
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.request import NONCE_BYTES, PROTOCOL, Request, Source

QUICKNET = bytes.fromhex(
    "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
    "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
    "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
)
"""The public key of the League of Entropy's quicknet, a drand network with a round every 3 s."""

_DRAND_SCHEME = "bls-unchained-g1-rfc9380"
_DRAND_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_SIGNATURE_BYTES = 48
_IDENTITY_G1 = b"\xc0" + bytes(47)
_IDENTITY_G2 = b"\xc0" + bytes(95)
# The base point of G2 (draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1), compressed.
_BASE_G2 = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049"
    "334cf11213945d57e5ac7d055d042b7e024aa2b2f08f0a91260805272dc51051"
    "c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)


@dataclass(frozen=True)
class NodeVrf(Source):
    """The VRF of the node with this public key (:mod:`aivmc.trust.ecvrf`), over the value that the
    beacon ``chain`` has in ``round``, which nobody knows when the request is made.

    Whoever relies on it compares that value with the chain's, and takes the public key from the
    request that it made, not from the node's answer.
    """

    name: ClassVar[str] = "vrf"
    beacon_bytes: ClassVar[int] = 32

    public_key: bytes
    chain: str
    round: int

    def to_json(self) -> dict[str, Json]:
        beacon = {"chain": self.chain, "round": self.round}
        return {"source": self.name, "public_key": self.public_key.hex(), "beacon": beacon}

    def beta(self, alpha: bytes, proof: bytes) -> bytes:
        return ecvrf.verify(self.public_key, alpha, proof)


@dataclass(frozen=True)
class Drand(Source):
    """The drand network with this public key: the threshold BLS signature of a round, which no
    minority of its members can foresee. Verified only; the scheme is bls-unchained-g1-rfc9380.

    All requests for a round have the same beta; their alphas tell them apart.
    """

    name: ClassVar[str] = "drand"
    beacon_bytes: ClassVar[int] = 0

    public_key: bytes
    round: int

    def to_json(self) -> dict[str, Json]:
        key = self.public_key.hex()
        scheme = _DRAND_SCHEME
        return {"source": self.name, "scheme": scheme, "public_key": key, "round": self.round}

    def beta(self, alpha: bytes, proof: bytes) -> bytes:
        """What drand calls the round's randomness: SHA-256 of the signature."""
        if len(proof) != _SIGNATURE_BYTES:
            size = len(proof)
            raise TrustError(f"a drand signature is {_SIGNATURE_BYTES} bytes, not {size}")
        message = sha256(self.round.to_bytes(8, "big")).digest()
        if not _bls_is_valid(self.public_key, message, proof):
            raise TrustError(f"the drand signature is not valid for round {self.round}")
        return sha256(proof).digest()


def parse_request(data: bytes) -> Request:
    """The request in a JSON document; ``MalformedError`` where it is none."""
    return request_from_json(parse(data, "request"))


def request_from_json(value: Json) -> Request:
    """The request that :meth:`Request.to_json` gave; ``MalformedError`` where none did."""
    keys = ("protocol", "kernel", "inputs", "nonce", "expires", "randomness", "seed")
    data = members(value, "request", keys)
    if data["protocol"] != PROTOCOL:
        found = str(data["protocol"])[:40]
        raise MalformedError(f"the request's protocol is {found!r}, not {PROTOCOL!r}")
    if not isinstance(data["inputs"], dict):
        raise MalformedError("the request's inputs are not a JSON object")
    source, seed = data["randomness"], data["seed"]
    if source is not None and seed is not None:
        raise MalformedError("the request has a seed and a source of randomness: one is too many")
    return Request(
        text(data["kernel"], "request's kernel", r"aivm1:[0-9a-f]{64}"),
        {n: hex_bytes(d, 32, f"digest of input {n!r}").hex() for n, d in data["inputs"].items()},
        hex_bytes(data["nonce"], NONCE_BYTES, "request's nonce"),
        natural(data["expires"], "request's expires"),
        None if source is None else _source(source),
        None if seed is None else hex_bytes(seed, SEED_BYTES, "request's seed"),
    )


def _source(value: Json) -> Source:
    name = value.get("source") if isinstance(value, dict) else None
    if name == NodeVrf.name:
        data = members(value, "request's randomness", ("source", "public_key", "beacon"))
        beacon = members(data["beacon"], "request's beacon", ("chain", "round"))
        key = hex_bytes(data["public_key"], 32, "VRF's public key")
        chain = text(beacon["chain"], "beacon's chain", r"[!-~ ]{1,100}")
        return NodeVrf(key, chain, natural(beacon["round"], "beacon's round"))
    if name == Drand.name:
        data = members(value, "request's randomness", ("source", "scheme", "public_key", "round"))
        text(data["scheme"], "drand scheme", re.escape(_DRAND_SCHEME))
        key = hex_bytes(data["public_key"], 96, "drand network's public key")
        return Drand(key, natural(data["round"], "drand round"))
    raise MalformedError(
        f"the request's randomness has no known source: {NodeVrf.name} or {Drand.name}"
    )


def _bls_is_valid(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether e(signature, base of G2) = e(hash of message to G1, public key).

    Decoding checks that points are in their groups; the identity, which would sign for itself, is
    refused.
    """
    if public == _IDENTITY_G2 or signature == _IDENTITY_G1:
        return False
    try:
        key = pyblst.BlstP2Element.uncompress(public)
        point = pyblst.BlstP1Element.uncompress(signature)
    except ValueError:
        return False
    hashed = pyblst.BlstP1Element.hash_to_group(message, _DRAND_DOMAIN)
    base = pyblst.BlstP2Element.uncompress(_BASE_G2)
    return bool(
        pyblst.final_verify(pyblst.miller_loop(point, base), pyblst.miller_loop(hashed, key))
    )
