"""ONNX tensors to NumPy arrays, with every length checked before anything is allocated."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

from aivmc.importer._errors import ImportModelError
from aivmc.importer.load import Folder
from aivmc.ir.constants import Array
from aivmc.ir.types import DType
from aivmc.passes.legalize.onnx_types import DTYPES

_EXTERNAL = onnx.TensorProto.EXTERNAL
_WIDE_FIELDS = {
    DType.F32: "float_data",
    DType.C64: "float_data",
    DType.F64: "double_data",
    DType.C128: "double_data",
    DType.I64: "int64_data",
    DType.U32: "uint64_data",
    DType.U64: "uint64_data",
}
_DENSE_LIMIT = 2**31  # bytes that a sparse tensor may become


def dtype_of(code: int) -> DType:
    """The element type with this ONNX number."""
    if code not in DTYPES:
        raise ImportModelError(f"ONNX element type {code} is not known here")
    return DTYPES[code]


def tensor_array(tensor: Any, folder: Folder) -> Array:
    """The array that a ``TensorProto`` holds; strings as an object array of ``str``."""
    try:
        return _tensor_array(tensor, folder)
    except ImportModelError as error:
        raise ImportModelError(f"tensor {tensor.name!r}: {error}") from None


def sparse_array(sparse: Any, folder: Folder) -> Array:
    """The dense array that a ``SparseTensorProto`` stands for."""
    values = tensor_array(sparse.values, folder)
    indices = tensor_array(sparse.indices, folder)
    shape = checked_shape(sparse.dims)
    name = sparse.values.name
    if prod(shape) * values.dtype.itemsize > _DENSE_LIMIT:
        raise ImportModelError(f"sparse tensor {name!r} is over 2 GiB when dense")
    if values.ndim != 1 or indices.dtype != np.int64:
        raise ImportModelError(f"sparse tensor {name!r} must have a vector of values, i64 indices")
    if indices.shape == (values.size, len(shape)):
        bounds = np.array(shape, np.int64)
        inside = bool(np.all((indices >= 0) & (indices < bounds)))
        flat = indices @ np.array([prod(shape[i + 1 :]) for i in range(len(shape))], np.int64)
    elif indices.shape == (values.size,):
        flat = indices
        inside = bool(np.all((flat >= 0) & (flat < prod(shape))))
    else:
        raise ImportModelError(f"sparse tensor {name!r} has indices of another length than values")
    if not inside:
        raise ImportModelError(f"sparse tensor {name!r} has an index outside its shape")
    dense = np.zeros(prod(shape), values.dtype)
    dense[flat] = values
    return dense.reshape(shape)


def checked_shape(dims: Any) -> tuple[int, ...]:
    shape = tuple(int(d) for d in dims)
    if any(d < 0 for d in shape):
        raise ImportModelError(f"negative dim in the shape {list(shape)}")
    if prod(d or 1 for d in shape) >= 2**47:
        raise ImportModelError(f"the shape {list(shape)} is larger than any memory")
    if len(shape) > 32:
        raise ImportModelError(f"a tensor of {len(shape)} dims is over NumPy's limit")
    return shape


def _tensor_array(tensor: Any, folder: Folder) -> Array:
    dtype = dtype_of(tensor.data_type)
    shape = checked_shape(tensor.dims)
    count = prod(shape)
    if dtype is DType.STRING:
        return _strings(tensor.string_data, count).reshape(shape)
    if tensor.data_location == _EXTERNAL:
        data = _external(tensor, folder, _byte_length(dtype, count))
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        _require_length(len(raw), _byte_length(dtype, count), "bytes of raw data")
        data = np.frombuffer(raw, np.uint8)
    else:
        data = _typed_bytes(tensor, dtype, count)
    return _from_bytes(data, dtype, count).reshape(shape)


def _byte_length(dtype: DType, count: int) -> int:
    if dtype.is_sub_byte:
        return -(-count * dtype.bits // 8)
    return count * dtype.numpy.itemsize


def _require_length(given: int, needed: int, what: str) -> None:
    if given != needed:
        raise ImportModelError(f"{given} {what} where the shape needs {needed}")


def _from_bytes(data: Array, dtype: DType, count: int) -> Array:
    """Elements from little-endian bytes; narrower than a byte: low bits first."""
    if dtype is DType.BOOL:
        return np.not_equal(data, 0)
    if dtype.bits >= 8:
        return data.view(dtype.numpy)
    per_byte = 8 // dtype.bits
    shifts = np.arange(per_byte, dtype=np.uint8) * dtype.bits
    codes: Array = (data[:, None] >> shifts & (2**dtype.bits - 1)).reshape(-1)[:count]
    if dtype.is_signed:
        sign = 1 << (dtype.bits - 1)
        codes = (codes ^ sign).astype(np.int8) - sign
    return codes.view(dtype.numpy) if dtype.is_float else codes.astype(dtype.numpy)


def _typed_bytes(tensor: Any, dtype: DType, count: int) -> Array:
    """The little-endian bytes of elements given one by one in a typed field."""
    parts = 2 if dtype in (DType.C64, DType.C128) else 1
    field = _WIDE_FIELDS.get(dtype, "int32_data")
    values = getattr(tensor, field)
    if dtype.is_sub_byte:
        _require_length(len(values), _byte_length(dtype, count), f"entries of {field}")
        return np.array(values, np.int64).astype(np.uint8)
    _require_length(len(values), count * parts, f"entries of {field}")
    if field == "int32_data":
        width = dtype.numpy.itemsize
        return np.array(values, np.int64).astype(f"<u{width}").view(np.uint8)
    element = {"float_data": "<f4", "double_data": "<f8", "int64_data": "<i8"}.get(field)
    width = dtype.numpy.itemsize
    return np.array(values, element or "<u8").astype(element or f"<u{width}").view(np.uint8)


def _strings(data: Any, count: int) -> Array:
    _require_length(len(data), count, "strings")
    out = np.empty(count, object)
    try:
        out[:] = [bytes(s).decode() for s in data]
    except UnicodeDecodeError:
        raise ImportModelError("a string that is not UTF-8") from None
    return out


def _external(tensor: Any, folder: Folder, needed: int) -> Array:
    entries = {e.key: e.value for e in tensor.external_data}
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(needed)))
    except ValueError:
        raise ImportModelError("external data whose offset or length is no number") from None
    if not 0 <= offset < 2**63:
        raise ImportModelError(f"external data at offset {offset}")
    _require_length(length, needed, "bytes of external data")
    return folder.read(entries.get("location", ""), offset, needed)
