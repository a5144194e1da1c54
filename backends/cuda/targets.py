"""GPU targets: ``cuda`` is PTX for every NVIDIA GPU from Maxwell (sm_52) on, ``cuda:sm_61`` and
its like for that one and newer ones.

``:slow-f64`` at the end of a name is for GPUs whose f64 is much slower than their f32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aivmc.ptx.gpus import OLDEST, VERSIONS, capability


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
    # LLVM would take pairs of 16 bits for it, of which one may not be there.
    lacks: tuple[str, ...] = ("bytes",)
    permute: str = ""

    @property
    def has_dot_products(self) -> bool:
        """Whether it has those of four bytes, ``dp4a``."""
        return capability(self.cpu) >= (6, 1)


def _target(gpu: str) -> CudaTarget:
    return CudaTarget(
        name="cuda" if gpu == OLDEST else f"cuda:{gpu}",
        triple="nvptx64-nvidia-cuda",
        cpu=gpu,
        features=f"+ptx{VERSIONS[gpu].replace('.', '')}",
        requires=(gpu,),
        system="cuda",
        abi="ptx",
    )


def _with_slow_f64(target: CudaTarget) -> CudaTarget:
    return replace(target, name=f"{target.name}:slow-f64", lacks=(*target.lacks, "f64"))


CUDA = _target(OLDEST)
TARGETS = {
    target.name: target
    for plain in map(_target, VERSIONS)
    for target in (plain, _with_slow_f64(plain))
}
