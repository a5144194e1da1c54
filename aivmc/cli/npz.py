"""Arrays in .npz files: read without trust, written whole, equal arrays to equal bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.errors import AivmcError
from aivmc.ir.types import TensorType
from aivmc.kernel_file.atomic import atomic_file

_EARLIEST = (1980, 1, 1, 0, 0, 0)


def read_npz(path: Path, types: Mapping[str, TensorType]) -> dict[str, Array]:
    """The arrays of an .npz file by name. ``AivmcError`` where it can't be read.

    NumPy's format can't say bfloat16 and its kin and stores them as plain bytes: ``types`` gives
    such arrays their dtype back.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds one array without a name: save it with numpy.savez")
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise AivmcError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise AivmcError(f"{path} is not an .npz file of plain arrays: {error}") from None
    return {name: _with_dtype(array, types.get(name)) for name, array in arrays.items()}


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays in order of name, uncompressed. ``AivmcError`` where that fails."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in sorted(arrays.items()):
            if array.dtype.isbuiltin != 1:  # one that NumPy's format can't say
                array = array.view(f"V{array.itemsize}")
            entry = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
            with archive.open(entry, "w", force_zip64=True) as member:
                member.write(_header(array))
                member.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _with_dtype(array: Array, type: TensorType | None) -> Array:
    if type is None or array.dtype.kind != "V" or array.dtype.itemsize != type.dtype.numpy.itemsize:
        return array
    return array.view(type.dtype.numpy)


def _header(array: Array) -> bytes:
    out = BytesIO()
    np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
    return out.getvalue()
