"""The manifest: canonical JSON that names every part of a kernel; its hash is the identity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import rfc8785

from aivmc.ir.types import TensorType
from aivmc.kernel_file.container import ALIGNMENT
from aivmc.kernel_file.digests import Digest
from aivmc.kernel_file.errors import IntegrityError, KernelFileError
from aivmc.kernel_file.signature import Json, Signature, parse_type

FORMAT_VERSION = 1
NUMERICS_VERSION = 1

MANIFEST = "manifest.json"
CANONICAL = "ir/canonical.air"
WEIGHTS = "weights.bin"
SELFTEST = "selftest/selftest.json"


@dataclass(frozen=True)
class Stored:
    """An array in ``weights.bin``, at ``offset``."""

    digest: str
    type: TensorType
    offset: int

    def to_json(self) -> Json:
        return {"sha256": self.digest, "type": str(self.type), "offset": self.offset}


@dataclass(frozen=True)
class Packed:
    """A constant of the program that is stored only in a rearranged form, ``packed``.

    ``packed = transpose(reshape(append_zeros(constant, pad), shape), permutation)``
    """

    digest: str
    type: TensorType
    packed: str
    pad: tuple[int, ...]
    shape: tuple[int, ...]
    permutation: tuple[int, ...]

    def to_json(self) -> Json:
        return {
            "sha256": self.digest,
            "type": str(self.type),
            "packed": self.packed,
            "pad": list(self.pad),
            "shape": list(self.shape),
            "permutation": list(self.permutation),
        }


@dataclass(frozen=True)
class Target:
    """One target's part: the features that a node must have, and the name of its code."""

    requires: tuple[str, ...]
    code: str

    def to_json(self) -> Json:
        return {"requires": list(self.requires), "code": self.code}


@dataclass(frozen=True)
class Manifest:
    """All that a kernel's identity covers.

    ``semantic`` is the semantic digest of the canonical program and ``constants`` are its large
    constants; ``packed`` are the rearranged arrays that targets read; ``members`` are all files of
    the kernel but the manifest itself.
    """

    config: Json
    ledger: Json
    signature: Signature
    semantic: str
    constants: tuple[Stored | Packed, ...]
    packed: tuple[Stored, ...]
    targets: Mapping[str, Target]
    members: Mapping[str, Digest]

    def to_json(self) -> dict[str, Json]:
        return {
            "format": FORMAT_VERSION,
            "numerics": NUMERICS_VERSION,
            "config": self.config,
            "ledger": self.ledger,
            "signature": self.signature.to_json(),
            "semantic": self.semantic,
            "constants": [c.to_json() for c in self.constants],
            "packed": [p.to_json() for p in self.packed],
            "targets": {name: t.to_json() for name, t in self.targets.items()},
            "members": {name: d.to_json() for name, d in self.members.items()},
        }

    @property
    def stored(self) -> list[Stored]:
        """The arrays in ``weights.bin``, in the order of their digests."""
        here = [c for c in self.constants if isinstance(c, Stored)]
        return sorted([*here, *self.packed], key=lambda s: s.digest)


def encode(manifest: Manifest) -> bytes:
    """The manifest's only byte form (RFC 8785)."""
    return rfc8785.dumps(manifest.to_json())


def identity(encoded: bytes | memoryview) -> str:
    """The identity of the kernel with this manifest."""
    return "aivm1:" + sha256(encoded).hexdigest()


def decode(encoded: bytes) -> Manifest:
    """The manifest in these bytes.

    ``KernelFileError`` for a version this one can't read, ``IntegrityError`` for anything that
    :func:`encode` would have written otherwise, or that doesn't hold together.
    """
    try:
        data = json.loads(encoded)
        _check_versions(data)
        manifest = _from_json(data)
        if encode(manifest) != encoded:
            raise ValueError("it is not in canonical form")
        _check_members(manifest)
        _check_weights(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"its manifest is not valid: {reason}") from None
    return manifest


def array_bytes(type: TensorType) -> int:
    """Bytes that an array of a static type takes; ``ValueError`` for another type."""
    sizes = [d for d in type.shape if isinstance(d, int) and d >= 0]
    if len(sizes) != type.rank or type.dtype.numpy.hasobject:
        raise ValueError(f"no array has the type {type}")
    return math.prod(sizes) * type.dtype.numpy.itemsize


def place(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Offsets of arrays that lie one after another, aligned; and where the last one ends."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end + -end % ALIGNMENT)
        end = offsets[-1] + size
    return offsets, end


def member_names(targets: Mapping[str, Target]) -> list[str]:
    """All files of a kernel but its manifest, sorted."""
    each = (
        f"targets/{name}/{file}"
        for name, target in targets.items()
        for file in (target.code, "plan.json", "kernel.air", "audit.json")
    )
    return sorted([CANONICAL, WEIGHTS, SELFTEST, *each])


def _check_versions(data: Json) -> None:
    for what, ours in (("format", FORMAT_VERSION), ("numerics", NUMERICS_VERSION)):
        if data[what] != ours:
            raise KernelFileError(
                f"it has {what} version {data[what]!r}, and this aivmc reads only {ours}: "
                "use the aivmc that made it, or compile the model again"
            )


def _from_json(data: Json) -> Manifest:
    return Manifest(
        data["config"],
        data["ledger"],
        Signature.from_json(data["signature"]),
        str(data["semantic"]),
        tuple(_packed(c) if "packed" in c else _stored(c) for c in data["constants"]),
        tuple(map(_stored, data["packed"])),
        {n: _target(t) for n, t in data["targets"].items()},
        {n: Digest(d["bytes"], str(d["sha256"])) for n, d in data["members"].items()},
    )


def _target(data: Json) -> Target:
    return Target(tuple(map(str, data["requires"])), str(data["code"]))


def _stored(data: Json) -> Stored:
    return Stored(str(data["sha256"]), parse_type(data["type"]), data["offset"])


def _packed(data: Json) -> Packed:
    lists = (tuple(data[key]) for key in ("pad", "shape", "permutation"))
    return Packed(str(data["sha256"]), parse_type(data["type"]), str(data["packed"]), *lists)


def _check_members(manifest: Manifest) -> None:
    if sorted(manifest.members) != member_names(manifest.targets):
        raise ValueError("its members are not those of a kernel with these targets")
    if not manifest.targets:
        raise ValueError("it has no target")
    if not all(isinstance(d.size, int) for d in manifest.members.values()):
        raise ValueError("the size of a member is not an integer")


def _check_weights(manifest: Manifest) -> None:
    """The table of constants leaves no choice, so no gap, overlap or end outside the file."""
    stored = manifest.stored
    offsets, end = place([array_bytes(s.type) for s in stored])
    if [s.offset for s in stored] != offsets or manifest.members[WEIGHTS].size != end:
        raise ValueError("the arrays in weights.bin are not laid out by digest")
    names = {s.digest for s in stored}
    if len(names) != len(stored):
        raise ValueError("an array is listed twice")
    for constant in manifest.constants:
        if isinstance(constant, Packed) and constant.packed not in names:
            raise ValueError(f"the packed form of constant {constant.digest} is missing")
