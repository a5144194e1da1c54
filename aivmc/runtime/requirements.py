"""What a kernel needs of a node, item by item, and what this node has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.reader import KernelFile
from aivmc.ptx.gpus import capability, dotted, required_gpu
from aivmc.runtime.cuda import CudaDevice
from aivmc.runtime.environment import abi, cpu_features, system
from aivmc.runtime.errors import NodeError


@dataclass(frozen=True)
class Requirement:
    """One thing that a target's code needs: of the system, a feature of the processor, a GPU."""

    item: str
    needed: str
    found: str

    @property
    def is_met(self) -> bool:
        return self.needed == self.found


def requirements(kernel: KernelFile, target: str) -> list[Requirement]:
    """What the target's code needs, the system before the processor's features."""
    gpu = required_gpu(kernel.manifest.targets[target].requires)
    if gpu is not None:
        needed, there = capability(gpu), gpu_capability()
        found = "present" if there is not None and there >= needed else "missing"
        return [Requirement(gpu_text(needed), "present", found)]
    has = cpu_features()
    return [
        *system_requirements(kernel, target),
        *(
            Requirement(f"CPU feature {name}", "present", "present" if name in has else "missing")
            for name in kernel.manifest.targets[target].requires
        ),
    ]


def system_requirements(kernel: KernelFile, target: str) -> list[Requirement]:
    """What the target's code needs beside features of the processor, as the configuration says.

    ``IntegrityError`` where that is no configuration.
    """
    try:
        told = dict(kernel.manifest.config.get("targets", {}).get(target, {}))
    except (AttributeError, TypeError, ValueError):
        raise IntegrityError(f"the configuration of the target {target} is not valid") from None
    known = (
        ("operating system", told.get("os"), system()),
        ("ABI", told.get("abi"), abi()),
        ("architecture", str(told.get("triple", "")).partition("-")[0], platform.machine()),
    )
    return [Requirement(item, str(needed), found) for item, needed, found in known if needed]


def check_system(kernel: KernelFile, target: str) -> None:
    """``NodeError`` names what this node lacks beside features of the processor."""
    lacks = [r for r in system_requirements(kernel, target) if not r.is_met]
    if lacks:
        reasons = ", ".join(f"{r.item} {r.needed} (this node has {r.found})" for r in lacks)
        raise NodeError(f"this node lacks what the kernel needs for {target}: {reasons}")


def gpu_capability() -> tuple[int, int] | None:
    """Of this node's first NVIDIA GPU; None where there is none that can be used."""
    try:
        return CudaDevice().capability
    except NodeError:
        return None


def gpu_text(least: tuple[int, int]) -> str:
    """What a target for GPUs needs, in words."""
    return f"NVIDIA GPU of compute capability {dotted(least)} or more"
