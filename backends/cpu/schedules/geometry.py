"""What a contraction's code has to know of its operands: where rows, panels and results lie.

The output is seen as lines of rows (pixels, or rows of a matrix) by columns (features). Constant
weights are packed in panels of 16 columns, the same for every target: f32 in k's order, bytes and
i16 with four neighbours of k side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from aivmc.backends.artifact import Packing
from aivmc.backends.cpu.code import LANES, Code, Elements, Kernel, Tensor, delinearize
from aivmc.backends.cpu.schedules.collapse import axis_groups, collapse_region
from aivmc.backends.cpu.schedules.inner_product import GROUP, PACKED_INTEGERS
from aivmc.backends.cpu.schedules.tile import Chain
from aivmc.backends.tir_emit import Expr, TirEmit, i64
from aivmc.ir.core import Op, Region, Value
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.elementary import NAMES
from aivmc.ir.types import DType

_LIGHT = 24  # ops of an epilogue that is unrolled

Offset = Callable[[Code, Expr, Expr], Expr]  # of an element, for a line and a row


def packing(root: Op, weights: str) -> Packing | None:
    """How the second operand of a contraction, the constant with digest ``weights``, is packed:
    panels of 16 features, in each k ascending, zeros beyond the last feature and k. None if it
    isn't."""
    type = root.operands[1].tensor
    group = _group(root.operands[0].tensor.dtype, type.dtype)
    shape = static(type.shape)
    if is_depthwise(root):
        return _packed_features(weights, shape, 1) if group else None
    if not group or not (_is_plain(root) if root.name == "det.conv" else prod(shape[:-2]) == 1):
        return None
    return (_packed_features if root.name == "det.conv" else _packed_columns)(weights, shape, group)


def _group(a: DType, b: DType) -> int:
    """Neighbours of k that packed weights have side by side; 0 if weights are not packed."""
    if a is b is DType.F32:
        return 1
    return GROUP if a in PACKED_INTEGERS and b in PACKED_INTEGERS else 0


