"""Convolutions as contractions: where a window is in the image, and what of it is inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import gcd, prod
from typing import NamedTuple

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize
from aivmc.backends.cpu.schedules.geometry import flattened, static
from aivmc.backends.cuda.schedules.operands import INTEGER_BLOCK, Operands, index_type, padded
from aivmc.backends.cuda.schedules.product import Product
from aivmc.backends.cuda.schedules.tile_shapes import DEPTH, VECTOR, Loads
from aivmc.backends.tir_emit import Expr, quotient, remainder
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product

MOST_PADDED_TAPS = 63  # of a window: a row has a bit for each
_LEAST_UNIT, _GOOD_UNIT, _MOST_UNIT = 4, 12, 16  # steps of windows that enter a buffer at once


class Start(NamedTuple):
    """Where a row starts: ``at`` after the first element of an ``image``. Where there is padding,
    steps of a unit that are inside have ``bits``; the first one's is that of ``mask``."""

    image: Expr
    at: Expr
    bits: Expr | None
    mask: Expr


class Convolution(Operands):
    """Rows are places in the image, columns are features, a line is a group.

    k is (channel, tap), the tap faster; of words it is (tap, channel), for any order is exact.
    """

    def __init__(self, kernel: Kernel, root: Op, product_: Product, packed: bool) -> None:
        super().__init__(kernel, root, product_, flattened(kernel, root))
        image, weights = (v.tensor.shape for v in root.operands)
        features, self.channels, *window = static(weights)
        self.window, self.places = tuple(window), root.result.tensor.shape[:-1]
        self.taps, groups = prod(window), root.attributes["group"]
        self.words = -(-self.channels // self.group)
        self.lines: Dim = groups
        self.rows = product(self.places)
        self.columns: Dim = features // groups
        self.depth: Dim = self.words * self.taps
        block = root.attributes["block"]
        unit = _unit(self.window, gcd(self.channels, block))
        self.by_windows = self.group == 1 and self.taps > 1 and unit >= _LEAST_UNIT
        self.unit = unit if self.by_windows else DEPTH
        self.windows = unit // self.taps if self.by_windows else 0  # whole ones of a unit
        bits = 2 * unit if self.windows else self.taps
        self.bits_type = "int32" if bits < 32 else "int64"
        whole_units = INTEGER_BLOCK // self.group // self.unit * self.unit
        self.block: int = block * self.taps or whole_units
        whole = -(-self.columns // VECTOR) * VECTOR if groups == 1 else self.columns
        self.stride = whole if packed else 0  # weights that aren't packed have k fastest
        self.b_type = index_type(groups * self.depth * max(whole, self.columns) * self.group)
        self.is_aligned = self.channels % self.group == 0
        self.is_padded = any((*root.attributes["low"], *root.attributes["high"]))
        self.b_lanes, self.lanes = self.stride or 1, self.columns
        self.a_lanes = 1
        if self.is_aligned and (self.taps == 1 or self.group > 1):
            self.a_lanes = self.words
        around = padded(root)
        types = {index_type(product(around)), index_type(self.rows)}
        self.row_type = "int32" if types == {"int32"} else "int64"
        # A thread has one window, in one image, or several rows.
        self.a_type = index_type(product(around[1:])) if self.by_windows else self.row_type
        self.by_images = self.a_type != self.row_type
        self.steps = [self.emit.narrow(product(image[axis:])) for axis in range(1, len(image))]

    @property
    def loads(self) -> Loads:
        if not self.by_windows or self.a_type == "int64":
            return super().loads
        return replace(super().loads, a=0)

    def row(self, code: Code, line: Expr, row: Expr) -> Start:
        row = tirx.Cast(self.row_type, row)
        batch, *places = delinearize(code, self.emit, row, self.places)
        attributes = self.root.attributes
        at = [
            code.bind(place * stride - low)
            for place, stride, low in zip(places, attributes["strides"], attributes["low"])
        ]
        image, start = batch * self.steps[0], line * self.channels + self._offset(at)
        if not self.by_images:
            image, start = tirx.const(0, self.a_type), image + start
        image, start = code.bind(image), code.bind(tirx.Cast(self.a_type, start))
        bits = self._inside(code, at) if self.is_padded else None
        if bits is not None and self.windows:
            # All units test the same bits, so LLVM would keep a predicate for each, of which there
            # are few: units take turns with a copy.
            again = range(0, 2 * self.unit, self.taps)
            copies = (tirx.shift_left(bits, tirx.const(n, self.bits_type)) for n in again)
            bits = code.keep(reduce(tirx.bitwise_or, copies))
        return Start(image, start, bits, tirx.const(1, self.bits_type))

    def _inside(self, code: Code, at: Sequence[Expr]) -> Expr:
        """The taps inside of the window that starts ``at`` a place."""
        bits, taps = tirx.const(1, self.bits_type), 1
        image = self.tensors[0].type.shape
        for axis in reversed(range(len(at))):
            size = self.emit.narrow(image[1 + axis])
            dilation = self.root.attributes["dilations"][axis]
            found = none = tirx.const(0, self.bits_type)
            for i in range(self.window[axis]):
                place = at[axis] + i * dilation
                here = tirx.And(place >= 0, place < size)
                these = tirx.Select(here, tirx.shift_left(bits, i * taps), none)
                found = code.keep(tirx.bitwise_or(found, these))  # TVM would repeat it
            bits, taps = found, taps * self.window[axis]
        return bits

    def column(self, code: Code, line: Expr, column: Expr) -> Expr:
        if self.stride:
            at = (line * (self.depth * self.stride) + column) * self.group
        else:
            at = (line * self.columns + column) * self.depth
        return code.bind(tirx.Cast(self.b_type, at))

    def a(self, code: Code, start: Start, k: Expr, lanes: int) -> Expr:
        fast = self.words if self.group > 1 else self.taps
        parts = [code.bind(f(k, fast)) for f in (quotient, remainder)]
        tap, channel = parts if self.group > 1 else parts[::-1]
        return self._read(code, start, (channel, tap), tap, lanes)

    def first(self, code: Code, start: Start, unit: Expr) -> Expr:
        """The first step of a unit, of the row that starts there."""
        if self.windows:
            step = code.bind(unit * self.windows), tirx.const(0, unit.ty.dtype)
            return self._read(code, start, step, remainder(unit, 2) * self.unit, 1)
        channel, part = (code.bind(f(unit, self.taps // self.unit)) for f in (quotient, remainder))
        tap = code.bind(part * self.unit)
        return self._read(code, start, (channel, tap), tap, 1)

    def moved(self, code: Code, start: Start, steps: Expr) -> Start:
        """Where a row starts of which a unit's first step is the one so many ``steps`` after it:
        they are as far apart in all units."""
        channel, tap = (code.bind(f(steps, self.taps)) for f in (quotient, remainder))
        at = code.bind(start.at + (self._of_tap(code, tap) + channel))
        return start._replace(at=at)

    def tested(self, code: Code, start: Start, steps: Expr | int) -> Start:
        """With the bit of the step so many ``steps`` after; a known number takes no register."""
        if start.bits is None:
            return start
        if isinstance(steps, int):
            return start._replace(mask=tirx.const(1 << steps, self.bits_type))
        shift = tirx.Cast(self.bits_type, steps)
        return start._replace(bits=code.keep(tirx.shift_right(start.bits, shift)))

    def _read(
        self, code: Code, start: Start, step: tuple[Expr, Expr], number: Expr, lanes: int
    ) -> Expr:
        """A channel and tap, or channels from it on, which are inside if the bit of that ``number``
        says so."""
        channel, tap = step
        image, at, bits, mask = start
        at = code.bind(at + (self._of_tap(code, tap) + channel * self.group))
        if bits is None:
            return self._load_steps(code, image + at, channel, lanes)
        place = tirx.Cast(self.bits_type, number)
        bit = code.keep(tirx.bitwise_and(tirx.shift_right(bits, place), mask))
        inside = tirx.NE(bit, tirx.const(0, self.bits_type))
        at = code.bind(tirx.Select(inside, at, tirx.const(0, at.ty.dtype)))
        x = code.keep(self._load_steps(code, image + at, channel, lanes))
        return self.emit.select(inside, x, self.emit.const(0, self.product.dtype))

    def _of_tap(self, code: Code, tap: Expr) -> Expr:
        places = delinearize(code, self.emit, tap, self.window)
        return self._offset([p * d for p, d in zip(places, self.root.attributes["dilations"])])

    def _load_steps(self, code: Code, at: Expr, channel: Expr, lanes: int) -> Expr:
        if self.is_aligned:
            return self.load(code, 0, at, lanes)
        return self.load_bytes(code, at, self.channels - channel * self.group)

    def b(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        return self.load(code, 1, start + self.times(k, self.stride * self.group or 1), lanes)

    def store(self, code: Code, line: Expr, row: Expr, column: Expr, sums: Expr) -> None:
        feature = code.bind(line * self.columns + column)
        self.finish(code, [*self.epilogue.outer(code, line, row), feature], sums)

    def _offset(self, places: Sequence[Expr]) -> Expr:
        return sum(p * s for p, s in zip(places, self.steps[1:]))


def _unit(window: Sequence[int], channels: int) -> int:
    """How many steps a unit of windows has: several whole ones, one, or a part of one, which is
    some lines or their like."""
    sizes = [prod(window[axis:]) for axis in range(len(window) + 1)]
    if sizes[0] <= _MOST_UNIT:
        several = range(1, max(_GOOD_UNIT // sizes[0], 1) + 1)
        return sizes[0] * max(n for n in several if channels % n == 0)
    axis = next(axis for axis, size in enumerate(sizes) if size <= _MOST_UNIT)
    several = range(1, _MOST_UNIT // sizes[axis] + 1)
    return sizes[axis] * max(n for n in several if window[axis - 1] % n == 0)
