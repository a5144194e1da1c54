"""Arrays go through .npz files unchanged, whether or not NumPy's format knows their types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aivmc.cli.npz import read_npz, write_npz
from aivmc.ir.types import DType, TensorType


@pytest.mark.parametrize("dtype", [t for t in DType if t is not DType.STRING])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_what_is_written_is_read(dtype: DType, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.ones(shape).astype(dtype.numpy)
    write_npz(tmp_path / "x.npz", {"x": array})
    back = read_npz(tmp_path / "x.npz", {"x": TensorType(dtype, shape)})["x"]
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, shape, array.tobytes())
