"""NVIDIA GPUs as far as they decide how fast a kernel can be: what a multiprocessor holds, and what
it does at most."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32  # threads

# Of a multiprocessor, whatever its capability from 7.5 to 9.0.
_REGISTERS = 1 << 16
_REGISTER_UNIT = 256  # a warp's registers are a multiple
_PARTITIONS = 4  # each has a quarter of the registers, and of the warps


@dataclass(frozen=True)
class Multiprocessor:
    """Limits of one compute capability: the CUDA C++ Programming Guide, "Technical Specifications
    per Compute Capability"; ``reserved`` bytes of shared memory are the system's in each block
    (guide, "Compute Capability 8.x"), and a block's are a multiple of ``shared_unit``."""

    warps: int
    blocks: int
    shared: int  # bytes
    shared_unit: int
    reserved: int


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(32, 16, 64 << 10, 256, 0),
    "sm_80": Multiprocessor(64, 32, 164 << 10, 128, 1024),
    "sm_89": Multiprocessor(48, 24, 100 << 10, 128, 1024),
    "sm_90": Multiprocessor(64, 32, 228 << 10, 128, 1024),
}


@dataclass(frozen=True)
class Gpu:
    """``f32``, ``f64`` and ``int32`` are multiply-adds of a multiprocessor in a clock (guide,
    "Arithmetic Instructions"; a ``dp4a`` is one), ``bandwidth`` is in bytes a second."""

    architecture: str
    multiprocessors: int
    clock: float  # boost, in Hz
    bandwidth: float
    f32: int
    f64: int
    int32: int


# Numbers of multiprocessors, clocks and bandwidths: NVIDIA's whitepapers "A100 Tensor Core GPU
# Architecture" (SXM4, 40 GB), "H100 Tensor Core GPU Architecture" and data sheet (SXM5), "Ada GPU
# Architecture" (GeForce RTX 4090), "Turing GPU Architecture" (appendix on the Tesla T4).
GPUS = {
    "A100": Gpu("sm_80", 108, 1.410e9, 1555e9, 64, 32, 64),
    "H100": Gpu("sm_90", 132, 1.980e9, 3350e9, 128, 64, 64),
    "RTX 4090": Gpu("sm_89", 128, 2.520e9, 1008e9, 128, 2, 64),
    "T4": Gpu("sm_75", 40, 1.590e9, 320e9, 64, 2, 64),
}


def resident_blocks(sm: Multiprocessor, threads: int, shared: int, registers: int | None) -> int:
    """How many blocks of so many ``threads`` a multiprocessor holds at once; ``registers`` are of a
    thread, ``shared`` bytes of a block. Without ``registers``, as many as the rest allows.

    As cuda_occupancy.h of the CUDA toolkit has it.
    """
    warps = -(-threads // WARP)
    limits = [sm.blocks, sm.warps // warps]
    memory = shared + sm.reserved
    if memory:
        limits.append(sm.shared // (memory + -memory % sm.shared_unit))
    if registers:
        of_warp = registers * WARP
        of_warp += -of_warp % _REGISTER_UNIT
        limits.append(_REGISTERS // _PARTITIONS // of_warp * _PARTITIONS // warps)
    return min(limits)


def occupancy(sm: Multiprocessor, threads: int, blocks: int) -> float:
    """The part of a multiprocessor's warps that so many resident blocks are."""
    return blocks * -(-threads // WARP) / sm.warps
