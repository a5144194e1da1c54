"""Kernel-stage ops to functions: which schedule lowers which op."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aivmc.backends.artifact import Packing
from aivmc.backends.cpu.code import Kernel, new_kernel
from aivmc.backends.cpu.schedules.concat import lower_concat
from aivmc.backends.cpu.schedules.contract import lower_contract
from aivmc.backends.cpu.schedules.depthwise import lower_depthwise
from aivmc.backends.cpu.schedules.direct import lower_direct
from aivmc.backends.cpu.schedules.geometry import is_depthwise, packing
from aivmc.backends.cpu.schedules.map import lower_map
from aivmc.backends.cpu.schedules.reduce import lower_reduce, lower_window
from aivmc.backends.cpu.schedules.rows import lower_rows
from aivmc.backends.cpu.schedules.single import lower_single
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.tir_emit import is_emittable
from aivmc.ir.core import Op
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.types import DType

_CONTRACTIONS = ("det.matmul", "det.conv", "det.conv_transpose")


def lower(name: str, op: Op, symbols: Iterable[str], target: CpuTarget, packed: bool) -> Kernel:
    """The function ``name`` of a kernel op; ``packed`` says that a contraction's weights are."""
    check_dtypes(op)
    kernel = new_kernel(name, op, symbols, target)
    if all(v.tensor.size == 0 for v in kernel.outputs):
        kernel.tasks = 0
        return kernel
    schedules: dict[str, Any] = {
        "kernel.map": lower_map,
        "kernel.concat": lower_concat,
        "kernel.rows": lower_rows,
        "kernel.reduce": lower_reduce,
        "kernel.window": lower_window,
        "kernel.single": lower_single,
    }
    if op.name == "kernel.contract":
        _lower_contract(kernel, contraction(op), target, packed)
    else:
        schedules[op.name](kernel)
    return kernel


def check_dtypes(op: Op) -> None:
    """``UnsupportedError`` where code can't be made for a dtype of the op."""
    for inner in op.regions[0].ops:
        for value in (*inner.operands, *inner.results):
            if not is_emittable(value.tensor.dtype):
                raise UnsupportedError(f"{inner.name} on {value.tensor.dtype.value}")


def contraction(op: Op) -> Op:
    """The matrix product or convolution, maybe transposed, of a ``kernel.contract``."""
    return next(o for o in op.regions[0].body if o.name in _CONTRACTIONS)


def weights_packing(op: Op, digest: str) -> Packing | None:
    """How a contraction's constant weights are to be packed; None if they are read as they are."""
    return packing(contraction(op), digest)


def _lower_contract(kernel: Kernel, root: Op, target: CpuTarget, packed: bool) -> None:
    result = root.result.tensor.dtype
    tiled = root.name == "det.matmul" and (result is DType.F32 or result.is_integer)
    if packed and is_depthwise(root):
        lower_depthwise(kernel, root)
    elif packed or tiled:
        lower_contract(kernel, root, target, packed)
    else:
        lower_direct(kernel, root)
