"""Concatenation: a task is an element of the result, or some neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, Tensor
from aivmc.backends.tir_emit import Expr, quotient, remainder
from aivmc.ir.dims import Dim, floor_div, product

_VECTOR = 4


@dataclass(frozen=True)
class _Part:
    """An operand: where it starts in a row of the result, and how long its own rows are; in
    vectors."""

    source: Tensor
    start: Dim
    size: Dim


def lower_concat(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.concat``."""
    emit = kernel.emit
    (root,) = (op for op in kernel.region.body if op.name == "det.concat")
    axis, target = root.attributes["axis"], kernel.tensors[root.result]
    sizes = [product(v.tensor.shape[axis:]) for v in root.operands]
    lanes = _VECTOR if all(size % _VECTOR == 0 for size in sizes) else 1
    parts: list[_Part] = []
    length: Dim = 0
    for value, size in zip(root.operands, sizes):
        if size != 0:
            parts.append(_Part(kernel.tensors[value], length, floor_div(size, lanes)))
            length = length + floor_div(size, lanes)
    kernel.tasks = product(root.result.tensor.shape[:axis]) * length

    def copy(code: Code, number: Expr, row: Expr, at: Expr, among: Sequence[_Part]) -> None:
        if len(among) > 1:
            low, high = among[: len(among) // 2], among[len(among) // 2 :]
            code.choose(
                tirx.LT(at, emit.dim(high[0].start)),
                lambda scope: copy(scope, number, row, at, low),
                lambda scope: copy(scope, number, row, at, high),
            )
            return
        (part,) = among
        place = code.bind(row * emit.dim(part.size) + at - emit.dim(part.start))
        x = part.source.array.load(code.bind(place * lanes), lanes)
        target.array.store(code, code.bind(number * lanes), x)

    def task(code: Code, number: Expr) -> None:
        row = code.bind(quotient(number, emit.dim(length)))
        copy(code, number, row, code.bind(remainder(number, emit.dim(length))), parts)

    kernel.code.span(kernel.begin, kernel.end, task)
