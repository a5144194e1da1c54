"""Writing kernels: equal contents give equal bytes, weights are streamed and written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import rfc8785

from aivmc.backends.artifact import Artifact, Packing
from aivmc.ir.constants import Array, tensor_bytes
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file import container
from aivmc.kernel_file.atomic import atomic_file
from aivmc.kernel_file.container import Member
from aivmc.kernel_file.digests import digest_pieces
from aivmc.kernel_file.manifest import (
    CANONICAL,
    MANIFEST,
    SELFTEST,
    WEIGHTS,
    Manifest,
    Packed,
    Stored,
    Target,
    array_bytes,
    encode,
    identity,
    place,
)
from aivmc.kernel_file.signature import Json, Signature


@dataclass(frozen=True)
class KernelContents:
    """A kernel before it is a file.

    ``semantic`` is the semantic digest of the canonical program, ``canonical`` its text;
    ``constants`` has, by digest, every constant
    that it or a plan names; ``selftest`` is what :mod:`aivmc.runtime.selftest` recorded.
    """

    config: Json
    ledger: Json
    signature: Signature
    semantic: str
    canonical: str
    constants: Mapping[str, Array]
    artifacts: Sequence[Artifact]
    selftest: Json


def write_kernel(contents: KernelContents, path: str | Path) -> str:
    """Write a kernel file, whole or not at all, and return its identity.

    ``AivmcError`` where ``path`` can't be written.
    """
    with atomic_file(path) as file:
        return _write(contents, file)


def _write(contents: KernelContents, file: BinaryIO) -> str:
    arrays, constants, packed = _weights(contents)
    texts = _texts(contents)
    digests, crcs = {}, {}
    for name, pieces, size in (
        *((name, [data], len(data)) for name, data in texts.items()),
        (WEIGHTS, _pieces(arrays), _total(arrays)),
    ):
        digests[name], crcs[name] = digest_pieces(pieces, size)
    manifest = encode(
        Manifest(
            contents.config,
            contents.ledger,
            contents.signature,
            contents.semantic,
            constants,
            packed,
            {a.target: Target(a.requires, a.member) for a in contents.artifacts},
            digests,
        )
    )
    texts[MANIFEST] = manifest
    digests[MANIFEST], crcs[MANIFEST] = digest_pieces([manifest], len(manifest))
    members = [Member(name, digests[name].size, crcs[name]) for name in sorted(digests)]
    laid_out = container.layout(members)
    for member, header in zip(members, laid_out.headers):
        file.write(header)
        file.writelines(_pieces(arrays) if member.name == WEIGHTS else [texts[member.name]])
    file.write(laid_out.directory)
    return identity(manifest)


def _texts(contents: KernelContents) -> dict[str, bytes]:
    """Every member but weights and manifest."""
    texts = {
        CANONICAL: contents.canonical.encode(),
        SELFTEST: rfc8785.dumps(contents.selftest),
    }
    for artifact in contents.artifacts:
        folder = f"targets/{artifact.target}/"
        texts[folder + artifact.member] = artifact.code
        texts[folder + "plan.json"] = rfc8785.dumps(artifact.plan)
        texts[folder + "kernel.air"] = artifact.kernel_ir.encode()
        texts[folder + "audit.json"] = rfc8785.dumps(artifact.audit)
    return texts


def _weights(
    contents: KernelContents,
) -> tuple[list[Array], tuple[Stored | Packed, ...], tuple[Stored, ...]]:
    """The arrays to store, by digest; and the manifest's tables of constants and packed arrays.

    A constant that some target reads rearranged, and none as it is, is stored in that form only.
    """
    packings: dict[str, tuple[str, Packing]] = {}
    arrays: dict[str, Array] = {}
    for artifact in contents.artifacts:
        for digest, (packing, array) in sorted(artifact.packed.items()):
            arrays[digest] = array
            packings[packing.source] = min(
                packings.get(packing.source, (digest, packing)), (digest, packing)
            )
    rearranged = set(arrays) - set(contents.constants)
    read = {digest for a in contents.artifacts for digest in plan_constants(a.plan)}
    arrays |= {
        d: array for d, array in contents.constants.items() if d in read or d not in packings
    }
    order = sorted(arrays)
    offsets, _ = place([array_bytes(_type(arrays[d])) for d in order])
    stored = {d: Stored(d, _type(arrays[d]), o) for d, o in zip(order, offsets)}
    constants = tuple(
        stored[d] if d in stored else _packed(d, contents.constants[d], *packings[d])
        for d in sorted(contents.constants)
    )
    return [arrays[d] for d in order], constants, tuple(stored[d] for d in sorted(rearranged))


def plan_constants(plan: Mapping[str, Json]) -> Iterable[str]:
    """Digests of the constants that a plan's steps read."""
    return (buffer[1] for buffer in plan["buffers"] if buffer[0] == "constant")


def _packed(digest: str, array: Array, packed: str, how: Packing) -> Packed:
    return Packed(digest, _type(array), packed, how.pad, how.shape, how.permutation)


def _type(array: Array) -> TensorType:
    return TensorType(DType.of(array.dtype), array.shape)


def _total(arrays: Sequence[Array]) -> int:
    return place([a.nbytes for a in arrays])[1]


def _pieces(arrays: Sequence[Array]) -> Iterator[bytes | memoryview]:
    """The bytes of ``weights.bin``, an array at a time."""
    offsets, _ = place([a.nbytes for a in arrays])
    end = 0
    for array, offset in zip(arrays, offsets):
        yield bytes(offset - end)
        yield tensor_bytes(array)
        end = offset + array.nbytes
