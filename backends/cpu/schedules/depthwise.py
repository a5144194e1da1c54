"""Depthwise convolutions: vectors of 16 channels, weights packed as [C/16][taps][16]."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Code, Kernel, delinearize, store_results, vector_index
from aivmc.backends.cpu.schedules.geometry import static, taps_of
from aivmc.backends.cpu.schedules.inner_product import one_by_one
from aivmc.backends.tir_emit import Expr, i64
from aivmc.ir.core import Op
from aivmc.ir.dims import product

_PIXELS = 8  # of a tile: enough chains to hide the latency of fma


def lower_depthwise(kernel: Kernel, root: Op) -> None:
    """Fill in the function: a task is one line of pixels."""
    shape = root.result.tensor.shape
    leading, channels = shape[:-2], shape[-1]
    assert isinstance(channels, int)
    kernel.tasks = product(leading)
    lines = _Lines(kernel, root)

    def task(code: Code, number: Expr) -> None:
        index = delinearize(code, kernel.emit, number, leading)

        def panel(scope: Code, p: Expr) -> None:
            column = scope.bind(p * LANES)
            lines.compute(scope, index, column, LANES)

        code.loop(channels // LANES, panel)
        if channels % LANES:
            first = channels // LANES * LANES
            code.loop(
                channels % LANES,
                lambda s, i: lines.compute(s, index, s.bind(i + first), 1),
            )

    kernel.code.span(kernel.begin, kernel.end, task)


class _Lines:
    def __init__(self, kernel: Kernel, root: Op) -> None:
        self.kernel, self.emit, self.root = kernel, kernel.emit, root
        self.x, self.w = (kernel.tensors[v] for v in root.operands)
        self.taps = taps_of(static(self.w.type.shape[2:]))
        self.product = one_by_one(self.emit, root.result.tensor.dtype)

    def compute(self, code: Code, index: Sequence[Expr], column: Expr, lanes: int) -> None:
        """All pixels of a line for ``lanes`` channels from ``column``."""
        width = self.root.result.tensor.shape[-2]
        panel = code.bind(tirx.floordiv(column, i64(LANES)))
        lane = code.bind(tirx.floormod(column, i64(LANES)))
        base = code.bind(panel * (len(self.taps) * LANES) + lane)
        weights = [
            code.bind(self.w.array.load(base + tap * LANES, lanes)) for tap in range(len(self.taps))
        ]

        def tile(scope: Code, pixel: Expr, count: int) -> None:
            self._tile(scope, [*index, pixel], column, lanes, weights, count)

        if isinstance(width, int):
            whole = width // _PIXELS
            code.loop(whole, lambda s, i: tile(s, s.bind(i * _PIXELS), _PIXELS))
            if width % _PIXELS:
                tile(code, i64(whole * _PIXELS), width % _PIXELS)
            return
        total = self.emit.dim(width)
        tiles = code.bind(tirx.floordiv(total, i64(_PIXELS)))
        code.loop(tiles, lambda s, i: tile(s, s.bind(i * _PIXELS), _PIXELS))
        code.span(tiles * _PIXELS, total, lambda s, i: tile(s, i, 1))

    def _tile(
        self,
        code: Code,
        index: list[Expr],
        column: Expr,
        lanes: int,
        weights: Sequence[Expr],
        count: int,
    ) -> None:
        product, dtype = self.product, self.product.dtype
        zero = self.emit.const(0.0 if dtype.is_float else 0, dtype)
        sums = [tirx.Broadcast(zero, lanes) if lanes > 1 else zero for _ in range(count)]
        for tap, weight in zip(self.taps, weights):
            for pixel in range(count):
                source = self._source(index, pixel, tap, column)
                x = code.bind(self.emit.cast(self.x.array.load(source, lanes), dtype))
                sums[pixel] = code.bind(product.step(sums[pixel], x, weight))
        for pixel, total in enumerate(sums):
            channel = vector_index(column) if lanes > 1 else column
            at = [*index[:-1], code.bind(index[-1] + pixel), channel]
            x = product.sums([total])
            x = code.bind(self.emit.add(x, zero) if dtype.is_float else x)
            store_results(self.kernel, code, at, self.root.result, x)

    def _source(self, index: list[Expr], pixel: int, tap: Sequence[int], column: Expr) -> Expr:
        attributes = self.root.attributes
        image, *places = index
        places = [*places[:-1], places[-1] + pixel]
        at = [image]
        for axis, place in enumerate(places):
            at.append(
                place * attributes["strides"][axis] + tap[axis] * attributes["dilations"][axis]
            )
        return self.x.offset([*at, column])
