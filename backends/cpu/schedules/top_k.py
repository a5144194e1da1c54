"""Sorting: each line's indices by a stable merge sort in scratch memory, from the bottom up."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel
from aivmc.backends.cpu.schedules.lines import Line, Ranking, for_each_line, line_of
from aivmc.backends.tir_emit import Expr, TirEmit, i64
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType

_PASSES = 40  # 2^40 elements are more than memory holds


def lower_top_k(kernel: Kernel, root: Op) -> None:
    """Fill in the function of a ``det.top_k``."""
    emit, source = kernel.emit, kernel.tensors[root.operands[0]]
    axis, k = root.attributes["axis"], root.attributes["k"]
    length: Dim = source.type.shape[axis]
    key = Ranking(source.type.dtype, descending=root.attributes["largest"])
    halves = kernel.code.bind(tirx.floordiv(kernel.take_scratch(length * 4), i64(2)))
    indices = kernel.scratch_as(DType.I64)
    results = [(v, kernel.tensors[v]) for v in root.results if v in kernel.tensors]

    def line(code: Code, outer: Expr, inner: Expr) -> None:
        x = line_of(code, source, axis, outer, inner)
        sort = _MergeSort(emit, indices, halves, x, key, emit.dim(length))
        first = sort.lower(code)
        lines = [(v, line_of(code, t, axis, outer, inner)) for v, t in results]

        def store(scope: Code, i: Expr) -> None:
            index = sort.index(scope, first, i)
            for value, target in lines:
                is_value = value is root.results[0]
                target.store(scope, i, x.load(index) if is_value else index)

        code.loop(emit.dim(k), store)

    for_each_line(kernel, source.type.shape, axis, line)


@dataclass(frozen=True)
class _MergeSort:
    """Indices of one line in two halves of scratch memory in turn."""

    emit: TirEmit
    indices: Array
    halves: Expr
    line: Line
    key: Ranking
    length: Expr

    def lower(self, code: Code) -> Expr:
        """Sort; where the sorted indices start."""
        half = code.array(1, DType.I64)
        half.store(code, i64(0), self.halves)
        code.loop(self.length, lambda s, i: self.indices.store(s, self.halves + i, i))

        def run(scope: Code, number: Expr) -> None:
            width = scope.bind(tirx.shift_left(i64(1), number))

            def merge(inner: Code) -> None:
                source = inner.bind(half.load(i64(0)))
                target = inner.bind(self.halves * 2 + self.length - source)
                self._merge_all(inner, source, target, width)
                half.store(inner, i64(0), target)

            scope.when(tirx.LT(width, self.length), merge)

        code.loop(_PASSES, run)
        return code.bind(half.load(i64(0)))

    def index(self, code: Code, first: Expr, i: Expr) -> Expr:
        """The ``i``-th index of those that start at ``first``."""
        return code.bind(self.indices.load(first + i))

    def _merge_all(self, code: Code, source: Expr, target: Expr, width: Expr) -> None:
        """Sorted runs of ``width`` two by two into runs of twice that."""

        def pair(scope: Code, number: Expr) -> None:
            low = scope.bind(number * width * 2)
            middle = scope.bind(tirx.min(low + width, self.length))
            high = scope.bind(tirx.min(middle + width, self.length))
            self._merge(scope, source, target, low, middle, high)

        pairs = tirx.floordiv(self.length + (width * 2 - 1), width * 2)
        code.loop(code.bind(pairs), pair)

    def _merge(
        self, code: Code, source: Expr, target: Expr, low: Expr, middle: Expr, high: Expr
    ) -> None:
        heads = code.array(2, DType.I64)
        heads.store(code, i64(0), low)
        heads.store(code, i64(1), middle)

        def take(scope: Code, at: Expr) -> None:
            a, b = (scope.bind(heads.load(i64(n))) for n in (0, 1))
            # Beyond the end of its run, a head is not read: the run's last element is.
            last = [tirx.max(end - 1, i64(0)) for end in (middle, high)]
            index_a = self.index(scope, source, tirx.min(a, last[0]))
            index_b = self.index(scope, source, tirx.min(b, last[1]))
            key_a, key_b = (
                scope.keep(self.key.of(self.emit, self.line.load(i))) for i in (index_a, index_b)
            )
            open_a, open_b = tirx.LT(a, middle), tirx.LT(b, high)
            first = tirx.And(open_a, tirx.Or(tirx.Not(open_b), tirx.LE(key_a, key_b)))

            def put(inner: Code, head: int, index: Expr) -> None:
                self.indices.store(inner, target + at, index)
                heads.store(inner, i64(head), heads.load(i64(head)) + 1)

            scope.choose(first, lambda s: put(s, 0, index_a), lambda s: put(s, 1, index_b))

        code.span(low, high, take)
