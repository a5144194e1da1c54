"""Ops with a schedule of their own, which nothing is fused into."""

from __future__ import annotations

from collections.abc import Callable

from aivmc.backends.cpu.code import Kernel
from aivmc.backends.cpu.schedules.lines import lower_cumulative_sum
from aivmc.backends.cuda.schedules.block import Block
from aivmc.backends.cuda.schedules.rank import lower_arg_extreme, lower_top_k
from aivmc.backends.cuda.schedules.scatter import lower_scatter_elements, lower_scatter_nd
from aivmc.ir.core import Op
from aivmc.ir.errors import UnsupportedError

_SCHEDULES: dict[str, Callable[[Kernel, Op], Block | None]] = {
    "det.arg_max": lower_arg_extreme,
    "det.arg_min": lower_arg_extreme,
    "det.cumulative_sum": lambda kernel, root: lower_cumulative_sum(kernel, root, of_task=1),
    "det.scatter_elements": lower_scatter_elements,
    "det.scatter_nd": lower_scatter_nd,
    "det.top_k": lower_top_k,
}


def lower_single(kernel: Kernel) -> Block | None:
    """Fill in the function of a ``kernel.single``."""
    (root,) = (op for op in kernel.region.body if op.name != "det.constant")
    if root.name not in _SCHEDULES:
        raise UnsupportedError(f"{root.name} has no GPU schedule")
    return _SCHEDULES[root.name](kernel, root)
