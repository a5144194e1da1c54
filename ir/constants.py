"""Constants: arrays known by content hash, held beside the text of a program rather than in it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, TensorType

Array = np.ndarray[Any, np.dtype[Any]]


class Constant:
    """An immutable tensor value, equal to another if its dtype, shape and bytes are.

    A constant read from text that names its content only by hash has no ``data`` until a weights
    file supplies it.
    """

    def __init__(self, type: TensorType, data: Array | None, digest: str | None = None) -> None:
        self.type = type
        self._data = None if data is None else only_values(data)
        self._digest = digest

    @staticmethod
    def of(array: Any, dtype: DType | None = None) -> Constant:
        """The constant holding ``array``, converted to ``dtype`` where that is given."""
        dtype = dtype or DType.of(np.asarray(array).dtype)
        data = np.asarray(array, dtype=dtype.numpy, order="C")
        if data.flags.writeable:
            data = data.view()
            data.flags.writeable = False
        return Constant(TensorType(dtype, data.shape), data)

    @property
    def is_loaded(self) -> bool:
        return self._data is not None

    @property
    def data(self) -> Array:
        """The array; ``IRError`` if only its hash is known."""
        if self._data is None:
            raise IRError(
                f"the data of constant {self.type} sha256:{self._digest} is not at hand; "
                "give the weights file that holds it"
            )
        return self._data

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over the type's text and the row-major little-endian bytes."""
        return self._digest if self._data is None and self._digest else tensor_digest(self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant) or self.type != other.type:
            return False
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Constant({self.type}, sha256:{self.digest[:12]})"


def tensor_digest(array: Array) -> str:
    """SHA-256 in hex over a typed header (as ``f32[2, 3]``), a zero byte and the bytes.

    The canonical digest of a tensor wherever one is named: constants, inputs, outputs.
    """
    array = np.asarray(array)
    header = str(TensorType(DType.of(array.dtype), array.shape))
    digest = hashlib.sha256(header.encode() + b"\0")
    digest.update(tensor_bytes(array))
    return digest.hexdigest()


def tensor_bytes(array: Array) -> bytes | memoryview:
    """Row-major little-endian bytes; strings as length-prefixed UTF-8."""
    if array.dtype == np.object_:
        encoded = [(s if isinstance(s, bytes) else str(s).encode()) for s in array.ravel()]
        return b"".join(len(s).to_bytes(8, "little") + s for s in encoded)
    contiguous = np.ascontiguousarray(array)
    if contiguous.dtype.byteorder == ">":
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return memoryview(only_values(contiguous).reshape(-1).view(np.uint8).data)


def only_values(array: Array) -> Array:
    """``array``, of whose types narrower than a byte the rest of each byte is no part of the
    value, with that rest 0."""
    dtype = DType.of(array.dtype)
    if not dtype.is_sub_byte:
        return array
    return np.bitwise_and(array.view(np.uint8), np.uint8((1 << dtype.bits) - 1)).view(array.dtype)
