"""The GPU target: one PTX text for every NVIDIA GPU from Maxwell (sm_52) on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CudaTarget:
    """What PTX is generated for, in LLVM's names, and what a node must have to run it."""

    name: str
    triple: str
    cpu: str
    features: str
    requires: tuple[str, ...]
    system: str
    abi: str  # what entries and their parameters are like
    # For schedules that are a CPU's: a thread has no vectors.
    vector_bits: int = 32
    registers: int = 16
    lacks: tuple[str, ...] = ()
    permute: str = ""

    @property
    def has_dot_products(self) -> bool:
        """Whether it has those of four bytes, ``dp4a``."""
        return int(self.cpu.removeprefix("sm_").rstrip("af")) >= 61


CUDA = CudaTarget(
    name="cuda",
    triple="nvptx64-nvidia-cuda",
    cpu="sm_52",
    features="+ptx60",
    requires=("cuda",),
    system="cuda",
    abi="ptx",
)
