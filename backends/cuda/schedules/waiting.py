"""Where a thread's sums and totals are, until they are needed again."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR
from aivmc.backends.tir_emit import Expr


@dataclass(frozen=True)
class Waiting:
    """A thread's vectors in an array: their elements, from ``first`` on, are ``step`` apart. In
    shared memory, that is one thread from the next: registers that are stored as vectors must be
    neighbours, and few such are left."""

    array: Array
    first: Expr
    step: int = 1

    def load(self, n: Expr | int, at: Expr | int = 0, lanes: int = VECTOR) -> Expr:
        """A vector, or some lanes of it, from ``at`` on."""
        start = n * VECTOR + at
        if self.step == 1:
            return self.array.load(self.first + start, lanes)
        numbers = range(lanes)
        each = [self.array.load(self.first + (start + i) * self.step) for i in numbers]
        return tirx.Shuffle(each, [tirx.IntImm("int32", i) for i in numbers])

    def store(self, code: Code, n: int, x: Expr) -> None:
        if self.step == 1:
            self.array.store(code, self.first + n * VECTOR, x)
            return
        for i in range(VECTOR):
            element = tirx.Shuffle([x], [tirx.IntImm("int32", i)])
            self.array.store(code, self.first + (n * VECTOR + i) * self.step, element)
