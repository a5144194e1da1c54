"""Kernel-stage ops to functions: which schedule lowers which op.

Most functions do their tasks from ``begin`` to ``end`` like a CPU's; a GPU's thread takes one at a
time. Others are done by a whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.ir import PointerType

from aivmc.backends.cpu.code import Kernel, new_kernel
from aivmc.backends.cpu.lower import check_dtypes, contraction
from aivmc.backends.cuda.schedules.block import THREADS, Block
from aivmc.backends.cuda.schedules.concat import lower_concat
from aivmc.backends.cuda.schedules.contract import lower_contract
from aivmc.backends.cuda.schedules.map import lower_map
from aivmc.backends.cuda.schedules.operands import has_schedule, padded
from aivmc.backends.cuda.schedules.reduce import lower_reduce, lower_window
from aivmc.backends.cuda.schedules.rows import lower_rows
from aivmc.backends.cuda.schedules.single import lower_single
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.backends.steps import Function
from aivmc.backends.tir_emit import i64
from aivmc.ir.core import Op
from aivmc.ir.dims import Dim, product

# What fills in a function, and says what it needs if its tasks are done by blocks.
_SCHEDULES: dict[str, Callable[[Kernel], Block | None]] = {
    "kernel.map": lower_map,
    "kernel.concat": lower_concat,
    "kernel.rows": lower_rows,
    "kernel.reduce": lower_reduce,
    "kernel.window": lower_window,
    "kernel.single": lower_single,
}

_ALIGNMENT = 16  # bytes; of all memory that functions are given, at least


@dataclass(frozen=True)
class GpuFunction(Function):
    """``threads`` of a block. With ``shared`` bytes of memory, a block does a task, and the
    function's parameters ``begin`` and ``end`` are the task and the thread. A thread has so
    many ``registers`` at most; 0 if that doesn't matter. ``narrow`` are how many elements indices
    of 32 bits must be enough for."""

    threads: int
    shared: int = 0
    registers: int = 0
    narrow: tuple[Dim, ...] = ()

    @property
    def tasks_per_block(self) -> int:
        return 1 if self.shared else self.threads

    @property
    def has_scratch(self) -> bool:
        """Whether threads have scratch memory: those that do go on to further tasks."""
        return self.scratch != 0


def lower(
    name: str, op: Op, symbols: Iterable[str], target: CudaTarget, packed: bool
) -> GpuFunction:
    """The function ``name`` of a kernel op; ``packed`` says that a contraction's weights are.
    ``UnsupportedError`` where there is none."""
    check_dtypes(op)
    kernel = new_kernel(name, op, symbols, target)
    block = _fill(kernel, packed) or Block(THREADS)
    prim = _aligned(kernel)
    if block.shared:
        # Other threads write shared memory: nothing may be assumed of its pointer.
        prim = prim.without_attr("tirx.noalias")
    scratch = 0 if block.shared else kernel.scratch_bytes
    sizes = (block.threads, block.shared, block.registers)
    return GpuFunction(name, kernel.tasks, scratch, prim, *sizes, _narrow(op))


def _narrow(op: Op) -> tuple[Dim, ...]:
    """Where dims are symbolic, contractions have such indices in all tensors."""
    if op.name != "kernel.contract" or not has_schedule(contraction(op)):
        return ()
    root, shapes = contraction(op), [v.tensor.shape for v in (*op.operands, *op.results)]
    if root.name == "det.conv":
        shapes.append(padded(root))
    sizes = map(product, shapes)
    return tuple(dict.fromkeys(size for size in sizes if not isinstance(size, int)))


def _fill(kernel: Kernel, packed: bool) -> Block | None:
    if all(v.tensor.size == 0 for v in kernel.outputs):
        kernel.tasks = 0
        return None
    if kernel.op.name == "kernel.contract":
        return lower_contract(kernel, contraction(kernel.op), packed)
    return _SCHEDULES[kernel.op.name](kernel)


def _aligned(kernel: Kernel) -> Any:
    """The function, where TVM knows that all memory starts where a vector may: then it sees which
    vectors in it are aligned. LLVM doesn't, once an index is long."""
    prim = kernel.function()
    body = prim.body
    for parameter in prim.params:
        if isinstance(parameter.ty, PointerType):
            body = tirx.AttrStmt(parameter, "storage_alignment", i64(_ALIGNMENT), body)
    return prim.with_body(body)
