"""Traces: a digest of every value that a run computes, under one Merkle root (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from blake3 import blake3

from aivmc.ir.constants import Array, tensor_bytes
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.reader import KernelFile
from aivmc.protocol.merkle import MerkleTree
from aivmc.trust.documents import canonical, hex_bytes, members, natural, parse_canonical, text
from aivmc.trust.errors import MalformedError

FORMAT = "aivm-trace 1"
DIGEST_BYTES = 32

TARGET = r"[A-Za-z0-9._:-]{1,100}"
"""The form of a target's name in a document."""

_LONGEST_FILE = 1 << 28


@dataclass(frozen=True)
class Trace:
    """What one run computed: ``digests`` in the order of the plan's traced steps and their results.

    ``program`` is the digest of the target's ``kernel.air``, whose values they are.
    """

    kernel: str
    target: str
    program: str
    digests: tuple[bytes, ...]

    @cached_property
    def tree(self) -> MerkleTree:
        return MerkleTree(self.digests)

    @property
    def root(self) -> bytes:
        return self.tree.root

    def to_bytes(self) -> bytes:
        """The trace's file: a line of JSON, then the digests."""
        header = {
            "format": FORMAT,
            "kernel": self.kernel,
            "target": self.target,
            "program": self.program,
            "leaves": len(self.digests),
        }
        return canonical(header) + b"\n" + b"".join(self.digests)


def read_trace(path: str | Path) -> Trace:
    """The trace in a file; ``MalformedError`` where it is none."""
    try:
        with open(path, "rb") as file:
            return parse_trace(file.read(_LONGEST_FILE + 1))
    except OSError as error:
        raise MalformedError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise MalformedError(f"cannot read {str(path)!r}: {error}") from None
    except MalformedError as error:
        raise MalformedError(f"{path}: {error}") from None


def parse_trace(data: bytes) -> Trace:
    """The trace in these bytes; ``MalformedError`` where it is none."""
    if len(data) > _LONGEST_FILE:
        raise MalformedError(f"the trace is longer than {_LONGEST_FILE} bytes")
    line, _, digests = data.partition(b"\n")
    header = members(
        parse_canonical(line, "trace's header"),
        "trace's header",
        ("format", "kernel", "target", "program", "leaves"),
    )
    if header["format"] != FORMAT:
        raise MalformedError(f"the trace's format is not {FORMAT!r}")
    if natural(header["leaves"], "trace's number of leaves") * DIGEST_BYTES != len(digests):
        raise MalformedError("the trace is not as long as its header says")
    return Trace(
        text(header["kernel"], "trace's kernel", r"aivm1:[0-9a-f]{64}"),
        text(header["target"], "trace's target", TARGET),
        hex_bytes(header["program"], DIGEST_BYTES, "trace's program").hex(),
        tuple(digests[i : i + DIGEST_BYTES] for i in range(0, len(digests), DIGEST_BYTES)),
    )


def program_digest(kernel: KernelFile, target: str) -> str:
    """The digest of the program whose values a target's traces name."""
    return kernel.manifest.members[f"targets/{target}/kernel.air"].sha256


class Tracer:
    """Collects a trace's digests while a kernel runs, hashing on ``threads`` threads."""

    def __init__(self, threads: int) -> None:
        self.digests: list[bytes] = []
        self._threads = threads

    def __call__(self, step: int, results: Sequence[Array]) -> None:
        self.digests += [leaf_digest(array, self._threads) for array in results]


def leaf_digest(array: Array, threads: int = 1) -> bytes:
    """BLAKE3 of what the canonical digest is made of: type, a zero byte, elements."""
    type = TensorType(DType.of(array.dtype), array.shape)
    hasher = blake3(str(type).encode() + b"\0", max_threads=threads)
    return hasher.update(tensor_bytes(array)).digest()
