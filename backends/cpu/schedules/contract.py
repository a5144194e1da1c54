"""Matrix products and convolutions over packed panels of weights, in register tiles.

The output is seen as lines of rows (pixels, or rows of a matrix) by columns (features). A task is a
group of panels of columns by some rows; a tile computes its rows and panels over the whole of k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from tvm import tirx

from aivmc.backends.artifact import Packing
from aivmc.backends.cpu.code import LANES, Code, Elements, Kernel, Tensor, delinearize, vector_index
from aivmc.backends.cpu.schedules.collapse import axis_groups, collapse_region
from aivmc.backends.cpu.schedules.tile import (
    Chain,
    Operands,
    TileShape,
    choose_tile,
    compute_tile,
)
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import Expr, i64, splat
from aivmc.ir.core import Op, Region, Value
from aivmc.ir.dims import Dim, ceil_div, product
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.types import DType

_TASKS = 32  # at least, where there is that much to do
_LIGHT = 24  # ops of an epilogue that is unrolled with its tile


def packing(root: Op, weights: str) -> Packing | None:
    """How the second operand of a contraction, the constant with digest ``weights``, is packed:
    panels of 16 features, in each k ascending, zeros beyond the last feature. None if it isn't."""
    type = root.operands[1].tensor
    shape = tuple(int(d) for d in type.shape)  # type: ignore[arg-type]
    if type.dtype is not DType.F32 or root.operands[0].tensor.dtype is not DType.F32:
        return None
    if root.name == "det.matmul":
        if prod(shape[:-2]) != 1:
            return None
        depth, columns = shape[-2:]
        pad = (0,) * (len(shape) - 1) + (-columns % LANES,)
        panels = ceil_div(columns, LANES)
        return Packing(weights, pad, (depth, panels, LANES), (1, 0, 2))
    if not _is_plain(root) and not is_depthwise(root):
        return None
    features, depth = shape[0], prod(shape[1:])
    pad = (-features % LANES,) + (0,) * (len(shape) - 1)
    return Packing(weights, pad, (ceil_div(features, LANES), LANES, depth), (0, 2, 1))


def _is_plain(root: Op) -> bool:
    return root.attributes["group"] == 1 and root.attributes["layout"] == "channels_last"


def is_depthwise(root: Op) -> bool:
    """One input channel and one feature for each group."""
    if root.name != "det.conv" or root.attributes["layout"] != "channels_last":
        return False
    weights, group = root.operands[1].tensor.shape, root.attributes["group"]
    return weights[1] == 1 and weights[0] == group


@dataclass(frozen=True)
class Geometry:
    """A contraction as lines of rows by columns."""

    lines: Dim
    rows: Dim  # of a line
    columns: Dim
    chain: Chain
    # Offset of a's element for (line, first row), then for so many rows, a channel, a tap.
    a_start: Callable[[Code, Expr, Expr], Expr]
    a_row: Expr
    a_channel: Expr | int
    a_taps: Sequence[Expr | int]
    # Offset of b's vectors: for a line; for a panel, a channel and a tap.
    b_start: Callable[[Code, Expr], Expr]
    b_panel: Expr
    b_step: Expr
    # Index of a result but for its last entry, the column.
    outer: Callable[[Code, Expr, Expr], list[Expr]]
    epilogue: Region
    memory: dict[Value, Tensor]
    add_zero: bool  # convolutions end with + 0


def lower_contract(kernel: Kernel, root: Op, target: CpuTarget, packed: bool) -> None:
    """Fill in the function of a ``kernel.contract`` on f32 whose weights are packed, or a matrix
    product of two activations."""
    geometry = _matmul(kernel, root, packed) if root.name == "det.matmul" else _conv(kernel, root)
    _Contraction(kernel, root, geometry, target, packed).lower()


