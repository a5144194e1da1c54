"""The PTX ISA's definitions of instructions, on Python's integers and exact fractions.

Operands and results are bits. Written from the ISA document, not from the code under test.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt

BITS = {"pred": 1, "f16": 16, "f32": 32, "f64": 64}
NAN = {"f16": 0x7FFF, "f32": 0x7FFF_FFFF, "f64": 0x7FFF_FFFF_FFFF_FFFF}
_PRECISION = {"f16": 11, "f32": 24, "f64": 53}
_SMALLEST = {"f16": -24, "f32": -149, "f64": -1074}  # exponent of the least subnormal


def width(kind: str) -> int:
    return BITS.get(kind) or int(kind[1:])


def signed(x: int, bits: int) -> int:
    return x - (1 << bits) if x >> (bits - 1) else x


def integer(x: int, kind: str) -> int:
    return signed(x, width(kind)) if kind[0] == "s" else x


def wrap(x: int, bits: int) -> int:
    return x & ((1 << bits) - 1)


class Float:
    """A float's bits taken apart: ``nan``, ``infinite``, ``negative``, and an exact ``value``."""

    def __init__(self, bits: int, kind: str) -> None:
        precision, total = _PRECISION[kind], width(kind)
        self.negative = bool(bits >> (total - 1))
        exponent = bits >> (precision - 1) & ((1 << (total - precision)) - 1)
        fraction = bits & ((1 << (precision - 1)) - 1)
        special = exponent == (1 << (total - precision)) - 1
        self.nan, self.infinite = special and fraction != 0, special and fraction == 0
        significand = fraction + (1 << (precision - 1)) if exponent else fraction
        scale = Fraction(2) ** (max(exponent, 1) - 1 + _SMALLEST[kind])
        self.value = (-1 if self.negative else 1) * significand * scale

    @property
    def zero(self) -> bool:
        return not (self.nan or self.infinite) and self.value == 0


def infinity(negative: bool, kind: str) -> int:
    precision, total = _PRECISION[kind], width(kind)
    return (negative << (total - 1)) | ((1 << (total - precision)) - 1) << (precision - 1)


def zero(negative: bool, kind: str) -> int:
    return negative << (width(kind) - 1)


def nearest(exact: Fraction, kind: str, negative_zero: bool = False) -> int:
    """The bits of the nearest float, ties to even."""
    if exact == 0:
        return zero(negative_zero, kind)
    precision, smallest = _PRECISION[kind], _SMALLEST[kind]
    negative, size = exact < 0, abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    step = max(exponent - precision + 1, smallest)
    significand = round(size / Fraction(2) ** step)  # half to even
    if significand >> precision:
        significand, step = significand >> 1, step + 1
    bits = significand + ((step - smallest) << (precision - 1))
    bits = min(bits, infinity(False, kind))  # adding carried into the exponent is right
    return bits | zero(negative, kind)


def fma(a: int, b: int, c: int, kind: str) -> int:
    x, y, z = Float(a, kind), Float(b, kind), Float(c, kind)
    negative = x.negative != y.negative
    if x.nan or y.nan or z.nan or (x.infinite and y.zero) or (x.zero and y.infinite):
        return NAN[kind]
    if x.infinite or y.infinite:
        if z.infinite and z.negative != negative:
            return NAN[kind]
        return infinity(negative, kind)
    if z.infinite:
        return c
    product = x.value * y.value
    # The sign of an exact zero: of both terms if they agree, else plus.
    return nearest(product + z.value, kind, negative and z.negative and product == z.value == 0)


def add(a: int, b: int, kind: str) -> int:
    return fma(a, nearest(Fraction(1), kind), b, kind)


def sub(a: int, b: int, kind: str) -> int:
    return add(a, b ^ zero(True, kind), kind)


def mul(a: int, b: int, kind: str) -> int:
    negative = Float(a, kind).negative != Float(b, kind).negative
    return fma(a, b, zero(negative, kind), kind)


def div(a: int, b: int, kind: str) -> int:
    x, y = Float(a, kind), Float(b, kind)
    negative = x.negative != y.negative
    if x.nan or y.nan or (x.infinite and y.infinite) or (x.zero and y.zero):
        return NAN[kind]
    if x.infinite or y.zero:
        return infinity(negative, kind)
    if y.infinite:
        return zero(negative, kind)
    return nearest(x.value / y.value, kind, negative)


