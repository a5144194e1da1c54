"""How constant weights are packed for GPUs: columns side by side for each k, as threads read them.

Their number is made a multiple of a vector's four elements, so that every row is aligned. Words of
bytes have four neighbours of k side by side, of convolutions four channels, the taps slower.
"""

from __future__ import annotations

from math import prod

from aivmc.backends.artifact import Packing
from aivmc.backends.cpu.schedules.geometry import is_depthwise, static
from aivmc.backends.cuda.schedules.operands import has_schedule
from aivmc.backends.cuda.schedules.product import GROUP, takes_words
from aivmc.backends.cuda.schedules.tile_shapes import VECTOR
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.ir.core import Op


def packing(root: Op, weights: str, target: CudaTarget) -> Packing | None:
    """How the second operand of a contraction, the constant with digest ``weights``, is packed;
    None if it is read as it is."""
    shape = static(root.operands[1].tensor.shape)
    if not has_schedule(root):
        return None
    group = GROUP if takes_words(root, target) else 1
    if is_depthwise(root):
        return _depthwise(weights, shape)
    if root.name == "det.conv":
        return _features(weights, shape, group, root.attributes["group"])
    return _columns(weights, shape, group) if prod(shape[:-2]) == 1 else None


def _columns(weights: str, shape: tuple[int, ...], group: int) -> Packing | None:
    """[K, N] to [K][N], or [K/4][N][4]."""
    if group == 1 and shape[-1] % VECTOR == 0:
        return None
    depth, columns = -(-shape[-2] // group), -(-shape[-1] // VECTOR) * VECTOR
    pad = (*(0,) * (len(shape) - 2), -shape[-2] % group, -shape[-1] % VECTOR)
    return Packing(weights, pad, (depth, group, columns), (0, 2, 1))


def _features(weights: str, shape: tuple[int, ...], group: int, groups: int) -> Packing:
    """[M, C, *taps] to [groups][C][*taps][M/groups], or [groups][*taps][C/4][M/groups][4]."""
    channels, taps = -(-shape[1] // group), prod(shape[2:])
    extra = -shape[0] % VECTOR if groups == 1 else 0
    pad = (extra, -shape[1] % group, *(0,) * (len(shape) - 2))
    width = (shape[0] + extra) // groups
    permutation = (0, 2, 4, 1, 3) if group == 1 else (0, 4, 2, 1, 3)
    return Packing(weights, pad, (groups, width, channels, group, taps), permutation)


def _depthwise(weights: str, shape: tuple[int, ...]) -> Packing:
    """[C, 1, *taps] to [*taps][C]."""
    pad = (-shape[0] % VECTOR, *(0,) * (len(shape) - 1))
    return Packing(weights, pad, (shape[0] + pad[0], prod(shape[2:])), (1, 0))
