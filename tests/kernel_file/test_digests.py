"""Member digests: plain up to 1 MiB, over chunk digests beyond."""

from __future__ import annotations

from hashlib import sha256
from zlib import crc32

import pytest

from aivmc.kernel_file.digests import CHUNK, Digest, digest_pieces, first_mismatch


def by_definition(data: bytes) -> str:
    if len(data) <= CHUNK:
        return sha256(data).hexdigest()
    chunks = (data[i : i + CHUNK] for i in range(0, len(data), CHUNK))
    return sha256(b"".join(sha256(c).digest() for c in chunks)).hexdigest()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7])
@pytest.mark.parametrize("piece", [1 << 30, CHUNK // 3, CHUNK])
def test_pieces_and_the_whole_have_one_digest(size: int, piece: int) -> None:
    data = bytes(i * 31 % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    pieces = [data[i : i + piece] for i in range(0, size, piece)]
    assert digest_pieces(pieces, size) == (Digest(size, by_definition(data)), crc32(data))
    assert first_mismatch({"m": (memoryview(data), Digest(size, by_definition(data)))}) is None


@pytest.mark.parametrize("position", [0, CHUNK, 2 * CHUNK])
def test_a_changed_byte_is_found(position: int) -> None:
    data = bytearray(2 * CHUNK + 1)
    digest = Digest(len(data), by_definition(bytes(data)))
    data[position] = 1
    good = (memoryview(b"x"), Digest(1, by_definition(b"x")))
    assert first_mismatch({"good": good, "bad": (memoryview(data), digest)}) == "bad"


def test_another_size_is_found() -> None:
    assert first_mismatch({"m": (memoryview(b"x"), Digest(2, by_definition(b"x")))}) == "m"
