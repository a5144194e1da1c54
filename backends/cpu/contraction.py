"""What tells whether products and sums were contracted: code without its fused multiply-adds.

A fused multiply-add in machine code doesn't show whether it comes from ``llvm.fma`` or was made of
a product and a sum, and their number doesn't, for LLVM repeats or merges what stands beside a
branch and leaves out elements that nothing uses. So functions with all three are compiled again
without ``llvm.fma``, into controls: what is fused there was contracted. They are never executed.

In one control, integer operations stand for ``llvm.fma``, in the other its addend does, the
factors being put away. For a product may also be fused with a sum across ``llvm.fma``: of
``fma(a, b, c * d) + e``, LLVM would make ``fma(a, b, fma(c, d, e))``.
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


def without_fused(text: str) -> tuple[str, str]:
    """The module ``text`` twice: ``llvm.fma`` is integer operations on all bits of its operands, or
    its addend; in functions to be inlined."""
    shapes = dict.fromkeys(_FMA.findall(text))
    calls = _FMA.sub(r"@aivm.fma.\1(", _DECLARATION.sub("", text))
    return calls + "".join(map(_mixing, shapes)), calls + "".join(map(_addend, shapes))


def _mixing(shape: str) -> str:
    """``((a + b) ^ c)`` of integers, for any vectors that a target has."""
    floats, integers = _types(shape)
    casts = "".join(f"  %{n}.i = bitcast {floats} %{n} to {integers}\n" for n in "abc")
    return _function(
        shape,
        f"{casts}  %sum = add {integers} %a.i, %b.i\n  %all = xor {integers} %sum, %c.i\n"
        f"  %result = bitcast {integers} %all to {floats}\n  ret {floats} %result\n",
    )


def _addend(shape: str) -> str:
    floats, _ = _types(shape)
    stores = "".join(f"  store volatile {floats} %{n}, ptr %away\n" for n in "ab")
    return _function(shape, f"  %away = alloca {floats}\n{stores}  ret {floats} %c\n")


def _function(shape: str, body: str) -> str:
    floats, _ = _types(shape)
    return (
        f"define internal {floats} @aivm.fma.{shape}({floats} %a, {floats} %b, {floats} %c) "
        f"alwaysinline {{\n{body}}}\n"
    )


def _types(shape: str) -> tuple[str, str]:
    """Floats, and integers of as many bits, of a name such as ``v8f32``."""
    lanes, bits = re.findall(r"\d+", f"v1{shape}" if shape[0] == "f" else shape)
    return _vector(lanes, {"32": "float", "64": "double"}[bits]), _vector(lanes, f"i{bits}")


def _vector(lanes: str, element: str) -> str:
    return element if lanes == "1" else f"<{lanes} x {element}>"
