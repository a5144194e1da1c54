"""Matrix products and convolutions: by tiles where they are large, else an element at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize, store_results
from aivmc.backends.cpu.schedules.direct import Direct
from aivmc.backends.cuda.schedules.tiles import Contraction, Index, neighbours
from aivmc.backends.tir_emit import Expr, i64, lanes_of, quotient, remainder, splat
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product
from aivmc.ir.types import DType, Shape


def lower_elements(kernel: Kernel, root: Op) -> None:
    """Fill in the function of a ``kernel.contract`` whose tasks are the elements of its result."""
    shape = root.result.tensor.shape
    kernel.tasks = product(shape)
    direct = Direct(kernel, root)
    kernel.code.span(
        kernel.begin,
        kernel.end,
        lambda code, number: direct.element(code, delinearize(code, kernel.emit, number, shape)),
    )


def contraction_of(kernel: Kernel, root: Op) -> Contraction | None:
    """The contraction in a form that tiles take; None for one that they don't."""
    if any(v.tensor.dtype is not DType.F32 for v in root.operands):
        return None
    if root.name == "det.matmul":
        return _Matmul(kernel, root)
    if root.name != "det.conv" or root.attributes["layout"] != "channels_last":
        return None
    static = all(isinstance(d, int) for d in root.operands[1].tensor.shape)
    return _Convolution(kernel, root) if static else None


class _Matmul:
    def __init__(self, kernel: Kernel, root: Op) -> None:
        self.kernel, self.root = kernel, root
        self.operands = [kernel.tensors[v] for v in root.operands]
        *batch, self.rows, self.columns = root.result.tensor.shape
        self.batch: Shape = tuple(batch)
        self.depth = root.operands[0].tensor.shape[-1]
        self.block = root.attributes["block"]
        self.a_lanes = _static(self.depth)
        self.b_lanes = self.lanes = _static(self.columns)

    def a(self, code: Code, batch: Index, row: Expr, k: Expr, lanes: int) -> Expr:
        return self._load(0, batch, row, neighbours(k, lanes))

    def b(self, code: Code, batch: Index, k: Expr, column: Expr, lanes: int) -> Expr:
        return self._load(1, batch, k, neighbours(column, lanes))

    def store(self, code: Code, batch: Index, row: Expr, column: Expr, total: Expr) -> None:
        index = [*batch, row, neighbours(column, lanes_of(total))]
        store_results(self.kernel, code, index, self.root.result, total)

    def _load(self, operand: int, batch: Index, *at: Expr) -> Expr:
        tensor = self.operands[operand]
        shape = tensor.type.shape[:-2]
        own = batch[len(batch) - len(shape) :]
        return tensor.load([*(i64(0) if d == 1 else i for i, d in zip(own, shape)), *at])


class _Convolution:
    """Rows are places in the image, columns are features, k is (channel, tap). The batch is the
    groups."""

    def __init__(self, kernel: Kernel, root: Op) -> None:
        self.kernel, self.emit, self.root = kernel, kernel.emit, root
        self.image, self.weights = (kernel.tensors[v] for v in root.operands)
        features, self.channels, *window = (_static(d) for d in self.weights.type.shape)
        self.window = tuple(window)
        self.taps = int(product(self.window))  # type: ignore[arg-type]
        self.places = root.result.tensor.shape[:-1]
        groups = root.attributes["group"]
        self.batch: Shape = (groups,)
        self.rows: Dim = product(self.places)
        self.width = features // groups
        self.columns: Dim = self.width
        self.depth: Dim = self.channels * self.taps
        self.block = root.attributes["block"] * self.taps
        # Channels are neighbours where a window is one place.
        self.a_lanes = self.channels if self.taps == 1 else 1
        self.b_lanes, self.lanes = 1, self.width

    def a(self, code: Code, batch: Index, row: Expr, k: Expr, lanes: int) -> Expr:
        channel, tap = quotient(k, i64(self.taps)), remainder(k, i64(self.taps))
        image, *places = delinearize(code, self.emit, row, self.places)
        at, inside = self._place(code, places, delinearize(code, self.emit, tap, self.window))
        first = code.bind(batch[0] * self.channels + channel)
        x = self.image.load([image, *at, neighbours(first, lanes)])
        if inside is None:
            return x
        zero = splat(self.emit.const(0.0, DType.F32), lanes)
        return self.emit.select(splat(inside, lanes), x, zero)

    def b(self, code: Code, batch: Index, k: Expr, column: Expr, lanes: int) -> Expr:
        feature = batch[0] * self.width + column
        return self.weights.array.load(code.bind(feature * self.depth + k))

    def store(self, code: Code, batch: Index, row: Expr, column: Expr, total: Expr) -> None:
        lanes = lanes_of(total)
        feature = code.bind(batch[0] * self.width + column)
        index = [*delinearize(code, self.emit, row, self.places), neighbours(feature, lanes)]
        total = code.keep(self.emit.add(total, self.emit.const(0.0, DType.F32)))
        store_results(self.kernel, code, index, self.root.result, total)

    def _place(
        self, code: Code, places: Sequence[Expr], tap: Sequence[Expr]
    ) -> tuple[Index, Expr | None]:
        """Where a tap reads, moved inside, and whether it was; None if it always is."""
        attributes, at, inside = self.root.attributes, [], None
        for axis, place in enumerate(places):
            low, high = attributes["low"][axis], attributes["high"][axis]
            step = tap[axis] * attributes["dilations"][axis] - low
            i = code.bind(place * attributes["strides"][axis] + step)
            if low or high:
                size = self.emit.dim(self.image.type.shape[1 + axis])
                here = tirx.And(tirx.GE(i, i64(0)), tirx.LT(i, size))
                inside = here if inside is None else tirx.And(inside, here)
                i = code.bind(tirx.max(i64(0), tirx.min(i, size - 1)))
            at.append(i)
        return at, inside


def _static(dim: Dim) -> int:
    """A dim if it is known, else 1, which nothing more divides."""
    return dim if isinstance(dim, int) else 1
