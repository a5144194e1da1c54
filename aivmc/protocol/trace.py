"""Traces: a digest of every value that a run computes, under one Merkle root (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from blake3 import blake3

from aivmc.ir.constants import Array, tensor_bytes
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.reader import KernelFile
from aivmc.protocol.merkle import MerkleTree
from aivmc.runtime.native import Parts
from aivmc.trust.documents import canonical, hex_bytes, members, natural, parse_canonical, text
from aivmc.trust.errors import MalformedError

FORMAT = "aivm-trace 1"
DIGEST_BYTES = 32

TARGET = r"[A-Za-z0-9._:-]{1,100}"
"""The form of a target's name in a document."""

_LONGEST_FILE = 1 << 28

PIECE_BYTES = 1 << 19
"""Length of the pieces in which a value is hashed; the last one is what is left."""


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
    """Collects a trace's digests while a kernel runs, on the threads that run it."""

    def __init__(self) -> None:
        self._hashing: list[_Hashing] = []

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Once all steps have run."""
        return tuple(digest for each in self._hashing for digest in each.digests())

    def divide(self, results: Sequence[Sequence[Array]], kept: dict[int, _Values]) -> Parts:
        """A part is a piece of a step's results; ``kept`` has those of earlier runs."""
        for step, arrays in enumerate(results):
            before = kept[step].arrays if step in kept else None
            if before is None or any(a is not b for a, b in zip(arrays, before, strict=True)):
                kept[step] = _Values(arrays)
        steps = [kept[step] for step in range(len(results))]
        self._hashing = [_Hashing(values) for values in steps]
        counts = [len(values.pieces) for values in steps]
        return counts, lambda step, begin, end: self._hashing[step].hash(begin, end)

    def __call__(self, step: int, results: Sequence[Array]) -> None:
        hashing = _Hashing(_Values(results))
        hashing.hash(0, len(hashing.values.pieces))
        self._hashing.append(hashing)


class _Values:
    """A step's results, contiguous arrays in the machine's byte order, and the pieces of all."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = arrays
        cut = [_pieces(array) for array in arrays]
        self.pieces = [piece for pieces in cut for piece in pieces]
        self.headers = [f"{TensorType(DType.of(a.dtype), a.shape)}\0".encode() for a in arrays]
        self.ends = list(accumulate(map(len, cut)))  # of each array's pieces


class _Hashing:
    """Of a step's results, in one run."""

    def __init__(self, values: _Values) -> None:
        self.values = values
        self._digests = [b""] * len(values.pieces)

    def hash(self, begin: int, end: int) -> None:
        """The pieces from ``begin`` on."""
        for i in range(begin, end):
            piece = self.values.pieces[i]
            data = piece if isinstance(piece, memoryview) else tensor_bytes(piece)
            self._digests[i] = blake3(data).digest()

    def digests(self) -> list[bytes]:
        """The leaves, once all pieces are hashed."""
        values, begins = self.values, (0, *self.values.ends)
        return [
            blake3(header + b"".join(self._digests[begin:end])).digest()
            for header, begin, end in zip(values.headers, begins, values.ends)
        ]


def _pieces(array: Array) -> list[Array | memoryview]:
    flat, size = array.reshape(-1).view(np.uint8), PIECE_BYTES
    data = array.reshape(-1) if DType.of(array.dtype).is_sub_byte else flat.data
    return [data[i : i + size] for i in range(0, flat.size, size)]


def leaf_digest(array: Array) -> bytes:
    """BLAKE3 of the type, a zero byte, and BLAKE3 of each piece of the elements."""
    native = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    tracer = Tracer()
    tracer(0, [native])
    return tracer.digests[0]
