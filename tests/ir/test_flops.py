"""Operations are counted as by hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.core import Op, Value
from aivmc.ir.dims import symbol
from aivmc.ir.flops import flops
from aivmc.ir.types import DType, TensorType
from tests.ir.ops.cases import CASES

CONV: dict[str, Any] = {
    "strides": (1, 1),
    "dilations": (1, 1),
    "low": (1, 1),
    "high": (1, 1),
    "group": 2,
    "block": 48,
}
WINDOW: dict[str, Any] = {"window": (1, 1, 3, 3), "strides": (1, 1, 2, 2)} | {
    "dilations": (1, 1, 1, 1),
    "low": (0, 0, 0, 0),
    "high": (0, 0, 0, 0),
    "order": "lanes16",
}
SUM: dict[str, Any] = {"axes": (1,), "keepdims": False, "order": "lanes16"}


def op(name: str, types: list[TensorType], attributes: Mapping[str, Any]) -> Op:
    b = Builder()
    arguments = [Value(t, f"x{i}") for i, t in enumerate(types)]
    b.ops(name, *arguments, **attributes)
    return b.region.ops[-1]


def f32(*shape: Any) -> TensorType:
    return TensorType(DType.F32, shape)


@pytest.mark.parametrize(
    ("name", "types", "attributes", "expected"),
    [
        ("det.matmul", [f32(3, 40, 70), f32(70, 9)], {"block": 512}, 2 * 3 * 40 * 9 * 70),
        (
            "det.conv",
            [f32(2, 6, 8, 9), f32(10, 3, 3, 3)],
            {**CONV, "layout": "channels_first"},
            2 * (2 * 10 * 8 * 9) * (3 * 3 * 3),
        ),
        (
            "det.conv_transpose",
            [f32(2, 6, 8, 9), f32(6, 5, 3, 3)],
            {**CONV, "output_pad": (0, 0)},
            2 * (2 * 6 * 8 * 9) * (5 * 3 * 3),
        ),
        ("det.add", [f32(4, 1), f32(1, 6)], {}, 24),
        ("det.fma", [f32(7), f32(7), f32(7)], {}, 14),
        ("det.relu", [f32(7)], {}, 0),
        ("det.transpose", [f32(7, 2)], {"permutation": (1, 0)}, 0),
        ("det.reduce_sum", [f32(5, 100)], SUM, 500),
        ("det.reduce_square_sum", [f32(5, 100)], SUM, 1000),
        ("det.reduce_max", [f32(5, 100)], {"axes": (1,), "keepdims": False}, 0),
        ("det.window_sum", [f32(1, 2, 9, 9)], WINDOW, 2 * 4 * 4 * 9),
    ],
)
def test_f32(
    name: str, types: list[TensorType], attributes: Mapping[str, Any], expected: int
) -> None:
    assert flops(op(name, types, attributes), {}) == ({DType.F32: expected} if expected else {})


def test_of_each_dtype() -> None:
    half = TensorType(DType.F16, (50,))
    assert flops(op("det.mul", [half, half], {}), {}) == {DType.F32: 50}
    double = TensorType(DType.F64, (50,))
    assert flops(op("det.div", [double, double], {}), {}) == {DType.F64: 50}
    integers = [TensorType(DType.U8, (4, 30)), TensorType(DType.I8, (30, 5))]
    assert flops(op("det.matmul", integers, {"block": 0}), {}) == {DType.I32: 2 * 4 * 5 * 30}
    whole = TensorType(DType.I32, (50,))
    assert flops(op("det.add", [whole, whole], {}), {}) == {}


def test_a_symbol_has_a_size() -> None:
    n = symbol("N")
    product = op("det.matmul", [f32(n, 8), f32(8, n)], {"block": 512})
    assert flops(product, {"N": 6}) == {DType.F32: 2 * 6 * 6 * 8}


def test_an_elementary_function_is_counted_by_its_definition() -> None:
    """exp of f32 is a polynomial in f64 (docs/numerics.md): some 8 to 24 operations, none on f32
    but for conversions."""
    counted = flops(op("det.exp", [f32(100)], {}), {})
    assert set(counted) == {DType.F64}
    assert 800 <= counted[DType.F64] <= 2400


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_op_is_counted(name: str) -> None:
    for operands, attributes in CASES[name]:
        arrays = [np.asarray(a) for a in operands]
        types = [TensorType(DType.of(a.dtype), a.shape) for a in arrays]
        if any(t.dtype is DType.STRING for t in types):
            continue
        made = op(name, types, attributes)
        assert all(n > 0 for n in flops(made, {}).values())
        sizes = [prod(map(int, map(str, v.tensor.shape))) for v in (*made.operands, *made.results)]
        assert not sizes or sum(flops(made, {}).values()) <= 4000 * max(sizes) ** 2