def epilogue_of(region: Region, root: Op) -> Region:
    """What comes after the contraction, with its result as an argument."""
    others = [v for v in region.arguments if v not in root.operands]
    shared = [v for v in root.operands if any(v in o.operands for o in region.ops if o is not root)]
    ops = [op for op in region.ops if op is not root]
    return Region((root.result, *others, *dict.fromkeys(shared)), ops)


def _flattened(
    kernel: Kernel, root: Op
) -> tuple[Region, dict[Value, Tensor], Callable[[Code, Expr, Expr], list[Expr]]]:
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
    return collapsed, memory, lambda code, line, row: delinearize(code, kernel.emit, row, rows)


def _unflattened(
    kernel: Kernel, root: Op, leading: Sequence[Dim]
) -> tuple[Region, dict[Value, Tensor], Callable[[Code, Expr, Expr], list[Expr]]]:
    """The epilogue with lines over the ``leading`` axes."""
    region = epilogue_of(kernel.region, root)
    memory = {v: kernel.tensors[v] for v in (*region.arguments[1:], *kernel.outputs)}
    return (
        region,
        memory,
        lambda code, line, row: [*delinearize(code, kernel.emit, line, leading), row],
    )


def _matmul(kernel: Kernel, root: Op, packed: bool) -> Geometry:
    a, b = (v.tensor.shape for v in root.operands)
    emit, shape = kernel.emit, root.result.tensor.shape
    depth, columns = a[-1], b[-1]
    chain = Chain(depth, 1, root.attributes["block"])
    if packed:
        epilogue, memory, outer = _flattened(kernel, root)
        lines, rows = 1, product(shape[:-1])
        a_start = lambda code, line, row: row * emit.dim(depth)  # noqa: E731
        b_start = lambda code, line: i64(0)  # noqa: E731
    else:
        epilogue, memory, outer = _unflattened(kernel, root, shape[:-2])
        lines, rows = product(shape[:-2]), shape[-2]
        a_batch = _batch_offset(kernel, shape[:-2], a)
        a_start = lambda code, line, row: a_batch(code, line) + row * emit.dim(depth)  # noqa: E731
        b_start = _batch_offset(kernel, shape[:-2], b)
    return Geometry(
        lines=lines,
        rows=rows,
        columns=columns,
        chain=chain,
        a_start=a_start,
        a_row=emit.dim(depth),
        a_channel=1,
        a_taps=(0,),
        b_start=b_start,
        b_panel=emit.dim(depth * LANES) if packed else i64(LANES),
        b_step=i64(LANES) if packed else emit.dim(columns),
        outer=outer,
        epilogue=epilogue,
        memory=memory,
        add_zero=False,
    )