def _packed_columns(weights: str, shape: tuple[int, ...], group: int) -> Packing:
    """[K, N] to [N/16][K/group][16][group]."""
    depth, columns = (-(-d // by) for d, by in zip(shape[-2:], (group, LANES)))
    pad = (*(0,) * (len(shape) - 2), -shape[-2] % group, -shape[-1] % LANES)
    if group == 1:
        return Packing(weights, pad, (depth, columns, LANES), (1, 0, 2))
    return Packing(weights, pad, (depth, group, columns, LANES), (2, 0, 3, 1))


def _packed_features(weights: str, shape: tuple[int, ...], group: int) -> Packing:
    """[M, C, *taps] to [M/16][C/group][*taps][16][group]."""
    features, channels, taps = -(-shape[0] // LANES), -(-shape[1] // group), prod(shape[2:])
    pad = (-shape[0] % LANES, -shape[1] % group, *(0,) * (len(shape) - 2))
    if group == 1:
        return Packing(weights, pad, (features, LANES, channels * taps), (0, 2, 1))
    return Packing(weights, pad, (features, LANES, channels, group, taps), (0, 2, 4, 1, 3))


def _is_plain(root: Op) -> bool:
    attributes = root.attributes
    return bool(attributes["group"] == 1 and attributes.get("layout") == "channels_last")


def is_depthwise(root: Op) -> bool:
    """One input channel and one feature for each group."""
    if root.name != "det.conv" or root.attributes["layout"] != "channels_last":
        return False
    weights, group = root.operands[1].tensor.shape, root.attributes["group"]
    return bool(weights[1] == 1 and weights[0] == group)


def static(shape: Sequence[Dim]) -> tuple[int, ...]:
    """A shape known to be static, as a constant's is."""
    return tuple(d for d in shape if isinstance(d, int))


@dataclass(frozen=True)
class Epilogue:
    """What comes after the contraction, with its result as the region's first argument."""

    region: Region
    memory: dict[Value, Tensor]
    outer: Callable[[Code, Expr, Expr], list[Expr]]  # index of a result without its column

    def results(
        self, code: Code, emit: TirEmit, index: list[Expr], x: Expr
    ) -> list[tuple[Value, Expr]]:
        """What it makes of ``x``, the contraction's result at ``index``."""
        result, *operands = self.region.arguments
        known: dict[Value, Callable[[Sequence[Expr]], Expr]] = {
            v: self.memory[v].load for v in operands
        }
        known[result] = lambda _: x
        elements = Elements(code, emit, self.region, known)
        return [(v, elements.at(v, index)) for v in self.region.terminator.operands]

    def store(self, code: Code, emit: TirEmit, index: list[Expr], x: Expr) -> None:
        """Store what it makes of ``x``."""
        for value, y in self.results(code, emit, index, x):
            self.memory[value].store(code, index, y)

    @property
    def is_heavy(self) -> bool:
        return is_heavy(self.region)


@dataclass(frozen=True)
class Geometry:
    """A contraction as lines of rows by columns."""

    lines: Dim
    rows: Dim  # of a line
    columns: Dim
    chain: Chain
    a_start: Offset
    a_row: Expr  # from a row to the next
    a_taps: Sequence[Expr]
    b_start: Callable[[Code, Expr], Expr]  # for a line
    b_panel: Expr
    b_step: Expr  # for each group of channels and tap
    epilogue: Epilogue
    add_zero: bool  # convolutions of floats end with + 0


def geometry_of(kernel: Kernel, root: Op, packed: bool, group: int) -> Geometry:
    """The geometry of a convolution with packed weights, ``group`` channels side by side, or of a
    matrix product."""
    if root.name == "det.conv":
        return _conv(kernel, root, group)
    return _matmul_packed(kernel, root, group) if packed else _matmul_batched(kernel, root)


def is_heavy(epilogue: Region) -> bool:
    """Whether it is too long to be unrolled with a tile."""
    names = [op.name.removeprefix("det.") for op in epilogue.ops]
    return len(names) > _LIGHT or any(n in NAMES for n in names)


def epilogue_of(region: Region, root: Op) -> Region:
    """What comes after the contraction, with its result as an argument."""
    others = [v for v in region.arguments if v not in root.operands]
    shared = [v for v in root.operands if any(v in o.operands for o in region.ops if o is not root)]
    ops = [op for op in region.ops if op is not root]
    return Region((root.result, *others, *dict.fromkeys(shared)), ops)


def flattened(kernel: Kernel, root: Op) -> Epilogue:
    """The epilogue over all rows as one line, as far as its operands allow."""
    region = epilogue_of(kernel.region, root)
    shape = root.result.tensor.shape
    groups = axis_groups(shape, [v.tensor.shape for v in region.arguments], fixed=1)
    collapsed, values = collapse_region(region, len(shape), groups)
    rows = [product(shape[a] for a in group) for group in groups[:-1]]
    memory = {
        values[v]: replace(kernel.tensors[v], type=values[v].tensor)
        for v in (*region.arguments[1:], *kernel.outputs)
    }
    return Epilogue(
        collapsed, memory, lambda code, line, row: delinearize(code, kernel.emit, row, rows)
    )


def by_lines(kernel: Kernel, root: Op) -> Epilogue:
    """The epilogue with lines over all but the last two axes."""
    region = epilogue_of(kernel.region, root)
    leading = root.result.tensor.shape[:-2]
    memory = {v: kernel.tensors[v] for v in (*region.arguments[1:], *kernel.outputs)}

    def outer(code: Code, line: Expr, row: Expr) -> list[Expr]:
        return [*delinearize(code, kernel.emit, line, leading), row]

    return Epilogue(region, memory, outer)


def _matmul_packed(kernel: Kernel, root: Op, group: int) -> Geometry:
    emit, depth = kernel.emit, root.operands[0].tensor.shape[-1]
    return Geometry(
        lines=1,
        rows=product(root.result.tensor.shape[:-1]),
        columns=root.result.tensor.shape[-1],
        chain=Chain(depth, 1, root.attributes["block"]),
        a_start=lambda code, line, row: row * emit.dim(depth),
        a_row=emit.dim(depth),
        a_taps=(i64(0),),
        b_start=lambda code, line: i64(0),
        b_panel=emit.dim(_whole(depth, group) * LANES),
        b_step=i64(LANES * group),
        epilogue=flattened(kernel, root),
        add_zero=False,
    )


def _matmul_batched(kernel: Kernel, root: Op) -> Geometry:
    """A matrix product of two activations: a line for each matrix, b read where it lies."""
    emit, shape = kernel.emit, root.result.tensor.shape
    depth, columns = root.operands[0].tensor.shape[-1], shape[-1]
    a_matrix, b_matrix = (matrix_offset(kernel, shape[:-2], v.tensor.shape) for v in root.operands)
    return Geometry(
        lines=product(shape[:-2]),
        rows=shape[-2],
        columns=columns,
        chain=Chain(depth, 1, root.attributes["block"]),
        a_start=lambda code, line, row: a_matrix(code, line) + row * emit.dim(depth),
        a_row=emit.dim(depth),
        a_taps=(i64(0),),
        b_start=b_matrix,
        b_panel=i64(LANES),
        b_step=emit.dim(columns),
        epilogue=by_lines(kernel, root),
        add_zero=False,
    )


def matrix_offset(
    kernel: Kernel, batch: Sequence[Dim], shape: Sequence[Dim]
) -> Callable[[Code, Expr], Expr]:
    """Where the matrix of a batch number starts in an operand of ``shape``."""
    own = (1,) * (len(batch) - len(shape) + 2) + tuple(shape[:-2])
    size = product(shape[-2:])

    def offset(code: Code, line: Expr) -> Expr:
        index = delinearize(code, kernel.emit, line, batch)
        total: Expr = i64(0)
        for axis, i in enumerate(index):
            if own[axis] != 1:
                total = total + i * kernel.emit.dim(product(own[axis + 1 :]) * size)
        return code.bind(total)

    return offset


def _whole(depth: Dim, group: int) -> Dim:
    """``depth`` as groups fill it."""
    return ceil_div(depth, group) * group


def _conv(kernel: Kernel, root: Op, group: int) -> Geometry:
    emit, shape = kernel.emit, root.result.tensor.shape
    x, w = (v.tensor.shape for v in root.operands)
    strides, dilations = root.attributes["strides"], root.attributes["dilations"]
    window, channels, space = static(w[2:]), x[-1], x[1:-1]
    flat = prod(window) == 1 and prod(strides) == 1
    pixel = [emit.dim(product(space[axis + 1 :]) * channels) for axis in range(len(space))]

    def a_start(code: Code, line: Expr, row: Expr) -> Expr:
        if flat:
            return row * emit.dim(channels)
        image, *places = delinearize(code, emit, line, shape[:-2])
        offset = image * emit.dim(product(space) * channels)
        for place, stride, step in zip([*places, row], strides, pixel):
            offset = offset + place * stride * step
        return offset

    def tap_offset(tap: Sequence[int]) -> Expr:
        return sum((t * d * step for t, d, step in zip(tap, dilations, pixel)), i64(0))

    return Geometry(
        lines=1 if flat else product(shape[:-2]),
        rows=product(shape[:-1]) if flat else shape[-2],
        columns=w[0],
        chain=Chain(w[1], prod(window), root.attributes["block"]),
        a_start=a_start,
        a_row=pixel[-1] * strides[-1],
        a_taps=[tap_offset(tap) for tap in taps_of(window)],
        b_start=lambda code, line: i64(0),
        b_panel=emit.dim(_whole(w[1], group) * prod(window) * LANES),
        b_step=i64(LANES * group),
        epilogue=flattened(kernel, root) if flat else by_lines(kernel, root),
        add_zero=root.result.tensor.dtype.is_float,
    )


def taps_of(window: Sequence[int]) -> list[tuple[int, ...]]:
    """All places in a window, row-major."""
    taps: list[tuple[int, ...]] = [()]
    for size in window:
        taps = [(*t, i) for t in taps for i in range(size)]
    return taps
