"""Depthwise convolutions: a thread has some neighbours in a line, of a vector of channels.

Neighbouring threads have neighbouring channels, so that they read and write whole lines of memory.
The taps are unrolled; what several places of a thread read is loaded once.
"""

from __future__ import annotations

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize, store_results
from aivmc.backends.cpu.schedules.geometry import epilogue_of, is_heavy, static, taps_of
from aivmc.backends.cuda.schedules.operands import index_type, padded
from aivmc.backends.cuda.schedules.product import Product
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR
from aivmc.backends.tir_emit import Expr, i64, splat
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div, product

_PLACES = (4, 2)  # of a thread, where they divide a line and leave as many threads
_THREADS = 1 << 16


def lower_depthwise(kernel: Kernel, root: Op, own: Product, packed: bool) -> None:
    """Fill in the function of a ``kernel.contract``; ``packed`` weights have the channels last."""
    *outer, width, channels = root.result.tensor.shape
    lanes = VECTOR if packed and isinstance(channels, int) and channels % VECTOR == 0 else 1
    vectors = ceil_div(channels, lanes)
    # Long epilogues need many registers for each place.
    is_long = is_heavy(epilogue_of(kernel.region, root))
    places = 1 if is_long else _places(width, product([*outer, width, vectors]))
    grid = (*outer, ceil_div(width, places), vectors)
    kernel.tasks = product(grid)
    depthwise = _Depthwise(kernel, root, own, packed, lanes)
    images = grid[0], product(grid[1:])  # and the tasks of one

    def task(code: Code, number: Expr) -> None:
        number = code.bind(tirx.Cast(index_type(kernel.tasks), number))
        image, place = delinearize(code, kernel.emit, number, images)
        place = code.bind(tirx.Cast(depthwise.at_type, place))
        *index, group, vector = image, *delinearize(code, kernel.emit, place, grid[1:])
        first = [*index, code.bind(group * places)]
        depthwise.compute(code, first, code.bind(vector * lanes), places)

    kernel.code.span(kernel.begin, kernel.end, task)


def _places(width: Dim, threads: Dim) -> int:
    if not isinstance(width, int) or not isinstance(threads, int):
        return 1
    return next((n for n in _PLACES if width % n == 0 and threads // n >= _THREADS), 1)


class _Depthwise:
    def __init__(self, kernel: Kernel, root: Op, own: Product, packed: bool, lanes: int) -> None:
        self.kernel, self.emit, self.root, self.product = kernel, kernel.emit, root, own
        self.x, self.w = (kernel.tensors[v] for v in root.operands)
        self.lanes = lanes
        self.taps = taps_of(static(self.w.type.shape[2:]))
        images = (product(shape[1:]) for shape in (padded(root), root.result.tensor.shape))
        self.at_type = "int32" if {*map(index_type, images)} == {"int32"} else "int64"
        image = self.x.type.shape
        self.steps = [self.emit.narrow(product(image[i:])) for i in range(1, len(image) + 1)]
        features = self.w.type.shape[0]
        self.tap_step = ceil_div(features, VECTOR) * VECTOR if packed else 1
        self.channel_step = 1 if packed else len(self.taps)

    def compute(self, code: Code, first: list[Expr], channel: Expr, places: int) -> None:
        """The results of so many places from ``first`` on."""
        dtype, lanes = self.product.dtype, self.lanes
        zero = splat(self.emit.const(0, dtype), lanes)
        sums = [code.array(lanes, dtype) for _ in range(places)]
        for each in sums:
            each.store(code, i64(0), zero)
        for number, tap in enumerate(self.taps):
            at = code.bind(channel * self.channel_step + number * self.emit.dim(self.tap_step))
            weight = self._loaded(code, self.w.array.load(at, lanes))
            for n, each in enumerate(sums):
                x = self._image(code, first, n, tap, channel)
                each.store(code, i64(0), self.product.step(each.load(i64(0), lanes), x, weight))
        one = tirx.const(1, channel.ty.dtype)
        channels = tirx.Ramp(channel, one, lanes) if lanes > 1 else channel
        for n, each in enumerate(sums):
            x = each.load(i64(0), lanes)
            x = code.keep(self.emit.add(x, zero) if dtype.is_float else x)
            x = code.keep(self.emit.cast(x, self.root.result.tensor.dtype))
            index = [*first[:-1], code.bind(first[-1] + n), channels]
            store_results(self.kernel, code, index, self.root.result, x)

    def _loaded(self, code: Code, x: Expr) -> Expr:
        return code.keep(self.emit.cast(x, self.product.dtype))

    def _image(
        self, code: Code, first: list[Expr], n: int, tap: tuple[int, ...], channel: Expr
    ) -> Expr:
        """What a tap of the ``n``-th place reads: 0 where that is padding."""
        image, *places = first
        attributes, at, inside = self.root.attributes, [], None
        for axis, place in enumerate(places):
            last = axis == len(places) - 1
            stride, low = attributes["strides"][axis], attributes["low"][axis]
            step = tap[axis] * attributes["dilations"][axis] - low + n * stride * last
            i = code.bind(place * stride + step)
            if low or attributes["high"][axis]:
                size = self.emit.narrow(self.x.type.shape[1 + axis])
                here = tirx.And(i >= 0, i < size)
                inside = here if inside is None else tirx.And(inside, here)
            at.append(i)
        start = code.bind(image * self.steps[0])
        source = code.bind(sum(i * step for i, step in zip([*at, channel], self.steps[1:])))
        if inside is not None:
            source = code.bind(tirx.Select(inside, source, tirx.const(0, source.ty.dtype)))
        x = self._loaded(code, self.x.array.load(code.bind(start + source), self.lanes))
        if inside is None:
            return x
        zero = self.emit.const(0, self.product.dtype)
        return code.keep(self.emit.select(inside, x, zero))
