"""Every instruction gives the bits that the PTX ISA defines."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aivmc.ptx.device import Device
from aivmc.ptx.gpus import OLDEST
from aivmc.ptx.instructions import Form, instructions
from aivmc.ptx.semantics import SEMANTICS
from tests.ptx import isa
from tests.ptx.text import HEADER, NEWER_HEADER, instruction_kernel

_RANDOM = 40  # sets of random operands, beside the special ones
_AT_ONCE = 16  # instructions in one kernel

COMPUTED = {
    name: form
    for name, form in instructions().items()
    if form.family not in ("ld", "st", "ld_param", "bra", "ret", "barrier")
}


@cache
def special_values(kind: str) -> tuple[int, ...]:
    bits = isa.width(kind)
    if kind == "pred":
        return (0, 1)
    if kind[0] != "f":
        top = 1 << bits
        near = [0, 1, 2, 7, bits - 1, bits, bits + 1, top // 2 - 1, top // 2, top // 2 + 1, top - 1]
        return tuple(dict.fromkeys(isa.wrap(x, bits) for x in near))
    sign, infinity = isa.zero(True, kind), isa.infinity(False, kind)
    one = isa.nearest(Fraction(1), kind)
    positive = [
        *(0, 1, 2, one, one + 1, one - 1, infinity - 1, infinity),
        *(infinity + 1, isa.NAN[kind], infinity | infinity >> 1 & ~infinity | 1 << bits // 3),
        isa.nearest(Fraction(5, 2), kind),
        isa.nearest(Fraction(1, 2), kind),
        *(isa.nearest(Fraction(2) ** e, kind) for e in (7, 8, 15, 16, 31, 32, 63, 64)),
        isa.nearest(Fraction(2**31) - Fraction(1, 2), kind),
        (1 << bits - (6 if kind == "f16" else 9 if kind == "f32" else 12)) - 1,  # subnormal
    ]
    return tuple(dict.fromkeys([*positive, *(x | sign for x in positive)]))


def random_value(kind: str, random: np.random.Generator) -> int:
    bits = isa.width(kind)
    value = int(random.integers(0, 1 << 63)) << 1 | int(random.integers(0, 2))
    if kind == "f32":  # of exponents so near that results are not trivial
        value = (value & 0x807F_FFFF) | (int(random.integers(110, 145)) << 23)
    elif kind == "f64":
        value = (value & 0x800F_FFFF_FFFF_FFFF) | (int(random.integers(1000, 1050)) << 52)
    elif int(random.integers(0, 2)):
        return isa.wrap(value >> int(random.integers(0, 64)), bits)
    return isa.wrap(value, bits)


def operands(opcode: str, form: Form) -> list[tuple[int, ...]]:
    kinds = [slot.type for slot in form.slots[1:]]
    random = np.random.default_rng(sum(opcode.encode()))
    specials = [special_values(kind) for kind in kinds]
    if len(kinds) <= 2:
        chosen = list(itertools.product(*specials))
    else:
        chosen = [tuple(values[int(random.integers(len(values)))] for values in specials)]
        chosen += [
            tuple(values[int(random.integers(len(values)))] for values in specials)
            for _ in range(300)
        ]
    chosen += [tuple(random_value(k, random) for k in kinds) for _ in range(_RANDOM)]
    if form.family in ("div", "rem"):
        low = 1 << (isa.width(form.type) - 1)
        overflow = (low, 2 * low - 1) if form.type[0] == "s" else ()
        chosen = [c for c in chosen if c[1] and c != overflow]
    return chosen[:1024]


def run(
    cases: list[tuple[str, Form]], sources: npt.NDArray[np.uint64], canonical_nan: bool = True
) -> npt.NDArray[np.uint64]:
    """The results ``[case][thread]`` of instructions on the sources ``[slot][thread]``."""
    threads = sources.shape[1]
    device = Device(canonical_nan=canonical_nan)
    newer = any(form.gpu != OLDEST for _, form in cases)
    header, gpu = (NEWER_HEADER, "sm_80") if newer else (HEADER, OLDEST)
    loaded = device.load(header + instruction_kernel(cases), gpu)
    table, results = (device.allocate(8 * threads * n) for n in (len(sources), len(cases)))
    device.write(table, sources)
    device.write(results, np.zeros((len(cases), threads), np.uint64))
    loaded.launch("k", (1,), (threads,), [table, results, threads])
    size = 8 * threads * len(cases)
    return np.frombuffer(device.read(results, size), np.uint64).reshape(len(cases), threads)


def batches() -> list[list[str]]:
    """Names of instructions that take operands of the same types."""
    groups: dict[Any, list[str]] = {}
    for name, form in COMPUTED.items():
        if form.family in ("div", "rem") and form.type[0] != "f":
            key: Any = ("divide", form.type)
        else:
            key = tuple(isa.width(slot.type) for slot in form.slots[1:]), form.type[0] == "f"
        groups.setdefault(key, []).append(name)
    return [
        names[i : i + _AT_ONCE] for names in groups.values() for i in range(0, len(names), _AT_ONCE)
    ]


@pytest.mark.parametrize("names", batches(), ids=lambda names: names[0])
def test_gives_what_the_isa_defines(names: list[str]) -> None:
    cases = [(name, COMPUTED[name]) for name in names]
    sets = list(dict.fromkeys(s for name, form in cases for s in operands(name, form)))
    random = np.random.default_rng(1)
    if len(sets) > 1024:
        sets = [sets[i] for i in random.permutation(len(sets))[:1024]]
    found = run(cases, np.array(sets, np.uint64).T.copy())
    for (name, form), results in zip(cases, found, strict=True):
        bits = isa.width(form.slots[0].type)
        for sources, result in zip(sets, results, strict=True):
            widths = [isa.width(slot.type) for slot in form.slots[1:]]
            expected = isa.evaluate(name, *map(isa.wrap, sources, widths))
            shown = f"{name} of {[hex(s) for s in sources]}"
            assert isa.wrap(int(result), bits) == expected, shown


def test_every_family_has_a_meaning_and_every_meaning_a_use() -> None:
    assert {form.family for form in COMPUTED.values()} == SEMANTICS.keys()
