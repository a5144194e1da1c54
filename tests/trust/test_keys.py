"""Keys in files: OpenSSL's encoding, nobody else's eyes, nothing shown."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aivmc.ir.errors import AivmcError
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.keys import (
    PrivateKey,
    check_signature,
    public_pem,
    read_private_key,
    read_public_key,
    write_private_key,
)

# RFC 8032, section 7.1, test 2.
KEY = PrivateKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)

# RFC 8410, section 10: the private key in PKCS 8, and its public key.
RFC_8410 = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_8410_PUBLIC = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


def stored(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_signatures_are_those_of_the_rfc() -> None:
    assert KEY.public == PUBLIC
    assert KEY.sign(b"\x72") == SIGNATURE
    check_signature(PUBLIC, b"\x72", SIGNATURE)
    for public, message, signature in (
        (PUBLIC, b"\x73", SIGNATURE),
        (PUBLIC, b"\x72", SIGNATURE[:-1]),
        (PUBLIC, b"\x72", SIGNATURE[:-1] + b"\1"),
        (PUBLIC[:-1], b"\x72", SIGNATURE),
        (PrivateKey(bytes(32)).public, b"\x72", SIGNATURE),
    ):
        with pytest.raises(TrustError, match="signature"):
            check_signature(public, message, signature)


def test_the_rfcs_files_are_read(tmp_path: Path) -> None:
    key = read_private_key(stored(tmp_path / "key.pem", RFC_8410))
    assert public_pem(key.public).decode() == RFC_8410_PUBLIC
    assert read_public_key(stored(tmp_path / "public.pem", RFC_8410_PUBLIC)) == key.public
    write_private_key(tmp_path / "again.pem", key)
    assert (tmp_path / "again.pem").read_text() == RFC_8410


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_openssl_reads_our_keys_and_we_read_its(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    write_private_key(ours, KEY)
    command = ["openssl", "pkey", "-in", str(ours), "-pubout"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == public_pem(PUBLIC)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", theirs], check=True)
    command = ["openssl", "pkey", "-in", str(theirs), "-pubout"]
    public = subprocess.run(command, capture_output=True, check=True).stdout
    assert public_pem(read_private_key(theirs).public) == public


def test_a_key_is_only_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    old = os.umask(0)
    try:
        write_private_key(path, KEY)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]
    assert read_private_key(path) == KEY
    for mode in (0o640, 0o604, 0o620, 0o601, 0o644):
        path.chmod(mode)
        with pytest.raises(TrustError, match=rf"mode {mode:04o}\): chmod 600"):
            read_private_key(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = stored(tmp_path / "key.pem", RFC_8410)
    with pytest.raises(AivmcError, match="exists"):
        write_private_key(path, KEY)
    assert path.read_text() == RFC_8410


def test_a_key_is_not_shown() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed)[2:-1] not in f"{KEY}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one block of PEM"),
        (RFC_8410 * 2, "one block of PEM"),
        ("x" + RFC_8410, "one block of PEM"),
        (RFC_8410.replace("M", "?", 1), "one block of PEM"),
        (RFC_8410.replace("MC4C", "MC4"), "base64"),
        (RFC_8410.replace("MC4C", "MC4D"), "not an Ed25519 private key"),
        (RFC_8410.replace("K2Vw", "K2Vu"), "not an Ed25519 private key"),  # X25519's number
        (RFC_8410.replace("dVhC\n", "\n"), "not an Ed25519 private key"),
        (RFC_8410_PUBLIC, "holds a public key, not a plain PKCS 8 private key"),
        (RFC_8410.replace("PRIVATE", "ENCRYPTED PRIVATE"), "holds a encrypted private key"),
        ("\0" * (1 << 15), "one block of PEM"),
    ],
)
def test_what_is_not_a_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message) as raised:
        read_private_key(stored(tmp_path / "key.pem", text))
    assert "1O5y2" not in str(raised.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "", "missing", "null\0byte"):
        with pytest.raises(MalformedError, match=r"read|ordinary"):
            read_private_key(tmp_path / name)
    with pytest.raises(MalformedError, match="not an Ed25519 public key"):
        read_public_key(stored(tmp_path / "key.pem", RFC_8410))
