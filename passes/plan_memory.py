"""Where each value of a kernel-stage program lives: one arena, its slots reused.

A kernel never writes memory that it reads: a slot is free again only after the last kernel that
reads what is in it. Reshapes are views. With symbolic dims the same slots serve all sizes; only how
large each is depends on them. A tensor without elements has memory, too: kernels read it, as if its
empty axes had one element, and discard what they read (``ir/ops/_index.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.dims import Dim, dim_max, evaluate, product, product_of_some, symbols
from aivmc.ir.types import DType, TensorType

_NOT_COMPUTED = ("det.constant", "det.stream_key")
_NOMINAL = 64  # symbols' size where symbolic sizes are compared to choose a slot


@dataclass(frozen=True)
class Buffer:
    """Memory that a kernel is given: ``kind`` is input, output, constant, stream or arena;
    ``which`` its number, or the constant's digest."""

    kind: str
    which: int | str


@dataclass(frozen=True)
class MemoryPlan:
    """Every value's buffer, and the arena's slots in bytes; and how many bytes of inputs and slots
    must be there to be read, whatever is empty."""

    buffers: dict[Value, Buffer]
    slots: tuple[Dim, ...]
    readable_inputs: tuple[Dim, ...]
    readable_slots: tuple[Dim, ...]


def plan_memory(module: Module) -> MemoryPlan:
    """Plan a kernel-stage module whose outputs are kernels' results, each its own."""
    main = module.main
    base = _bases(main)
    readable: dict[Value, Dim] = dict.fromkeys(base.values(), 0)
    for value, memory in base.items():
        readable[memory] = dim_max(readable[memory], _bytes(value.tensor, product_of_some))
    last_use = {base[v]: i for i, op in enumerate(main.region.ops) for v in op.operands}
    outputs = {base[v]: i for i, v in enumerate(main.outputs)}
    buffers = {v: Buffer("input", i) for i, v in enumerate(main.inputs)}
    slots = _Slots()
    for number, op in enumerate(main.region.body):
        if op.name == "det.constant":
            buffers[op.result] = Buffer("constant", op.attributes["value"].digest)
        elif op.name == "det.stream_key":
            buffers[op.result] = Buffer("stream", op.attributes["stream"])
        elif op.name != "det.reshape":
            for v in op.results:
                if v in outputs:
                    buffers[v] = Buffer("output", outputs[v])
                    continue
                slot = slots.take(_bytes(v.tensor), readable[v], last_use.get(v, number))
                buffers[v] = Buffer("arena", slot)
        slots.release(number)
    return MemoryPlan(
        {v: buffers[base[v]] for v in base},
        tuple(slots.sizes),
        tuple(readable[v] for v in main.inputs),
        tuple(slots.readable),
    )


def materialize_outputs(module: Module) -> Module:
    """The program with every output a kernel's result and no other output's view: an output that
    is an input, a constant, or another output's memory is copied."""
    main = module.main
    base, taken = _bases(main), set[Value]()
    makers = {v: op for op in main.region.body for v in op.results}
    builder = Builder(main.inputs)
    for op in main.region.body:
        builder.append(op)
    outputs = []
    for value in main.outputs:
        maker = makers.get(base[value])
        if maker is None or maker.name in _NOT_COMPUTED or base[value] in taken:
            value = _copy(builder, value)
        else:
            taken.add(base[value])
        outputs.append(value)
    region = builder.terminate("return", *outputs)
    return module.with_main(Function(main.name, region, main.output_names))


def _copy(builder: Builder, value: Value) -> Value:
    inner = Builder([Value(value.type)])
    result = inner.op("det.reshape", *inner.region.arguments, shape=value.tensor.shape)
    return builder.op("kernel.map", value, regions=(inner.terminate("yield", result),))


def _bases(main: Function) -> dict[Value, Value]:
    """The value whose memory each value is: itself, but for views."""
    base = {v: v for v in main.inputs}
    for op in main.region.body:
        for v in op.results:
            base[v] = base[op.operands[0]] if op.name == "det.reshape" else v
    return base


def _bytes(type: TensorType, elements: Callable[[Iterable[Dim]], Dim] = product) -> Dim:
    size = 1 if type.dtype is DType.BOOL else type.dtype.numpy.itemsize
    return elements(type.shape) * size


class _Slots:
    """Slots of the arena while ops are gone through."""

    def __init__(self) -> None:
        self.sizes: list[Dim] = []
        self.readable: list[Dim] = []
        self._busy: dict[int, int] = {}  # slot -> last op that uses it

    def take(self, size: Dim, readable: Dim, until: int) -> int:
        """The free slot that fits best: the smallest that is large enough, or else the largest,
        which grows."""
        free = [s for s in range(len(self.sizes)) if s not in self._busy]
        if free:
            wanted = _nominal(size)
            slot = min(free, key=lambda s: _misfit(_nominal(self.sizes[s]), wanted))
            self.sizes[slot] = dim_max(self.sizes[slot], size)
            self.readable[slot] = dim_max(self.readable[slot], readable)
        else:
            slot = len(self.sizes)
            self.sizes.append(size)
            self.readable.append(readable)
        self._busy[slot] = until
        return slot

    def release(self, done: int) -> None:
        """Free the slots whose last user is done."""
        self._busy = {s: until for s, until in self._busy.items() if until > done}


def _nominal(size: Dim) -> int:
    return evaluate(size, dict.fromkeys(symbols(size), _NOMINAL))


def _misfit(has: int, wanted: int) -> tuple[bool, int]:
    return (has < wanted, abs(has - wanted))
