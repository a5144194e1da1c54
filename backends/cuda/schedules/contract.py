"""Matrix products and convolutions: which schedule does which; what has none, an element at a
time."""

from __future__ import annotations

from dataclasses import dataclass

from aivmc.backends.cpu.code import Kernel, delinearize
from aivmc.backends.cpu.schedules.direct import Direct
from aivmc.backends.cpu.schedules.geometry import is_depthwise
from aivmc.backends.cuda.schedules.depthwise import lower_depthwise
from aivmc.backends.cuda.schedules.few_rows import lower_few_rows, warps_for
from aivmc.backends.cuda.schedules.operands import (
    Contraction,
    Convolution,
    Matmul,
    blocks_of,
    has_schedule,
)
from aivmc.backends.cuda.schedules.product import of_words, one_by_one, takes_words
from aivmc.backends.cuda.schedules.tile_shapes import tile_for
from aivmc.backends.cuda.schedules.tiles import lower_tiles
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.ir.core import Op
from aivmc.ir.dims import product

_THREADS = 128  # of a block, where each does elements of its own


@dataclass(frozen=True)
class Block:
    """How a function is launched: ``threads`` and bytes of ``shared`` memory of a block, and the
    most ``registers`` of a thread; 0 if that doesn't matter."""

    threads: int
    shared: int = 0
    registers: int = 0


def lower_contract(kernel: Kernel, root: Op, target: CudaTarget, packed: bool) -> Block:
    """Fill in the function of a ``kernel.contract``; ``packed`` says that its weights are."""
    if not has_schedule(root):
        _lower_elements(kernel, root)
        return Block(_THREADS)
    if is_depthwise(root):
        lower_depthwise(kernel, root, one_by_one(kernel.emit, root), packed)
        return Block(_THREADS)
    words = packed and takes_words(root, target)
    own = of_words(root) if words else one_by_one(kernel.emit, root)
    kind = Matmul if root.name == "det.matmul" else Convolution
    contraction: Contraction = kind(kernel, root, own, packed)
    if warps := warps_for(contraction):
        lower_few_rows(kernel, contraction, warps)
        return Block(warps.threads, warps.shared_bytes)
    blocks = blocks_of(contraction.depth, contraction.block)
    tile = tile_for(contraction.lines, contraction.rows, contraction.columns, blocks)
    lower_tiles(kernel, contraction, tile)
    return Block(tile.threads, tile.shared_bytes(blocks), tile.registers)


def _lower_elements(kernel: Kernel, root: Op) -> None:
    """A task is an element of the result."""
    shape = root.result.tensor.shape
    kernel.tasks = product(shape)
    direct = Direct(kernel, root)
    kernel.code.span(
        kernel.begin,
        kernel.end,
        lambda code, number: direct.element(code, delinearize(code, kernel.emit, number, shape)),
    )
