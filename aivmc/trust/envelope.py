"""Signed statements: DSSE envelopes, version 1, with one Ed25519 signature.

https://github.com/secure-systems-lab/dsse. An envelope has one spelling: its own JSON and that in
it are in the form of RFC 8785, its base64 is padded and standard, and the key's id is the key.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from aivmc.trust.documents import Json, canonical, hex_bytes, members, parse_canonical
from aivmc.trust.errors import MalformedError
from aivmc.trust.keys import PUBLIC_BYTES, PrivateKey, check_signature

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Signed:
    """A statement whose signature has been verified, and the public key that signed it."""

    statement: Json
    signer: bytes


def seal(statement: Json, key: PrivateKey) -> bytes:
    """The envelope's file: ``statement`` signed by ``key``."""
    payload = canonical(statement)
    signature = {"keyid": key.public.hex(), "sig": _base64(key.sign(pre_authentication(payload)))}
    return canonical(
        {"payload": _base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    )


def unseal(data: bytes) -> Signed:
    """The statement in an envelope. ``MalformedError`` where it is no such envelope, ``TrustError``
    where the signature isn't that of the key that it names."""
    value = parse_canonical(data, "envelope")
    envelope = members(value, "envelope", ("payload", "payloadType", "signatures"))
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise MalformedError(f"the envelope's payload is not {PAYLOAD_TYPE}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise MalformedError("the envelope does not have one signature")
    signature = members(signatures[0], "envelope's signature", ("keyid", "sig"))
    signer = hex_bytes(signature["keyid"], PUBLIC_BYTES, "envelope's key")
    payload = _decoded(envelope["payload"], "payload")
    signed = pre_authentication(payload)
    check_signature(signer, signed, _decoded(signature["sig"], "signature"))
    return Signed(parse_canonical(payload, "envelope's payload"), signer)


def pre_authentication(payload: bytes) -> bytes:
    """What is signed: DSSE's PAE of payload type and payload."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(value: Json, what: str) -> bytes:
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        data = None
    if data is None or _base64(data) != value:
        raise MalformedError(f"the envelope's {what} is not in padded standard base64")
    return data
