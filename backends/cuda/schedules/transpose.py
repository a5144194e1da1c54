"""Transposes that move the last axis, through shared memory: a task is a square of the operand.

A block reads it along the operand's last axis and writes it along the result's, so that neighbours
among threads have neighbouring elements both times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, Tensor, delinearize
from aivmc.backends.cuda.schedules.block import Block, Team, barrier
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.core import Op, Region
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.types import Shape, TensorType

_SIDE = 32  # of a square
_THREADS = 256
_LEAST = 16  # elements along each of the axes, or most of a square is empty


def transposed(region: Region) -> Op | None:
    """The transpose that a ``kernel.map`` is, if it is one for this schedule."""
    if len(region.body) != 1 or region.body[0].name != "det.transpose":
        return None
    op = region.body[0]
    shape, permutation = _collapsed(op)
    if not permutation or permutation[-1] == len(shape) - 1:
        return None
    sides = shape[permutation[-1]], shape[-1]
    return None if any(isinstance(d, int) and d < _LEAST for d in sides) else op


def lower_transpose(kernel: Kernel, op: Op) -> Block:
    """Fill in the function of a ``kernel.map`` that is a transpose."""
    shape, permutation = _collapsed(op)
    square = _Square(kernel, op, shape, permutation)
    square.lower()
    return square.team.block


def _collapsed(op: Op) -> tuple[Shape, tuple[int, ...]]:
    """Operand's shape and permutation, axes that stay neighbours taken as one; none of size 1."""
    shape = op.operands[0].tensor.shape
    runs: list[list[int]] = []
    for axis in op.attributes["permutation"]:
        if shape[axis] == 1:
            continue
        if runs and all(d == 1 for d in shape[runs[-1][-1] + 1 : axis]) and axis > runs[-1][-1]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    order = sorted(runs)
    dims = tuple(product(shape[a] for a in run) for run in order)
    return dims, tuple(order.index(run) for run in runs)


class _Square:
    def __init__(self, kernel: Kernel, op: Op, shape: Shape, permutation: tuple[int, ...]) -> None:
        self.kernel, self.emit, self.code = kernel, kernel.emit, kernel.code
        dtype = op.result.tensor.dtype
        moved = tuple(shape[axis] for axis in permutation)
        source, result = kernel.tensors[op.operands[0]], kernel.tensors[op.result]
        self.source = Tensor(source.array, TensorType(dtype, shape), self.emit)
        self.result = Tensor(result.array, TensorType(dtype, moved), self.emit)
        self.permutation = permutation
        self.across, self.along = permutation[-1], len(shape) - 1
        self.sizes = shape[self.across], shape[self.along]
        self.others = [a for a in range(len(shape)) if a not in (self.across, self.along)]
        squares: list[Dim] = [ceil_div(d, _SIDE) for d in self.sizes]
        self.grid = (*(shape[a] for a in self.others), *squares)
        self.team = Team(kernel, _THREADS, product(self.grid))
        self.square = self.team.take(_SIDE * (_SIDE + 1), dtype)

    def lower(self) -> None:
        code = self.code
        *outer, down, right = delinearize(code, self.emit, self.team.task, self.grid)
        first = code.bind(down * _SIDE), code.bind(right * _SIDE)

        def index(i: Expr, j: Expr) -> list[Expr]:
            at = dict(zip(self.others, outer))
            at |= {self.across: first[0] + i, self.along: first[1] + j}
            return [at[axis] for axis in range(len(at))]

        def read(scope: Code, i: Expr, j: Expr) -> None:
            self.square.store(scope, [i * (_SIDE + 1) + j], self.source.load(index(i, j)))

        def write(scope: Code, i: Expr, j: Expr) -> None:
            x = scope.keep(self.square.load([j * (_SIDE + 1) + i]))
            at = index(j, i)
            self.result.store(scope, [at[axis] for axis in self.permutation], x)

        self._lines(first, read)
        barrier(code)
        self._lines(first[::-1], write, flipped=True)

    def _lines(
        self,
        first: tuple[Expr, ...],
        body: Callable[..., None],
        flipped: bool = False,
    ) -> None:
        """``body(scope, i, j)`` for element ``j`` of each line ``i`` of the square."""
        code, sizes = self.code, self.sizes[::-1] if flipped else self.sizes
        column = code.bind(remainder(self.team.thread, i64(_SIDE)))
        start = code.bind(quotient(self.team.thread, i64(_SIDE)))
        for n in range(0, _SIDE, _THREADS // _SIDE):
            line = code.bind(start + n)
            inside = tirx.And(
                tirx.LT(first[0] + line, self.emit.dim(sizes[0])),
                tirx.LT(first[1] + column, self.emit.dim(sizes[1])),
            )
            code.when(inside, partial(body, i=line, j=column))
