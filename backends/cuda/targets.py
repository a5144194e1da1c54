"""GPU targets: one PTX text for every NVIDIA GPU from Maxwell (sm_52) on.

``:slow-f64`` at the end of a name is for GPUs whose f64 is much slower than their f32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


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


CUDA = CudaTarget(
    name="cuda",
    triple="nvptx64-nvidia-cuda",
    cpu="sm_52",
    features="+ptx60",
    requires=("cuda",),
    system="cuda",
    abi="ptx",
)
SLOW_F64 = replace(CUDA, name=f"{CUDA.name}:slow-f64", lacks=("f64",))
TARGETS = {target.name: target for target in (CUDA, SLOW_F64)}
