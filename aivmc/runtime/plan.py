"""A target's plan: which memory its code needs for given symbol values, and how work is shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aivmc.ir import dims
from aivmc.ir.binding import InputError
from aivmc.ir.dims import Dim
from aivmc.ir.types import TensorType
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import parse_type

_ALIGNMENT = 64  # a cache line, and the widest vector
_LARGEST = 1 << 47  # bytes that a process can address


@dataclass(frozen=True)
class Sizes:
    """A plan for certain symbol values: the arena's slots by offset, and its size in bytes."""

    dims: tuple[int, ...]
    tasks: tuple[int, ...]
    offsets: tuple[int, ...]
    arena: int
    scratch: int


@dataclass(frozen=True)
class Result:
    """What a step leaves in a buffer, by its number."""

    buffer: int
    type: TensorType


@dataclass(frozen=True)
class Plan:
    """``buffers`` says what each buffer number stands for: ``("input", i)``, ``("output", i)``,
    ``("constant", digest)``, ``("stream", number)`` or ``("arena", slot)``. ``results`` are those
    of each step, ``traced`` says whether a trace names them; ``readable_inputs`` and
    ``readable_slots`` how many bytes code may read even if nothing is there. See
    docs/kernel-format.md."""

    symbols: tuple[str, ...]
    buffers: tuple[tuple[str, int | str], ...]
    slots: tuple[Dim, ...]
    tasks: tuple[Dim, ...]
    scratch: Dim
    results: tuple[tuple[Result, ...], ...]
    traced: tuple[bool, ...]
    readable_inputs: tuple[Dim, ...]
    readable_slots: tuple[Dim, ...]

    @staticmethod
    def from_json(data: Any) -> Plan:
        """``IntegrityError`` where ``data`` is no plan."""
        try:
            plan = Plan(
                tuple(map(str, data["symbols"])),
                tuple((kind, which) for kind, which in data["buffers"]),
                tuple(map(dims.parse, data["slots"])),
                tuple(dims.parse(step["tasks"]) for step in data["steps"]),
                dims.parse(data["scratch"]),
                tuple(map(_results, data["steps"])),
                tuple(step["traced"] is True for step in data["steps"]),
                tuple(map(dims.parse, data["readable"]["inputs"])),
                tuple(map(dims.parse, data["readable"]["slots"])),
            )
            if len(plan.slots) != len(plan.readable_slots):
                raise ValueError("it doesn't say what is readable of each slot")
            return plan
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"a plan is not valid: {error!r}") from None

    def slot_bytes(self, values: Mapping[str, int]) -> list[int]:
        """How large each slot of the arena is."""
        both = zip(self.slots, self.readable_slots, strict=True)
        return [max(_evaluate(d, values) for d in slot) for slot in both]

    def input_bytes(self, position: int, values: Mapping[str, int]) -> int:
        """How long the memory of the input at this position must be. ``InputError`` where none is
        so large."""
        size = _evaluate(self.readable_inputs[position], values)
        if size > _LARGEST:
            raise InputError(f"inputs of these sizes need {size} bytes of memory")
        return size

    def sizes(self, values: Mapping[str, int]) -> Sizes:
        """``InputError`` where no program of such sizes can run."""
        slots = self.slot_bytes(values)
        tasks = tuple(_evaluate(d, values) for d in self.tasks)
        scratch = _evaluate(self.scratch, values)
        offsets, arena = [], 0
        for size in slots:
            offsets.append(arena)
            arena += size + -size % _ALIGNMENT
        if max(arena, scratch, *tasks, 0) > _LARGEST:
            raise InputError(f"inputs of these sizes need {arena + scratch} bytes of memory")
        order = tuple(values[name] for name in self.symbols)
        return Sizes(order, tasks, tuple(offsets), arena, scratch)


def _results(step: Mapping[str, Any]) -> tuple[Result, ...]:
    """They are in the last of the step's buffers."""
    types = [parse_type(text) for text in step["results"]]
    return tuple(map(Result, step["buffers"][len(step["buffers"]) - len(types) :], types))


def _evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    size = dims.evaluate(dim, values)
    if size < 0:
        listed = ", ".join(f"{name} = {value}" for name, value in sorted(values.items()))
        raise InputError(f"the inputs are too small for this model ({listed})")
    return size
