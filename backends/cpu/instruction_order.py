"""One order of instructions for LLVM IR that came in another.

TVM's code generator evaluates the operands of an instruction in the order that the C++ compiler of
its own build chose, which differs between processors. So the same TIR gives the same instructions
on every host, but not in the same order or under the same names, and LLVM optimizes them to other
code. Here they get an order that follows from what they compute.

What has an effect stays where it is. An instruction without one may move between the effects
around it, so a load sees the same memory. There it takes its turn in a walk over the function: of
each effect in order, the operands from the left, depth first, each after its own operands. What no
effect needs is left out. Names are numbers in the final order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aivmc.backends.cpu.audit import AuditError

_NAME = r'(?:"[^"]*"|[\w.$-]+)'
_LABEL = re.compile(rf"^({_NAME}):")
_RESULT = re.compile(rf"^\s+%({_NAME}) = (.*)$")
_LOCAL = re.compile(rf"%({_NAME})")
_CALLEE = re.compile(rf"@({_NAME})\(")
_DECLARED = re.compile(rf"^declare [^@]*@({_NAME})\(")
_ANCHORED = ("phi", "alloca", "atomicrmw", "cmpxchg", "invoke", "callbr")
_READS = ("llvm.masked.load", "llvm.masked.gather")


@dataclass
class _Instruction:
    text: str
    result: str | None
    operands: tuple[str, ...]
    has_effect: bool  # or a fixed place

    @staticmethod
    def of(line: str) -> _Instruction:
        match = _RESULT.match(line)
        result, body = (match[1], match[2]) if match else (None, line.strip())
        return _Instruction(
            line, result, tuple(_LOCAL.findall(body)), result is None or _is_anchored(body)
        )


def _is_anchored(body: str) -> bool:
    words = body.split(None, 3)
    if "call" in words[:2]:
        return not _is_pure_call(body)
    return words[0] in _ANCHORED or "volatile" in words or "atomic" in words


def _is_pure_call(body: str) -> bool:
    """Intrinsics without a pointer have no effect in code that leaves the floating-point
    environment alone."""
    callee = _CALLEE.search(body)
    if callee is None or not callee[1].startswith("llvm."):
        return False
    return callee[1].startswith(_READS) or not re.search(r"\bptr\b", body[callee.end() :])


@dataclass
class _Block:
    label: str
    instructions: list[_Instruction] = field(default_factory=list)


def in_one_order(text: str, names: Iterable[str]) -> str:
    """The module ``text``, as LLVM prints it, with these functions alone and what they declare:
    equal for modules that differ only in the order of evaluation. ``AuditError`` where it has a
    form that TVM doesn't make."""
    header: list[str] = []
    declared: dict[str, str] = {}
    functions: dict[str, list[str]] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("define "):
            name = _CALLEE.search(line)
            functions[name[1] if name else ""] = [line, *_until_brace(lines)]
        elif declaration := _DECLARED.match(line):
            declared[declaration[1]] = line
        elif line.startswith(("source_filename", "target ", "attributes ", "!")):
            header.append(line)
    missing = set(names) - functions.keys()
    if missing:
        raise AuditError(f"TVM made no function {', '.join(sorted(missing))}")
    bodies = [line for name in names for line in _function(functions[name])]
    return "\n".join([*header, *(declared[n] for n in sorted(declared)), *bodies, ""])


def _until_brace(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line == "}":
            return


def _function(lines: Sequence[str]) -> Iterator[str]:
    head, *body, end = lines
    blocks = _blocks(body)
    turn = _turns(blocks)
    ordered = [_Block(b.label, _ordered(b.instructions, turn)) for b in blocks]
    return _renamed(head, ordered, end)


def _blocks(lines: Sequence[str]) -> list[_Block]:
    blocks: list[_Block] = []
    for line in lines:
        if label := _LABEL.match(line):
            blocks.append(_Block(label[1]))
        elif line.startswith("  ") and blocks:
            blocks[-1].instructions.append(_Instruction.of(line))
        elif line:
            raise AuditError(f"TVM's LLVM IR has a line of an unknown form: {line}")
    return blocks


def _turns(blocks: Sequence[_Block]) -> dict[str, int]:
    """When the walk is done with each result."""
    makers = {i.result: i for b in blocks for i in b.instructions if i.result and not i.has_effect}
    turn: dict[str, int] = {}
    for block in blocks:
        for effect in block.instructions:
            if effect.has_effect:
                _walk(effect, makers, turn)
    return turn


def _walk(effect: _Instruction, makers: dict[str, _Instruction], turn: dict[str, int]) -> None:
    """Give what an effect needs, and has no turn yet, its turn."""
    path = [iter(effect.operands)]
    names: list[str] = []
    while path:
        name = next((n for n in path[-1] if n in makers and n not in turn), None)
        if name is not None:
            names.append(name)
            path.append(iter(makers[name].operands))
            continue
        path.pop()
        if names:
            turn[names.pop()] = len(turn)


def _ordered(instructions: Sequence[_Instruction], turn: dict[str, int]) -> list[_Instruction]:
    result: list[_Instruction] = []
    between: list[tuple[int, _Instruction]] = []
    for instruction in instructions:
        if not instruction.has_effect:
            if instruction.result in turn:
                between.append((turn[instruction.result], instruction))
            continue
        result += [i for _, i in sorted(between, key=lambda pair: pair[0])]
        result.append(instruction)
        between = []
    return result


def _renamed(head: str, blocks: Sequence[_Block], end: str) -> Iterator[str]:
    """The function's lines; parameters keep their names."""
    names = {block.label: f"block.{number}" for number, block in enumerate(blocks)}
    results = [i.result for b in blocks for i in b.instructions if i.result]
    names |= {name: f"value.{number}" for number, name in enumerate(results)}
    yield head
    for block in blocks:
        yield f"{names[block.label]}:"
        for instruction in block.instructions:
            yield _LOCAL.sub(lambda m: f"%{names.get(m[1], m[1])}", instruction.text)
    yield end
