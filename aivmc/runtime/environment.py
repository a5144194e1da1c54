"""What this node is, as far as it decides which kernels run here."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from functools import cache

import llvmlite
import llvmlite.binding as llvm
import numpy as np


@cache
def cpu_features() -> frozenset[str]:
    """This CPU's architecture, and the extensions of it that the operating system lets programs
    use, in LLVM's names."""
    extensions = (name for name, present in llvm.get_host_cpu_features().items() if present)
    return frozenset([platform.machine(), *extensions])


@cache
def system() -> str:
    """This node's operating system, in LLVM's names."""
    return platform.system().lower()


@cache
def abi() -> str:
    """How this node's programs and libraries call each other, in LLVM's names: ``gnu`` where the C
    library is glibc."""
    try:
        return "gnu" if os.confstr("CS_GNU_LIBC_VERSION") else "unknown"
    except ValueError:
        return "unknown"


def missing_features(requires: Iterable[str]) -> tuple[str, ...]:
    """Those of the required CPU features that this node lacks, in the order given."""
    has = cpu_features()
    return tuple(feature for feature in requires if feature not in has)


@cache
def describe() -> dict[str, object]:
    """Facts about this node, for people and receipts; JSON-compatible."""
    return {
        "machine": platform.machine(),
        "cpu": llvm.get_host_cpu_name(),
        "cpu_features": sorted(cpu_features()),
        "system": platform.system(),
        "release": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
    }
