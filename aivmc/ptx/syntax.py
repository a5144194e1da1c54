"""What a PTX module is: kernels of instructions, as parsed, each with its place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

# Bits of the types that registers, parameters and instructions have.
BITS = {
    "pred": 1,
    **{f"{kind}{bits}": bits for kind in "bus" for bits in (8, 16, 32, 64)},
    "f16": 16,
    "f32": 32,
    "f64": 64,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column of the text, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Register:
    """Also special ones, such as ``%tid.x``."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Literal:
    """A number: ``kind`` is ``int``, or ``f32`` or ``f64`` with the float's bits as ``value``."""

    kind: str
    value: int
    place: Place


@dataclass(frozen=True, slots=True)
class Symbol:
    """A label or a variable, by name."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Address:
    """``[base + offset]``."""

    base: Register | Symbol
    offset: int
    place: Place


@dataclass(frozen=True, slots=True)
class Vector:
    """``{a, b, …}``; None stands for ``_``, a result that is not wanted."""

    elements: tuple[Register | Literal | None, ...]
    place: Place


Operand = Register | Literal | Symbol | Address | Vector


@dataclass(frozen=True, slots=True)
class Guard:
    """``@p`` or ``@!p``."""

    predicate: Register
    negated: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    opcode: str  # with all its modifiers
    operands: tuple[Operand, ...]
    guard: Guard | None
    place: Place


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str
    offset: int  # in the bytes of all arguments, each aligned to its size


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    size: int  # in bytes
    offset: int  # in the shared memory of a block, or the local memory of a thread


def end_of(variables: Sequence[Variable]) -> int:
    """The bytes that variables take."""
    return max((v.offset + v.size for v in variables), default=0)


@dataclass(frozen=True)
class Kernel:
    """An entry. ``labels`` gives the number of the instruction that each stands before."""

    name: str
    place: Place
    parameters: tuple[Parameter, ...]
    block: tuple[int, int, int] | None  # .reqntid
    most_threads: int | None  # .maxntid, a product
    registers: dict[str, str]  # their types
    shared: tuple[Variable, ...]
    local: tuple[Variable, ...]
    labels: dict[str, int]
    instructions: tuple[Instruction, ...]

    @property
    def shared_bytes(self) -> int:
        return end_of(self.shared)

    @property
    def local_bytes(self) -> int:
        return end_of(self.local)

    @property
    def parameter_bytes(self) -> int:
        return max((p.offset + BITS[p.type] // 8 for p in self.parameters), default=0)

    @cached_property
    def targets(self) -> dict[int, list[str]]:
        """The labels before each instruction."""
        found: dict[int, list[str]] = {}
        for label, number in self.labels.items():
            found.setdefault(number, []).append(label)
        return found


@dataclass(frozen=True)
class Module:
    text: str
    kernels: dict[str, Kernel]
