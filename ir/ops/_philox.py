"""Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy
as 1, 2, 3" (SC 2011)."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

WORDS = 4  # of a counter, and of what it gives
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = 0xFFFF_FFFF


def philox4x32(emit: Emit, counter: Sequence[Scalar], key: Sequence[Scalar]) -> list[Scalar]:
    """The four random words of a counter of four words and a key of two.

    Words are u64 below 2^32: their products need that width, and vectors change it at a cost.
    """
    words, keys = list(counter), list(key)
    for number in range(_ROUNDS):
        if number:
            keys = [_low(emit, emit.add(k, _u64(emit, w))) for k, w in zip(keys, _WEYL)]
        first, second = (emit.mul(word, _u64(emit, m)) for word, m in zip(words[::2], _MULTIPLIERS))
        words = [
            emit.xor(emit.xor(_high(emit, second), words[1]), keys[0]),
            _low(emit, second),
            emit.xor(emit.xor(_high(emit, first), words[3]), keys[1]),
            _low(emit, first),
        ]
    return words


def _u64(emit: Emit, value: int) -> Scalar:
    return emit.const(value, DType.U64)


def _high(emit: Emit, x: Scalar) -> Scalar:
    return emit.shr(x, _u64(emit, 32))


def _low(emit: Emit, x: Scalar) -> Scalar:
    return emit.and_(x, _u64(emit, _LOW))
