"""Reading kernels: mapped into memory, verified as a whole before anything of them is used."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
import rfc8785

from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.types import TensorType
from aivmc.kernel_file import container
from aivmc.kernel_file.container import Member
from aivmc.kernel_file.digests import first_mismatch
from aivmc.kernel_file.errors import IntegrityError, KernelFileError
from aivmc.kernel_file.manifest import CANONICAL, MANIFEST, WEIGHTS, Manifest, decode, identity
from aivmc.kernel_file.signature import Json


class KernelFile:
    """An open kernel: its manifest, its members, and its arrays as views of the mapped file.

    The file is mapped, not read: another process that shortens or rewrites it in place, rather than
    replacing it, pulls the weights out from under the kernel.
    """

    def __init__(self, data: memoryview, members: dict[str, memoryview], manifest: Manifest):
        self.data = data
        self.members = members
        self.manifest = manifest
        self.identity = identity(members[MANIFEST])

    def text(self, name: str) -> str:
        """A member that is text."""
        return str(self.members[name], "utf-8")

    def json(self, name: str) -> Json:
        """A member that is canonical JSON."""
        data = bytes(self.members[name])
        try:
            value = json.loads(data)
            if rfc8785.dumps(value) != data:
                raise ValueError("it is not in canonical form")
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{name} is not valid: {error}") from None
        return value

    def arrays(self) -> dict[str, Array]:
        """The arrays in ``weights.bin`` by digest, read-only and without a copy."""
        weights = self.members[WEIGHTS]
        return {s.digest: _view(weights, s.offset, s.type) for s in self.manifest.stored}


def open_kernel(path: str | Path) -> KernelFile:
    """Map a kernel file and verify all of it but the contents' agreement with each other.

    ``KernelFileError`` where it can't be read as a kernel, ``IntegrityError`` where it is damaged.
    """
    try:
        with open(path, "rb") as file:
            return read_kernel(_map(file))
    except OSError as error:
        raise KernelFileError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise KernelFileError(f"cannot read {str(path)!r}: {error}") from None
    except (KernelFileError, IntegrityError) as error:
        raise type(error)(f"{path}: {error}") from None


def read_kernel(data: memoryview) -> KernelFile:
    """A kernel from the bytes of its file; errors as :func:`open_kernel`."""
    members = container.read(data, CANONICAL, MANIFEST)
    if MANIFEST not in members:
        raise IntegrityError("it has no manifest")
    manifest = decode(bytes(members[MANIFEST]))
    if sorted(members) != sorted([MANIFEST, *manifest.members]):
        raise IntegrityError("its members are not those that its manifest names")
    wrong = first_mismatch({n: (members[n], d) for n, d in manifest.members.items()})
    if wrong is not None:
        raise IntegrityError(f"{wrong} is not what the manifest says: damaged, or tampered with")
    return KernelFile(data, members, manifest)


def check_contents(kernel: KernelFile) -> None:
    """What :func:`open_kernel` leaves out as loading a kernel doesn't need it: the archive's CRCs,
    the digest of each array. ``IntegrityError`` names what is wrong."""
    layout = [Member(n, len(d), crc32(d)) for n, d in sorted(kernel.members.items())]
    if (
        kernel.data[-len(container.layout(layout).directory) :]
        != container.layout(layout).directory
    ):
        raise IntegrityError("the archive's CRCs are wrong")
    for digest, array in kernel.arrays().items():
        if tensor_digest(array) != digest:
            raise IntegrityError(f"the array {digest} in {WEIGHTS} has another digest")


def _map(file: BinaryIO) -> memoryview:
    if file.seek(0, 2) == 0:
        raise KernelFileError("it is empty")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_WILLNEED"):
        mapped.madvise(mmap.MADV_WILLNEED)
    return memoryview(mapped)


def _view(data: memoryview, offset: int, type: TensorType) -> Array:
    shape = tuple(d for d in type.shape if isinstance(d, int))
    return np.ndarray(shape, type.dtype.numpy, data, offset)
