"""What a launch costs on a GPU that isn't there: arithmetic and memory by the program, against what
the GPU does at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from aivmc.backends.cuda.occupancy import GPUS, MULTIPROCESSORS, occupancy, resident_blocks
from aivmc.backends.cuda.ptxas import Usage
from aivmc.ir.core import Op, Value
from aivmc.ir.dims import evaluate
from aivmc.ir.flops import CONTRACTIONS, flops
from aivmc.ir.types import DType

_DOT_PRODUCT = 4  # multiply-adds of bytes in one dp4a


@dataclass(frozen=True)
class Launched:
    """A kernel with its grid and block; ``shared`` bytes of a block, ``usage`` if it is known."""

    kernel: str
    blocks: int
    threads: int
    shared: int
    usage: Usage | None


@dataclass(frozen=True)
class LaunchCost:
    """``flops`` by dtype as :func:`aivmc.ir.flops.flops` counts them, ``bytes`` of operands and
    results, each once. ``resident`` blocks fit in a multiprocessor; ``waves`` is how often the grid
    fills the GPU. ``seconds`` are the roofline's, and ``bound`` is what takes them."""

    launched: Launched
    ops: tuple[str, ...]
    flops: Mapping[str, int]
    bytes: int
    resident: int
    occupancy: float
    waves: float
    seconds: float
    bound: str

    @property
    def intensity(self) -> float:
        """Operations on a byte."""
        return sum(self.flops.values()) / self.bytes if self.bytes else 0.0


def launch_cost(op: Op, symbols: Mapping[str, int], launched: Launched, gpu: str) -> LaunchCost:
    """Of a kernel-stage op, for dims of these sizes, on one of the GPUs of
    :mod:`aivmc.backends.cuda.occupancy`."""
    model = GPUS[gpu]
    sm = MULTIPROCESSORS[model.architecture]
    registers = launched.usage.registers if launched.usage else None
    resident = resident_blocks(sm, launched.threads, launched.shared, registers)
    done = flops(op, symbols)
    moved = sum(_bytes(v, symbols) for v in dict.fromkeys((*op.operands, *op.results)))
    times = {"memory": moved / model.bandwidth}
    for dtype, count in done.items():
        name = _unit(dtype)
        times[name] = times.get(name, 0.0) + count / _peak(gpu, op, dtype)
    names = [o.name for o in op.regions[0].body]
    bound = max(times, key=lambda name: times[name])
    return LaunchCost(
        launched=launched,
        ops=tuple(n.removeprefix("det.") for n in names if n != "det.constant"),
        flops={dtype.value: count for dtype, count in done.items()},
        bytes=moved,
        resident=resident,
        occupancy=occupancy(sm, launched.threads, resident),
        waves=launched.blocks / max(resident * model.multiprocessors, 1),
        seconds=times[bound],
        bound=bound,
    )


def _unit(dtype: DType) -> str:
    return dtype.value if dtype.is_float else "integers"


def _peak(gpu: str, op: Op, dtype: DType) -> float:
    """Operations of a dtype in a second."""
    model = GPUS[gpu]
    if dtype.is_float:
        rate = model.f64 if dtype is DType.F64 else model.f32
    else:
        rate = model.int32 * (_DOT_PRODUCT if _of_bytes(op) else 1)
    return 2 * rate * model.multiprocessors * model.clock


def _of_bytes(op: Op) -> bool:
    products = [o for o in op.regions[0].body if o.name in CONTRACTIONS]
    return all(v.tensor.dtype.bits <= 8 for o in products for v in o.operands)


def _bytes(value: Value, symbols: Mapping[str, int]) -> int:
    size = prod(evaluate(d, symbols) for d in value.tensor.shape)
    return size * value.tensor.dtype.numpy.itemsize
