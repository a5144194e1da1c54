"""Matrix products and convolutions: which schedule does which; what has none, an element at a
time."""

from __future__ import annotations

from aivmc.backends.cpu.code import Kernel, delinearize
from aivmc.backends.cpu.schedules.direct import Direct
from aivmc.backends.cpu.schedules.geometry import is_depthwise
from aivmc.backends.cuda.schedules.block import Block
from aivmc.backends.cuda.schedules.convolution import Convolution
from aivmc.backends.cuda.schedules.depthwise import lower_depthwise
from aivmc.backends.cuda.schedules.few_rows import lower_few_rows, warps_for
from aivmc.backends.cuda.schedules.operands import (
    Contraction,
    Matmul,
    blocks_of,
    has_schedule,
)
from aivmc.backends.cuda.schedules.product import of_words, one_by_one, takes_words
from aivmc.backends.cuda.schedules.tile_shapes import tile_for
from aivmc.backends.cuda.schedules.tiles import lower_tiles
from aivmc.ir.core import Op
from aivmc.ir.dims import product


def lower_contract(kernel: Kernel, root: Op, packed: bool) -> Block | None:
    """Fill in the function of a ``kernel.contract``; ``packed`` says that its weights are."""
    if not has_schedule(root):
        _lower_elements(kernel, root)
        return None
    if is_depthwise(root):
        lower_depthwise(kernel, root, one_by_one(kernel.emit, root), packed)
        return None
    words = packed and takes_words(root, kernel.target)
    own = of_words(root) if words else one_by_one(kernel.emit, root)
    kind = Matmul if root.name == "det.matmul" else Convolution
    contraction: Contraction = kind(kernel, root, own, packed)
    if warps := warps_for(contraction):
        lower_few_rows(kernel, contraction, warps)
        return Block(warps.threads, warps.shared_bytes)
    blocks = blocks_of(contraction.depth, contraction.block)
    sizes = contraction.lines, contraction.rows, contraction.columns
    tile = tile_for(*sizes, blocks, contraction.unit, contraction.loads)
    return lower_tiles(kernel, contraction, tile)


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
