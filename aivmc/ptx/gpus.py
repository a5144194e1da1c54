"""GPUs that PTX is written for, in NVIDIA's names: ``sm_61`` has compute capability 6.1.

A GPU takes the PTX of every older one.
"""

from __future__ import annotations

from collections.abc import Iterable

OLDEST = "sm_52"

NARROW = (1 << 31) - (1 << 16)
"""Indices below it have 32 bits, with room for a step more."""

# The version of the PTX ISA in which our text for each GPU is: the first that knows it ("PTX ISA
# Release History" in NVIDIA's PTX ISA), but 6.0 at least, which has all instructions that we need.
VERSIONS = {
    **dict.fromkeys((OLDEST, "sm_53", "sm_60", "sm_61", "sm_62", "sm_70"), "6.0"),
    "sm_72": "6.1",
    "sm_75": "6.3",
    "sm_80": "7.0",
    "sm_86": "7.1",
    "sm_87": "7.4",
    **dict.fromkeys(("sm_89", "sm_90"), "7.8"),
}


def capability(gpu: str) -> tuple[int, int]:
    """Compute capability, major and minor, of one of these GPUs."""
    return divmod(int(gpu.removeprefix("sm_")), 10)


def dotted(capability: tuple[int, int]) -> str:
    """As NVIDIA writes it, ``6.1``."""
    return ".".join(map(str, capability))


def required_gpu(features: Iterable[str]) -> str | None:
    """The GPU among the features that a target needs; None for a CPU's target."""
    return next((f for f in features if f in VERSIONS), None)
