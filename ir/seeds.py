"""What a seed becomes: the key of each stream of random numbers (docs/numerics.md, Randomness).

A seed is 32 bytes. A stream is a number below 2^53: 0, 1, 2, … for random ops in canonical order,
and from 2^32 on those that a model names by a seed of its own.
"""

from __future__ import annotations

import struct
from hashlib import sha512

import numpy as np

from aivmc.ir.binding import InputError
from aivmc.ir.constants import Array

SEED_BYTES = 32
FIRST_NAMED_STREAM = 1 << 32
_FIRST_INTEGER_STREAM = 1 << 52
_DOMAIN = b"aivmc numerics 1 stream"


def stream_key(seed: bytes, stream: int) -> Array:
    """u32[4] of a stream: Philox's two key words, then the upper two words of its counter.

    They are the first 16 bytes, little-endian, of SHA-512(domain, seed, stream in 8 bytes,
    big-endian).
    """
    digest = sha512(_DOMAIN + check_seed(seed) + stream.to_bytes(8, "big")).digest()
    return np.frombuffer(digest[:16], "<u4").astype(np.uint32)


def check_seed(seed: object) -> bytes:
    """``seed``, known to be one; ``InputError`` if it isn't."""
    if not isinstance(seed, bytes | bytearray | memoryview):
        raise InputError(f"a seed is {SEED_BYTES} bytes, not of type {type(seed).__name__}")
    if len(bytes(seed)) != SEED_BYTES:
        raise InputError(f"a seed is {SEED_BYTES} bytes, not {len(bytes(seed))}")
    return bytes(seed)


def named_stream(seed: float | int) -> int:
    """The stream that a node's own ``seed`` names: by the bits of an f32, by an integer modulo
    2^52."""
    if isinstance(seed, float):
        (bits,) = struct.unpack(">I", struct.pack(">f", seed))
        return FIRST_NAMED_STREAM + int(bits)
    return _FIRST_INTEGER_STREAM + seed % _FIRST_INTEGER_STREAM
