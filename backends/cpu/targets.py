"""CPU targets: one entry each fixes the instruction set, so the machine code, of a kernel.

A target never depends on the machine that compiles. To add one, add its entry to ``TARGETS``.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import llvmlite.binding as llvm

from aivmc.ir.errors import AivmcError


class CodeTarget(Protocol):
    """What LLVM IR is generated for; the fields are those of :class:`CpuTarget`."""

    @property
    def triple(self) -> str: ...

    @property
    def cpu(self) -> str: ...

    @property
    def features(self) -> str: ...

    @property
    def vector_bits(self) -> int: ...

    @property
    def registers(self) -> int: ...

    @property
    def lacks(self) -> tuple[str, ...]: ...

    @property
    def permute(self) -> str: ...

    @property
    def has_dot_products(self) -> bool: ...


CODE_OPTIONS = {"opt": 3, "reloc": "pic", "codemodel": "default"}
"""What LLVM's code generator is told beside the target."""

# a * b + c; f16 to f32 and back; to whole floats; arithmetic on integers of less than 32 bits; f64
# at a speed like that of f32
LACKING = ("fma", "half", "rounding", "bytes", "f64")


@dataclass(frozen=True)
class CpuTarget:
    """What code is generated for, in LLVM's names, and what a node must have to run it."""

    name: str
    triple: str
    cpu: str
    features: str  # LLVM feature flags beyond ``cpu``, comma separated
    vector_bits: int
    registers: int  # architectural vector registers
    requires: tuple[str, ...]  # CPU features, named as LLVM names the host's; or an architecture
    lacks: tuple[str, ...] = ()  # instructions that are emulated or avoided, of LACKING
    permute: str = ""  # the intrinsic that takes 8 elements of 8 f64 by 8 i64, mod 8

    @property
    def system(self) -> str:
        return self.triple.split("-")[1]

    @property
    def abi(self) -> str:
        return self.triple.split("-")[2]

    @property
    def has_dot_products(self) -> bool:
        """Whether it has those of integers, of AVX-512 VNNI."""
        return "avx512vnni" in self.requires


_V3_REQUIRES = (
    *("avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt"),
    *("sahf", "sse3", "sse4.1", "sse4.2", "ssse3"),
)
_V2_REQUIRES = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V4_REQUIRES = (*_V3_REQUIRES, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_V4 = CpuTarget(
    name="x86-64-v4",
    triple="x86_64-linux-gnu",
    cpu="x86-64-v4",
    features="-prefer-256-bit",  # LLVM's tuning of this level would vectorize at 256 bits
    vector_bits=512,
    registers=32,
    requires=_V4_REQUIRES,
    permute="llvm.x86.avx512.permvar.df.512",
)

# From the widest to the narrowest of an architecture: "native" takes the first that runs.
TARGETS: tuple[CpuTarget, ...] = (
    replace(
        _V4,
        name="x86-64-v4-vnni",
        features=f"{_V4.features},+avx512vnni",
        requires=(*_V4.requires, "avx512vnni"),
    ),
    _V4,
    CpuTarget(
        name="x86-64-v3",
        triple="x86_64-linux-gnu",
        cpu="x86-64-v3",
        features="",
        vector_bits=256,
        registers=16,
        requires=_V3_REQUIRES,
    ),
    CpuTarget(
        name="x86-64-v2",
        triple="x86_64-linux-gnu",
        cpu="x86-64-v2",
        features="",
        vector_bits=128,
        registers=16,
        requires=_V2_REQUIRES,
        lacks=("fma", "half"),
    ),
    CpuTarget(
        name="aarch64",
        triple="aarch64-linux-gnu",
        cpu="generic",
        features="+neon",
        vector_bits=128,
        registers=32,
        requires=("aarch64",),
    ),
    CpuTarget(
        name="riscv64",
        triple="riscv64-linux-gnu",
        cpu="generic-rv64",
        features="+m,+a,+f,+d,+c,+zihintpause",
        vector_bits=32,
        registers=32,
        requires=("riscv64",),
        lacks=("half", "rounding"),
    ),
)
DEFAULT = "x86-64-v3"
_ALIASES = {"cpu": DEFAULT, "llvm": DEFAULT}
NAMES = (*(t.name for t in TARGETS), *_ALIASES, "native")


def resolve(name: str) -> CpuTarget:
    """The target called ``name``; ``cpu`` and ``llvm`` mean the default, ``native`` the best that
    this machine runs. ``AivmcError`` names the choices."""
    if name == "native":
        return _native()
    wanted = _ALIASES.get(name, name)
    for target in TARGETS:
        if target.name == wanted:
            return target
    raise AivmcError(f"unknown target {name!r}: choose one of {', '.join(NAMES)}")


@cache
def llvm_target(triple: str) -> Any:
    """LLVM's code generator for ``triple``, whatever machine this is."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(triple)


def _native() -> CpuTarget:
    has = {feature for feature, present in llvm.get_host_cpu_features().items() if present}
    has.add(platform.machine())
    for target in TARGETS:
        if has.issuperset(target.requires):
            return target
    names = ", ".join(t.name for t in TARGETS)
    raise AivmcError(f"this machine ({platform.machine()}) runs none of the targets {names}")
