"""The instructions that a kernel may have, each by its full name with all modifiers.

The table is the whitelist: what isn't in it is refused. Every instruction in it gives bits that the
PTX ISA defines: float arithmetic rounds to nearest (``.rn``, which also keeps ptxas from fusing a
product and a sum) and keeps subnormals (no ``.ftz``), nothing approximates, saturates floats, or
combines floats of several threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from aivmc.ptx.gpus import OLDEST
from aivmc.ptx.syntax import BITS


@dataclass(frozen=True, slots=True)
class Slot:
    """What an operand is. ``role``: ``result`` and ``source`` are registers (a source may be a
    number), ``special`` a special register, ``address`` and ``label`` name a place."""

    role: str
    type: str = ""
    lanes: int = 1  # if more, registers in braces
    wider: bool = False  # whether a register may have more bits than the type


@dataclass(frozen=True, slots=True)
class Form:
    """An instruction's operands and meaning: ``family`` on ``type`` with the other parts of its
    name that matter. ``gpu`` is the oldest that has it."""

    family: str
    type: str
    slots: tuple[Slot, ...]
    modifiers: tuple[str, ...] = ()
    gpu: str = OLDEST


INTEGER_ROUNDING = ("rni", "rzi", "rmi", "rpi")
SPACES = ("global", "shared", "local")
SPECIAL = frozenset(
    f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"
)

_SIGNED = ("s16", "s32", "s64")
_UNSIGNED = ("u16", "u32", "u64")
_BITS = ("b16", "b32", "b64")
_FLOATS = ("f32", "f64")
_ORDERED = ("eq", "ne", "lt", "le", "gt", "ge")
_UNORDERED = ("equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")

Named = Iterator[tuple[str, Form]]


@cache
def instructions() -> dict[str, Form]:
    """The table, by name."""
    return dict(
        entry
        for part in (
            _float_arithmetic,
            _integer_arithmetic,
            _bits,
            _comparisons,
            _moves,
            _integer_conversions,
            _float_conversions,
            _memory,
            _control,
        )
        for entry in part()
    )


def _plain(family: str, kind: str, sources: int, modifiers: tuple[str, ...] = ()) -> Form:
    """A result and sources of one type."""
    slots = (Slot("result", kind), *[Slot("source", kind)] * sources)
    return Form(family, kind, slots, modifiers)


def _float_arithmetic() -> Named:
    for kind in _FLOATS:
        for family, sources in (("add", 2), ("sub", 2), ("mul", 2), ("div", 2), ("fma", 3)):
            yield f"{family}.rn.{kind}", _plain(f"f{family}", kind, sources)
        for family in ("sqrt", "rcp"):
            yield f"{family}.rn.{kind}", _plain(f"f{family}", kind, 1)
        for family in ("abs", "neg"):
            yield f"{family}.{kind}", _plain(f"f{family}", kind, 1)
        for family in ("min", "max", "copysign"):
            yield f"{family}.{kind}", _plain(f"f{family}", kind, 2)
    for family in ("min", "max"):
        yield f"{family}.NaN.f32", replace(_plain(f"f{family}", "f32", 2, ("NaN",)), gpu="sm_80")


def _integer_arithmetic() -> Named:
    for kind in _SIGNED + _UNSIGNED:
        for family in ("add", "sub", "div", "rem", "min", "max"):
            yield f"{family}.{kind}", _plain(family, kind, 2)
        yield f"mul.lo.{kind}", _plain("mul", kind, 2, ("lo",))
        yield f"mul.hi.{kind}", _plain("mul", kind, 2, ("hi",))
        yield f"mad.lo.{kind}", _plain("mad", kind, 3, ("lo",))
        if BITS[kind] < 64:
            wide = Slot("result", f"{kind[0]}{2 * BITS[kind]}")
            factors = (Slot("source", kind), Slot("source", kind))
            term = Slot("source", wide.type)
            yield f"mul.wide.{kind}", Form("mul", kind, (wide, *factors), ("wide",))
            yield f"mad.wide.{kind}", Form("mad", kind, (wide, *factors, term), ("wide",))
    for kind in _SIGNED:
        for family in ("abs", "neg"):
            yield f"{family}.{kind}", _plain(family, kind, 1)
    for a in ("u32", "s32"):
        for b in ("u32", "s32"):
            sum_ = Slot("source", "u32" if a == b == "u32" else "s32")
            slots = (Slot("result", sum_.type), Slot("source", a), Slot("source", b), sum_)
            yield f"dp4a.{a}.{b}", Form("dp4a", sum_.type, slots, gpu="sm_61")


def _bits() -> Named:
    for kind in (*_BITS, "pred"):
        for family in ("and", "or", "xor"):
            yield f"{family}.{kind}", _plain(family, kind, 2)
        yield f"not.{kind}", _plain("not", kind, 1)
    for kind in _BITS:
        yield f"shl.{kind}", _shift("shl", kind)
    for kind in _BITS + _SIGNED + _UNSIGNED:
        yield f"shr.{kind}", _shift("shr", kind)
    for bits in (32, 64):
        kind = f"b{bits}"
        for family in ("popc", "clz"):
            slots = (Slot("result", "u32"), Slot("source", kind))
            yield f"{family}.{kind}", Form(family, kind, slots)
        yield f"brev.{kind}", _plain("brev", kind, 1)
        place = (Slot("source", "u32"), Slot("source", "u32"))
        pair = (Slot("source", kind), Slot("source", kind))
        yield f"bfi.{kind}", Form("bfi", kind, (Slot("result", kind), *pair, *place))
        for sign in "us":
            field = (Slot("result", f"{sign}{bits}"), Slot("source", f"{sign}{bits}"), *place)
            yield f"bfe.{sign}{bits}", Form("bfe", f"{sign}{bits}", field)
    for direction in "lr":
        for mode in ("wrap", "clamp"):
            form = _plain("shf", "b32", 3, (direction, mode))
            yield f"shf.{direction}.{mode}.b32", form
    yield "prmt.b32", _plain("prmt", "b32", 3)


def _shift(family: str, kind: str) -> Form:
    return Form(family, kind, (Slot("result", kind), Slot("source", kind), Slot("source", "u32")))


def _comparisons() -> Named:
    for kinds, names in (
        (_BITS, ("eq", "ne")),
        (_SIGNED, _ORDERED),
        (_UNSIGNED, (*_ORDERED, "lo", "ls", "hi", "hs")),
        (_FLOATS, (*_ORDERED, *_UNORDERED)),
    ):
        for kind in kinds:
            slots = (Slot("result", "pred"), Slot("source", kind), Slot("source", kind))
            for name in names:
                yield f"setp.{name}.{kind}", Form("setp", kind, slots, (name,))
    for kind in _BITS + _SIGNED + _UNSIGNED + _FLOATS:
        pair = (Slot("source", kind), Slot("source", kind))
        yield (
            f"selp.{kind}",
            Form("selp", kind, (Slot("result", kind), *pair, Slot("source", "pred"))),
        )


def _moves() -> Named:
    for kind in (*_BITS, *_SIGNED, *_UNSIGNED, *_FLOATS, "pred"):
        yield f"mov.{kind}", _plain("mov", kind, 1)
    yield "cvta.to.global.u64", _plain("mov", "u64", 1)  # generic addresses of it are its own


def vector_move(opcode: str, result: int, source: int) -> Form | None:
    """The form of a ``mov`` that takes a register apart into ``result`` parts, or puts it together
    of ``source`` parts."""
    kind, parts = opcode.removeprefix("mov."), max(result, source)
    if kind not in ("b32", "b64") or min(result, source) != 1 or parts not in (2, 4):
        return None
    if BITS[kind] // parts < 16:
        return None
    part = f"b{BITS[kind] // parts}"
    if result > 1:
        return Form("unpack", kind, (Slot("result", part, result), Slot("source", kind)))
    return Form("pack", kind, (Slot("result", kind), Slot("source", part, source)))


def _integer_conversions() -> Named:
    integers = [f"{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64)]
    for to in integers:
        for source in integers:
            yield f"cvt.{to}.{source}", _conversion("cvt", to, source)
    for kind in ("f16", *_FLOATS):
        for integer in integers:
            yield f"cvt.rn.{kind}.{integer}", _conversion("cvt_to_float", kind, integer)
    for kind in _FLOATS:
        for integer in integers:
            for rounding in INTEGER_ROUNDING:
                form = _conversion("cvt_to_integer", integer, kind, (rounding,))
                yield f"cvt.{rounding}.{integer}.{kind}", form


def _float_conversions() -> Named:
    yield "cvt.f64.f32", _conversion("cvt_float", "f64", "f32")
    yield "cvt.rn.f32.f64", _conversion("cvt_float", "f32", "f64")
    yield "cvt.f32.f16", _conversion("cvt_float", "f32", "f16")
    yield "cvt.f64.f16", _conversion("cvt_float", "f64", "f16")
    yield "cvt.rn.f16.f32", _conversion("cvt_float", "f16", "f32")
    for kind in ("f16", *_FLOATS):
        for rounding in INTEGER_ROUNDING:
            form = _conversion("cvt_to_whole", kind, kind, (rounding,))
            yield f"cvt.{rounding}.{kind}.{kind}", form


def _conversion(family: str, to: str, source: str, modifiers: tuple[str, ...] = ()) -> Form:
    slots = (Slot("result", to, wider=True), Slot("source", source, wider=True))
    return Form(family, source, slots, modifiers)


def _memory() -> Named:
    types = [f"{kind}{bits}" for kind in "bus" for bits in (8, 16, 32, 64)] + list(_FLOATS)
    for kind in types:
        result = Slot("result", kind, wider=True)
        yield f"ld.param.{kind}", Form("ld_param", kind, (result, Slot("address", "param")))
        for lanes in (1, 2, 4):
            if lanes * BITS[kind] > 128:
                continue
            vector = f".v{lanes}" if lanes > 1 else ""
            many_results = Slot("result", kind, lanes, wider=True)
            many_sources = Slot("source", kind, lanes, wider=True)
            for space in SPACES:
                at = Slot("address", space)
                yield f"ld.{space}{vector}.{kind}", Form("ld", kind, (many_results, at), (space,))
                yield f"st.{space}{vector}.{kind}", Form("st", kind, (at, many_sources), (space,))
            at = Slot("address", "global")
            yield f"ld.global.nc{vector}.{kind}", Form("ld", kind, (many_results, at), ("global",))


def _control() -> Named:
    for name in ("bra", "bra.uni"):
        yield name, Form("bra", "", (Slot("label"),))
    for name in ("ret", "exit"):
        yield name, Form("ret", "", ())
    yield "bar.sync", Form("barrier", "", (Slot("source", "u32"),))
