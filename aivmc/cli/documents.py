"""Bytes that users give, in hex or in files; without the compiler, which :mod:`arguments` needs."""

from __future__ import annotations

import re
from pathlib import Path

from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import SEED_BYTES
from aivmc.trust.documents import LONGEST

_HEX = re.compile(r"([0-9a-fA-F]{2})*")


def hex_bytes(text: str, option: str) -> bytes:
    """The bytes that an option gives in hex."""
    if not _HEX.fullmatch(text):
        raise AivmcError(f"{option} {text!r} is not bytes in hex: two digits each, nothing else")
    return bytes.fromhex(text)


def seed_bytes(text: str) -> bytes:
    """The 32 bytes that --seed gives in hex."""
    if not _HEX.fullmatch(text) or len(text) != 2 * SEED_BYTES:
        raise AivmcError(f"--seed {text!r} is not {2 * SEED_BYTES} hex digits: {SEED_BYTES} bytes")
    return bytes.fromhex(text)


def read_document(path: Path) -> bytes:
    """The bytes of a document, which is no longer than such documents may be."""
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise AivmcError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise AivmcError(f"cannot read {str(path)!r}: {error}") from None
