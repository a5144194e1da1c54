"""The canonical orders of reductions (numerics, clause 10) by the threads of a group.

``lanes16``: elements go to shared memory, some blocks of 512 at a time; each lane of each block is
one thread's chain, and one thread merges a block's lanes. Blocks' results are the elements of the
next round: the thread whose number is a result's lane takes it. What is free of order is a chain
for each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Array, Code, Tensor
from aivmc.backends.cpu.schedules.order import (
    BLOCK,
    SYMBOLIC_LEVELS,
    accumulator,
    combine_of,
)
from aivmc.backends.cuda.schedules.block import Team, barrier
from aivmc.backends.tir_emit import Expr, TirEmit, i64, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType

Read = Callable[[Code, Expr], Expr]  # the element of a number, as one that accumulates


def is_staged(op: Op) -> bool:
    """Whether the elements that a reduction reads go through shared memory."""
    return op.attributes.get("order") in ("lanes16", "seq")


@dataclass
class Partials:
    """Shared memory for partial results, in two sets that reductions use in turn: while one is
    still read, the next is written."""

    team: Team
    _made: dict[tuple[str, DType, int], Tensor] = field(default_factory=dict)
    _turn: int = 0

    def next(self) -> None:
        self._turn = 1 - self._turn

    def take(self, what: str, elements: int, dtype: DType) -> Tensor:
        key = (f"{what} {elements}", dtype, self._turn)
        if key not in self._made:
            self._made[key] = self.team.take(elements, dtype)
        return self._made[key]


class TeamReduction:
    """What a reduction op does with ``length`` elements. All threads get its result."""

    def __init__(self, team: Team, partials: Partials, op: Op, length: Dim) -> None:
        self.team, self.partials, self.length = team, partials, length
        self.emit: TirEmit = team.kernel.emit
        self.combine = combine_of(op)
        self.dtype = accumulator(op.operands[0].tensor.dtype)
        self.order = op.attributes.get("order")
        partials.next()

    def lower(self, code: Code, read: Read, staged: Tensor | None) -> Expr:
        """The result. Elements go through ``staged``, if it is given, which holds a power of two
        times 512 of them, or all."""
        if self.order == "lanes16":
            return _Lanes(self, read, staged).lower(code)
        return self._in_sequence(code, read, staged) if staged else self._free(code, read)

    def accumulate(self, code: Code, own: Array, x: Expr, merge: bool = False) -> None:
        """Let an element, or another accumulator's result, enter an accumulator."""
        step = self.combine.merge if merge else self.combine.enter
        own.store(code, i64(0), step(self.emit, own.load(i64(0)), x))

    @property
    def neutral(self) -> Expr:
        return self.emit.const(self.combine.neutral, self.dtype)

    def new(self, code: Code) -> Array:
        """An accumulator."""
        own = code.array(1, self.dtype)
        own.store(code, i64(0), self.neutral)
        return own

    def stage(self, code: Code, read: Read, staged: Tensor, first: Expr, count: int | Expr) -> None:
        """Elements from ``first`` on into shared memory."""
        self.team.each(code, count, lambda s, i: staged.store(s, [i], read(s, s.bind(first + i))))
        barrier(code)

    def merged(self, code: Code, lanes: Tensor, first: Expr, width: int) -> Expr:
        """The lanes from ``first`` on merged by the tree."""
        rest = [code.keep(lanes.load([first + n])) for n in range(width)]
        while len(rest) > 1:
            low, high = rest[: len(rest) // 2], rest[len(rest) // 2 :]
            rest = [code.keep(self.combine.merge(self.emit, a, b)) for a, b in zip(low, high)]
        return rest[0]

    def _free(self, code: Code, read: Read) -> Expr:
        size, thread = self.team.size, self.team.thread
        own = self.new(code)
        count = self.length if isinstance(self.length, int) else self.emit.dim(self.length)
        self.team.each(code, count, lambda s, i: self.accumulate(s, own, read(s, i)))
        each = self.partials.take("thread", size, self.dtype)
        each.store(code, [thread], own.load(i64(0)))
        barrier(code)
        if size <= LANES:
            return self.merged(code, each, i64(0), size)
        lanes = self.partials.take("lanes", LANES, self.dtype)

        def lane(scope: Code) -> None:
            for first in range(LANES, size, LANES):
                x = scope.keep(each.load([thread + first]))
                self.accumulate(scope, own, x, merge=True)
            lanes.store(scope, [thread], own.load(i64(0)))

        code.when(tirx.LT(thread, i64(LANES)), lane)
        barrier(code)
        return self.merged(code, lanes, i64(0), LANES)

    def _in_sequence(self, code: Code, read: Read, staged: Tensor) -> Expr:
        """All threads do the same, on what all of them have read."""
        total = self.new(code)
        capacity = staged.type.shape[0]
        assert isinstance(capacity, int)
        length = self.emit.dim(self.length)

        def part(scope: Code, number: Expr) -> None:
            first = scope.bind(number * capacity)
            count = scope.bind(tirx.min(i64(capacity), length - first))
            self._fill_vector(scope, staged, count)
            self.stage(scope, read, staged, first, count)
            scope.loop(count, lambda s, i: self.accumulate(s, total, s.keep(staged.load([i]))))
            barrier(scope)

        code.loop(code.bind(quotient(length + (capacity - 1), i64(capacity))), part)
        return code.keep(total.load(i64(0)))

    def _fill_vector(self, code: Code, staged: Tensor, count: Expr) -> None:
        """LLVM reads whole vectors, of which the last may have elements after ``count``: memory
        that nobody wrote would be read, and discarded."""
        lanes = 128 // staged.type.dtype.bits
        after, thread = remainder(count, i64(lanes)), self.team.thread
        there = tirx.And(tirx.GT(after, i64(0)), tirx.LT(thread, lanes - after))
        code.when(there, lambda s: staged.store(s, [s.bind(count + thread)], self.neutral))


class _Lanes:
    """``lanes16``."""

    def __init__(self, reduction: TeamReduction, read: Read, staged: Tensor | None) -> None:
        self.reduction, self.read, self.staged = reduction, read, staged
        self.team, self.thread = reduction.team, reduction.team.thread
        self.blocks = self.team.size // LANES  # at a time
        if staged is not None:
            capacity = staged.type.shape[0]
            assert isinstance(capacity, int)
            self.blocks = max(1 << (-(-capacity // BLOCK) - 1).bit_length(), 1)
        chains = LANES * self.blocks
        self.chains = reduction.partials.take("chains", chains, reduction.dtype)

    def lower(self, code: Code) -> Expr:
        length = self.reduction.length
        if isinstance(length, int) and length <= BLOCK:
            self._all_chains(code, i64(0), length)
            return self.reduction.merged(code, self.chains, i64(0), LANES)
        levels = SYMBOLIC_LEVELS
        if isinstance(length, int):
            levels = next(n for n in range(1, 9) if BLOCK ** (n + 1) >= length)
        rounds = [self.reduction.new(code) for _ in range(levels)]
        total = self.reduction.new(code)
        count = code.bind(self.reduction.emit.dim(length))
        size = self.blocks * BLOCK

        def part(scope: Code, number: Expr) -> None:
            first = scope.bind(number * size)
            inside = scope.bind(tirx.min(i64(size), count - first))
            self._all_chains(scope, first, inside)
            self._take_blocks(scope, rounds[0], number, inside)
            self._finish(scope, rounds, 1, scope.bind(first + size), count, total)
            if self.staged is None:  # with it, there is a barrier before chains are written
                barrier(scope)

        code.loop(code.bind(quotient(count + (size - 1), i64(size))), part)
        return code.keep(total.load(i64(0)))

    def _finish(
        self, code: Code, rounds: Sequence[Array], number: int, end: Expr, count: Expr, total: Array
    ) -> None:
        """Where a round is complete with the elements before ``end``, let its result enter the
        next one. ``total`` is the last one's; another round would change nothing of one result."""
        size = BLOCK ** (number + 1)
        own = rounds[number - 1]

        def finish(scope: Code) -> None:
            x = self._of_lanes(scope, own, number)
            total.store(scope, i64(0), x)
            if number == len(rounds):
                return
            lane = remainder(quotient(end - 1, i64(size)), i64(LANES))
            scope.when(
                tirx.EQ(self.thread, lane),
                lambda s: self.reduction.accumulate(s, rounds[number], x, merge=True),
            )
            own.store(scope, i64(0), self.reduction.neutral)
            scope.when(
                tirx.GT(count, i64(size)),
                lambda s: self._finish(s, rounds, number + 1, end, count, total),
            )

        complete = tirx.EQ(remainder(end, i64(size)), i64(0))
        code.when(tirx.Or(complete, tirx.GE(end, count)), finish)

    def _take_blocks(self, code: Code, own: Array, number: Expr, count: Expr) -> None:
        """Each block's result to the thread that is its lane."""
        lane, block = (f(self.thread, i64(self.blocks)) for f in (quotient, remainder))
        mine = tirx.EQ(lane, remainder(number, i64(LANES // self.blocks)))

        def take(scope: Code) -> None:
            x = self.reduction.merged(scope, self.chains, scope.bind(block * LANES), LANES)
            self.reduction.accumulate(scope, own, x, merge=True)

        code.when(tirx.And(mine, tirx.LT(block * BLOCK, count)), take)

    def _of_lanes(self, code: Code, own: Array, number: int) -> Expr:
        """The result of a round, of which each of 16 threads has a lane."""
        lanes = self.reduction.partials.take(f"round {number}", LANES, self.reduction.dtype)
        code.when(
            tirx.LT(self.thread, i64(LANES)),
            lambda scope: lanes.store(scope, [self.thread], own.load(i64(0))),
        )
        barrier(code)
        return self.reduction.merged(code, lanes, i64(0), LANES)

    def _all_chains(self, code: Code, start: Expr, count: int | Expr) -> None:
        """All lanes of some blocks, which have ``count`` elements from ``start`` on."""
        if isinstance(count, int):
            chains: int | Expr = LANES * max(-(-count // BLOCK), 1)
        else:
            chains = code.bind(quotient(count + (BLOCK - 1), i64(BLOCK)) * LANES)
        if self.staged is not None:
            self.reduction.stage(code, self.read, self.staged, start, count)
        self.team.each(code, chains, lambda s, number: self._chain(s, number, start, count))
        barrier(code)

    def _chain(self, code: Code, number: Expr, start: Expr, count: int | Expr) -> None:
        block = code.bind(quotient(number, i64(LANES)) * BLOCK)
        lane = code.bind(remainder(number, i64(LANES)))
        own = self.reduction.new(code)
        if isinstance(count, int) and count % LANES == 0 and count <= BLOCK:
            steps: int | Expr = count // LANES
        else:
            inside = tirx.min(i64(BLOCK), count - block)
            steps = code.bind(quotient(tirx.max(inside + (LANES - 1) - lane, i64(0)), i64(LANES)))
        first = code.bind(block + lane if self.staged else start + block + lane)

        def step(scope: Code, n: Expr) -> None:
            i = scope.bind(first + n * LANES)
            x = scope.keep(self.staged.load([i])) if self.staged else self.read(scope, i)
            self.reduction.accumulate(scope, own, x)

        code.loop(steps, step)
        self.chains.store(code, [number], own.load(i64(0)))
