"""Whatever is changed in a right kernel is noticed: refused, stopped, or seen in the bytes."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from aivmc.ir.errors import AivmcError
from aivmc.ptx.device import Device
from aivmc.ptx.errors import KernelFault, PtxError
from tests.ptx.matmul import MATMUL, expected

M, N, K = 16, 16, 80
LINES = MATMUL.split("\n")


@cache
def case() -> tuple[bytes, bytes, bytes]:
    random = np.random.default_rng(5)
    a = random.standard_normal((M, K)).astype(np.float32)
    b = random.standard_normal((K, N)).astype(np.float32)
    return a.tobytes(), b.tobytes(), expected(a, b)


def product(text: str, order: int = 0, canonical_nan: bool = True) -> bytes:
    a, b, right = case()
    device = Device(order, canonical_nan)
    loaded = device.load(text)
    addresses = []
    for data in (a, b, bytes(len(right))):
        addresses.append(device.allocate(len(data)))
        device.write(addresses[-1], data)
    loaded.launch("matmul", (N // 8, M // 8), (8, 8), [*addresses, N, K])
    return device.read(addresses[-1], len(right))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("canonical_nan", [False, True])
def test_the_kernel_itself_is_right(order: int, canonical_nan: bool) -> None:
    assert product(MATMUL, order, canonical_nan) == case()[2]


def changed(line: int, text: str | None) -> str:
    return "\n".join([*LINES[:line], *([] if text is None else [text]), *LINES[line + 1 :]])


def is_noticed(text: str) -> bool:
    try:
        return product(text) != case()[2]
    except AivmcError:
        return True


def lines_with(pattern: str) -> list[int]:
    found = [i for i, line in enumerate(LINES) if re.search(pattern, line)]
    assert found
    return found


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("line", lines_with(r"bar\.sync"))
def test_a_dropped_barrier_is_a_race(line: int, order: int) -> None:
    with pytest.raises(KernelFault, match=r"a race|before anything is written"):
        product(changed(line, None), order)


def test_a_barrier_for_some_threads_is_divergence() -> None:
    line = lines_with(r"bar\.sync")[0]
    with pytest.raises(PtxError, match="a barrier under a predicate"):
        product(changed(line, "\tsetp.eq.u32 %p2, %r2, 0; @%p2 bar.sync 0;"))
    with pytest.raises(KernelFault, match=r"a barrier that not all reach|before anything is"):
        product(changed(line, "\tsetp.eq.u32 %p2, %r2, 0; @%p2 bra skip; bar.sync 0;\nskip:"))


@pytest.mark.parametrize("line", lines_with(r"\.rn\.f32"))
@pytest.mark.parametrize("change", ["", ".rz", ".rn.ftz", ".rn.sat", ".approx", ".rm", ".rp"])
def test_another_rounding_is_refused(line: int, change: str) -> None:
    with pytest.raises(PtxError, match="is not allowed: it") as caught:
        product(changed(line, LINES[line].replace(".rn", change)))
    assert caught.value.line == line + 1


_SWAPPED = [
    (line, first, second)
    for line in lines_with(r"\t(?:@%p1 )?(?:sub|mad|fma|setp|shl|st)\.")
    for first, second in ((-2, -1), (0, 1))
]


@pytest.mark.parametrize(("line", "first", "second"), _SWAPPED)
def test_swapped_operands_are_noticed(line: int, first: int, second: int) -> None:
    opcode, _, rest = LINES[line].strip().rstrip(";").partition(" ")
    operands = re.split(r", (?![^{\[]*[}\]])", rest)
    operands[first], operands[second] = operands[second], operands[first]
    assert is_noticed(changed(line, f"\t{opcode} {', '.join(operands)};"))


_ADDRESSED = lines_with(r"\[%")


@pytest.mark.parametrize("line", _ADDRESSED)
@pytest.mark.parametrize("by", [-4, 1, 4])
def test_a_wrong_offset_is_noticed(line: int, by: int) -> None:
    def moved(match: re.Match[str]) -> str:
        return f"[{match[1]}+{int(match[2] or 0) + by}]"

    assert is_noticed(changed(line, re.sub(r"\[(%\w+)(?:\+(\d+))?\]", moved, LINES[line])))


# The loop counts up to K by 8: from 1 on it runs as often.
_START = lines_with(r"mov.u32 %r13, 0;")


@pytest.mark.parametrize("line", [i for i in lines_with(r", (?:0f)?\d\w*;") if i not in _START])
def test_a_wrong_number_is_noticed(line: int) -> None:
    def more(match: re.Match[str]) -> str:
        if match[1].startswith("0f"):
            return f", 0f{int(match[1][2:], 16) ^ 0x3F800000:08X};"
        return f", {int(match[1]) + 1};"

    assert is_noticed(changed(line, re.sub(r", ((?:0f)?\d\w*);", more, LINES[line])))


# A generic address in global memory is the same number.
_NEEDLESS = lines_with("cvta")


@pytest.mark.parametrize("line", [i for i in lines_with(r"^\t[a-z@].*;$") if i not in _NEEDLESS])
def test_a_missing_instruction_is_noticed(line: int) -> None:
    assert is_noticed(changed(line, None))
