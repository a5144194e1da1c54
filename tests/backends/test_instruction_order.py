"""One order of instructions, whatever the order was in which operands were evaluated."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest

from aivmc.backends.build import build_artifact
from aivmc.backends.cpu import llvm
from aivmc.backends.cpu.audit import AuditError
from aivmc.backends.cpu.instruction_order import in_one_order
from aivmc.ir.core import Module
from aivmc.ir.types import DType, TensorType
from tests.compiled_op import one_op

TARGET = "x86-64-v3"
HEADER = 'source_filename = "TVMMod"\ntarget triple = "x86_64-linux-gnu"\n'


def one_function(*lines: str) -> str:
    body = "\n".join(line if line.endswith(":") else f"  {line}" for line in lines)
    return f"{HEADER}define void @k(ptr %a, ptr %b, i64 %n) {{\n{body}\n}}\n"


def body_of(text: str) -> list[str]:
    lines = in_one_order(text, ["k"]).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("define"))
    return [line.strip() for line in lines[start + 1 : lines.index("}")]]


def test_operands_come_from_the_left_each_after_its_own() -> None:
    text = one_function(
        "entry:",
        "%right = mul i64 %n, 3",
        "%far = add i64 %n, 1",
        "%left = shl i64 %far, 2",
        "%sum = add i64 %left, %right",
        "store i64 %sum, ptr %a, align 8",
        "ret void",
    )
    assert body_of(text) == [
        "block.0:",
        "%value.0 = add i64 %n, 1",
        "%value.1 = shl i64 %value.0, 2",
        "%value.2 = mul i64 %n, 3",
        "%value.3 = add i64 %value.1, %value.2",
        "store i64 %value.3, ptr %a, align 8",
        "ret void",
    ]


def test_a_load_sees_the_same_memory() -> None:
    text = one_function(
        "entry:",
        "%early = load i64, ptr %b, align 8",
        "store i64 1, ptr %b, align 8",
        "%late = load i64, ptr %b, align 8",
        "%sum = add i64 %late, %early",
        "store i64 %sum, ptr %a, align 8",
        "ret void",
    )
    assert body_of(text) == [
        "block.0:",
        "%value.0 = load i64, ptr %b, align 8",
        "store i64 1, ptr %b, align 8",
        "%value.1 = load i64, ptr %b, align 8",
        "%value.2 = add i64 %value.1, %value.0",
        "store i64 %value.2, ptr %a, align 8",
        "ret void",
    ]


def test_values_of_other_blocks_and_loops() -> None:
    text = one_function(
        "entry:",
        "%unused = add i64 %n, 7",
        "%y = mul i64 %n, 5",
        "%x = mul i64 %n, 3",
        "br label %loop",
        "loop:",
        "%i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        "%next = add i64 %i, 1",
        "%both = add i64 %x, %y",
        "%at = getelementptr i64, ptr %a, i64 %i",
        "store i64 %both, ptr %at, align 8",
        "%more = icmp slt i64 %next, %n",
        "br i1 %more, label %loop, label %end",
        "end:",
        "ret void",
    )
    assert body_of(text) == [
        "block.0:",
        "%value.0 = mul i64 %n, 3",
        "%value.1 = mul i64 %n, 5",
        "br label %block.1",
        "block.1:",
        "%value.2 = phi i64 [ 0, %block.0 ], [ %value.3, %block.1 ]",
        "%value.3 = add i64 %value.2, 1",
        "%value.4 = add i64 %value.0, %value.1",
        "%value.5 = getelementptr i64, ptr %a, i64 %value.2",
        "store i64 %value.4, ptr %value.5, align 8",
        "%value.6 = icmp slt i64 %value.3, %n",
        "br i1 %value.6, label %block.1, label %block.2",
        "block.2:",
        "ret void",
    ]


def test_calls_with_effects_stay_and_declarations_are_sorted() -> None:
    text = one_function(
        "entry:",
        "%root = call float @llvm.sqrt.f32(float 2.0)",
        "call void @llvm.prefetch.p0(ptr %a, i32 0, i32 3, i32 1)",
        "%x = call i64 @outside(i64 %n)",
        "store float %root, ptr %a, align 4",
        "ret void",
    )
    declared = "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\ndeclare i64 @outside(i64)\n"
    lines = in_one_order(text + declared + "declare float @llvm.sqrt.f32(float)\n", ["k"])
    assert [line.split("@")[1].split("(")[0] for line in lines.splitlines() if "@" in line] == [
        *("llvm.prefetch.p0", "llvm.sqrt.f32", "outside", "k"),
        *("llvm.sqrt.f32", "llvm.prefetch.p0", "outside"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no function k"),
        (one_function("entry:", "ret void").replace("  ret", "ret"), "unknown form: ret void"),
    ],
)
def test_other_forms_are_refused(text: str, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        in_one_order(text, ["k"])


# The same instructions in another order, under other names: what another host could have made.

_RESULT = re.compile(r"^  (%\S+) = (\w+)")
_PLACED = ("phi", "alloca", "call")


def shuffled(text: str, seed: int) -> str:
    """``text`` with the neighbours swapped that may be, and other names of results."""
    choose = random.Random(seed)
    lines = text.splitlines()
    for _ in range(4):
        for i in range(len(lines) - 1):
            if choose.random() < 0.5 and may_swap(lines[i], lines[i + 1]):
                lines[i], lines[i + 1] = lines[i + 1], lines[i]
    names = sorted({m[1] for line in lines if (m := _RESULT.match(line))})
    fresh = dict(zip(names, choose.sample(range(10**6), len(names))))
    return re.sub(
        r"%[\w.$-]+",
        lambda m: f"%x{fresh[m[0]]}" if m[0] in fresh else m[0],
        "\n".join(lines) + "\n",
    )


def may_swap(first: str, second: str) -> bool:
    """Neither has an effect, and the second doesn't need the first."""
    a, b = _RESULT.match(first), _RESULT.match(second)
    if a is None or b is None or a[2] in _PLACED or b[2] in _PLACED:
        return False
    return re.search(re.escape(a[1]) + r"(?![\w.$-])", second) is None