def _batch_offset(
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


def _conv(kernel: Kernel, root: Op) -> Geometry:
    emit, shape = kernel.emit, root.result.tensor.shape
    x, w = (v.tensor.shape for v in root.operands)
    strides, dilations = root.attributes["strides"], root.attributes["dilations"]
    window = tuple(int(d) for d in w[2:])  # type: ignore[arg-type]
    channels, space = x[-1], x[1:-1]
    pointwise = prod(window) == 1 and prod(strides) == 1
    pixel = [emit.dim(product(space[axis + 1 :]) * channels) for axis in range(len(space))]
    if pointwise:
        epilogue, memory, outer = _flattened(kernel, root)
        lines, rows = 1, product(shape[:-1])
        a_start = lambda code, line, row: row * emit.dim(channels)  # noqa: E731
    else:
        epilogue, memory, outer = _unflattened(kernel, root, shape[:-2])
        lines, rows = product(shape[:-2]), shape[-2]

        def a_start(code: Code, line: Expr, row: Expr) -> Expr:
            image, *places = delinearize(code, emit, line, shape[:-2])
            offset = image * emit.dim(product(space) * channels)
            for place, stride, step in zip([*places, row], strides, pixel):
                offset = offset + place * stride * step
            return offset

    taps = [
        sum((t * d * s for t, d, s in zip(tap, dilations, pixel)), i64(0))
        for tap in taps_of(window)
    ]
    return Geometry(
        lines=lines,
        rows=rows,
        columns=w[0],
        chain=Chain(w[1], prod(window), root.attributes["block"]),
        a_start=a_start,
        a_row=pixel[-1] * strides[-1],
        a_channel=1,
        a_taps=taps,
        b_start=lambda code, line: i64(0),
        b_panel=emit.dim(w[1] * prod(window) * LANES),
        b_step=i64(LANES),
        outer=outer,
        epilogue=epilogue,
        memory=memory,
        add_zero=True,
    )


def taps_of(window: Sequence[int]) -> list[tuple[int, ...]]:
    taps: list[tuple[int, ...]] = [()]
    for size in window:
        taps = [(*t, i) for t in taps for i in range(size)]
    return taps


class _Contraction:
    """The loop nest: tasks, groups of panels, rows, tiles."""

    def __init__(
        self, kernel: Kernel, root: Op, geometry: Geometry, target: CpuTarget, packed: bool
    ) -> None:
        self.kernel, self.emit, self.geometry, self.packed = kernel, kernel.emit, geometry, packed
        self.a = kernel.tensors[root.operands[0]].array
        self.b = kernel.tensors[root.operands[1]].array
        columns = geometry.columns
        self.full = columns // LANES  # panels without a missing column
        self.tile = choose_tile(target, geometry.rows, ceil_div(columns, LANES))
        self.root = geometry.epilogue.arguments[0]
        names = [op.name.removeprefix("det.") for op in geometry.epilogue.ops]
        self.heavy = len(names) > _LIGHT or any(n in ELEMENTARY or n == "pow" for n in names)
        self.spare = i64(0)
        if not packed and columns % LANES != 0:
            self.spare = kernel.code.bind(kernel.take_scratch(geometry.chain.channels * LANES))

    def lower(self) -> None:
        groups = self._groups()
        count = sum((n for n, _ in groups), 0)
        lines, rows = self._per_task(count)
        chunks = ceil_div(self.geometry.lines, lines) * ceil_div(self.geometry.rows, rows)
        self.kernel.tasks = count * chunks

        def task(code: Code, number: Expr) -> None:
            group = code.bind(tirx.floordiv(number, self.emit.dim(chunks)))
            chunk = code.bind(tirx.floormod(number, self.emit.dim(chunks)))
            body = lambda panels: lambda scope, first: self._chunk(  # noqa: E731
                scope, panels, first, chunk, lines, rows
            )
            self._dispatch(code, group, [(n, body(p), p) for n, p in groups])

        self.kernel.code.span(self.kernel.begin, self.kernel.end, task)

    def _groups(self) -> list[tuple[Dim, int]]:
        """Groups of panels: how many, and of how many panels; 0 panels for the partial one."""
        wide = self.tile.panels
        groups: list[tuple[Dim, int]] = [(self.full // wide, wide)]
        rest = self.full - self.full // wide * wide
        if isinstance(rest, int):
            groups.append((int(rest > 0), rest))
        else:
            groups.append((rest, 1))
        columns = self.geometry.columns
        partial = int(columns % LANES > 0) if isinstance(columns, int) else ceil_div(
            columns, LANES
        ) - self.full
        return [(n, p) for n, p in [*groups, (partial, 0)] if n != 0]

    def _dispatch(
        self,
        code: Code,
        group: Expr,
        cases: list[tuple[Dim, Callable[[Code, Expr], None], int]],
        number: Dim = 0,
        panel: Dim = 0,
    ) -> None:
        """Run the case that ``group`` falls into, with its first panel."""
        (count, body, panels), *others = cases
        first = lambda scope: scope.bind(  # noqa: E731
            (group - self.emit.dim(number)) * max(panels, 1) + self.emit.dim(panel)
        )
        if not others:
            body(code, first(code))
            return
        code.choose(
            tirx.LT(group, self.emit.dim(number + count)),
            lambda scope: body(scope, first(scope)),
            lambda scope: self._dispatch(
                scope, group, others, number + count, panel + count * panels
            ),
        )

    def _per_task(self, groups: Dim) -> tuple[Dim, Dim]:
        """Lines and rows of a task: one line's rows are split only where there are few lines."""
        wanted = -(-_TASKS // groups) if isinstance(groups, int) and groups else 4
        lines, rows, step = self.geometry.lines, self.geometry.rows, self.tile.rows
        if lines == 1:
            if not isinstance(rows, int):
                return 1, step * 8
            return 1, max(-(-rows // wanted // step) * step, step)
        if not isinstance(lines, int):
            return 1, rows
        return max(lines // wanted, 1), rows

    def _chunk(
        self, code: Code, panels: int, first: Expr, chunk: Expr, lines: Dim, rows: Dim
    ) -> None:
        geometry, emit = self.geometry, self.emit
        if geometry.lines == 1:
            start = code.bind(chunk * emit.dim(rows))
            end = code.bind(tirx.min(start + emit.dim(rows), emit.dim(geometry.rows)))
            if isinstance(geometry.rows, int) and geometry.rows % rows == 0:
                self._line(code, panels, first, i64(0), start, rows)
            else:
                self._line(code, panels, first, i64(0), start, code.bind(end - start))
            return
        start = code.bind(chunk * emit.dim(lines))
        end = code.bind(tirx.min(start + emit.dim(lines), emit.dim(geometry.lines)))
        code.span(
            start, end, lambda s, line: self._line(s, panels, first, line, i64(0), geometry.rows)
        )

    def _line(
        self, code: Code, panels: int, first: Expr, line: Expr, start: Expr, count: Dim | Expr
    ) -> None:
        """All tiles of ``count`` rows from ``start``."""
        step = self.tile.rows
        b_start = self.geometry.b_start(code, line)
        if panels == 0 and not self.packed:
            self._fill_spare(code, b_start, first)

        def tile(scope: Code, row: Expr, rows: int) -> None:
            self._tile(scope, TileShape(rows, panels), line, row, first, b_start)

        if isinstance(count, int):
            code.loop(count // step, lambda s, i: tile(s, s.bind(start + i * step), step))
            if count % step:
                tile(code, code.bind(start + count // step * step), count % step)
            return
        total = count if isinstance(count, tirx.Var) else code.bind(self.emit.dim(count))
        whole = code.bind(tirx.floordiv(total, i64(step)))
        code.loop(whole, lambda s, i: tile(s, s.bind(start + i * step), step))
        done = code.bind(start + whole * step)
        code.loop(total - whole * step, lambda s, i: tile(s, s.bind(done + i), 1))

    def _tile(
        self, code: Code, shape: TileShape, line: Expr, row: Expr, first: Expr, b_start: Expr
    ) -> None:
        geometry, taps = self.geometry, self.geometry.chain.taps
        a_base = code.bind(geometry.a_start(code, line, row))
        b_base = code.bind(b_start + first * geometry.b_panel)
        spare = shape.panels == 0 and not self.packed
        width = TileShape(shape.rows, max(shape.panels, 1))

        def a(r: int, channel: Expr, tap: int) -> Expr:
            offset = channel * geometry.a_channel + geometry.a_taps[tap] + geometry.a_row * r
            return self.a.load(a_base + offset)

        def b(panel: int, channel: Expr, tap: int) -> Expr:
            step = channel * taps + tap
            if spare:
                return self.kernel.scratch.load(self.spare + step * LANES, LANES)
            offset = step * geometry.b_step + geometry.b_panel * panel
            return self.b.load(b_base + offset, LANES)

        result = compute_tile(code, self.emit, width, geometry.chain, Operands(a, b))
        if self.heavy:
            self._finish_in_loop(code, shape.panels == 0, width, line, row, first, result)
            return
        for r in range(width.rows):
            outer = geometry.outer(code, line, code.bind(row + r))
            for panel in range(width.panels):
                self._finish(code, shape.panels == 0, outer, first + panel, result(r, panel))

    def _finish_in_loop(
        self,
        code: Code,
        partial: bool,
        shape: TileShape,
        line: Expr,
        row: Expr,
        first: Expr,
        result: Callable[[int, int], Expr],
    ) -> None:
        """A long epilogue once for each vector of the tile, which waits in memory: unrolled, its
        values would crowd the accumulators out of the registers."""
        tile = code.array(shape.rows * shape.panels * LANES, DType.F32)
        for r in range(shape.rows):
            for panel in range(shape.panels):
                tile.store(code, i64((r * shape.panels + panel) * LANES), result(r, panel))

        def one_row(scope: Code, r: Expr) -> None:
            outer = self.geometry.outer(scope, line, scope.bind(row + r))
            scope.loop(
                shape.panels,
                lambda inner, panel: self._finish(
                    inner,
                    partial,
                    outer,
                    first + panel,
                    tile.load(inner.bind((r * shape.panels + panel) * LANES), LANES),
                ),
            )

        code.loop(shape.rows, one_row)

    def _finish(
        self, code: Code, partial: bool, outer: list[Expr], panel: Expr, x: Expr
    ) -> None:
        if self.geometry.add_zero:
            x = self.emit.add(x, self.emit.const(0.0, DType.F32))
        x = code.bind(x)
        column = code.bind(panel * LANES)
        if not partial:
            self._store(code, [*outer, vector_index(column)], x)
            return
        # Lanes beyond the last column compute on that column's operands and are not stored.
        last = self.emit.dim(self.geometry.columns - 1)
        lanes = tirx.Min(vector_index(column), tirx.Broadcast(last, LANES))
        for value, y in self._results(code, [*outer, lanes], x):
            memory = self.geometry.memory[value]
            row = code.array(LANES, value.tensor.dtype)
            row.store(code, i64(0), splat(y, LANES))
            code.loop(
                self.emit.dim(self.geometry.columns) - column,
                lambda s, i, memory=memory, row=row: memory.store(  # type: ignore[misc]
                    s, [*outer, s.bind(column + i)], row.load(i)
                ),
            )

    def _store(self, code: Code, index: list[Expr], x: Expr) -> None:
        for value, y in self._results(code, index, x):
            self.geometry.memory[value].store(code, index, y)

    def _results(self, code: Code, index: list[Expr], x: Expr) -> list[tuple[Value, Expr]]:
        """What the epilogue makes of ``x``, the contraction's result at ``index``."""
        geometry = self.geometry
        known: dict[Value, Callable[[Sequence[Expr]], Expr]] = {
            v: geometry.memory[v].load for v in geometry.epilogue.arguments[1:]
        }
        known[self.root] = lambda _: x
        elements = Elements(code, self.emit, geometry.epilogue, known)
        return [(v, elements.at(v, index)) for v in geometry.epilogue.terminator.operands]

    def _fill_spare(self, code: Code, b_start: Expr, panel: Expr) -> None:
        """Copy the last columns of an activation into scratch memory, as a whole panel."""
        depth, columns = self.geometry.chain.channels, self.emit.dim(self.geometry.columns)
        column = code.bind(panel * LANES)
        zero = self.emit.const(0.0, DType.F32)

        def step(scope: Code, k: Expr) -> None:
            to = scope.bind(self.spare + k * LANES)
            source = scope.bind(b_start + k * columns + column)
            self.kernel.scratch.store(scope, to, tirx.Broadcast(zero, LANES))
            scope.loop(
                columns - column,
                lambda s, i: self.kernel.scratch.store(s, to + i, self.b.load(source + i)),
            )

        code.loop(self.emit.dim(depth), step)


