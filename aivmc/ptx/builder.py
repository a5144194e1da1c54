"""LLVM IR as text, one instruction after the other."""

from __future__ import annotations

from aivmc.ptx.syntax import BITS

LLVM_FLOATS = {"f16": "half", "f32": "float", "f64": "double"}

# What NVIDIA's instructions give where a result is NaN.
CANONICAL_NANS = {"f16": 0x7FFF, "f32": 0x7FFF_FFFF, "f64": 0x7FFF_FFFF_FFFF_FFFF}


class Builder:
    """The body of one function. Values are integers, as registers are; floats are made of them
    where an instruction needs them.

    ``canonical_nan``: results that are NaN are NVIDIA's one NaN, not what this machine makes.
    """

    def __init__(self, canonical_nan: bool) -> None:
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self._canonical_nan = canonical_nan
        self._names = 0

    def do(self, line: str) -> None:
        self.lines.append(f"  {line}")

    def value(self, expression: str) -> str:
        """The name of a new value."""
        self._names += 1
        name = f"%v{self._names}"
        self.do(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def new_label(self) -> str:
        self._names += 1
        return f"b{self._names}"

    def call(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """A call of an intrinsic; ``arguments`` are types and values."""
        types = ", ".join(kind for kind, _ in arguments)
        self.declarations.add(f"declare {result} @{name}({types})")
        return self.value(f"call {result} @{name}({', '.join(map(' '.join, arguments))})")

    # Floats

    def float(self, x: str, kind: str) -> str:
        return self.value(f"bitcast i{BITS[kind]} {x} to {LLVM_FLOATS[kind]}")

    def result(self, x: str, kind: str) -> str:
        """The bits of a float that an instruction has computed."""
        bits = self.value(f"bitcast {LLVM_FLOATS[kind]} {x} to i{BITS[kind]}")
        if not self._canonical_nan:
            return bits
        is_nan = self.value(f"fcmp uno {LLVM_FLOATS[kind]} {x}, {x}")
        return self.select(is_nan, f"i{BITS[kind]}", str(CANONICAL_NANS[kind]), bits)

    # Integers

    def binary(self, operation: str, bits: int, a: str, b: str | int) -> str:
        return self.value(f"{operation} i{bits} {a}, {b}")

    def select(self, condition: str, kind: str, a: str, b: str) -> str:
        return self.value(f"select i1 {condition}, {kind} {a}, {kind} {b}")

    def resize(self, x: str, bits: int, to: int, signed: bool = False) -> str:
        """Truncated or extended."""
        if bits == to:
            return x
        operation = "trunc" if to < bits else "sext" if signed else "zext"
        return self.value(f"{operation} i{bits} {x} to i{to}")
