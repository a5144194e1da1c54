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
    """One thing that a target's code needs: of the system, the processor or the GPU."""

    item: str
    needed: str
    found: str
    met: bool


def requirements(kernel: KernelFile, target: str) -> list[Requirement]:
    """What the target's code needs, the system before the processor's features."""
    requires = kernel.manifest.targets[target].requires
    gpu = required_gpu(requires)
    if gpu is not None:
        return [_gpu(capability(gpu))]
    told = kernel.manifest.config.get("targets", {}).get(target, {})
    architecture = str(told.get("triple", "")).partition("-")[0]
    known = [
        ("operating system", str(told.get("os", "")), platform.system().lower()),
        ("architecture", architecture, platform.machine()),
    ]
    has = cpu_features()
    known = [item for item in known if item[1]]
    known += [
        (f"CPU feature {name}", "present", "present" if name in has else "missing")
        for name in requires
    ]
    return [Requirement(*item, met=item[1] == item[2]) for item in known]


def gpu_capability() -> tuple[int, int] | None:
    """That of this node's first NVIDIA GPU; None where there is none that can be used."""
    try:
        return CudaDevice().capability
    except NodeError:
        return None


def _gpu(least: tuple[int, int]) -> Requirement:
    has = gpu_capability()
    found, met = ("none", False) if has is None else (dotted(has), has >= least)
    return Requirement("NVIDIA GPU, compute capability", dotted(least), found, met)
