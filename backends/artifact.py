"""What a backend makes of a program for one target, ready to be put into a kernel file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aivmc.ir.constants import Array


@dataclass(frozen=True)
class Packing:
    """How a constant is rearranged for a kernel: pad, reshape, permute.

    ``source`` is the digest of the canonical constant; ``pad`` zeros are appended to each of its
    axes, the result is reshaped to ``shape`` and its axes are permuted.
    """

    source: str
    pad: tuple[int, ...]
    shape: tuple[int, ...]
    permutation: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        """The packed form of ``array``."""
        if any(self.pad):
            array = np.pad(array, [(0, p) for p in self.pad])
        return np.ascontiguousarray(array.reshape(self.shape).transpose(self.permutation))

    def invert(self, packed: Array, shape: tuple[int, ...]) -> Array:
        """The constant of ``shape`` from its packed form."""
        padded = tuple(d + p for d, p in zip(shape, self.pad))
        rows = packed.transpose(np.argsort(self.permutation)).reshape(padded)
        return np.ascontiguousarray(rows[tuple(slice(0, d) for d in shape)])


@dataclass(frozen=True)
class Artifact:
    """One target's part of a kernel. ``plan`` is described in docs/kernel-format.md; ``constants``
    and ``packed`` are, by digest, the arrays that it reads."""

    target: str
    requires: tuple[str, ...]
    member: str
    code: bytes
    plan: dict[str, Any]
    kernel_ir: str
    audit: dict[str, Any]
    constants: dict[str, Array]
    packed: dict[str, tuple[Packing, Array]]


@dataclass(frozen=True)
class Generated:
    """An artifact whose weights are not packed yet. Buffers ``("packed", i)`` of its plan stand for
    what ``packings[i]`` makes."""

    artifact: Artifact
    packings: tuple[Packing, ...]


Progress = Callable[[int, int, str], object]  # functions done, functions in all, what is next
