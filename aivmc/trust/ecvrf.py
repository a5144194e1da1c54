"""ECVRF-EDWARDS25519-SHA512-TAI, the verifiable random function of RFC 9381 (suite 0x03).

The group is libsodium's, by PyNaCl; hashing, encodings and checks are here. Decoding is strict:
the public key and Gamma must be canonical encodings of points of the prime-order subgroup, which
is more than section 5.4.5 asks, and true of every key and proof made honestly.
"""

from __future__ import annotations

import hmac
from hashlib import sha512

from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as SodiumError

from aivmc.trust.errors import TrustError

PROOF_BYTES = 80
BETA_BYTES = 64

_SUITE = b"\x03"
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_IDENTITY = (1).to_bytes(32, "little")


def public_key(secret: bytes) -> bytes:
    """The public key of a secret of 32 bytes; it is that of Ed25519, too."""
    return _times_base(_expand(secret)[0])


def prove(secret: bytes, alpha: bytes) -> bytes:
    """The proof of 80 bytes for ``alpha`` (section 5.1), with the nonce of section 5.4.2.2."""
    x, prefix = _expand(secret)
    public = _times_base(x)
    h = _encode_to_curve(public, alpha)
    gamma = _times(x, h)
    k = sodium.crypto_core_ed25519_scalar_reduce(_hash(prefix, h))
    c = _challenge(public, h, gamma, _times_base(k), _times(k, h))
    product = sodium.crypto_core_ed25519_scalar_mul(c + bytes(16), x)
    return gamma + c + sodium.crypto_core_ed25519_scalar_add(k, product)


def verify(public: bytes, alpha: bytes, proof: bytes) -> bytes:
    """beta, the 64 random bytes that ``proof`` proves (sections 5.2 and 5.3).

    ``TrustError`` says why it isn't the holder of ``public``'s proof for ``alpha``.
    """
    if len(proof) != PROOF_BYTES:
        raise TrustError(f"a VRF proof is {PROOF_BYTES} bytes, not {len(proof)}")
    if len(public) != 32:
        raise TrustError(f"the VRF's public key is 32 bytes, not {len(public)}")
    gamma, c, s = proof[:32], proof[32:48], proof[48:]
    if int.from_bytes(s, "little") >= _ORDER:
        raise TrustError("the VRF proof is not valid: its s is not reduced")
    h = _encode_to_curve(public, alpha)
    padded = c + bytes(16)
    try:
        # libsodium multiplies only canonical points of the prime-order subgroup.
        u = sodium.crypto_core_ed25519_sub(_times_base(s), _times(padded, public))
        v = sodium.crypto_core_ed25519_sub(_times(s, h), _times(padded, gamma))
    except SodiumError:
        raise _fault(public, gamma) from None
    if not hmac.compare_digest(_challenge(public, h, gamma, u, v), c):
        raise TrustError("the VRF proof is not valid for this public key and alpha")
    return _beta(gamma)


def proof_to_beta(proof: bytes) -> bytes:
    """beta of a proof that is known to be good, as of one just made."""
    return _beta(proof[:32])


def _beta(gamma: bytes) -> bytes:
    return _hash(_SUITE, b"\x03", _times_cofactor(gamma), b"\x00")


def _encode_to_curve(salt: bytes, alpha: bytes) -> bytes:
    """Section 5.4.1.1, try and increment. ``alpha`` is public, so time may depend on it."""
    for counter in range(256):
        candidate = _hash(_SUITE, b"\x01", salt, alpha, bytes([counter]), b"\x00")[:32]
        if _is_canonical(candidate):
            try:
                point = _times_cofactor(candidate)
            except SodiumError:  # not on the curve
                continue
            if point != _IDENTITY:
                return point
    raise TrustError("no point of the curve belongs to this alpha")  # of probability 2^-256


def _challenge(*points: bytes) -> bytes:
    """Section 5.4.3: 16 bytes."""
    return _hash(_SUITE, b"\x02", *points, b"\x00")[:16]


def _expand(secret: bytes) -> tuple[bytes, bytes]:
    """The secret scalar, clamped, and the prefix of nonces (RFC 8032, section 5.1.5)."""
    digest = _hash(secret)
    scalar = bytearray(digest[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return bytes(scalar), digest[32:]


def _fault(public: bytes, gamma: bytes) -> TrustError:
    """Why libsodium doesn't multiply."""
    for encoded, what in ((public, "the VRF's public key"), (gamma, "the proof's Gamma")):
        if not (_is_canonical(encoded) and sodium.crypto_core_ed25519_is_valid_point(encoded)):
            return TrustError(f"{what} is not a point of the group")
    # c or s is zero, which no honest proof has
    return TrustError("the VRF proof is not valid: it is degenerate")


def _is_canonical(encoded: bytes) -> bool:
    """RFC 8032, section 5.1.3: y below p, and no negative zero for x."""
    y = int.from_bytes(encoded, "little") & (1 << 255) - 1
    return y < _P and not (encoded[31] >> 7 and y in (1, _P - 1))


def _times_cofactor(point: bytes) -> bytes:
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return point


def _times(scalar: bytes, point: bytes) -> bytes:
    return sodium.crypto_scalarmult_ed25519_noclamp(scalar, point)


def _times_base(scalar: bytes) -> bytes:
    return sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)


def _hash(*parts: bytes) -> bytes:
    return sha512(b"".join(parts)).digest()
