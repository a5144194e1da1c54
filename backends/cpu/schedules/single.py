"""Ops with a schedule of their own, which nothing is fused into."""

from __future__ import annotations

from aivmc.backends.cpu.code import Kernel
from aivmc.ir.errors import UnsupportedError


def lower_single(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.single``."""
    (root,) = (op for op in kernel.region.body if op.name != "det.constant")
    raise UnsupportedError(f"{root.name} has no CPU schedule")
