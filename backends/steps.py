"""A kernel-stage program as steps: calls of functions, each lowered once, on numbered buffers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aivmc.backends.artifact import Packing
from aivmc.backends.cpu.lower import contraction
from aivmc.ir.constants import Constant
from aivmc.ir.core import Module, Op, Value
from aivmc.ir.dims import Dim, dim_max
from aivmc.ir.errors import UnsupportedError
from aivmc.passes.plan_memory import Buffer, MemoryPlan, plan_memory
from aivmc.passes.trace_points import traced_values


@dataclass(frozen=True)
class Function:
    """A PrimFunc, how many tasks it does, and the bytes of scratch memory of each thread."""

    name: str
    tasks: Dim
    scratch: Dim
    prim: Any


class Lowering(Protocol):
    """How a target lowers kernel ops."""

    @property
    def name(self) -> str:
        """The target's."""

    def lower(self, name: str, op: Op, symbols: Iterable[str], packed: bool) -> Function:
        """The function ``name`` of an op; ``packed`` says that a contraction's weights are."""

    def packing(self, op: Op, digest: str) -> Packing | None:
        """How a contraction's constant weights are to be packed; None if they stay as they are."""


@dataclass(frozen=True)
class Step:
    """One call; ``buffers`` are numbers of the program's buffers, the last of which have the
    results, of these types. ``traced`` says whether a trace names them."""

    function: Function
    buffers: tuple[int, ...]
    results: tuple[str, ...]
    traced: bool


@dataclass
class Program:
    """Steps in the making."""

    module: Module
    lowering: Lowering
    memory: MemoryPlan
    traced: Collection[Value]
    packings: dict[Packing, int] = field(default_factory=dict)
    functions: dict[Any, Function] = field(default_factory=dict)  # by what they compute
    buffers: dict[tuple[str, int | str], int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def dims(self) -> list[int]:
        """Every function takes the sizes of all symbols, in this order."""
        return list(range(len(self.module.symbols)))

    def plan(self, own: Callable[[Step], Mapping[str, Any]]) -> dict[str, Any]:
        """The plan of a kernel file; ``own`` is what only the target's plans say of a step."""
        steps = [
            {
                "function": step.function.name,
                "buffers": list(step.buffers),
                "dims": self.dims,
                "tasks": str(step.function.tasks),
                "results": list(step.results),
                "traced": step.traced,
                **own(step),
            }
            for step in self.steps
        ]
        scratch: Dim = 0
        for function in self.functions.values():
            scratch = dim_max(scratch, function.scratch)
        return {
            "symbols": list(self.module.symbols),
            "buffers": [[kind, which] for kind, which in self.buffers],
            "slots": [str(size) for size in self.memory.slots],
            "readable": {
                "inputs": [str(size) for size in self.memory.readable_inputs],
                "slots": [str(size) for size in self.memory.readable_slots],
            },
            "steps": steps,
            "scratch": str(scratch),
        }

    def _buffer(self, kind: str, which: int | str) -> int:
        return self.buffers.setdefault((kind, which), len(self.buffers))

    def add(self, op: Op, constants: Mapping[Value, Constant]) -> None:
        """A step for a kernel op. ``UnsupportedError`` where the target can't take it."""
        buffers = [self.memory.buffers[v] for v in op.operands]
        packed = op.name == "kernel.contract" and self._pack(op, constants, buffers)
        key = (packed, describe(op))
        if key not in self.functions:
            name = f"k{len(self.functions)}_{op.name.removeprefix('kernel.')}"
            self.functions[key] = self.lowering.lower(name, op, self.module.symbols, packed)
        buffers += [self.memory.buffers[v] for v in op.results]
        numbers = tuple(self._buffer(b.kind, b.which) for b in buffers)
        results = tuple(str(v.type) for v in op.results)
        self.steps.append(Step(self.functions[key], numbers, results, op.results[0] in self.traced))

    def _pack(self, op: Op, constants: Mapping[Value, Constant], buffers: list[Buffer]) -> bool:
        """Give a contraction its constant weights packed, if it takes them so."""
        from_root = _weights_operand(op)
        constant = constants.get(op.operands[from_root]) if from_root is not None else None
        if constant is None or from_root is None:
            return False
        packing = self.lowering.packing(op, constant.digest)
        if packing is None:
            return False
        number = self.packings.setdefault(packing, len(self.packings))
        buffers[from_root] = Buffer("packed", number)
        return True


def lower_module(module: Module, lowering: Lowering) -> Program:
    """All steps of a kernel-stage program. ``UnsupportedError`` names every op that the target
    can't take."""
    program = Program(module, lowering, plan_memory(module), traced_values(module))
    constants = {
        op.result: op.attributes["value"]
        for op in module.main.region.body
        if op.name == "det.constant"
    }
    refused: list[str] = []
    for op in kernel_ops(module):
        try:
            program.add(op, constants)
        except UnsupportedError as error:
            refused.append(f"{op.location}: {error}")
    if refused:
        listed = "\n".join(f"  {line}" for line in dict.fromkeys(refused))
        raise UnsupportedError(f"{lowering.name} can't take this model yet:\n{listed}")
    return program


def kernel_ops(module: Module) -> list[Op]:
    """The ops that become steps, in their order: of a kernel-stage program all that compute."""
    others = ("det.constant", "det.stream_key", "det.reshape")
    return [op for op in module.main.region.body if op.name not in others]


def _weights_operand(op: Op) -> int | None:
    """Number of the operand that is a contraction's weights and nothing else."""
    region = op.regions[0]
    root = contraction(op)
    weights = root.operands[1]
    if weights not in region.arguments or any(
        weights in o.operands for o in region.ops if o is not root
    ):
        return None
    return None if weights is root.operands[0] else region.arguments.index(weights)


def describe(op: Op) -> Any:
    """What an op computes, equal for ops that one function can serve."""
    numbers: dict[Value, int] = {}

    def number(values: Iterable[Value]) -> tuple[tuple[int, str], ...]:
        return tuple((numbers.setdefault(v, len(numbers)), str(v.type)) for v in values)

    def shape(o: Op) -> Any:
        attributes = tuple(sorted((k, repr(v)) for k, v in o.attributes.items()))
        return (o.name, number(o.operands), attributes, number(o.results))

    region = op.regions[0]
    return (op.name, number(region.arguments), tuple(shape(o) for o in region.ops))
