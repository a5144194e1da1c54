"""Kernel-stage ops to functions: which schedule lowers which op.

Most functions do their tasks from ``begin`` to ``end`` like a CPU's; a GPU's thread takes one at a
time. Others are done by a whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aivmc.backends.cpu.code import Kernel, new_kernel
from aivmc.backends.cpu.lower import check_dtypes, contraction
from aivmc.backends.cuda.schedules.block import Block
from aivmc.backends.cuda.schedules.concat import lower_concat
from aivmc.backends.cuda.schedules.contract import contraction_of, lower_elements
from aivmc.backends.cuda.schedules.map import lower_map
from aivmc.backends.cuda.schedules.reduce import lower_reduce, lower_window
from aivmc.backends.cuda.schedules.rows import lower_rows
from aivmc.backends.cuda.schedules.single import lower_single
from aivmc.backends.cuda.schedules.tiles import THREADS, Contraction, Tile, lower_tiles, tile_for
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.backends.steps import Function
from aivmc.ir.core import Op

_THREADS = 128  # of a block, where each does tasks of its own

# What fills in a function, and says what it needs if its tasks are done by blocks.
_SCHEDULES: dict[str, Callable[[Kernel], Block | None]] = {
    "kernel.map": lower_map,
    "kernel.contract": lambda kernel: lower_elements(kernel, contraction(kernel.op)),
    "kernel.concat": lower_concat,
    "kernel.rows": lower_rows,
    "kernel.reduce": lower_reduce,
    "kernel.window": lower_window,
    "kernel.single": lower_single,
}


@dataclass(frozen=True)
class GpuFunction(Function):
    """``threads`` of a block. With ``shared`` bytes of memory, a block does a task, and the
    function's parameters ``begin`` and ``end`` are the task and the thread."""

    threads: int
    shared: int = 0

    @property
    def tasks_per_block(self) -> int:
        return 1 if self.shared else self.threads


def lower(name: str, op: Op, symbols: Iterable[str], target: CudaTarget) -> GpuFunction:
    """The function ``name`` of a kernel op. ``UnsupportedError`` where there is none."""
    check_dtypes(op)
    kernel = new_kernel(name, op, symbols, target)
    if all(v.tensor.size == 0 for v in kernel.outputs):
        kernel.tasks = 0
    elif tiled := _tiled(kernel):
        lower_tiles(kernel, *tiled)
        return _by_blocks(kernel, Block(THREADS, tiled[1].shared_bytes))
    elif block := _SCHEDULES[op.name](kernel):
        return _by_blocks(kernel, block)
    return GpuFunction(name, kernel.tasks, kernel.scratch_bytes, kernel.function(), _THREADS)


def _by_blocks(kernel: Kernel, block: Block) -> GpuFunction:
    # Other threads write shared memory: nothing may be assumed of its pointer.
    prim = kernel.function().without_attr("tirx.noalias")
    return GpuFunction(kernel.name, kernel.tasks, 0, prim, block.threads, block.shared)


def _tiled(kernel: Kernel) -> tuple[Contraction, Tile] | None:
    """A contraction that is done by tiles, and the tile."""
    if kernel.op.name != "kernel.contract":
        return None
    found = contraction_of(kernel, contraction(kernel.op))
    tile = tile_for(found.rows, found.columns) if found else None
    return (found, tile) if found and tile else None
