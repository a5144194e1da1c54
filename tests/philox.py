"""Philox4x32-10 and the streams' keys on Python integers, written from the paper and the docs."""

from __future__ import annotations

from hashlib import sha512

MASK = 0xFFFFFFFF


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = q >> 32 ^ c1 ^ k0, q & MASK, p >> 32 ^ c3 ^ k1, p & MASK
        k0, k1 = k0 + 0x9E3779B9 & MASK, k1 + 0xBB67AE85 & MASK
    return c0, c1, c2, c3


def key_words(seed: bytes, stream: int) -> tuple[int, ...]:
    digest = sha512(b"aivmc numerics 1 stream" + seed + stream.to_bytes(8, "big")).digest()
    return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(4))


def word(key: tuple[int, ...], number: int) -> int:
    """Word ``number`` of the stream with this key."""
    block = number // 4
    return philox((block & MASK, block >> 32, key[2], key[3]), key[:2])[number % 4]


def words(seed: bytes, stream: int, count: int) -> list[int]:
    key = key_words(seed, stream)
    return [word(key, i) for i in range(count)]
