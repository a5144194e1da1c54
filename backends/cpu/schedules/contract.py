"""Matrix products and convolutions over panels of weights, in register tiles.

A task is a group of panels of columns by some rows; a tile computes its rows and panels over the
whole of k, and what comes after the contraction.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from aivmc.backends.cpu.code import LANES, Code, Kernel, vector_index
from aivmc.backends.cpu.schedules.geometry import geometry_of
from aivmc.backends.cpu.schedules.inner_product import InnerProduct, inner_product
from aivmc.backends.cpu.schedules.tile import Operands, TileShape, choose_tile, compute_tile
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder, splat
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, ceil_div
from aivmc.ir.types import DType

_TASKS = 32  # at least, where there is that much to do


def lower_contract(kernel: Kernel, root: Op, target: CpuTarget, packed: bool) -> None:
    """Fill in the function of a ``kernel.contract`` whose weights are packed, or a matrix product
    of two activations; on f32 or integers."""
    a, b, result = (v.tensor.dtype for v in (*root.operands, root.result))
    product = inner_product(kernel.emit, target, a, b, result, packed)
    _Contraction(kernel, root, product, target, packed).lower()


class _Contraction:
    """The loop nest: tasks, groups of panels, rows, tiles."""

    def __init__(
        self, kernel: Kernel, root: Op, product: InnerProduct, target: CpuTarget, packed: bool
    ) -> None:
        self.kernel, self.emit, self.product, self.packed = kernel, kernel.emit, product, packed
        self.geometry = geometry = geometry_of(kernel, root, packed, product.group)
        self.a = kernel.tensors[root.operands[0]].array
        self.b = kernel.tensors[root.operands[1]].array
        columns = geometry.columns
        self.full = columns // LANES  # panels without a missing column
        bits = product.pieces * product.lanes * product.dtype.bits
        self.tile = choose_tile(target, geometry.rows, ceil_div(columns, LANES), bits)
        self.scratch, self.spare = kernel.scratch, i64(0)
        if not packed and columns % LANES != 0:
            self.scratch = kernel.scratch_as(self.b.dtype)
            self.spare = kernel.code.bind(
                kernel.take_scratch(geometry.chain.channels * LANES, self.b.dtype)
            )

    def lower(self) -> None:
        groups = self._groups()
        count: Dim = 0
        for n, _ in groups:
            count = count + n
        lines, rows = self._per_task(count)
        chunks = ceil_div(self.geometry.lines, lines)
        if rows != self.geometry.rows:  # which may turn out to be 0
            chunks = chunks * ceil_div(self.geometry.rows, rows)
        self.kernel.tasks = count * chunks

        def task(code: Code, number: Expr) -> None:
            group = code.bind(quotient(number, self.emit.dim(chunks)))
            chunk = code.bind(remainder(number, self.emit.dim(chunks)))

            def work(scope: Code, panels: int, first: Expr) -> None:
                self._chunk(scope, panels, first, chunk, lines, rows)

            self._dispatch(code, group, groups, work)

        self.kernel.code.span(self.kernel.begin, self.kernel.end, task)

    def _groups(self) -> list[tuple[Dim, int]]:
        """Groups of panels: how many, and of how many panels; 0 panels for the partial one."""
        columns, wide = self.geometry.columns, self.tile.panels
        rest = self.full - self.full // wide * wide
        groups: list[tuple[Dim, int]] = [
            (self.full // wide, wide),
            (int(rest > 0), rest) if isinstance(rest, int) else (rest, 1),
            (ceil_div(columns, LANES) - self.full, 0),
        ]
        return [(n, p) for n, p in groups if n != 0]

    def _dispatch(
        self,
        code: Code,
        group: Expr,
        groups: list[tuple[Dim, int]],
        work: Callable[[Code, int, Expr], None],
        before: Dim = 0,
        panel: Dim = 0,
    ) -> None:
        """Do a group's work, given its number of panels and the first one. ``before`` groups of
        ``panel`` panels come before ``groups``."""
        (count, panels), *others = groups

        def this(scope: Code) -> None:
            number = group - self.emit.dim(before)
            work(scope, panels, scope.bind(number * max(panels, 1) + self.emit.dim(panel)))

        def later(scope: Code) -> None:
            self._dispatch(scope, group, others, work, before + count, panel + count * panels)

        if others:
            code.choose(tirx.LT(group, self.emit.dim(before + count)), this, later)
        else:
            this(code)

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
        geometry, product, taps = self.geometry, self.product, self.geometry.chain.taps
        a_base = code.bind(geometry.a_start(code, line, row))
        b_base = code.bind(b_start + first * geometry.b_panel)
        spare = shape.panels == 0 and not self.packed
        width = TileShape(shape.rows, max(shape.panels, 1))

        def a(scope: Code, r: int, k: Expr, tap: int, count: int) -> Expr:
            offset = k * product.group + geometry.a_taps[tap] + geometry.a_row * r
            if count == product.group:
                return self.a.load(a_base + offset, count)
            return self._partial_group(scope, a_base + offset, count)

        def b(panel: int, piece: int, k: Expr, tap: int) -> Expr:
            step = k * taps + tap
            if spare:
                return self.scratch.load(self.spare + step * LANES, LANES)
            offset = step * geometry.b_step + geometry.b_panel * panel + piece * product.width
            return self.b.load(b_base + offset, product.width)

        operands = Operands(a, b)
        result = compute_tile(code, self.emit, width, geometry.chain, operands, product)
        if geometry.epilogue.is_heavy:
            self._finish_in_loop(code, shape.panels == 0, width, line, row, first, result)
            return
        for r in range(width.rows):
            outer = geometry.epilogue.outer(code, line, code.bind(row + r))
            for panel in range(width.panels):
                self._finish(code, shape.panels == 0, outer, first + panel, result(r, panel))

    def _partial_group(self, code: Code, start: Expr, count: int) -> Expr:
        """The last ``count`` elements of a row, and zeros: what is in memory after them may be
        outside of it."""
        dtype, group = self.a.dtype, self.product.group
        part = code.array(group, dtype)
        part.store(code, i64(0), splat(self.emit.const(0, dtype), group))
        for i in range(count):
            part.store(code, i64(i), self.a.load(start + i))
        return part.load(i64(0), group)

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
        tile = code.array(shape.rows * shape.panels * LANES, self.product.dtype)
        for r in range(shape.rows):
            for panel in range(shape.panels):
                tile.store(code, i64((r * shape.panels + panel) * LANES), result(r, panel))

        def one_row(scope: Code, r: Expr) -> None:
            outer = self.geometry.epilogue.outer(scope, line, scope.bind(row + r))
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

    def _finish(self, code: Code, partial: bool, outer: list[Expr], panel: Expr, x: Expr) -> None:
        if self.geometry.add_zero:
            x = self.emit.add(x, self.emit.const(0.0, DType.F32))
        x = code.bind(x)
        column = code.bind(panel * LANES)
        if not partial:
            self.geometry.epilogue.store(code, self.emit, [*outer, vector_index(column)], x)
            return
        # Lanes beyond the last column compute on that column's operands and are not stored.
        last = self.emit.dim(self.geometry.columns - 1)
        lanes = tirx.Min(vector_index(column), tirx.Broadcast(last, LANES))
        for value, y in self.geometry.epilogue.results(code, self.emit, [*outer, lanes], x):
            memory = self.geometry.epilogue.memory[value]
            row = code.array(LANES, value.tensor.dtype)
            row.store(code, i64(0), splat(y, LANES))
            code.loop(
                self.emit.dim(self.geometry.columns) - column,
                lambda s, i, memory=memory, row=row: memory.store(  # type: ignore[misc]
                    s, [*outer, s.bind(column + i)], row.load(i)
                ),
            )

    def _fill_spare(self, code: Code, b_start: Expr, panel: Expr) -> None:
        """Copy the last columns of an activation into scratch memory, as a whole panel."""
        depth, columns = self.geometry.chain.channels, self.emit.dim(self.geometry.columns)
        column = code.bind(panel * LANES)
        zero = self.emit.const(0, self.b.dtype)

        def step(scope: Code, k: Expr) -> None:
            to = scope.bind(self.spare + k * LANES)
            source = scope.bind(b_start + k * columns + column)
            self.scratch.store(scope, to, tirx.Broadcast(zero, LANES))
            scope.loop(
                columns - column,
                lambda s, i: self.scratch.store(s, to + i, self.b.load(source + i)),
            )

        code.loop(self.emit.dim(depth), step)
