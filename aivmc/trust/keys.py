"""Ed25519 keys in PEM files: private ones in PKCS 8, for their owner's eyes only (RFC 8410).

The two encodings of RFC 8410 have one length and fixed first bytes, so they are compared, not
parsed. No message, ``repr`` or log ever shows a private key.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from aivmc.kernel_file.atomic import atomic_file
from aivmc.trust.errors import MalformedError, TrustError

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

_SEED_BYTES = 32
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # then the seed
_SPKI = bytes.fromhex("302a300506032b6570032100")  # then the public key
_LONGEST_FILE = 1 << 14
_BLOCK = re.compile(r"\s*-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\s]*)-----END \1-----\s*")


@dataclass(frozen=True)
class PrivateKey:
    """A secret of 32 bytes, from which both an Ed25519 and an ECVRF key pair follow."""

    seed: bytes = field(repr=False)

    @staticmethod
    def generate() -> PrivateKey:
        """A new key, from the operating system's randomness."""
        return PrivateKey(secrets.token_bytes(_SEED_BYTES))

    @cached_property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(SigningKey(self.seed).verify_key)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature (RFC 8032), 64 bytes."""
        return SigningKey(self.seed).sign(message).signature


def check_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """``TrustError`` unless it is the Ed25519 signature of ``message`` under ``public``."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        raise TrustError(f"the signature is not that of the key {public.hex()}") from None


def write_private_key(path: str | Path, key: PrivateKey) -> None:
    """A new file that only its owner can read. ``AivmcError`` where ``path`` exists."""
    with atomic_file(path, mode=0o600, replace=False) as file:
        file.write(_pem("PRIVATE KEY", _PKCS8 + key.seed))


def public_pem(public: bytes) -> bytes:
    """The public key in PEM, as OpenSSL reads it."""
    return _pem("PUBLIC KEY", _SPKI + public)


def read_private_key(path: str | Path) -> PrivateKey:
    """``MalformedError`` where the file holds no such key, ``TrustError`` where others can read or
    change it."""
    label, der = _read_pem(path, private=True)
    if label != "PRIVATE KEY":
        raise MalformedError(f"{path}: it holds a {label.lower()}, not a plain PKCS 8 private key")
    if len(der) != len(_PKCS8) + _SEED_BYTES or not der.startswith(_PKCS8):
        raise MalformedError(
            f"{path}: it is not an Ed25519 private key in PKCS 8 without attributes: make one with "
            "aivmc vrf keygen, or with openssl genpkey -algorithm ed25519"
        )
    return PrivateKey(der[len(_PKCS8) :])


def read_public_key(path: str | Path) -> bytes:
    """The 32 bytes of a public key in a PEM file; ``MalformedError`` where it holds none."""
    label, der = _read_pem(path, private=False)
    if label != "PUBLIC KEY" or len(der) != len(_SPKI) + PUBLIC_BYTES or der[:12] != _SPKI:
        raise MalformedError(f"{path}: it is not an Ed25519 public key in PEM")
    return der[len(_SPKI) :]


def _pem(label: str, der: bytes) -> bytes:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def _read_pem(path: str | Path, private: bool) -> tuple[str, bytes]:
    """Label and contents of the one block in a PEM file."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MalformedError(f"{path} is not an ordinary file")
            if private:
                _check_permissions(path, os.fstat(file.fileno()))
            data = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise MalformedError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise MalformedError(f"cannot read {str(path)!r}: {error}") from None
    block = (
        _BLOCK.fullmatch(data.decode("ascii", "replace")) if len(data) <= _LONGEST_FILE else None
    )
    if block is None:
        raise MalformedError(f"{path}: it is not one block of PEM")
    try:
        return block[1], base64.b64decode("".join(block[2].split()), validate=True)
    except binascii.Error:
        raise MalformedError(f"{path}: its base64 is not valid") from None


def _check_permissions(path: str | Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise TrustError(f"{path} belongs to another user: a private key must be yours alone")
    if status.st_mode & 0o077:
        raise TrustError(
            f"others may read or change {path} (mode {status.st_mode & 0o777:04o}): chmod 600 it"
        )
