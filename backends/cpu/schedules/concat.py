"""Concatenation: each operand is copied to its place. A task is a row of one operand."""

from __future__ import annotations

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel
from aivmc.backends.cpu.schedules.map import compute_columns
from aivmc.backends.tir_emit import Expr
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import Shape


def lower_concat(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.concat``."""
    (root,) = (op for op in kernel.region.body if op.name == "det.concat")
    axis = root.attributes["axis"]
    result = root.result.tensor.shape
    outer, start = result[:axis], 0
    kernel.tasks = product(outer)
    parts: list[tuple[int, Dim]] = []
    for number, operand in enumerate(root.operands):
        parts.append((number, start))
        start = start + operand.tensor.shape[axis]
    run = product(result[axis + 1 :])

    def task(code: Code, row: Expr) -> None:
        to_row = code.bind(row * kernel.emit.dim(product(result[axis:])))
        for number, offset in parts:
            source = kernel.tensors[root.operands[number]]
            shape: Shape = source.type.shape
            count = product(shape[axis:])
            from_row = code.bind(row * kernel.emit.dim(count))
            to = code.bind(to_row + kernel.emit.dim(offset * run))

            def copy(scope: Code, at: Expr, source=source, from_row=from_row, to=to) -> None:  # type: ignore[no-untyped-def]
                lanes, base = (16, at.base) if isinstance(at, tirx.Ramp) else (1, at)
                target = kernel.tensors[root.result].array
                target.store(scope, to + base, source.array.load(from_row + base, lanes))

            compute_columns(
                code,
                kernel.emit.dim(0),
                count if isinstance(count, int) else kernel.emit.dim(count),
                copy,
            )

    kernel.code.span(kernel.begin, kernel.end, task)
