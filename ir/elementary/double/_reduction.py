"""Argument reduction of sin, cos and tan: exact enough for every f64, after Payne and Hanek (1983).

|x| = M 2^E with an integer M below 2^53. Of the bits of 2/pi, those that make M 2^E a multiple of
4 are left out, the next 192 make a window P, and the low 192 bits of M P are |x| 2/pi mod 4 as a
fixed-point number. Its upper 128 bits are kept.
"""

from __future__ import annotations

from aivmc.ir.elementary._common import bits_of, f64, from_bits, less
from aivmc.ir.elementary.double._arithmetic import (
    Pair,
    constant_pair,
    fast_two_sum,
    multiply,
    select_pair,
)
from aivmc.ir.elementary.double.coefficients import HALF_PI, TWO_OVER_PI
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

_LOW_32 = 0xFFFF_FFFF


def u64(e: Emit, value: int) -> Scalar:
    """A word."""
    return e.const(value, DType.U64)


def reduce_quarter_turns(e: Emit, a: Scalar) -> tuple[Scalar, Pair]:
    """k mod 4 (as an integer whose higher bits mean nothing) and r, a = k pi/2 + r, for a finite a
    that is not negative; |r| <= pi/4, with a relative error of some 2^-64."""
    turns_high, turns_low = quarter_turns(e, a)
    quarter = e.shr(e.add(turns_high, u64(e, 1 << 61)), u64(e, 62))
    fraction = signed_fraction(
        e,
        e.or_(e.shl(turns_high, u64(e, 2)), e.shr(turns_low, u64(e, 62))),
        e.shl(turns_low, u64(e, 2)),
    )
    r = multiply(e, fraction, constant_pair(e, HALF_PI))
    small = less(e, a, 0.78)
    return (
        e.select(small, u64(e, 0), quarter),
        select_pair(e, small, (a, f64(e, 0.0)), r),
    )


def quarter_turns(e: Emit, a: Scalar) -> Pair:
    """a 2/pi mod 4, times 2^126, as two words, for a from 1/2 on."""
    bits = bits_of(e, a)
    offset = e.sub(e.shr(bits, u64(e, 52)), u64(e, 1022))  # of the window
    mantissa = e.or_(e.and_(bits, u64(e, (1 << 52) - 1)), u64(e, 1 << 52))
    word_0, word_1, word_2, word_3 = window(e, e.shr(offset, u64(e, 6)))
    shift = e.and_(offset, u64(e, 63))
    back = e.sub(u64(e, 64), shift)
    high = e.or_(e.shl(word_0, shift), e.shr(word_1, back))
    middle = e.or_(e.shl(word_1, shift), e.shr(word_2, back))
    low = e.or_(e.shl(word_2, shift), e.shr(word_3, back))
    product = e.mul(mantissa, middle)
    turns_low = e.add(product, high_word_of_product(e, mantissa, low))
    carry = e.select(e.lt(turns_low, product), u64(e, 1), u64(e, 0))
    turns_high = e.add(e.mul(mantissa, high), high_word_of_product(e, mantissa, middle))
    return e.add(turns_high, carry), turns_low


def window(e: Emit, index: Scalar) -> list[Scalar]:
    """Words index to index + 3 of 2/pi, for an index of 0 to 16."""
    words = [u64(e, word) for word in TWO_OVER_PI]
    halved = moved(e, index, 4, moved(e, index, 8, words[:19]))
    near = moved(e, index, 1, moved(e, index, 2, halved))
    return select_words(e, has_bit(e, index, 16), words[16:], near)


def moved(e: Emit, index: Scalar, step: int, words: list[Scalar]) -> list[Scalar]:
    """The words from ``step`` on where the index has that bit."""
    return select_words(e, has_bit(e, index, step), words[step:], words)


def select_words(e: Emit, condition: Scalar, a: list[Scalar], b: list[Scalar]) -> list[Scalar]:
    """The words of a where the condition holds, else of b; as many as the shorter list has."""
    return [e.select(condition, word_a, word_b) for word_a, word_b in zip(a, b)]


def has_bit(e: Emit, word: Scalar, bit: int) -> Scalar:
    """Whether a word has this bit."""
    return e.eq(e.and_(word, u64(e, bit)), u64(e, bit))


def high_word_of_product(e: Emit, a: Scalar, b: Scalar) -> Scalar:
    """The product of a below 2^53 and b, div 2^64, by halves of 32 bits."""
    mask, half = u64(e, _LOW_32), u64(e, 32)
    a_low, a_high = e.and_(a, mask), e.shr(a, half)
    b_low, b_high = e.and_(b, mask), e.shr(b, half)
    middle = e.add(e.mul(a_high, b_low), e.shr(e.mul(a_low, b_low), half))
    other = e.add(e.mul(a_low, b_high), e.and_(middle, mask))
    high = e.add(e.mul(a_high, b_high), e.shr(middle, half))
    return e.add(high, e.shr(other, half))


def signed_fraction(e: Emit, high: Scalar, low: Scalar) -> Pair:
    """The signed 128-bit integer of these words, times 2^-128.

    Quarters of 32 bits become f64 by the bits of 2^52, in which they count units; 2^31 is added
    to the first, which has the sign, and taken away again.
    """
    mask, half = u64(e, _LOW_32), u64(e, 32)
    first = e.xor(e.shr(high, half), u64(e, 1 << 31))
    quarter_0 = e.sub(counted(e, first), f64(e, 2.0**31))
    quarter_1 = counted(e, e.and_(high, mask))
    quarter_2 = counted(e, e.shr(low, half))
    quarter_3 = counted(e, e.and_(low, mask))
    total, rest = fast_two_sum(
        e, e.mul(quarter_0, f64(e, 2.0**-32)), e.mul(quarter_1, f64(e, 2.0**-64))
    )
    rest = e.fma(quarter_2, f64(e, 2.0**-96), rest)
    total, rest = fast_two_sum(e, total, rest)
    return total, e.fma(quarter_3, f64(e, 2.0**-128), rest)


def counted(e: Emit, n: Scalar) -> Scalar:
    """An integer below 2^32 as f64."""
    return e.sub(from_bits(e, e.or_(n, bits_of(e, f64(e, 2.0**52)))), f64(e, 2.0**52))
