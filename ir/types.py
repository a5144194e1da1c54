"""Types of values: element types, tensors with static or symbolic dims, sequences, optionals."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from aivmc.ir.dims import Dim, product


class DType(Enum):
    """An ONNX element type. The value is the name used in IR text."""

    F64 = "f64"
    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    F8E4M3FN = "f8e4m3fn"
    F8E4M3FNUZ = "f8e4m3fnuz"
    F8E5M2 = "f8e5m2"
    F8E5M2FNUZ = "f8e5m2fnuz"
    F8E8M0 = "f8e8m0"
    F4E2M1 = "f4e2m1"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    I4 = "i4"
    I2 = "i2"
    U64 = "u64"
    U32 = "u32"
    U16 = "u16"
    U8 = "u8"
    U4 = "u4"
    U2 = "u2"
    BOOL = "bool"
    C64 = "c64"
    C128 = "c128"
    STRING = "string"

    def __repr__(self) -> str:
        return f"DType.{self.name}"

    @cached_property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype that holds one element (sub-byte types take a byte each)."""
        dtype: np.dtype[np.generic] = np.dtype(_NUMPY[self.value])
        return dtype

    @cached_property
    def is_float(self) -> bool:
        return self.value[0] == "f" or self is DType.BF16

    @cached_property
    def is_signed(self) -> bool:
        return self.value[0] == "i"

    @cached_property
    def is_unsigned(self) -> bool:
        return self.value[0] == "u"

    @cached_property
    def is_integer(self) -> bool:
        return self.is_signed or self.is_unsigned

    @cached_property
    def bits(self) -> int:
        """Width of one element's value; 1 for bool."""
        if self is DType.BOOL:
            return 1
        digits = self.value.lstrip("bfiuc").split("e")[0]
        return int(digits)

    @cached_property
    def is_sub_byte(self) -> bool:
        """Whether a value leaves room in the byte that holds it; bools don't count."""
        return (self.is_float or self.is_integer) and self.bits < 8

    @cached_property
    def wide(self) -> DType:
        """What arithmetic on elements is done in (numerics, clauses 4 and 5): f32 for narrower
        floats, 8 bits for narrower integers, else the type itself."""
        if self.is_float and self.bits < 32:
            return DType.F32
        if self.is_sub_byte:
            return DType.I8 if self.is_signed else DType.U8
        return self

    @staticmethod
    def of(dtype: Any) -> DType:
        """The element type of a NumPy dtype; ``KeyError`` where there is none."""
        return _BY_NUMPY[np.dtype(dtype).newbyteorder("=")]


_NUMPY: dict[str, Any] = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e8m0": ml_dtypes.float8_e8m0fnu,
    "f4e2m1": ml_dtypes.float4_e2m1fn,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "i4": ml_dtypes.int4,
    "i2": ml_dtypes.int2,
    "u64": np.uint64,
    "u32": np.uint32,
    "u16": np.uint16,
    "u8": np.uint8,
    "u4": ml_dtypes.uint4,
    "u2": ml_dtypes.uint2,
    "bool": np.bool_,
    "c64": np.complex64,
    "c128": np.complex128,
    "string": np.object_,
}
_BY_NUMPY = {np.dtype(t): DType(name) for name, t in _NUMPY.items()}

Shape: TypeAlias = tuple[Dim, ...]


@dataclass(frozen=True)
class TensorType:
    """A dense row-major tensor of ``dtype`` with dims that are integers or symbolic."""

    dtype: DType
    shape: Shape = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class SequenceType:
    """An ONNX sequence; legal only before legalization."""

    element: Type

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True)
class OptionalType:
    """An ONNX optional; legal only before legalization."""

    element: Type

    def __str__(self) -> str:
        return f"opt<{self.element}>"


@dataclass(frozen=True)
class UnknownType:
    """Not inferred yet; legal only in the onnx stage."""

    def __str__(self) -> str:
        return "?"


Type: TypeAlias = TensorType | SequenceType | OptionalType | UnknownType
