"""What each instruction computes, as LLVM IR: the definitions of the PTX ISA.

A function takes the sources as integers of their types' widths and gives the result as one. Memory
and control are :mod:`aivmc.ptx.translate`'s.
"""

from __future__ import annotations

from collections.abc import Callable

from aivmc.ptx.builder import CANONICAL_NANS, LLVM_FLOATS, Builder
from aivmc.ptx.instructions import Form
from aivmc.ptx.syntax import BITS

Semantics = Callable[..., str]  # (builder, form, *sources)


def _float_operation(operation: str) -> Semantics:
    def compute(b: Builder, form: Form, x: str, y: str) -> str:
        kind = form.type
        floats = f"{b.float(x, kind)}, {b.float(y, kind)}"
        return b.result(b.value(f"{operation} {LLVM_FLOATS[kind]} {floats}"), kind)

    return compute


def _fma(b: Builder, form: Form, x: str, y: str, z: str) -> str:
    return _intrinsic(b, "llvm.fma", form.type, x, y, z)


def _sqrt(b: Builder, form: Form, x: str) -> str:
    return _intrinsic(b, "llvm.sqrt", form.type, x)


def _intrinsic(b: Builder, name: str, kind: str, *sources: str) -> str:
    arguments = [(LLVM_FLOATS[kind], b.float(x, kind)) for x in sources]
    return b.result(b.call(f"{name}.{kind}", LLVM_FLOATS[kind], *arguments), kind)


def _rcp(b: Builder, form: Form, x: str) -> str:
    kind = form.type
    quotient = b.value(f"fdiv {LLVM_FLOATS[kind]} 1.0, {b.float(x, kind)}")
    return b.result(quotient, kind)


def _float_sign(operation: str) -> Semantics:
    """``and`` of all but the sign for abs, ``xor`` of the sign for neg; their NaN is the ISA's."""

    def compute(b: Builder, form: Form, x: str) -> str:
        bits = BITS[form.type]
        mask = 1 << (bits - 1) if operation == "xor" else (1 << (bits - 1)) - 1
        return b.result(b.float(b.binary(operation, bits, x, mask), form.type), form.type)

    return compute


def _copysign(b: Builder, form: Form, sign_of: str, x: str) -> str:
    """The first operand's sign, the second's magnitude."""
    bits = BITS[form.type]
    sign = b.binary("and", bits, sign_of, 1 << (bits - 1))
    return b.binary("or", bits, sign, b.binary("and", bits, x, (1 << (bits - 1)) - 1))


def _float_extreme(less: str, zeros: str) -> Semantics:
    """The number of a number and a NaN, with the modifier NaN the canonical one; of two NaNs the
    canonical one; -0 < +0."""

    def compute(b: Builder, form: Form, x: str, y: str) -> str:
        kind, bits = LLVM_FLOATS[form.type], BITS[form.type]
        fx, fy = b.float(x, form.type), b.float(y, form.type)
        integer = f"i{bits}"
        found = b.select(b.value(f"fcmp {less} {kind} {fx}, {fy}"), integer, x, y)
        # Equal ones have equal bits, or are the two zeros.
        equal = b.value(f"fcmp oeq {kind} {fx}, {fy}")
        found = b.select(equal, integer, b.binary(zeros, bits, x, y), found)
        x_nan, y_nan = (b.value(f"fcmp uno {kind} {f}, {f}") for f in (fx, fy))
        nan = str(CANONICAL_NANS[form.type])
        if "NaN" in form.modifiers:
            return b.select(b.value(f"or i1 {x_nan}, {y_nan}"), integer, nan, found)
        found = b.select(y_nan, integer, x, found)
        return b.select(x_nan, integer, b.select(y_nan, integer, nan, y), found)

    return compute


def _integer(operation: str) -> Semantics:
    def compute(b: Builder, form: Form, x: str, y: str) -> str:
        return b.binary(operation, BITS[form.type], x, y)

    return compute


def _by_sign(signed: str, unsigned: str) -> Semantics:
    def compute(b: Builder, form: Form, x: str, y: str) -> str:
        return b.binary(signed if form.type[0] == "s" else unsigned, BITS[form.type], x, y)

    return compute


def _extreme(name: str) -> Semantics:
    def compute(b: Builder, form: Form, x: str, y: str) -> str:
        kind = f"i{BITS[form.type]}"
        return b.call(f"llvm.{form.type[0]}{name}.{kind}", kind, (kind, x), (kind, y))

    return compute


def _mul(b: Builder, form: Form, x: str, y: str) -> str:
    bits, signed, part = BITS[form.type], form.type[0] == "s", form.modifiers[0]
    if part == "lo":
        return b.binary("mul", bits, x, y)
    wide = (b.resize(v, bits, 2 * bits, signed) for v in (x, y))
    product = b.binary("mul", 2 * bits, *wide)
    if part == "wide":
        return product
    return b.resize(b.binary("lshr", 2 * bits, product, bits), 2 * bits, bits)