def sqrt(a: int, kind: str) -> int:
    x = Float(a, kind)
    if x.nan or (x.negative and not x.zero):
        return NAN[kind]
    if x.infinite or x.zero:
        return a
    scale = 4 ** (1200 if kind == "f64" else 200)
    root = isqrt(x.value.numerator * scale // x.value.denominator)
    exact = root * root * x.value.denominator == x.value.numerator * scale
    return nearest(Fraction(2 * root + (not exact), 2 * isqrt(scale)), kind)


def extreme(a: int, b: int, kind: str, least: bool) -> int:
    x, y = Float(a, kind), Float(b, kind)
    if x.nan or y.nan:
        return b if x.nan and not y.nan else a if not x.nan else NAN[kind]

    def order(f: Float) -> tuple[Fraction | int, bool]:
        return (10**400 * (-1 if f.negative else 1) if f.infinite else f.value, not f.negative)

    first = order(x) <= order(y)
    return a if first == least else b


def either_nan(a: int, b: int, kind: str) -> int:
    return NAN[kind] if Float(a, kind).nan or Float(b, kind).nan else 0


def compare(name: str, a: int, b: int, kind: str) -> bool:
    if kind[0] != "f":
        name = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(name, name)
        return _relation(name, integer(a, kind), integer(b, kind))
    x, y = Float(a, kind), Float(b, kind)
    unordered = x.nan or y.nan
    if name in ("num", "nan"):
        return unordered == (name == "nan")
    if unordered:
        return name.endswith("u")
    big = Fraction(10) ** 400
    values = [big * (-1 if f.negative else 1) if f.infinite else f.value for f in (x, y)]
    return _relation(name.removesuffix("u"), *values)


def _relation(name: str, x: Fraction | int, y: Fraction | int) -> bool:
    return {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}[name]


def whole(x: Fraction, rounding: str) -> int:
    down = x.numerator // x.denominator
    return {
        "rni": round(x),
        "rmi": down,
        "rpi": -(-x.numerator // x.denominator),
        "rzi": down if x >= 0 else -(-x.numerator // x.denominator),
    }[rounding]


def convert(modifiers: list[str], a: int) -> int:
    """``cvt`` with the parts of its name after it."""
    *rounding, to, source = modifiers
    if to[0] != "f" and source[0] != "f":
        return wrap(integer(a, source), width(to))
    if source[0] != "f":
        return nearest(Fraction(integer(a, source)), to)
    x = Float(a, source)
    if to[0] == "f":
        if x.nan:
            return NAN[to]
        if x.infinite:
            return infinity(x.negative, to)
        exact = Fraction(whole(x.value, rounding[0])) if to == source else x.value
        return nearest(exact, to, x.negative)
    bits = width(to)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if to[0] == "s" else (0, (1 << bits) - 1)
    if x.nan:
        return 0
    if x.infinite:
        return wrap(low if x.negative else high, bits)
    return wrap(min(max(whole(x.value, rounding[0]), low), high), bits)


def shift(family: str, kind: str, a: int, count: int) -> int:
    bits, count = width(kind), min(count, width(kind))
    if family == "shl":
        return wrap(a << count, bits)
    return wrap(integer(a, kind) >> count, bits)


def bfe(kind: str, a: int, b: int, c: int) -> int:
    """The ISA's loop."""
    msb, position, length = width(kind) - 1, b & 0xFF, c & 0xFF
    sign = 0
    if kind[0] == "s" and length:
        sign = a >> min(position + length - 1, msb) & 1
    bits = [
        a >> position + i & 1 if i < length and position + i <= msb else sign
        for i in range(msb + 1)
    ]
    return sum(bit << i for i, bit in enumerate(bits))


def bfi(kind: str, a: int, b: int, c: int, d: int) -> int:
    """The ISA's loop."""
    msb, position, length = width(kind) - 1, c & 0xFF, d & 0xFF
    for i in range(length):
        if position + i <= msb:
            b = b & ~(1 << position + i) | (a >> i & 1) << position + i
    return b


def prmt(a: int, b: int, c: int) -> int:
    data, result = (b << 32 | a).to_bytes(8, "little"), 0
    for i in range(4):
        nibble = c >> 4 * i & 15
        byte = data[nibble & 7]
        if nibble & 8:
            byte = 0xFF if byte & 0x80 else 0
        result |= byte << 8 * i
    return result


def shf(direction: str, mode: str, a: int, b: int, c: int) -> int:
    n = c & 31 if mode == "wrap" else min(c, 32)
    if direction == "l":
        return wrap(b << n | a >> 32 - n, 32)
    return wrap(b << 32 - n | a >> n, 32)


def multiply(part: str, kind: str, a: int, b: int) -> int:
    bits, product = width(kind), integer(a, kind) * integer(b, kind)
    if part == "wide":
        return wrap(product, 2 * bits)
    return wrap(product >> bits if part == "hi" else product, bits)


def dp4a(a_kind: str, b_kind: str, a: int, b: int, c: int) -> int:
    """The ISA's loop."""
    d = c
    for i in range(4):
        x, y = (word >> 8 * i & 0xFF for word in (a, b))
        d += (signed(x, 8) if a_kind == "s32" else x) * (signed(y, 8) if b_kind == "s32" else y)
    return wrap(d, 32)


def divide(family: str, kind: str, a: int, b: int) -> int:
    """Truncated; the remainder has the dividend's sign."""
    x, y = integer(a, kind), integer(b, kind)
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    return wrap(quotient if family == "div" else x - quotient * y, width(kind))


_FLOATS: dict[str, Callable[..., int]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "fma": fma,
    "sqrt": sqrt,
    "rcp": lambda a, kind: div(nearest(Fraction(1), kind), a, kind),
    "min": lambda a, b, kind: extreme(a, b, kind, least=True),
    "max": lambda a, b, kind: extreme(a, b, kind, least=False),
    "min.NaN": lambda a, b, kind: either_nan(a, b, kind) or extreme(a, b, kind, least=True),
    "max.NaN": lambda a, b, kind: either_nan(a, b, kind) or extreme(a, b, kind, least=False),
    "copysign": lambda a, b, kind: a & zero(True, kind) | b & ~zero(True, kind),
    "abs": lambda a, kind: NAN[kind] if Float(a, kind).nan else a & ~zero(True, kind),
    "neg": lambda a, kind: NAN[kind] if Float(a, kind).nan else a ^ zero(True, kind),
}
_INTEGERS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "min": min,
    "max": max,
    "abs": abs,
    "neg": lambda a: -a,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
}
# On the modifiers and the sources.
_OTHERS: dict[str, Callable[..., int]] = {
    "cvt": convert,
    "setp": lambda m, a, b: int(compare(m[0], a, b, m[-1])),
    "selp": lambda m, a, b, c: a if c else b,
    "mov": lambda m, a: a,
    "cvta": lambda m, a: a,
    "mul": lambda m, a, b: multiply(m[0], m[-1], a, b),
    "mad": lambda m, a, b, c: wrap(
        multiply(m[0], m[-1], a, b) + c, width(m[-1]) * (2 if m[0] == "wide" else 1)
    ),
    "div": lambda m, a, b: divide("div", m[-1], a, b),
    "rem": lambda m, a, b: divide("rem", m[-1], a, b),
    "shl": lambda m, a, b: shift("shl", m[-1], a, b),
    "shr": lambda m, a, b: shift("shr", m[-1], a, b),
    "shf": lambda m, a, b, c: shf(m[0], m[1], a, b, c),
    "bfe": lambda m, a, b, c: bfe(m[-1], a, b, c),
    "bfi": lambda m, a, b, c, d: bfi(m[-1], a, b, c, d),
    "dp4a": lambda m, a, b, c: dp4a(m[0], m[1], a, b, c),
    "prmt": lambda m, a, b, c: prmt(a, b, c),
    "popc": lambda m, a: bin(a).count("1"),
    "clz": lambda m, a: width(m[-1]) - a.bit_length(),
    "brev": lambda m, a: int(f"{a:0{width(m[-1])}b}"[::-1], 2),
}


def evaluate(opcode: str, *sources: int) -> int:
    """The result of an instruction on these sources."""
    family, *modifiers = opcode.split(".")
    kind = modifiers[-1]
    if kind[0] == "f" and family in _FLOATS:
        return _FLOATS[f"{family}.NaN" if "NaN" in modifiers else family](*sources, kind)
    if family in _INTEGERS:
        return wrap(_INTEGERS[family](*[integer(x, kind) for x in sources]), width(kind))
    return _OTHERS[family](modifiers, *sources)
