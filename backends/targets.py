"""All targets by name. To resolve a name loads no compiler."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.backends.cpu import targets as cpu
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.cuda.targets import CUDA, CudaTarget
from aivmc.ir.errors import AivmcError

Target = CpuTarget | CudaTarget


def resolve(name: str) -> Target:
    """The target called ``name``: ``cuda``, or one of the CPU's names. ``AivmcError`` names the
    choices."""
    if name == CUDA.name:
        return CUDA
    if name not in cpu.NAMES:
        choices = ", ".join([*cpu.NAMES, CUDA.name])
        raise AivmcError(f"unknown target {name!r}: choose one of {choices}")
    return cpu.resolve(name)


def resolve_all(names: str | Sequence[str]) -> list[Target]:
    """The targets of these names, each once, in order of name. ``AivmcError`` for another name."""
    found = {resolve(name) for name in ([names] if isinstance(names, str) else names)}
    if not found:
        raise AivmcError("name at least one target to compile for")
    return sorted(found, key=lambda target: target.name)