def _mad(b: Builder, form: Form, x: str, y: str, z: str) -> str:
    bits = BITS[form.type] * (2 if form.modifiers == ("wide",) else 1)
    return b.binary("add", bits, _mul(b, form, x, y), z)


def _dp4a(b: Builder, form: Form, x: str, y: str, total: str) -> str:
    """The sum and four products of bytes, each signed if its operand is, modulo 2^32."""
    for i in range(4):
        factors = []
        for word, slot in zip((x, y), form.slots[1:3]):
            byte = b.resize(b.binary("lshr", 32, word, 8 * i), 32, 8)
            factors.append(b.resize(byte, 8, 32, slot.type[0] == "s"))
        total = b.binary("add", 32, total, b.binary("mul", 32, *factors))
    return total


def _abs(b: Builder, form: Form, x: str) -> str:
    kind = f"i{BITS[form.type]}"
    return b.call(f"llvm.abs.{kind}", kind, (kind, x), ("i1", "false"))


def _neg(b: Builder, form: Form, x: str) -> str:
    return b.binary("sub", BITS[form.type], "0", x)


def _not(b: Builder, form: Form, x: str) -> str:
    return b.binary("xor", BITS[form.type], x, -1)


def _shift(b: Builder, operation: str, bits: int, x: str, count: str) -> str:
    """By a count of 32 bits; all bits out for the width or more."""
    fits = b.value(f"icmp ult i32 {count}, {bits}")
    if operation == "ashr":
        count = b.select(fits, "i32", count, str(bits - 1))
        return b.binary(operation, bits, x, b.resize(count, 32, bits))
    count = b.resize(b.select(fits, "i32", count, "0"), 32, bits)
    return b.select(fits, f"i{bits}", b.binary(operation, bits, x, count), "0")


def _shl(b: Builder, form: Form, x: str, count: str) -> str:
    return _shift(b, "shl", BITS[form.type], x, count)


def _shr(b: Builder, form: Form, x: str, count: str) -> str:
    return _shift(b, "ashr" if form.type[0] == "s" else "lshr", BITS[form.type], x, count)


def _shf(b: Builder, form: Form, low: str, high: str, count: str) -> str:
    """32 bits of the 64 of both, shifted: the upper ones for ``l``, the lower ones for ``r``."""
    direction, mode = form.modifiers
    if mode == "wrap":
        count = b.binary("and", 32, count, 31)
    else:
        count = b.call("llvm.umin.i32", "i32", ("i32", count), ("i32", "32"))
    both, wide = _join(b, low, high), b.resize(count, 32, 64)
    if direction == "r":
        return b.resize(b.binary("lshr", 64, both, wide), 64, 32)
    return b.resize(b.binary("lshr", 64, b.binary("shl", 64, both, wide), 32), 64, 32)


def _join(b: Builder, low: str, high: str) -> str:
    upper = b.binary("shl", 64, b.resize(high, 32, 64), 32)
    return b.binary("or", 64, b.resize(low, 32, 64), upper)


def _prmt(b: Builder, form: Form, low: str, high: str, selector: str) -> str:
    """Each byte is one of the eight of both operands, or its sign eight times over."""
    both, result = _join(b, low, high), "0"
    for i in range(4):
        which = b.binary("and", 32, b.binary("lshr", 32, selector, 4 * i), 7)
        count = b.resize(b.binary("shl", 32, which, 3), 32, 64)
        byte = b.resize(b.binary("lshr", 64, both, count), 64, 8)
        sign = b.binary("ashr", 8, byte, 7)
        mode = b.binary("and", 32, selector, 8 << 4 * i)
        byte = b.select(b.value(f"icmp eq i32 {mode}, 0"), "i8", byte, sign)
        placed = b.binary("shl", 32, b.resize(byte, 8, 32), 8 * i)
        result = b.binary("or", 32, result, placed)
    return result


def _count_bits(name: str, *flags: tuple[str, str]) -> Semantics:
    def compute(b: Builder, form: Form, x: str) -> str:
        kind = f"i{BITS[form.type]}"
        count = b.call(f"llvm.{name}.{kind}", kind, (kind, x), *flags)
        return b.resize(count, BITS[form.type], 32)

    return compute


def _brev(b: Builder, form: Form, x: str) -> str:
    kind = f"i{BITS[form.type]}"
    return b.call(f"llvm.bitreverse.{kind}", kind, (kind, x))


def _bfe(b: Builder, form: Form, x: str, position: str, length: str) -> str:
    """``length`` bits from ``position`` on; of a signed type the last of them repeated."""
    bits, signed = BITS[form.type], form.type[0] == "s"
    position, length = (b.binary("and", 32, v, 255) for v in (position, length))
    shifted = _shift(b, "ashr" if signed else "lshr", bits, x, position)
    rest = b.call("llvm.usub.sat.i32", "i32", ("i32", str(bits)), ("i32", length))
    # With a length of 0 all bits go out to the left, and zeros come back.
    up = _shift(b, "shl", bits, shifted, rest)
    return _shift(b, "ashr" if signed else "lshr", bits, up, rest)


