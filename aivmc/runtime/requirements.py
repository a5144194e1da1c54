"""What a kernel needs of a node, item by item, and what this node has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from aivmc.kernel_file.reader import KernelFile
from aivmc.runtime.environment import cpu_features


@dataclass(frozen=True)
class Requirement:
    """One thing that a target's code needs: of the system, or a feature of the processor."""

    item: str
    needed: str
    found: str

    @property
    def is_met(self) -> bool:
        return self.needed == self.found


def requirements(kernel: KernelFile, target: str) -> list[Requirement]:
    """What the target's code needs, the system before the processor's features."""
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