def programs() -> Sequence[Module]:
    rows = TensorType(DType.F32, (6, 40))
    weights = TensorType(DType.F32, (40, 24))
    image = TensorType(DType.F32, (1, 4, 9, 9))
    padding = {"low": (0, 0, 1, 1), "high": (0, 0, 1, 1)}
    window = {"window": (1, 1, 3, 3), "strides": (1, 1, 1, 1), "dilations": (1, 1, 1, 1)}
    return [
        one_op("det.matmul", [rows, weights], {"block": 512}),
        one_op("det.tanh", [rows], {}),
        one_op("det.window_max", [image], {**window, **padding}),
    ]


@pytest.mark.parametrize("number", range(3))
def test_code_does_not_depend_on_the_order_of_evaluation(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = programs()[number]
    expected = build_artifact(program, TARGET).code
    seen: list[bool] = []
    for seed in range(3):

        def from_another_host(text: str, names: Sequence[str], seed: int = seed) -> str:
            other = shuffled(text, seed)
            seen.append(other.splitlines() != text.splitlines())
            return in_one_order(other, names)

        monkeypatch.setattr(llvm, "in_one_order", from_another_host)
        assert build_artifact(program, TARGET).code == expected
    assert seen and all(seen)


def test_llvm_makes_other_code_of_other_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = set()
    for seed in range(4):

        def out_of_order(text: str, names: Sequence[str], seed: int = seed) -> str:
            return shuffled(in_one_order(text, names), seed)

        monkeypatch.setattr(llvm, "in_one_order", out_of_order)
        codes.add(build_artifact(programs()[0], TARGET).code)
    assert len(codes) > 1