def _bfi(b: Builder, form: Form, field: str, into: str, position: str, length: str) -> str:
    bits = BITS[form.type]
    position, length = (b.binary("and", 32, v, 255) for v in (position, length))
    outside = _shift(b, "shl", bits, "-1", length)
    mask = _shift(b, "shl", bits, b.binary("xor", bits, outside, -1), position)
    placed = b.binary("and", bits, _shift(b, "shl", bits, field, position), mask)
    return b.binary(
        "or", bits, b.binary("and", bits, into, b.binary("xor", bits, mask, -1)), placed
    )


_FLOAT_COMPARISONS = {
    **{name: f"o{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{f"{name}u": f"u{name}" for name in ("eq", "lt", "le", "gt", "ge")},
    "neu": "une",
    "num": "ord",
    "nan": "uno",
}
_UNSIGNED_NAMES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def _setp(b: Builder, form: Form, x: str, y: str) -> str:
    kind, (name,) = form.type, form.modifiers
    if kind in LLVM_FLOATS:
        floats = f"{b.float(x, kind)}, {b.float(y, kind)}"
        return b.value(f"fcmp {_FLOAT_COMPARISONS[name]} {LLVM_FLOATS[kind]} {floats}")
    name = _UNSIGNED_NAMES.get(name, name)
    sign = "" if name in ("eq", "ne") else kind[0]
    return b.value(f"icmp {sign}{name} i{BITS[kind]} {x}, {y}")


def _selp(b: Builder, form: Form, x: str, y: str, condition: str) -> str:
    return b.select(condition, f"i{BITS[form.type]}", x, y)


def _mov(b: Builder, form: Form, x: str) -> str:
    return x


def _cvt(b: Builder, form: Form, x: str) -> str:
    to = form.slots[0].type
    return b.resize(x, BITS[form.type], BITS[to], form.type[0] == "s")


def _cvt_to_float(b: Builder, form: Form, x: str) -> str:
    to, source = form.slots[0].type, form.type
    operation = "sitofp" if source[0] == "s" else "uitofp"
    return b.result(b.value(f"{operation} i{BITS[source]} {x} to {LLVM_FLOATS[to]}"), to)


_ROUNDINGS = {
    "rni": "llvm.roundeven",
    "rzi": "llvm.trunc",
    "rmi": "llvm.floor",
    "rpi": "llvm.ceil",
}


def _cvt_to_whole(b: Builder, form: Form, x: str) -> str:
    return _intrinsic(b, _ROUNDINGS[form.modifiers[0]], form.type, x)


def _cvt_to_integer(b: Builder, form: Form, x: str) -> str:
    """Rounded, then saturated; 0 for NaN."""
    to, source = form.slots[0].type, form.type
    whole = b.float(_cvt_to_whole(b, form, x), source)
    name = f"llvm.fpto{'si' if to[0] == 's' else 'ui'}.sat.i{BITS[to]}.{source}"
    return b.call(name, f"i{BITS[to]}", (LLVM_FLOATS[source], whole))


def _cvt_float(b: Builder, form: Form, x: str) -> str:
    to, source = form.slots[0].type, form.type
    operation = "fpext" if BITS[to] > BITS[source] else "fptrunc"
    float_x = b.float(x, source)
    return b.result(
        b.value(f"{operation} {LLVM_FLOATS[source]} {float_x} to {LLVM_FLOATS[to]}"), to
    )


SEMANTICS: dict[str, Semantics] = {
    "fadd": _float_operation("fadd"),
    "fsub": _float_operation("fsub"),
    "fmul": _float_operation("fmul"),
    "fdiv": _float_operation("fdiv"),
    "ffma": _fma,
    "fsqrt": _sqrt,
    "frcp": _rcp,
    "fabs": _float_sign("and"),
    "fneg": _float_sign("xor"),
    "fcopysign": _copysign,
    "fmin": _float_extreme("olt", "or"),
    "fmax": _float_extreme("ogt", "and"),
    "add": _integer("add"),
    "sub": _integer("sub"),
    "mul": _mul,
    "mad": _mad,
    "dp4a": _dp4a,
    "div": _by_sign("sdiv", "udiv"),
    "rem": _by_sign("srem", "urem"),
    "min": _extreme("min"),
    "max": _extreme("max"),
    "abs": _abs,
    "neg": _neg,
    "and": _integer("and"),
    "or": _integer("or"),
    "xor": _integer("xor"),
    "not": _not,
    "shl": _shl,
    "shr": _shr,
    "shf": _shf,
    "prmt": _prmt,
    "popc": _count_bits("ctpop"),
    "clz": _count_bits("ctlz", ("i1", "false")),
    "brev": _brev,
    "bfe": _bfe,
    "bfi": _bfi,
    "setp": _setp,
    "selp": _selp,
    "mov": _mov,
    "cvt": _cvt,
    "cvt_to_float": _cvt_to_float,
    "cvt_to_whole": _cvt_to_whole,
    "cvt_to_integer": _cvt_to_integer,
    "cvt_float": _cvt_float,
}
