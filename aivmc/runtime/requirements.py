"""What a kernel needs of a node, item by item, and what this node has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from aivmc.kernel_file.reader import KernelFile
from aivmc.ptx.gpus import capability, dotted, required_gpu
from aivmc.runtime.cuda import CudaDevice
from aivmc.runtime.environment import cpu_features
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
    told = kernel.manifest.config.get("targets", {}).get(target, {})
    architecture = str(told.get("triple", "")).partition("-")[0]
    known = [
        ("operating system", str(told.get("os", "")), platform.system().lower()),
        ("architecture", architecture, platform.machine()),
    ]
    has = cpu_features()
    return [
        *(Requirement(*item) for item in known if item[1]),
        *(
            Requirement(f"CPU feature {name}", "present", "present" if name in has else "missing")
            for name in kernel.manifest.targets[target].requires
        ),
    ]


def gpu_capability() -> tuple[int, int] | None:
    """Of this node's first NVIDIA GPU; None where there is none that can be used."""
    try:
        return CudaDevice().capability
    except NodeError:
        return None


def gpu_text(least: tuple[int, int]) -> str:
    """What a target for GPUs needs, in words."""
    return f"NVIDIA GPU of compute capability {dotted(least)} or more"
