"""Numbers as unevaluated sums of two f32, high + low, by error-free transformations.

See Dekker, A floating-point technique for extending the available precision (1971), and Muller et
al., Handbook of Floating-Point Arithmetic, chapters 4 and 14. ``low`` is at most some units of the
last place of ``high``: pairs are not normalized. u = 2^-24 is the largest relative rounding error.
"""

from __future__ import annotations

from aivmc.ir.elementary._common import f32
from aivmc.ir.emit import Emit, Scalar

Pair = tuple[Scalar, Scalar]


def as_pair(e: Emit, parts: tuple[float, float]) -> Pair:
    high, low = parts
    return f32(e, high), f32(e, low)


def quick_two_sum(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a + b exactly, where |a| >= |b| or a is 0."""
    total = e.add(a, b)
    return total, e.sub(b, e.sub(total, a))


def two_sum(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a + b exactly."""
    total = e.add(a, b)
    of_b = e.sub(total, a)
    return total, e.add(e.sub(a, e.sub(total, of_b)), e.sub(b, of_b))


def two_product(e: Emit, a: Scalar, b: Scalar) -> Pair:
    """a b exactly."""
    high = e.mul(a, b)
    return high, e.fma(a, b, e.neg(high))


def scaled(e: Emit, a: Pair, b: Scalar) -> Pair:
    """a b: the rounding of ``low`` is the only error."""
    high, low = two_product(e, a[0], b)
    return high, e.fma(a[1], b, low)


def product(e: Emit, a: Pair, b: Pair) -> Pair:
    """a b without the product of the low parts."""
    high, low = scaled(e, a, b[0])
    return high, e.fma(a[0], b[1], low)


def quotient(e: Emit, a: Pair, b: Pair) -> Pair:
    """a / b by one division: q, nearly a / b, and what q b leaves of a, divided by b nearly."""
    inverse = e.div(f32(e, 1.0), b[0])
    q = e.mul(a[0], inverse)
    minus_q = e.neg(q)
    rest = e.fma(minus_q, b[1], e.add(e.fma(minus_q, b[0], a[0]), a[1]))
    return q, e.mul(rest, inverse)


def rounded(e: Emit, x: Pair, error: float) -> tuple[Scalar, Scalar]:
    """x rounded to f32, and whether all within the relative ``error`` rounds so (Ziv's test), which
    is false for NaN."""
    high, low = x
    one = e.add(high, e.fma(high, f32(e, -error), low))
    other = e.add(high, e.fma(high, f32(e, error), low))
    return one, e.eq(one, other)
