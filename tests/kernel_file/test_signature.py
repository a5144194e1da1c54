"""Signatures survive their JSON form."""

from __future__ import annotations

import json

import pytest

from aivmc.ir import dims
from aivmc.ir.core import Bounds
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.signature import Signature, parse_type


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize(
    "shape", ["", "3", "0, 1", "N, 4", "2*N + 1, W//8", "max(A, max(B, C)), 5, max(A, B)*2"]
)
def test_types(dtype: DType, shape: str) -> None:
    text = f"{dtype.value}[{shape}]"
    type = parse_type(text)
    assert type.dtype is dtype
    assert parse_type(str(type)) == type
    assert type.rank == {"": 0, "3": 1, "max(A, max(B, C)), 5, max(A, B)*2": 3}.get(shape, 2)


@pytest.mark.parametrize(
    "text", ["", "f32", "f32[", "g32[1]", "f32[1", "f32[1,]", "f32[N**2]", "f32[x()]", "f32[1]]"]
)
def test_texts_that_are_no_type(text: str) -> None:
    with pytest.raises(ValueError):
        parse_type(text)


def test_json() -> None:
    n = dims.symbol("N")
    signature = Signature(
        (("x", TensorType(DType.F32, (n, 3))),),
        (("y", TensorType(DType.I64, (n * 2,))), ("z", TensorType(DType.BOOL))),
        {"N": Bounds(1, None), "M": Bounds(0, 7)},
        ((n, dims.symbol("M") + 1),),
    )
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


@pytest.mark.parametrize("low", [None, 1.5, "1", True])
def test_bounds_that_are_not_integers(low: object) -> None:
    data = {"inputs": [], "outputs": [], "symbols": {"N": {"low": low, "high": None}}}
    with pytest.raises(ValueError, match="bounds"):
        Signature.from_json({**data, "constraints": []})
