"""Contractions as tiles see them: where rows and columns start, and where k is in each."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import Protocol

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize
from aivmc.backends.cpu.schedules.geometry import Epilogue, by_lines, flattened, matrix_offset
from aivmc.backends.cuda.schedules.product import SUMS, Product
from aivmc.backends.cuda.schedules.tile_shapes import DEPTH, VECTOR
from aivmc.backends.tir_emit import Expr, i64, lanes_of, quotient, remainder, tir_type
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.types import DType

_LEAST_UNIT, _GOOD_UNIT, _MOST_UNIT = 4, 12, 16  # steps of windows that enter a buffer at once
_INTEGER_BLOCK = 512  # of k; any would do
MOST_PADDED_TAPS = 63  # of a window: a row has a bit for each
_MOST_NARROW = 1 << 30  # indices that have 32 bits, with room for a step more


def has_schedule(root: Op) -> bool:
    """Whether a contraction is done by a schedule of GPUs; else its weights can't be packed."""
    weights, attributes = root.operands[1].tensor.shape, root.attributes
    if root.result.tensor.dtype.wide not in SUMS:
        return False
    if root.name == "det.matmul":
        return bool(attributes["block"] % DEPTH == 0)
    if root.name != "det.conv" or attributes["layout"] != "channels_last":
        return False
    static, taps = all(isinstance(d, int) for d in weights), product(weights[2:])
    one = attributes["block"] == weights[1]
    return static and (one or attributes["block"] * taps % DEPTH == 0)


