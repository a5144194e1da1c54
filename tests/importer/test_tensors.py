"""Tensors of every element type, and tensors that lie about themselves."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aivmc.importer import import_model
from aivmc.importer.load import Folder
from aivmc.importer.tensors import tensor_array
from aivmc.ir.constants import Array, tensor_bytes
from aivmc.ir.errors import AivmcError
from tests.onnx_models import build

NOWHERE = Folder(None)
ARRAYS: list[Array] = [
    *(np.array([[0, 1, 100], [3, 4, 120]], t) for t in "bBhHiIlL"),
    *(np.array([[0, -1.5, np.inf], [np.nan, -0.0, 3e-5]], t) for t in ("e", "f", "d")),
    np.array([True, False, True]),
    np.array([1 + 2j, -3j], np.complex64),
    np.array([[1 + 2j], [-3j]], np.complex128),
    *(
        np.array([0, 1, -2, 3], np.float32).astype(t)
        for t in (
            ml_dtypes.bfloat16,
            ml_dtypes.float8_e4m3fn,
            ml_dtypes.float8_e4m3fnuz,
            ml_dtypes.float8_e5m2,
            ml_dtypes.float8_e5m2fnuz,
            ml_dtypes.float4_e2m1fn,
        )
    ),
    np.array([[-8, 7, 3]], np.int8).astype(ml_dtypes.int4),
    np.array([15, 0, 9], np.uint8).astype(ml_dtypes.uint4),
    np.zeros((0, 3), np.float32),
    np.array(5, np.int64),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(a.dtype))
def test_raw_and_typed_fields(array: Array) -> None:
    """Expected: the array itself, written by onnx in both ways."""
    raw = numpy_helper.from_array(array, "t")
    values = array.reshape(-1)
    if (array.dtype.itemsize == 1 and array.dtype.kind == "V") or array.dtype.kind == "b":
        values = values.astype(np.float32) if array.dtype.kind != "b" else values
    typed = helper.make_tensor("t", raw.data_type, array.shape, values)
    for tensor in (raw, typed):
        got = tensor_array(tensor, NOWHERE)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert bytes(tensor_bytes(got)) == bytes(tensor_bytes(array))


def test_two_bit_integers_come_low_bits_first() -> None:
    tensor = TensorProto(name="t", data_type=26, dims=[5], raw_data=bytes([0b11_10_01_00, 0b01]))
    assert tensor_array(tensor, NOWHERE).astype(int).tolist() == [0, 1, -2, -1, 1]


def test_strings() -> None:
    tensor = helper.make_tensor("t", TensorProto.STRING, [2], [b"a", "é".encode()])
    assert tensor_array(tensor, NOWHERE).tolist() == ["a", "é"]
    tensor.string_data[0] = b"\xff"
    with pytest.raises(AivmcError, match="UTF-8"):
        tensor_array(tensor, NOWHERE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dims": [3], "raw_data": b"12345678"}, "8 bytes of raw data where the shape needs 12"),
        ({"dims": [-1], "raw_data": b""}, "negative dim"),
        ({"dims": [2**40, 2**40]}, "larger than any memory"),
        ({"dims": [2**45]}, "0 entries of float_data"),
        ({"dims": [1] * 40, "raw_data": b"1234"}, "40 dims"),
        ({"dims": [2], "float_data": [1.0]}, "1 entries of float_data where the shape needs 2"),
        ({"dims": [2], "data_type": 99}, "element type 99"),
        ({"dims": [2], "data_type": 0}, "element type 0"),
    ],
)
def test_tensors_that_lie(fields: dict[str, object], message: str) -> None:
    tensor = TensorProto(**{"name": "t", "data_type": 1} | fields)
    with pytest.raises(AivmcError, match=rf"tensor 't': .*{message}"):
        tensor_array(tensor, NOWHERE)


def test_a_sparse_tensor_must_stay_small_and_inside() -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    for index, dims, message in ((0, [2**20, 2**20], "over 2 GiB"), (6, [2, 3], "outside")):
        indices = numpy_helper.from_array(np.array([index]), "i")
        model = build([helper.make_node("Relu", ["w"], ["y"])], {}, ["y"])
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
        with pytest.raises(AivmcError, match=message):
            import_model(model)


@pytest.fixture
def external(tmp_path: Path) -> tuple[onnx.ModelProto, Path]:
    """A model whose weights are in the file w.bin beside it, and its path."""
    model = build(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": (np.float32, [3])},
        ["y"],
        {"w": np.array([1, 2, 3], np.float32)},
    )
    (tmp_path / "w.bin").write_bytes(b"1234" + np.array([1, 2, 3], np.float32).tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "4"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return model, tmp_path / "model.onnx"


def import_external(model: onnx.ModelProto, path: Path, **changes: str) -> Array:
    for entry in model.graph.initializer[0].external_data:
        entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    array: Array = import_model(path).main.region.ops[0].attributes["value"].data
    return array


def test_external_data(external: tuple[onnx.ModelProto, Path]) -> None:
    assert import_external(*external).tolist() == [1, 2, 3]
    with pytest.raises(AivmcError, match="give the model as a path"):
        import_model(external[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"location": "absent.bin"}, "'absent.bin' is missing"),
        ({"location": "../w.bin"}, "leaves the model's folder"),
        ({"location": "/etc/passwd"}, "leaves the model's folder"),
        ({"location": "a/../../w.bin"}, "leaves the model's folder"),
        ({"location": "link.bin"}, "leaves the model's folder"),
        ({"location": ""}, "leaves the model's folder"),
        ({"location": "."}, "is missing"),
        ({"location": "a\0b"}, "external data"),
        ({"offset": "8"}, "too short: bytes 8 to 20 are needed and it has 16"),
        ({"offset": "-4"}, "offset -4"),
        ({"offset": "four"}, "no number"),
        ({"length": "8"}, "8 bytes of external data where the shape needs 12"),
    ],
)
def test_external_data_that_is_refused(
    external: tuple[onnx.ModelProto, Path],
    tmp_path_factory: pytest.TempPathFactory,
    changes: dict[str, str],
    message: str,
) -> None:
    model, path = external
    outside = tmp_path_factory.mktemp("outside") / "w.bin"
    outside.write_bytes(bytes(16))
    (path.parent / "link.bin").symlink_to(outside)
    with pytest.raises(AivmcError, match=message):
        import_external(model, path, **changes)
