"""All targets by name. To resolve a name loads no compiler."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.backends.cpu import targets as cpu
from aivmc.backends.cpu.targets import CpuTarget
from aivmc.backends.cuda import targets as cuda
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.ir.errors import AivmcError

Target = CpuTarget | CudaTarget


def resolve(name: str) -> Target:
    """The target called ``name``: one of a GPU's or the CPU's names. ``AivmcError`` names the
    choices."""
    if name in cuda.TARGETS:
        return cuda.TARGETS[name]
    if name not in cpu.NAMES:
        choices = ", ".join([*cpu.NAMES, *cuda.TARGETS])
        raise AivmcError(f"unknown target {name!r}: choose one of {choices}")
    return cpu.resolve(name)


def resolve_all(names: str | Sequence[str]) -> list[Target]:
    """The targets of these names, each once, in order of name. ``AivmcError`` for another name."""
    found = {resolve(name) for name in ([names] if isinstance(names, str) else names)}
    if not found:
        raise AivmcError("name at least one target to compile for")
    return sorted(found, key=lambda target: target.name)
