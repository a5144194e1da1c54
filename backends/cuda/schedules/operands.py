"""Contractions as tiles see them: where rows and columns start, and where k is in each."""

from __future__ import annotations

from typing import Protocol

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel
from aivmc.backends.cpu.schedules.geometry import Epilogue, by_lines, flattened, matrix_offset
from aivmc.backends.cuda.schedules.product import SUMS, Product
from aivmc.backends.cuda.schedules.tile_shapes import DEPTH, VECTOR, Loads
from aivmc.backends.tir_emit import Expr, i64, lanes_of, tir_type
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.types import DType, Shape
from aivmc.ptx.gpus import NARROW

INTEGER_BLOCK = 512  # of k; any would do


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


def padded(root: Op) -> Shape:
    """The image of a convolution, channels last, with what is around it: windows start there."""
    (batch, *places, channels), attributes = root.operands[0].tensor.shape, root.attributes
    ends = zip(places, attributes["low"], attributes["high"])
    return batch, *(place + low + high for place, low, high in ends), channels


class Contraction(Protocol):
    """``lines`` results of ``rows`` by ``columns`` sums, each over ``depth`` steps of k.

    Blocks of ``block`` steps are summed apart. ``a_lanes`` and ``b_lanes`` divide how many
    neighbours can be loaded at once, along k and along columns; ``lanes`` how many can be stored.
    Tiles take ``unit`` steps at once.
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

    @property
    def loads(self) -> Loads:
        """As ``tile_for`` has it."""

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


class Operands:
    """What both kinds have in common: elements or words of bytes are loaded, results stored."""

    depth: Dim
    a_lanes: int
    b_lanes: int
    is_aligned: bool  # words in rows of A
    b_type: str  # of indices

    def __init__(self, kernel: Kernel, root: Op, product: Product, epilogue: Epilogue) -> None:
        self.emit, self.root, self.epilogue = kernel.emit, root, epilogue
        self.product, self.group = product, product.group
        self.tensors = [kernel.tensors[v] for v in root.operands]

    @property
    def loads(self) -> Loads:
        is_vector = self.is_aligned and self.a_lanes % VECTOR == 0
        one_by_one = 1 if self.is_aligned else self.group
        width = 1 if self.b_type == "int32" else 2
        return Loads(0 if is_vector else one_by_one, self.b_lanes % 2 * width)

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
        is_wide = index_type(self.depth * stride) == "int64"
        return k * (self.emit.dim(stride) if is_wide else self.emit.narrow(stride))

    def finish(self, code: Code, index: list[Expr], sums: Expr) -> None:
        """Store what becomes of ``sums``, results from ``index`` on along the last axis."""
        dtype = self.product.dtype
        if self.root.name == "det.conv" and dtype.is_float:
            sums = self.emit.add(sums, self.emit.const(0.0, dtype))
        x = code.keep(self.emit.cast(code.keep(sums), self.root.result.tensor.dtype))
        lanes = lanes_of(x)
        last = tirx.Ramp(index[-1], i64(1), lanes) if lanes > 1 else index[-1]
        self.epilogue.store(code, self.emit, [*index[:-1], last], x)


class Matmul(Operands):
    """A line for each matrix; one in all where B is one."""

    unit = DEPTH

    def __init__(self, kernel: Kernel, root: Op, product_: Product, packed: bool) -> None:
        a, b = (v.tensor.shape for v in root.operands)
        shape = root.result.tensor.shape
        one = product(b[:-2]) == 1
        super().__init__(kernel, root, product_, (flattened if one else by_lines)(kernel, root))
        self.a_type = index_type(product(a))
        self.inner, self.columns = a[-1], shape[-1]
        self.lines: Dim = 1 if one else product(shape[:-2])
        self.rows = product(shape[:-1]) if one else shape[-2]
        self.depth = ceil_div(self.inner, self.group)
        self.block: int = root.attributes["block"] or INTEGER_BLOCK // self.group
        self.stride = ceil_div(self.columns, VECTOR) * VECTOR if packed else self.columns
        self.is_aligned = self.group == 1 or _static(self.inner) % self.group == 0
        self.b_type = index_type(product(b[:-2]) * self.depth * self.stride * self.group)
        self.a_lanes = _static(self.depth) if self.is_aligned else 1
        self.b_lanes, self.lanes = _static(self.stride), _static(self.columns)
        self.starts = [
            (lambda code, line: i64(0)) if one else matrix_offset(kernel, shape[:-2], s)
            for s in (a, b)
        ]

    def row(self, code: Code, line: Expr, row: Expr) -> Expr:
        at = self.starts[0](code, line) + row * self.emit.narrow(self.inner)
        return code.bind(tirx.Cast(self.a_type, at))

    def column(self, code: Code, line: Expr, column: Expr) -> Expr:
        at = self.starts[1](code, line) + tirx.Cast("int64", column) * self.group
        return code.bind(tirx.Cast(self.b_type, at))

    def a(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        at = start + k * self.group
        if self.is_aligned:
            return self.load(code, 0, at, lanes)
        return self.load_bytes(code, at, self.emit.narrow(self.inner) - k * self.group)

    def b(self, code: Code, start: Expr, k: Expr, lanes: int) -> Expr:
        return self.load(code, 1, start + self.times(k, self.stride * self.group), lanes)

    def store(self, code: Code, line: Expr, row: Expr, column: Expr, sums: Expr) -> None:
        self.finish(code, [*self.epilogue.outer(code, line, row), column], sums)


def index_type(size: Dim) -> str:
    """Of indices in so many elements. Where dims are symbolic, launches see to it that there are no
    more than that."""
    return "int32" if not isinstance(size, int) or size < NARROW else "int64"


def _static(dim: Dim) -> int:
    """A dim if it is known, else 1, which nothing more divides."""
    return dim if isinstance(dim, int) else 1


def blocks_of(depth: Dim, block: int) -> Dim:
    """How many blocks of k there are; a ``block`` of 0 has all of it."""
    if not block or (isinstance(depth, int) and depth <= block):
        return 1
    return ceil_div(depth, block)
