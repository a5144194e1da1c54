"""Contractions without a fast schedule: any dtype, group and layout, one element at a time.

The order is the canonical one. A task is one row of results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel, delinearize, store_results
from aivmc.backends.cpu.schedules.geometry import taps_of
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product
from aivmc.ir.errors import UnsupportedError

# Calls back with a and b for a channel: (scope, channel, visit).
Pairs = Callable[[Code, Expr, Callable[[Code, Expr, Expr], None]], None]


def lower_direct(kernel: Kernel, root: Op) -> None:
    """Fill in the function of a ``kernel.contract``."""
    shape = root.result.tensor.shape
    rows, columns = shape[:-1], shape[-1]
    kernel.tasks = product(rows)
    direct = Direct(kernel, root)

    def task(code: Code, number: Expr) -> None:
        outer = delinearize(code, kernel.emit, number, rows)
        code.loop(kernel.emit.dim(columns), lambda s, i: direct.element(s, [*outer, i]))

    kernel.code.span(kernel.begin, kernel.end, task)


class Direct:
    """A contraction's results, each a function of its index."""

    def __init__(self, kernel: Kernel, root: Op) -> None:
        self.kernel, self.emit, self.root = kernel, kernel.emit, root
        self.a, self.b = (kernel.tensors[v] for v in root.operands)
        self.accumulator = root.result.tensor.dtype.wide

    def element(self, code: Code, index: list[Expr]) -> None:
        """One result and what comes after it."""
        pairs_of = {
            "det.matmul": self._matmul,
            "det.conv": self._conv,
            "det.conv_transpose": self._conv_transpose,
        }
        channels, pairs = pairs_of[self.root.name](code, index)
        x = self._contract(code, channels, pairs)
        if self.root.name != "det.matmul" and self.accumulator.is_float:
            x = self.emit.add(x, self.emit.const(0.0, self.accumulator))
        x = code.bind(self.emit.cast(x, self.root.result.tensor.dtype))
        store_results(self.kernel, code, index, self.root.result, x)

    def _contract(self, code: Code, channels: Dim, pairs: Pairs) -> Expr:
        emit, dtype = self.emit, self.accumulator
        block = self.root.attributes["block"]
        total, chain = code.array(1, dtype), code.array(1, dtype)
        if not dtype.is_float:
            block = 0
        start = emit.const(-0.0 if dtype.is_float else 0, dtype)
        total.store(code, i64(0), start)
        count = emit.dim(channels)
        size = i64(block) if block else count

        def one_block(scope: Code, number: Expr) -> None:
            chain.store(scope, i64(0), emit.const(0.0 if dtype.is_float else 0, dtype))
            first = scope.bind(number * size)
            last = tirx.min(count, first + size)
            visit = lambda s, a, b: self._accumulate(s, chain, a, b)  # noqa: E731
            scope.span(first, scope.bind(last), lambda s, channel: pairs(s, channel, visit))
            total.store(scope, i64(0), emit.add(total.load(i64(0)), chain.load(i64(0))))

        # One block at least: the sum of nothing is +0.
        blocks = tirx.max(tirx.floordiv(count + (size - 1), size), i64(1)) if block else i64(1)
        code.loop(code.bind(blocks), one_block)
        return total.load(i64(0))

    def _accumulate(self, code: Code, chain: Array, a: Expr, b: Expr) -> None:
        emit, dtype = self.emit, self.accumulator
        a, b, old = emit.cast(a, dtype), emit.cast(b, dtype), chain.load(i64(0))
        new = emit.fma(a, b, old) if dtype.is_float else emit.add(old, emit.mul(a, b))
        chain.store(code, i64(0), new)

    def _matmul(self, code: Code, index: list[Expr]) -> tuple[Dim, Pairs]:
        *batch, row, column = index

        def at(shape: Sequence[Dim]) -> list[Expr]:
            own = batch[len(batch) - len(shape) + 2 :]
            return [i64(0) if d == 1 else i for i, d in zip(own, shape)]

        a_batch, b_batch = at(self.a.type.shape), at(self.b.type.shape)

        def pairs(scope: Code, k: Expr, visit: Callable[[Code, Expr, Expr], None]) -> None:
            visit(scope, self.a.load([*a_batch, row, k]), self.b.load([*b_batch, k, column]))

        return self.a.type.shape[-1], pairs

    def _conv(self, code: Code, index: list[Expr]) -> tuple[Dim, Pairs]:
        root, emit = self.root, self.emit
        last = root.attributes["layout"] == "channels_last"
        image, *rest = index
        feature, places = (rest[-1], rest[:-1]) if last else (rest[0], rest[1:])
        w = self.b.type.shape
        if not isinstance(w[0], int) or not isinstance(w[1], int):
            raise UnsupportedError("a convolution with a symbolic number of features or channels")
        group = tirx.floordiv(feature, i64(w[0] // root.attributes["group"]))
        channel0 = code.bind(group * w[1])
        space = self.a.type.shape[1:-1] if last else self.a.type.shape[2:]
        taps = taps_of([int(d) for d in w[2:]])  # type: ignore[arg-type]

        def pairs(scope: Code, c: Expr, visit: Callable[[Code, Expr, Expr], None]) -> None:
            for tap in taps:
                at, inside = self._place(scope, places, tap, space)
                channel = channel0 + c
                source = [image, *at, channel] if last else [image, channel, *at]
                x = emit.cast(self.a.load(source), self.accumulator)
                if inside is not None:
                    x = emit.select(inside, x, emit.const(0, self.accumulator))
                visit(scope, scope.bind(x), self.b.load([feature, c, *map(i64, tap)]))

        return w[1], pairs

    def _place(
        self, code: Code, places: Sequence[Expr], tap: Sequence[int], space: Sequence[Dim]
    ) -> tuple[list[Expr], Expr | None]:
        """Where a tap reads, moved inside, and whether it was."""
        attributes, at, inside = self.root.attributes, [], None
        for axis, place in enumerate(places):
            low, high = attributes["low"][axis], attributes["high"][axis]
            step = tap[axis] * attributes["dilations"][axis] - low
            i = code.bind(place * attributes["strides"][axis] + step)
            if low or high:
                size = self.emit.dim(space[axis])
                here = tirx.And(tirx.GE(i, i64(0)), tirx.LT(i, size))
                inside = here if inside is None else tirx.And(inside, here)
                i = code.bind(tirx.max(i64(0), tirx.min(i, size - 1)))
            at.append(i)
        return at, inside

    def _conv_transpose(self, code: Code, index: list[Expr]) -> tuple[Dim, Pairs]:
        """Only what reaches a result contributes to it; nothing is padded."""
        image, feature, *places = index
        x, w, group = self.a.type.shape, self.b.type.shape, self.root.attributes["group"]
        number = code.bind(quotient(feature, self.emit.dim(w[1])))
        own = code.bind(remainder(feature, self.emit.dim(w[1])))
        if not isinstance(w[0], int):
            raise UnsupportedError("a transposed convolution with a symbolic number of channels")
        channels = w[0] // group
        first = code.bind(number * channels)
        taps = taps_of([int(d) for d in w[2:]])  # type: ignore[arg-type]
        sources = [self._source(code, places, tap, x[2:]) for tap in taps]

        def pairs(scope: Code, c: Expr, visit: Callable[..., None]) -> None:
            channel = scope.bind(first + c)
            for tap, (at, reaches) in zip(taps, sources):
                a = self.a.load([image, channel, *at])
                b = self.b.load([channel, own, *map(i64, tap)])
                scope.when(reaches, partial(visit, a=a, b=b))

        return channels, pairs

    def _source(
        self, code: Code, places: Sequence[Expr], tap: Sequence[int], space: Sequence[Dim]
    ) -> tuple[list[Expr], Expr]:
        """Which input a tap brings to a place, and whether there is one."""
        attributes, at, reaches = self.root.attributes, [], tirx.const(True, "bool")
        for axis, place in enumerate(places):
            stride = i64(attributes["strides"][axis])
            reach = tap[axis] * attributes["dilations"][axis] - attributes["low"][axis]
            moved = code.bind(place - reach)
            i = code.bind(tirx.floordiv(moved, stride))
            meets = tirx.EQ(tirx.floormod(moved, stride), i64(0))
            inside = tirx.And(tirx.GE(i, i64(0)), tirx.LT(i, self.emit.dim(space[axis])))
            reaches = tirx.And(reaches, tirx.And(meets, inside))
            at.append(i)
        return at, reaches
