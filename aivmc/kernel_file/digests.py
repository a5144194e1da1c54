"""Digests of members: large ones over the digests of their chunks, so that threads can share them.

A member of at most 1 MiB has the SHA-256 of its bytes. A larger one has the SHA-256 of the
concatenated SHA-256 digests of its chunks of 1 MiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from zlib import crc32

CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """Size and digest of one member, as its entry in the manifest."""

    size: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        chunk = {"chunk": CHUNK} if self.size > CHUNK else {}
        return {"bytes": self.size, "sha256": self.sha256, **chunk}


def digest_pieces(pieces: Iterable[bytes | memoryview], size: int) -> tuple[Digest, int]:
    """Digest and CRC-32 of the ``size`` bytes that ``pieces`` are together."""
    chunks, chunk, room, crc = [], sha256(), CHUNK, 0
    for piece in pieces:
        crc = crc32(piece, crc)
        rest = memoryview(piece)
        while rest:
            part, rest = rest[:room], rest[room:]
            chunk.update(part)
            room -= len(part)
            if not room:
                chunks.append(chunk.digest())
                chunk, room = sha256(), CHUNK
    if size <= CHUNK:
        whole = chunks[0] if chunks else chunk.digest()
        return Digest(size, whole.hex()), crc
    tail = [chunk.digest()] if room < CHUNK else []
    return Digest(size, sha256(b"".join(chunks + tail)).hexdigest()), crc


def first_mismatch(members: Mapping[str, tuple[memoryview, Digest]]) -> str | None:
    """The name of a member that isn't what its digest says, if any; hashed by several threads."""
    for name, (data, digest) in members.items():
        if len(data) != digest.size:
            return name
    parts = [
        (name, data[i : i + CHUNK])
        for name, (data, _) in members.items()
        for i in range(0, len(data) or 1, CHUNK)
    ]
    chunks: dict[str, list[bytes]] = {name: [] for name in members}
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for (name, _), chunk in zip(parts, pool.map(_chunk_digest, (part for _, part in parts))):
            chunks[name].append(chunk)
    for name, (data, digest) in members.items():
        single = len(data) <= CHUNK
        found = chunks[name][0] if single else sha256(b"".join(chunks[name])).digest()
        if found.hex() != digest.sha256:
            return name
    return None


def _chunk_digest(data: memoryview) -> bytes:
    return sha256(data).digest()
