"""The threads of a block in groups, each of which does a task of its own with shared memory.

All threads of a block run the same statements, so that all meet at each barrier: a group without a
task does another's again, and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from aivmc.backends.cpu.code import Array, Code, Kernel, Tensor
from aivmc.backends.tir_emit import Expr, i64, quotient, remainder
from aivmc.ir.dims import Dim, ceil_div, evaluate, symbols
from aivmc.ir.types import DType, TensorType

THREADS = 128  # of a block, if its groups don't have more
ALL_REGISTERS = 1 << 16  # of a multiprocessor, from sm_52 on; it has room for 2048 threads
REGISTERS = ALL_REGISTERS // 1024  # of a thread, if half as many are to have room
_ALIGNMENT = 16  # bytes, of each part of shared memory


@dataclass(frozen=True)
class Block:
    """What a function needs: threads; bytes of shared memory, where tasks are done by blocks; and
    the most registers of a thread, 0 if that doesn't matter."""

    threads: int
    shared: int = 0
    registers: int = 0


class Team:
    """Groups of ``size`` threads, a power of two; each group does one of ``tasks``.

    Neighbouring threads are of one group, or if ``beside`` is given, of so many groups side by
    side. ``kernel.scratch`` is shared memory, ``begin`` the block's number and ``end`` the
    thread's. ``task`` is the group's task, ``thread`` the number in the group; ``active`` is false
    where there are not as many tasks, and None where there always are.
    """

    def __init__(self, kernel: Kernel, size: int, tasks: Dim, beside: int = 0) -> None:
        self.kernel, self.size, self._beside = kernel, size, bool(beside)
        self.groups = beside or max(THREADS // size, 1)
        code, emit = kernel.code, kernel.emit
        kernel.tasks = ceil_div(tasks, self.groups)
        number = code.bind(tirx.max(kernel.end, i64(0)))
        split = i64(beside or size)
        parts = code.bind(quotient(number, split)), code.bind(remainder(number, split))
        self._group, self.thread = parts[::-1] if beside else parts
        self.task, self.active = kernel.begin, None
        if self.groups > 1:
            task = code.bind(kernel.begin * self.groups + self._group)
            last = tirx.max(emit.dim(tasks) - 1, i64(0))
            self.task, self.active = code.bind(tirx.min(task, last)), tirx.LE(task, last)
        self._bytes = 0
        self._arrays: dict[DType, Array] = {}

    @property
    def block(self) -> Block:
        return Block(self.size * self.groups, max(self._bytes, _ALIGNMENT))

    def take(self, elements: int, dtype: DType) -> Tensor:
        """Shared memory for so many elements of each group."""
        if dtype not in self._arrays:
            self._arrays[dtype] = self.kernel.scratch_as(dtype)
        size = max(dtype.bits // 8, 1)
        elements += -elements % (_ALIGNMENT // size)
        start = self._bytes // size
        self._bytes += elements * size * self.groups
        group = self._group if self._beside else self._group * elements
        base = self.kernel.code.bind(group + start)
        type = TensorType(dtype, (elements, self.groups) if self._beside else (elements,))
        return Tensor(self._arrays[dtype], type, self.kernel.emit, base)

    def each(self, code: Code, count: int | Expr, body: Callable[[Code, Expr], None]) -> None:
        """``body`` for each of ``count`` numbers: a thread has its own and those ``size`` apart."""
        if isinstance(count, int) and count % self.size == 0:
            rounds: int | Expr = count // self.size
        else:
            total = i64(count) if isinstance(count, int) else count
            rounds = code.bind(quotient(total + (self.size - 1) - self.thread, i64(self.size)))
        code.loop(rounds, lambda s, n: body(s, s.bind(n * self.size + self.thread)))


def barrier(code: Code) -> None:
    """All threads of the block meet here."""
    name, all_threads = "llvm.nvvm.barrier.cta.sync.aligned.all", tirx.const(0, "int32")
    code.statements.append(tirx.Evaluate(tirx.call_llvm_intrin("void", name, all_threads)))


def threads_for(elements: Dim, each: int, most: int, otherwise: int) -> int:
    """A power of two of threads, so that a thread has ``each`` of the elements or fewer, but 8
    threads at least and ``most`` at most; ``otherwise`` where it isn't known."""
    if not isinstance(elements, int):
        return otherwise
    wanted = max(-(-elements // each), 8)
    return int(min(1 << (wanted - 1).bit_length(), most))


def least(dim: Dim) -> int:
    """A dim if it is known, else what it is where each symbol is 1."""
    return int(evaluate(dim, dict.fromkeys(symbols(dim), 1)))
