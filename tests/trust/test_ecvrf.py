"""The VRF against RFC 9381, appendix B.3 (examples 16, 17 and 18), and against forgeries."""

from __future__ import annotations

import pytest
from nacl import bindings as sodium

from aivmc.trust import ecvrf
from aivmc.trust.errors import TrustError

# secret, public key, alpha, proof, beta
EXAMPLES = [
    tuple(map(bytes.fromhex, example))
    for example in (
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f"
            "26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab12"
            "68a1b0db10836d9826a528ca76567805",
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
            "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed593"
            "3bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926d"
            "a3ef39226bbc355bdc9850112c8f4b02",
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
            "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf80"
            "96bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18c9979866568add7a"
            "2d41b00b05081ed0f58ee5e31b3a970e",
            "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
            "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
        ),
    )
]
SECRET, PUBLIC, ALPHA, PROOF, _ = EXAMPLES[2]
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


@pytest.mark.parametrize(
    ("secret", "public", "alpha", "proof", "beta"), EXAMPLES, ids=["16", "17", "18"]
)
def test_the_examples_of_the_rfc(
    secret: bytes, public: bytes, alpha: bytes, proof: bytes, beta: bytes
) -> None:
    assert ecvrf.public_key(secret) == public
    assert ecvrf.prove(secret, alpha) == proof
    assert ecvrf.proof_to_beta(proof) == beta
    assert ecvrf.verify(public, alpha, proof) == beta


@pytest.mark.parametrize(
    ("secret", "public", "alpha", "proof", "beta"), EXAMPLES, ids=["16", "17", "18"]
)
def test_no_bit_of_a_proof_key_or_alpha_can_be_another(
    secret: bytes, public: bytes, alpha: bytes, proof: bytes, beta: bytes
) -> None:
    forgeries = [
        *((public, alpha, flipped(proof, bit)) for bit in range(8 * len(proof))),
        *((flipped(public, bit), alpha, proof) for bit in range(8 * len(public))),
        *((public, flipped(alpha, bit), proof) for bit in range(8 * len(alpha))),
    ]
    assert len(forgeries) >= 640 + 256
    for forgery in forgeries:
        with pytest.raises(TrustError):
            ecvrf.verify(*forgery)


def test_a_proof_has_one_encoding() -> None:
    s = int.from_bytes(PROOF[48:], "little") + ORDER
    with pytest.raises(TrustError, match="not reduced"):
        ecvrf.verify(PUBLIC, ALPHA, PROOF[:48] + s.to_bytes(32, "little"))
    for length in (0, 79, 81):
        with pytest.raises(TrustError, match=f"80 bytes, not {length}"):
            ecvrf.verify(PUBLIC, ALPHA, (PROOF + b"\0")[:length])
    for length in (0, 31, 33):
        with pytest.raises(TrustError, match=f"public key is 32 bytes, not {length}"):
            ecvrf.verify((PUBLIC + b"\0")[:length], ALPHA, PROOF)


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


# Points of order 1, 2, 4 and 8; then what encodes a point that has another encoding, or none.
SMALL_ORDER = [
    encoded(1),
    encoded(P - 1),
    encoded(0),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]
BAD_POINTS = [
    *SMALL_ORDER,
    encoded(P),
    encoded(P + 1),
    encoded(1, 1),
    encoded(P - 1, 1),
    encoded(2),
]


@pytest.mark.parametrize("point", BAD_POINTS, ids=bytes.hex)
def test_points_outside_the_group_are_refused(point: bytes) -> None:
    with pytest.raises(TrustError, match="public key is not a point of the group"):
        ecvrf.verify(point, ALPHA, PROOF)
    with pytest.raises(TrustError, match="Gamma is not a point of the group"):
        ecvrf.verify(PUBLIC, ALPHA, point + PROOF[32:])


def test_a_component_of_small_order_is_refused() -> None:
    for torsion in SMALL_ORDER[1:]:
        mixed = sodium.crypto_core_ed25519_add(PROOF[:32], torsion)
        with pytest.raises(TrustError, match="Gamma is not a point of the group"):
            ecvrf.verify(PUBLIC, ALPHA, mixed + PROOF[32:])
        key = sodium.crypto_core_ed25519_add(PUBLIC, torsion)
        with pytest.raises(TrustError, match="public key is not a point of the group"):
            ecvrf.verify(key, ALPHA, PROOF)


@pytest.mark.parametrize("proof", [PROOF[:32] + bytes(48), PROOF[:48] + bytes(32)])
def test_degenerate_proofs(proof: bytes) -> None:
    with pytest.raises(TrustError, match="degenerate"):
        ecvrf.verify(PUBLIC, ALPHA, proof)


def test_another_key_or_alpha() -> None:
    for public in (EXAMPLES[0][1], EXAMPLES[1][1]):
        with pytest.raises(TrustError, match="not valid for this public key and alpha"):
            ecvrf.verify(public, ALPHA, PROOF)
    for alpha in (b"", ALPHA + b"\0", ALPHA[::-1]):
        with pytest.raises(TrustError, match="not valid for this public key and alpha"):
            ecvrf.verify(PUBLIC, alpha, PROOF)
