"""What tells whether products and sums were contracted: code without its fused multiply-adds.

A fused multiply-add in machine code doesn't show whether it comes from ``llvm.fma`` or was made of
a product and a sum, and their number doesn't, for LLVM repeats what comes before a branch and
leaves out elements that nothing uses. So functions with all three are compiled a second time, with
integer operations in place of ``llvm.fma``: the control. What is fused there was contracted. It is
never executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FMA = re.compile(r"@llvm\.fma\.((?:v\d+)?f(?:32|64))\(")
_DECLARATION = re.compile(r"^declare [^\n]*@llvm\.fma\.[^\n]*\n", re.MULTILINE)
_CONVERSIONS = ("sitofp", "uitofp")  # LLVM makes them of products and sums for some types
_PRODUCTS = ("fmul", "llvm.vector.reduce.fmul", *_CONVERSIONS)
_SUMS = ("fadd", "fsub", "llvm.vector.reduce.fadd", *_CONVERSIONS)


def needs_control(function: Mapping[str, int]) -> bool:
    """Whether contraction would not show in the code of a function with these constructs."""
    kinds = (("llvm.fma",), _PRODUCTS, _SUMS)
    return all(any(function.get(name) for name in kind) for kind in kinds)


def without_fused(text: str) -> str:
    """The module ``text`` in which ``llvm.fma`` is integer operations on all bits of its operands,
    in functions to be inlined."""
    shapes = dict.fromkeys(_FMA.findall(text))
    text = _DECLARATION.sub("", text)
    return _FMA.sub(r"@aivm.mix.\1(", text) + "".join(map(_mixing, shapes))


def _mixing(shape: str) -> str:
    """``((a + b) ^ c)`` of integers, for any vectors that a target has."""
    lanes, bits = re.findall(r"\d+", f"v1{shape}" if shape[0] == "f" else shape)
    floats = _vector(lanes, {"32": "float", "64": "double"}[bits])
    integers = _vector(lanes, f"i{bits}")
    casts = "".join(f"  %{n}.i = bitcast {floats} %{n} to {integers}\n" for n in "abc")
    return (
        f"define internal {floats} @aivm.mix.{shape}({floats} %a, {floats} %b, {floats} %c) "
        f"alwaysinline {{\n{casts}"
        f"  %sum = add {integers} %a.i, %b.i\n  %all = xor {integers} %sum, %c.i\n"
        f"  %result = bitcast {integers} %all to {floats}\n  ret {floats} %result\n}}\n"
    )


def _vector(lanes: str, element: str) -> str:
    return element if lanes == "1" else f"<{lanes} x {element}>"
