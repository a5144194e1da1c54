"""Ops that compare the elements of lines (numerics, clause 10), by keys that are integers.

Pairs of a key and an index are in one order, whatever threads compare them: so an extreme is found
by all of a group's threads, and an element's place among the sorted is the number of pairs before
its own, counted by a thread for each element.
"""

from __future__ import annotations

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Array, Code, Kernel
from aivmc.backends.cpu.schedules import lines
from aivmc.backends.cpu.schedules.lines import Line, Ranking, line_of
from aivmc.backends.cuda.schedules.block import Block, Team, barrier, threads_for
from aivmc.backends.tir_emit import Expr, TirEmit, i64, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import DType

_EACH = 8  # elements of a thread, as long as there are not more than _MOST threads for a line
_MOST = 256


def lower_arg_extreme(kernel: Kernel, root: Op) -> Block | None:
    """``det.arg_max`` and ``det.arg_min``: a group of threads for each line of neighbours; for
    each other line, a thread."""
    source, axis = kernel.tensors[root.operands[0]], root.attributes["axis"]
    shape = source.type.shape
    if product(shape[axis + 1 :]) != 1:
        lines.lower_arg_extreme(kernel, root, of_task=1)
        return None
    size = threads_for(shape[axis], _EACH, _MOST, otherwise=_MOST // 2)
    team = Team(kernel, size, product(shape[:axis]))
    line = line_of(kernel.code, source, axis, team.task, i64(0))
    _Extreme(team, root, line, shape[axis]).lower()
    return team.block


class _Extreme:
    """The best pair of a line: the greatest key, and of equal ones the least index or the last."""

    def __init__(self, team: Team, root: Op, line: Line, length: Dim) -> None:
        self.team, self.root, self.line, self.length = team, root, line, length
        self.emit: TirEmit = team.kernel.emit
        dtype = line.tensor.type.dtype
        self.key = Ranking(dtype, descending=root.name == "det.arg_min")
        self.last = root.attributes["last"]
        self.keys = team.take(team.size, self.key.dtype)
        self.indices = team.take(team.size, DType.I64)

    def lower(self) -> None:
        code, team = self.team.kernel.code, self.team
        best, where = self._new(code)
        count = self.length if isinstance(self.length, int) else self.emit.dim(self.length)

        def meet(scope: Code, i: Expr) -> None:
            x = self.line.load(i)
            self._keep(scope, best, where, scope.keep(self.key.of(self.emit, x)), i)

        team.each(code, count, meet)
        width = team.size
        for threads in (LANES, 1):
            if threads < width:
                self._gather(code, best, where, threads, width)
                width = threads

        def store(scope: Code) -> None:
            result = team.kernel.tensors[self.root.result].array
            result.store(scope, team.task, where.load(i64(0)))

        first = tirx.EQ(team.thread, i64(0))
        code.when(first if team.active is None else tirx.And(first, team.active), store)

    def _gather(self, code: Code, best: Array, where: Array, threads: int, width: int) -> None:
        """The first so many threads take what the first ``width`` have found."""
        self.keys.store(code, [self.team.thread], best.load(i64(0)))
        self.indices.store(code, [self.team.thread], where.load(i64(0)))
        barrier(code)

        def gather(scope: Code) -> None:
            for n in range(threads, width, threads):
                at = [self.team.thread + n]
                key, i = scope.keep(self.keys.load(at)), scope.keep(self.indices.load(at))
                self._keep(scope, best, where, key, i)

        code.when(tirx.LT(self.team.thread, i64(threads)), gather)
        barrier(code)

    def _new(self, code: Code) -> tuple[Array, Array]:
        """A pair that all others are better than."""
        dtype = self.key.dtype
        best, where = code.array(1, dtype), code.array(1, DType.I64)
        lowest = -(1 << (dtype.bits - 1)) if dtype.is_signed else 0
        best.store(code, i64(0), self.emit.const(lowest, dtype))
        worst = i64(-1) if self.last else self.emit.dim(self.length)
        where.store(code, i64(0), worst)
        return best, where

    def _keep(self, code: Code, best: Array, where: Array, key: Expr, i: Expr) -> None:
        """A pair, if it is better."""
        old, at = best.load(i64(0)), where.load(i64(0))
        nearer = tirx.GT(i, at) if self.last else tirx.LT(i, at)
        better = tirx.Or(tirx.LT(old, key), tirx.And(tirx.EQ(old, key), nearer))

        def keep(scope: Code) -> None:
            best.store(scope, i64(0), key)
            where.store(scope, i64(0), i)

        code.when(better, keep)


def lower_top_k(kernel: Kernel, root: Op) -> None:
    """``det.top_k``: a task is an element, which goes to its place among the sorted of its line."""
    emit, source = kernel.emit, kernel.tensors[root.operands[0]]
    axis, shape = root.attributes["axis"], source.type.shape
    key = Ranking(source.type.dtype, descending=root.attributes["largest"])
    inner_size, length = emit.dim(product(shape[axis + 1 :])), emit.dim(shape[axis])
    results = [(v, kernel.tensors[v]) for v in root.results if v in kernel.tensors]
    kernel.tasks = product(shape)

    def element(code: Code, number: Expr) -> None:
        rest = code.bind(quotient(number, inner_size))
        outer, inner = code.bind(quotient(rest, length)), code.bind(remainder(number, inner_size))
        own = code.bind(remainder(rest, length))
        x = line_of(code, source, axis, outer, inner)
        place = _Place(emit, key, x, own, code).lower(code, length)

        def store(scope: Code) -> None:
            for value, tensor in results:
                found = x.load(own) if value is root.results[0] else own
                line_of(scope, tensor, axis, outer, inner).store(scope, place, found)

        code.when(tirx.LT(place, emit.dim(root.attributes["k"])), store)

    kernel.code.span(kernel.begin, kernel.end, element)


class _Place:
    """The place of an element of a line among the sorted: how many are before it."""

    def __init__(self, emit: TirEmit, key: Ranking, line: Line, own: Expr, code: Code) -> None:
        self.emit, self.key, self.line, self.own = emit, key, line, own
        self.count = code.array(1, DType.I64)
        self.mine = self._key(code, own)

    def lower(self, code: Code, length: Expr) -> Expr:
        self.count.store(code, i64(0), i64(0))
        # Of equal ones, those that stand before it.
        code.loop(self.own, lambda s, i: self._add(s, tirx.LE(self._key(s, i), self.mine)))
        first = code.bind(self.own + 1)
        code.span(first, length, lambda s, i: self._add(s, tirx.LT(self._key(s, i), self.mine)))
        return code.bind(self.count.load(i64(0)))

    def _key(self, code: Code, i: Expr) -> Expr:
        return code.keep(self.key.of(self.emit, self.line.load(i)))

    def _add(self, code: Code, condition: Expr) -> None:
        one = tirx.Select(condition, i64(1), i64(0))
        self.count.store(code, i64(0), self.count.load(i64(0)) + one)
