"""Reductions over axes that are not the trailing ones, and window reductions.

Where there are many results, a thread computes one, with all lanes in registers. Where there are
few, or reductions are long, each lane is a thread's: neighbours have neighbouring results.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Array, Code, Kernel, delinearize, store_results
from aivmc.backends.cpu.schedules.order import BLOCK, accumulator, combine_of, merge_lanes
from aivmc.backends.cpu.schedules.reduce import Index, Source, Visit, root_of, window_source
from aivmc.backends.cuda.schedules.block import Block, Team, least
from aivmc.backends.cuda.schedules.order import Partials, TeamReduction
from aivmc.backends.tir_emit import Expr, i64, quotient
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product

_BESIDE = 16  # results of a block, where their lanes are shared
_MANY = 1 << 15  # results that keep a GPU busy without
_SHORT = 32  # elements that are not worth it
_UNROLLED = 64  # elements


def lower_reduce(kernel: Kernel) -> Block | None:
    """Fill in the function of a ``kernel.reduce``."""
    root = root_of(kernel)
    return _lower(kernel, root, _source(kernel, root))


def lower_window(kernel: Kernel) -> Block | None:
    """Fill in the function of a ``kernel.window``."""
    root = root_of(kernel)
    return _lower(kernel, root, window_source(kernel, root))


def _source(kernel: Kernel, root: Op) -> Source:
    """What each result of a ``kernel.reduce`` reduces. Neighbouring axes are taken as one."""
    emit, tensor = kernel.emit, kernel.tensors[root.operands[0]]
    shape, axes = tensor.type.shape, root.attributes["axes"]
    kept = [a for a in range(len(shape)) if a not in axes]
    places = list(range(len(shape))) if root.attributes["keepdims"] else kept
    strides = [emit.dim(product(shape[a + 1 :])) for a in range(len(shape))]
    runs = [[a for _, a in run] for _, run in groupby(enumerate(axes), lambda x: x[1] - x[0])]
    sizes = [product(shape[a] for a in run) for run in runs]

    def visit(code: Code, index: Index, number: Expr, then: Visit) -> None:
        at = dict(zip(places, index))
        offset = sum((at[a] * strides[a] for a in kept), i64(0))
        for run, i in zip(runs, delinearize(code, emit, number, sizes)):
            offset = offset + i * strides[run[-1]]
        then(code, code.keep(tensor.array.load(offset)))

    return Source(product(sizes), visit, False)


def _lower(kernel: Kernel, root: Op, source: Source) -> Block | None:
    shape = root.result.tensor.shape
    if root.attributes.get("order") != "seq" and _is_shared(root, source.length):
        return _by_lanes(kernel, root, source)
    kernel.tasks = product(shape)

    def result(code: Code, number: Expr) -> None:
        index = delinearize(code, kernel.emit, number, shape)
        total = _Result(kernel, root, source, index).lower(code)
        _store(code, kernel, root, index, total)

    kernel.code.span(kernel.begin, kernel.end, result)
    return None


def _is_shared(root: Op, length: Dim) -> bool:
    """Whether the lanes of a reduction are shared among threads."""
    if not isinstance(length, int):
        return True
    results = least(product(root.result.tensor.shape))
    is_long = root.attributes.get("order") == "lanes16" and length > BLOCK
    return is_long or (length > _SHORT and results < _MANY)


def _store(code: Code, kernel: Kernel, root: Op, index: Sequence[Expr], total: Expr) -> None:
    total = code.keep(kernel.emit.cast(total, root.result.tensor.dtype))
    store_results(kernel, code, index, root.result, total)


def _by_lanes(kernel: Kernel, root: Op, source: Source) -> Block:
    shape, code, emit = root.result.tensor.shape, kernel.code, kernel.emit
    team = Team(kernel, LANES, product(shape), beside=_BESIDE)
    index = delinearize(code, emit, team.task, shape)
    reduction = TeamReduction(team, Partials(team), root, source.length)

    def read(scope: Code, i: Expr) -> Expr:
        # Where nothing is visited, there is padding: what changes nothing.
        found = reduction.new(scope)
        cast = emit.cast
        source.visit(scope, index, i, lambda s, x: found.store(s, i64(0), cast(x, reduction.dtype)))
        return found.load(i64(0))

    total = reduction.lower(code, read, None)
    first = tirx.EQ(team.thread, i64(0))
    code.when(tirx.And(first, team.active), lambda scope: _store(scope, kernel, root, index, total))
    return team.block


class _Result:
    """One result, by one thread; of ``lanes16``, of one block."""

    def __init__(self, kernel: Kernel, root: Op, source: Source, index: Sequence[Expr]) -> None:
        self.emit, self.source, self.index = kernel.emit, source, index
        self.combine = combine_of(root)
        self.dtype = accumulator(root.operands[0].tensor.dtype)
        self.lanes = LANES if root.attributes.get("order") == "lanes16" else 1

    def lower(self, code: Code) -> Expr:
        own = code.array(self.lanes, self.dtype)
        for lane in range(self.lanes):
            own.store(code, i64(lane), self.emit.const(self.combine.neutral, self.dtype))
        length = self.source.length
        if isinstance(length, int) and length <= _UNROLLED:
            for i in range(length):
                self._enter(code, own, i64(i), i % self.lanes)
        else:
            self._loop(code, own, self.emit.dim(length))
        if self.lanes == 1:
            return code.keep(own.load(i64(0)))
        return code.keep(merge_lanes(code, self.emit, self.combine, own, 1))

    def _loop(self, code: Code, own: Array, length: Expr) -> None:
        whole = code.bind(quotient(length, i64(self.lanes)))

        def step(scope: Code, n: Expr) -> None:
            for lane in range(self.lanes):
                self._enter(scope, own, scope.bind(n * self.lanes + lane), lane)

        code.loop(whole, step)
        done = code.bind(whole * self.lanes)
        for lane in range(self.lanes - 1):
            i = code.bind(done + lane)
            code.when(tirx.LT(i, length), partial(self._enter, own=own, i=i, lane=lane))

    def _enter(self, code: Code, own: Array, i: Expr, lane: int) -> None:
        def enter(scope: Code, x: Expr) -> None:
            acc, x = own.load(i64(lane)), self.emit.cast(x, self.dtype)
            own.store(scope, i64(lane), self.combine.enter(self.emit, acc, x))

        self.source.visit(code, self.index, i, enter)
