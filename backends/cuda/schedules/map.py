"""Elementwise and movement kernels: a task is an element of the results, or some neighbours."""

from __future__ import annotations

from tvm import tirx

from aivmc.backends.cpu.code import Code, Kernel, delinearize
from aivmc.backends.cpu.schedules.map import collapsed, store_element
from aivmc.backends.cuda.schedules.block import Block
from aivmc.backends.cuda.schedules.transpose import lower_transpose, transposed
from aivmc.backends.tir_emit import Expr, i64
from aivmc.ir.core import Op, Region
from aivmc.ir.definition import definition
from aivmc.ir.dims import floor_div, product
from aivmc.ir.elementary import NAMES
from aivmc.ir.types import DType, Shape

_VECTOR = 4  # elements of a thread, where memory is all that they cost
_MOST_OPS = 16
_SIMPLE = (DType.F32, DType.F16, *(t for t in DType if t.is_integer and t.bits >= 8), DType.BOOL)


def lower_map(kernel: Kernel) -> Block | None:
    """Fill in the function of a ``kernel.map``: neighbouring threads take neighbouring elements."""
    if op := transposed(kernel.region):
        return lower_transpose(kernel, op)
    region, tensors = collapsed(kernel)
    shape = region.terminator.operands[0].tensor.shape
    lanes = _lanes(region, shape)
    tasks = (*shape[:-1], floor_div(shape[-1], lanes)) if shape else ()
    kernel.tasks = product(tasks)

    def task(code: Code, number: Expr) -> None:
        index = delinearize(code, kernel.emit, number, tasks)
        if lanes > 1:
            index[-1] = tirx.Ramp(code.bind(index[-1] * lanes), i64(1), lanes)
        store_element(code, kernel, region, tensors, index)

    kernel.code.span(kernel.begin, kernel.end, task)
    return None


def _lanes(region: Region, shape: Shape) -> int:
    """How many neighbours a thread computes: several where operands have them side by side, and
    little is to be computed."""
    if not shape or shape[-1] % _VECTOR != 0 or len(region.body) > _MOST_OPS:
        return 1
    results = (v for op in region.body for v in op.results)
    simple = all(v.tensor.dtype in _SIMPLE for v in results)
    return _VECTOR if simple and all(map(_keeps_neighbours, region.body)) else 1


def _keeps_neighbours(op: Op) -> bool:
    """Whether an op makes vectors of neighbours of such vectors, or of scalars, with little
    computing."""
    attributes = op.attributes
    match op.name:
        case "det.constant":
            return True
        case "det.transpose":
            return bool(attributes["permutation"][-1] == op.result.tensor.rank - 1)
        case "det.slice":
            return bool(attributes["steps"][-1] == 1 and attributes["starts"][-1] % _VECTOR == 0)
        case "det.pad":
            is_whole = (attributes["low"][-1], attributes["high"][-1]) == (0, 0)
            return is_whole and attributes["mode"] == "constant"
        case "det.gather":
            return bool(attributes["axis"] != op.operands[0].tensor.rank - 1)
    is_function = op.name.removeprefix("det.") in NAMES
    return op.name == "det.broadcast_to" or (definition(op.name).is_elementwise and not is_function)
