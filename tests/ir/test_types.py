"""Element types against the formats' definitions, and constants' digests against plain hashing."""

from __future__ import annotations

import hashlib

import ml_dtypes
import numpy as np
import pytest

from aivmc.ir.constants import Constant, tensor_digest
from aivmc.ir.dims import symbol
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, OptionalType, SequenceType, TensorType, UnknownType

N = symbol("N")
BITS = {
    "f64": 64,
    "f32": 32,
    "f16": 16,
    "bf16": 16,
    "f8e4m3fn": 8,
    "f8e4m3fnuz": 8,
    "f8e5m2": 8,
    "f8e5m2fnuz": 8,
    "f8e8m0": 8,
    "f4e2m1": 4,
    "bool": 1,
    "c64": 64,
    "c128": 128,
    **{f"{kind}{bits}": bits for kind in "iu" for bits in (2, 4, 8, 16, 32, 64)},
}


def test_every_onnx_element_type_is_there() -> None:
    assert {d.value for d in DType} == {*BITS, "string"}


@pytest.mark.parametrize("name, bits", BITS.items())
def test_widths(name: str, bits: int) -> None:
    dtype = DType(name)
    assert dtype.bits == bits
    assert dtype.numpy.itemsize == max(1, bits // 8)
    assert DType.of(dtype.numpy) is dtype


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.value)
def test_each_dtype_is_of_one_kind(dtype: DType) -> None:
    kinds = [dtype.is_float, dtype.is_signed, dtype.is_unsigned]
    other = dtype.value in ("bool", "c64", "c128", "string")
    assert sum(kinds) == (0 if other else 1)
    assert dtype.is_integer == (dtype.is_signed or dtype.is_unsigned)


def test_the_text_of_types() -> None:
    tensor = TensorType(DType.F32, (N, 3, N // 2 + 1))
    assert str(tensor) == "f32[N, 3, N//2 + 1]"
    assert str(TensorType(DType.BOOL)) == "bool[]"
    assert str(SequenceType(OptionalType(tensor))) == "seq<opt<f32[N, 3, N//2 + 1]>>"
    assert str(UnknownType()) == "?"


def test_tensor_types() -> None:
    tensor = TensorType(DType.F32, (N, 3, 4))
    assert (tensor.rank, tensor.size, tensor.is_static) == (3, 12 * N, False)
    assert tensor.with_shape((2,)) == TensorType(DType.F32, (2,))
    assert tensor.with_dtype(DType.I8) == TensorType(DType.I8, (N, 3, 4))
    assert TensorType(DType.F32).size == 1
    assert TensorType(DType.F32, (2, 0)).is_static


def test_the_digest_is_over_the_type_and_the_little_endian_bytes() -> None:
    array = np.array([[1, -2, 3]], np.int32)
    expected = hashlib.sha256(b"i32[1, 3]\0" + bytes.fromhex("01000000feffffff03000000"))
    for same in (array, array.astype(">i4"), np.asfortranarray(array), array[:, ::-1][:, ::-1]):
        assert tensor_digest(same) == expected.hexdigest()
    assert tensor_digest(array.reshape(3)) != expected.hexdigest()
    assert tensor_digest(array.view(np.uint32)) != expected.hexdigest()


def test_the_digest_of_strings() -> None:
    expected = hashlib.sha256(b"string[2]\0" + b"\2" + bytes(7) + "é".encode() + bytes(8))
    assert tensor_digest(np.array(["é", ""], object)) == expected.hexdigest()


@pytest.mark.parametrize("dtype", ["i4", "u4", "i2", "u2", "f4e2m1"])
def test_unused_bits_of_narrow_elements_do_not_count(dtype: str) -> None:
    bits = BITS[dtype]
    clean = np.arange(1 << bits, dtype=np.uint8)
    dirty = clean | np.uint8(0xFF << bits & 0xFF)
    a, b = (Constant.of(x.view(DType(dtype).numpy)) for x in (clean, dirty))
    assert a == b
    assert a.digest == b.digest


def test_constants_are_equal_by_content() -> None:
    a = Constant.of([1, 2], DType.F32)
    assert a == Constant.of(np.array([1, 2], np.float32))
    assert hash(a) == hash(Constant.of(np.array([1, 2], np.float32)))
    assert a != Constant.of([1, 2], DType.F64)
    assert a != Constant.of([[1, 2]], DType.F32)
    assert Constant.of([0.0], DType.F32) != Constant.of([-0.0], DType.F32)
    assert Constant.of(np.array(3, ml_dtypes.bfloat16)).type == TensorType(DType.BF16)


def test_constants_hold_contiguous_native_arrays() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    constant = Constant.of(array)
    assert constant.type == TensorType(DType.F32, (3, 2))
    assert constant.data.dtype == np.float32
    assert constant.data.flags.c_contiguous
    assert constant.data.tolist() == array.tolist()


def test_constants_are_immutable() -> None:
    array = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="read-only"):
        Constant.of(array).data[0] = 1


def test_an_unloaded_constant_is_known_by_digest_only() -> None:
    loaded = Constant.of([1, 2], DType.F32)
    unloaded = Constant(loaded.type, None, loaded.digest)
    assert unloaded == loaded
    assert not unloaded.is_loaded
    with pytest.raises(IRError, match=f"sha256:{loaded.digest}.*give the weights file"):
        _ = unloaded.data


def test_what_a_byte_has_room_beside() -> None:
    names = [t.value for t in DType if t.is_sub_byte]
    assert names == ["f4e2m1", "i4", "i2", "u4", "u2"]
    assert {t: t.wide for t in DType if t.is_sub_byte and t.is_integer} == {
        DType.I4: DType.I8,
        DType.I2: DType.I8,
        DType.U4: DType.U8,
        DType.U2: DType.U8,
    }
    assert DType.F16.wide is DType.F4E2M1.wide is DType.F32
    assert DType.F64.wide is DType.F64 and DType.STRING.wide is DType.STRING
