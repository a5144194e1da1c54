"""Elementwise and movement kernels: a task is an element of the results."""

from __future__ import annotations

from aivmc.backends.cpu.code import Kernel, delinearize
from aivmc.backends.cpu.schedules.map import collapsed, store_element
from aivmc.ir.dims import product


def lower_map(kernel: Kernel) -> None:
    """Fill in the function of a ``kernel.map``: neighbouring threads take neighbouring elements."""
    region, tensors = collapsed(kernel)
    shape = region.terminator.operands[0].tensor.shape
    kernel.tasks = product(shape)
    kernel.code.span(
        kernel.begin,
        kernel.end,
        lambda code, number: store_element(
            code, kernel, region, tensors, delinearize(code, kernel.emit, number, shape)
        ),
    )