class Contraction(Protocol):
    """``lines`` results of ``rows`` by ``columns`` sums, each over ``depth`` steps of k.

    Blocks of ``block`` steps are summed apart. ``a_lanes`` and ``b_lanes`` divide how many
    neighbours can be loaded at once, along k and along columns; ``lanes`` how many can be stored.
    Tiles take ``unit`` steps at once; an element of A takes ``loads``, as ``tile_for`` has it.
    """

    product: Product
    epilogue: Epilogue
    lines: Dim
    rows: Dim
    columns: Dim
    depth: Dim
    block: int
    a_lanes: int
    b_lanes: int
    lanes: int
    unit: int
    loads: int

    def row(self, code: Code, line: Expr, row: Expr) -> Expr:
        """Where a row of A starts, as ``a`` takes it."""

    def column(self, code: Code, line: Expr, column: Expr) -> Expr:
        """Where a column of B starts."""

    def a(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        """Steps of the row that starts there, from ``k`` on."""

    def b(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        """Step ``k`` of columns from that on which starts there."""

    def store(self, code: Code, line: Expr, row: Expr, column: Expr, sums: Expr) -> None:
        """Store what becomes of the sums of a row from ``column`` on."""


class _Operands:
    """What both kinds have in common: elements or words of bytes are loaded, results stored."""

    depth: Dim

    def __init__(self, kernel: Kernel, root: Op, product: Product, epilogue: Epilogue) -> None:
        self.emit, self.root, self.epilogue = kernel.emit, root, epilogue
        self.product, self.group = product, product.group
        self.tensors = [kernel.tensors[v] for v in root.operands]

    def load(self, code: Code, operand: int, at: Expr, lanes: int) -> Expr:
        """Elements from ``at`` on, or words."""
        x = self.tensors[operand].array.load(code.bind(at), lanes * self.group)
        if self.group > 1:
            return tirx.reinterpret(tir_type(DType.I32, lanes), x)
        return self.emit.cast(x, self.product.dtype)

    def load_bytes(self, code: Code, at: Expr, left: Expr) -> Expr:
        """A word that is not aligned, of A, whose row has ``left`` bytes more. What is beyond them
        is multiplied by zeros."""
        array = self.tensors[0].array
        word = code.array(self.group, array.dtype)
        for i in range(self.group):
            word.store(code, i64(i), array.load(code.bind(at + tirx.min(left - 1, i))))
        return tirx.reinterpret(tir_type(DType.I32), word.load(i64(0), self.group))

    def times(self, k: Expr, stride: Dim) -> Expr:
        """``k`` rows of B, of that ``stride``: in 64 bits, if all of them need that."""
        is_small = isinstance(stride, int) and index_type(self.depth * stride) == "int32"
        return k * (stride if is_small else self.emit.dim(stride))

    def finish(self, code: Code, index: list[Expr], sums: Expr) -> None:
        """Store what becomes of ``sums``, results from ``index`` on along the last axis."""
        dtype = self.product.dtype
        if self.root.name == "det.conv" and dtype.is_float:
            sums = self.emit.add(sums, self.emit.const(0.0, dtype))
        x = code.keep(self.emit.cast(code.keep(sums), self.root.result.tensor.dtype))
        lanes = lanes_of(x)
        last = tirx.Ramp(index[-1], i64(1), lanes) if lanes > 1 else index[-1]
        self.epilogue.store(code, self.emit, [*index[:-1], last], x)


class Matmul(_Operands):
    """A line for each matrix; one in all where B is one."""

    unit = DEPTH

    def __init__(self, kernel: Kernel, root: Op, product_: Product, packed: bool) -> None:
        a, b = (v.tensor.shape for v in root.operands)
        shape = root.result.tensor.shape
        one = product(b[:-2]) == 1
        super().__init__(kernel, root, product_, (flattened if one else by_lines)(kernel, root))
        self.at_type = index_type(product(a))
        self.inner, self.columns = a[-1], shape[-1]
        self.lines: Dim = 1 if one else product(shape[:-2])
        self.rows = product(shape[:-1]) if one else shape[-2]
        self.depth = ceil_div(self.inner, self.group)
        self.block: int = root.attributes["block"] or _INTEGER_BLOCK // self.group
        self.stride = ceil_div(self.columns, VECTOR) * VECTOR if packed else self.columns
        self.is_aligned = self.group == 1 or _static(self.inner) % self.group == 0
        self.a_lanes = _static(self.depth) if self.is_aligned else 1
        self.loads = _loads(self)
        self.b_lanes, self.lanes = _static(self.stride), _static(self.columns)
        self.starts = [
            (lambda code, line: i64(0)) if one else matrix_offset(kernel, shape[:-2], s)
            for s in (a, b)
        ]

    def row(self, code: Code, line: Expr, row: Expr) -> Expr:
        at = self.starts[0](code, line) + row * self.emit.dim(self.inner)
        return code.bind(tirx.Cast(self.at_type, at))

    def column(self, code: Code, line: Expr, column: Expr) -> Expr:
        return code.bind(self.starts[1](code, line) + column * self.group)

    def a(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        at = start + k * self.group
        if self.is_aligned:
            return self.load(code, 0, at, lanes)
        inner = self.inner if isinstance(self.inner, int) else self.emit.dim(self.inner)
        return self.load_bytes(code, at, inner - k * self.group)

    def b(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        return self.load(code, 1, start + self.times(k, self.stride * self.group), lanes)

    def store(self, code: Code, line: Expr, row: Expr, column: Expr, sums: Expr) -> None:
        self.finish(code, [*self.epilogue.outer(code, line, row), column], sums)


class Convolution(_Operands):
    """Rows are places in the image, columns are features, a line is a group.

    k is (channel, tap), the tap faster; of words it is (tap, channel), for any order is exact.
    """

    def __init__(self, kernel: Kernel, root: Op, product_: Product, packed: bool) -> None:
        super().__init__(kernel, root, product_, flattened(kernel, root))
        image, weights = (v.tensor.shape for v in root.operands)
        features, self.channels, *window = map(_static, weights)
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
        self.bits_type = "int64" if self.taps * (2 if self.windows else 1) > 31 else "int32"
        whole_units = _INTEGER_BLOCK // self.group // self.unit * self.unit
        self.block: int = block * self.taps or whole_units
        whole = -(-self.columns // VECTOR) * VECTOR if groups == 1 else self.columns
        self.stride = whole if packed else 0  # weights that aren't packed have k fastest
        self.is_aligned = self.channels % self.group == 0
        self.is_padded = any((*root.attributes["low"], *root.attributes["high"]))
        self.b_lanes, self.lanes = self.stride or 1, self.columns
        self.a_lanes = 1
        if self.is_aligned and (self.taps == 1 or self.group > 1):
            self.a_lanes = self.words
        self.at_type = index_type(product(image))
        steps = (product(image[axis:]) for axis in range(1, len(image)))
        self.loads = 0 if self.by_windows else _loads(self)
        self.steps = [d if isinstance(d, int) else self.emit.dim(d) for d in steps]

    def row(self, code: Code, line: Expr, row: Expr) -> Expr:
        """And, where there is padding, which taps of the window are inside: a bit for each."""
        row = tirx.Cast(self.at_type, row)
        batch, *places = delinearize(code, self.emit, row, self.places)
        attributes = self.root.attributes
        at = [
            code.bind(place * stride - low)
            for place, stride, low in zip(places, attributes["strides"], attributes["low"])
        ]
        start = batch * self.steps[0] + line * self.channels + self._offset(at)
        start = code.bind(tirx.Cast(self.at_type, start))
        if not self.is_padded:
            return start
        bits = self._inside(code, at)
        if self.windows:
            # All units test the same bits, so LLVM would keep a predicate for each, of which there
            # are few: units take turns with a copy.
            again = tirx.shift_left(bits, tirx.const(self.taps, self.bits_type))
            bits = code.keep(tirx.bitwise_or(bits, again))
        return start, bits

    def _inside(self, code: Code, at: Sequence[Expr]) -> Expr:
        """The taps inside of the window that starts ``at`` a place."""
        bits, taps = tirx.const(1, self.bits_type), 1
        image = self.tensors[0].type.shape
        for axis in reversed(range(len(at))):
            size, dilation = self.emit.dim(image[1 + axis]), self.root.attributes["dilations"][axis]
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
            return code.bind((line * (self.depth * self.stride) + column) * self.group)
        return code.bind((line * self.columns + column) * self.depth)

    def a(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        fast = self.words if self.group > 1 else self.taps
        parts = [code.bind(f(k, fast)) for f in (quotient, remainder)]
        tap, channel = parts if self.group > 1 else parts[::-1]
        return self._read(code, start, (channel, tap), tap, lanes)

    def first(self, code: Code, start: Expr, unit: Expr) -> Expr:
        """The first step of a unit, of the row that starts there."""
        if self.windows:
            step = code.bind(unit * self.windows), tirx.const(0, unit.ty.dtype)
            return self._read(code, start, step, remainder(unit, 2) * self.taps, 1)
        channel, part = (code.bind(f(unit, self.taps // self.unit)) for f in (quotient, remainder))
        tap = code.bind(part * self.unit)
        return self._read(code, start, (channel, tap), tap, 1)

    def moved(self, code: Code, start: Expr, steps: Expr) -> Expr:
        """Where a row starts of which a unit's first step is the one so many ``steps`` after it:
        they are as far apart in all units."""
        channel, tap = (code.bind(f(steps, self.taps)) for f in (quotient, remainder))
        first, bits = start if self.is_padded else (start, None)
        at = code.bind(first + (self._of_tap(code, tap) + channel))
        if bits is None:
            return at
        return at, code.keep(tirx.shift_right(bits, tirx.Cast(self.bits_type, tap)))

    def _read(
        self, code: Code, start: Expr, step: tuple[Expr, Expr], number: Expr, lanes: int
    ) -> Expr:
        """A channel and tap, or channels from it on, which are inside if the bit of that ``number``
        says so."""
        channel, tap = step
        first, bits = start if self.is_padded else (start, None)
        at = code.bind(first + (self._of_tap(code, tap) + channel * self.group))
        if bits is None:
            return self._load_steps(code, at, channel, lanes)
        one, place = tirx.const(1, self.bits_type), tirx.Cast(self.bits_type, number)
        bit = code.keep(tirx.bitwise_and(tirx.shift_right(bits, place), one))
        inside = tirx.EQ(bit, one)
        at = code.bind(tirx.Select(inside, at, tirx.const(0, at.ty.dtype)))
        x = code.keep(self._load_steps(code, at, channel, lanes))
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


def _loads(contraction: Matmul | Convolution) -> int:
    if not contraction.is_aligned:
        return contraction.group
    return 1 if contraction.a_lanes % VECTOR else 0


def index_type(size: Dim) -> str:
    """Of indices in so many elements."""
    return "int32" if isinstance(size, int) and size < _MOST_NARROW else "int64"


def _static(dim: Dim) -> int:
    """A dim if it is known, else 1, which nothing more divides."""
    return dim if isinstance(dim, int) else 1


def blocks_of(depth: Dim, block: int) -> Dim:
    """How many blocks of k there are; a ``block`` of 0 has all of it."""
    if not block or (isinstance(depth, int) and depth <= block):
        return 1
    return ceil_div(depth, block)
