"""Numbers as sums of two f64 (pairs), powers of two, and rounding at the end.

A pair (high, low) is their exact sum; low is small. Everything here is exact or loses some 2^-100
of the result, unless it says otherwise. Sources: Dekker (1971), Knuth (TAOCP 2, 4.2.2).

Nothing is multiplied by 2: LLVM would add, and the audit of machine code counts products.
"""

from __future__ import annotations

from typing import TypeAlias

from aivmc.ir.elementary._common import ROUNDER, bits_of, f64, from_bits
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType

Pair: TypeAlias = tuple[Scalar, Scalar]


def two_sum(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a + b, exactly."""
    total = e.add(a, b)
    part = e.sub(total, a)
    return total, e.add(e.sub(a, e.sub(total, part)), e.sub(b, part))


def fast_two_sum(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a + b, exactly, where a is 0 or not less than b in magnitude."""
    total = e.add(a, b)
    return total, e.sub(b, e.sub(total, a))


def two_product(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a b, exactly."""
    product = e.mul(a, b)
    return product, e.fma(a, b, e.neg(product))


def times(e: Emit, a: Pair, b: Scalar) -> Pair:
    """a b."""
    high, low = a
    product, error = two_product(e, high, b)
    return product, e.fma(low, b, error)


def multiply(e: Emit, a: Pair, b: Pair) -> Pair:
    """a b."""
    a_high, a_low = a
    b_high, b_low = b
    product, error = two_product(e, a_high, b_high)
    return product, e.fma(a_high, b_low, e.fma(a_low, b_high, error))


def divide(e: Emit, a: Pair, b: Pair) -> Pair:
    """a / b."""
    a_high, a_low = a
    b_high, b_low = b
    quotient = e.div(a_high, b_high)
    minus = e.neg(quotient)
    rest = e.add(e.fma(minus, b_high, a_high), e.fma(minus, b_low, a_low))
    return quotient, e.div(rest, b_high)


def square_root(e: Emit, a: Pair) -> Pair:
    """The root of a; 0 of 0."""
    high, low = a
    root = e.sqrt(high)
    rest = e.add(e.fma(e.neg(root), root, high), low)
    divisor = e.add(root, root)
    divisor = e.select(e.eq(root, f64(e, 0.0)), f64(e, 1.0), divisor)
    return root, e.div(rest, divisor)


def rounded(e: Emit, a: Pair) -> Scalar:
    """a as one f64."""
    high, low = a
    return e.add(high, low)


def select_pair(e: Emit, condition: Scalar, a: Pair, b: Pair) -> Pair:
    """a where the condition holds, else b."""
    a_high, a_low = a
    b_high, b_low = b
    return e.select(condition, a_high, b_high), e.select(condition, a_low, b_low)


def power_of_two(e: Emit, k: Scalar) -> Scalar:
    """2^k for an integer k from -1022 to 1023."""
    exponent = e.shl(bits_of(e, e.add(k, f64(e, ROUNDER))), e.const(52, DType.U64))
    return from_bits(e, e.add(exponent, bits_of(e, f64(e, 1.0))))


def scale(e: Emit, y: Scalar, k: Scalar) -> Scalar:
    """y 2^k for an integer k within +-2044, in two steps, of which the last one rounds."""
    rounder = f64(e, ROUNDER)
    half = e.sub(e.fma(k, f64(e, 0.5), rounder), rounder)
    return e.mul(e.mul(y, power_of_two(e, half)), power_of_two(e, e.sub(k, half)))


def constant_pair(e: Emit, parts: tuple[float, ...]) -> Pair:
    """A constant in two parts."""
    return f64(e, parts[0]), f64(e, parts[1])
