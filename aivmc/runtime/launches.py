"""A GPU target's plan: memory as of any target, and the kernels to launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aivmc.ir import dims
from aivmc.ir.binding import InputError
from aivmc.ir.dims import Dim, evaluate
from aivmc.kernel_file.errors import IntegrityError
from aivmc.ptx.gpus import NARROW
from aivmc.runtime.errors import NodeError
from aivmc.runtime.plan import Plan

_MOST_BLOCKS = (1 << 31) - 1
_SCRATCH_BYTES = 1 << 26  # of all threads of a launch, if more than one block's don't need more


@dataclass(frozen=True)
class Launch:
    """One step: a kernel, the numbers of its buffers and dims, how many threads and tasks a block
    has, and whether threads have scratch memory: then they go on to further tasks, so that fewer
    do. ``narrow`` are how many elements indices of 32 bits must be enough for."""

    function: str
    buffers: tuple[int, ...]
    dims: tuple[int, ...]
    threads: int
    tasks_per_block: int
    has_scratch: bool
    narrow: tuple[Dim, ...] = ()

    def blocks(self, tasks: int, scratch: int) -> int:
        """How many are launched for so many tasks; each thread that has scratch memory has
        ``scratch`` bytes. ``NodeError`` where no GPU takes so many."""
        wanted = -(-tasks // self.tasks_per_block)
        if self.has_scratch:
            most = _SCRATCH_BYTES // (max(scratch, 1) * self.threads)
            return min(wanted, max(most, 1))
        if wanted > _MOST_BLOCKS:
            raise NodeError(f"{self.function} needs {wanted} blocks; a launch has {_MOST_BLOCKS}")
        return wanted

    def require_narrow(self, values: Mapping[str, int]) -> None:
        """``InputError`` where tensors are too large for its indices."""
        most = max((evaluate(size, values) for size in self.narrow), default=0)
        if most >= NARROW:
            raise InputError(
                f"inputs of these sizes need a tensor of {most} elements; {self.function} takes "
                f"fewer than {NARROW} where dims are symbolic: compile for these shapes (--shape)"
            )


@dataclass(frozen=True)
class LaunchPlan:
    plan: Plan
    launches: tuple[Launch, ...]

    @staticmethod
    def from_json(data: Any) -> LaunchPlan:
        """``IntegrityError`` where ``data`` is no plan of launches."""
        plan = Plan.from_json(data)
        try:
            launches = tuple(map(_launch, data["steps"]))
            for launch in launches:
                if not set(launch.buffers) <= set(range(len(plan.buffers))):
                    raise ValueError("a step has a buffer that isn't there")
                if not set(launch.dims) <= set(range(len(plan.symbols))):
                    raise ValueError("a step has a dim that isn't there")
                if not 1 <= launch.threads <= 1024 or launch.tasks_per_block < 1:
                    raise ValueError(f"a block of {launch.threads} threads")
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"a plan is not valid: {error!r}") from None
        return LaunchPlan(plan, launches)


def _launch(step: Any) -> Launch:
    if not isinstance(step["scratch"], bool):
        raise ValueError("scratch is neither true nor false")
    return Launch(
        str(step["function"]),
        tuple(map(int, step["buffers"])),
        tuple(map(int, step["dims"])),
        int(step["threads"]),
        int(step["tasks_per_block"]),
        step["scratch"],
        tuple(map(dims.parse, step["narrow"])),
    )
