"""Reductions against loops written from the numerics clauses, one scalar at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from aivmc.ir.errors import IRError
from aivmc.ir.types import DType
from tests.ir.ops.cases import FLOATS, INTEGERS
from tests.ir.ops.evaluate import (
    assert_same,
    fma32,
    onnx_reference,
    reference,
    special_floats,
    special_integers,
)

RANDOM = np.random.default_rng(10)
SIZES = [0, 1, 2, 8, 15, 16, 17, 31, 33, 511, 512, 513, 527, 1024, 1025, 9 * 512 + 3]


def lanes16(values: Any) -> Any:
    """Clause 10 for a sum, by its words."""
    zero = np.float32(0)
    sums = []
    for start in range(0, max(len(values), 1), 512):
        lanes = [zero] * 16
        for i, value in enumerate(values[start : start + 512]):
            lanes[i % 16] = lanes[i % 16] + value
        for distance in (8, 4, 2, 1):
            lanes = [lanes[i] + lanes[i + distance] for i in range(distance)]
        sums.append(lanes[0])
    return sums[0] if len(sums) == 1 else lanes16(sums)


def sum_all(x: Any, order: str = "lanes16", op: str = "sum") -> Any:
    axes = tuple(range(np.ndim(x)))
    return reference(f"det.reduce_{op}", x, axes=axes, keepdims=False, order=order)


def normal(*shape: int) -> Any:
    scale = np.exp(RANDOM.uniform(-8, 8, shape))
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("n", SIZES)
def test_lanes16(n: int) -> None:
    x = normal(n)
    assert_same(sum_all(x), lanes16(list(x)))


def test_lanes16_over_three_levels() -> None:
    x = normal(512 * 513 + 7)
    assert_same(sum_all(x), lanes16(list(x)))


def test_lanes16_is_no_other_order() -> None:
    x = normal(1025)
    others = {sum_all(x, "seq").tobytes(), np.sum(x).tobytes(), lanes16(list(x[::-1])).tobytes()}
    assert sum_all(x).tobytes() not in others


def test_lanes16_does_not_depend_on_layout_or_neighbours() -> None:
    x = normal(4, 700, 3)
    want = [[lanes16(list(x[i, :, j])) for j in range(3)] for i in range(4)]
    got = reference("det.reduce_sum", x, axes=(1,), keepdims=False, order="lanes16")
    assert_same(got, np.array(want))
    flat = reference("det.reduce_sum", x, axes=(0, 2), keepdims=True, order="lanes16")
    want_flat = [lanes16(list(x[:, k, :].reshape(-1))) for k in range(700)]
    assert_same(flat, np.array(want_flat).reshape(1, 700, 1))


def test_seq() -> None:
    x = normal(100)
    total = np.float32(0)
    for value in x:
        total += value
    assert_same(sum_all(x, "seq"), total)


def test_sums_start_at_plus_zero() -> None:
    assert_same(sum_all(np.array([-0.0], np.float32)), np.float32(0))
    assert_same(sum_all(np.zeros(0, np.float32), op="product"), np.float32(1))


@pytest.mark.parametrize("n", [1, 16, 17, 520])
def test_square_sum_is_fused(n: int) -> None:
    x = normal(n)
    sums = []
    for start in (0, 512):
        lanes = [np.float32(0)] * 16
        for i, value in enumerate(x[start : start + 512]):
            lanes[i % 16] = fma32(value, value, lanes[i % 16])
        for distance in (8, 4, 2, 1):
            lanes = [lanes[i] + lanes[i + distance] for i in range(distance)]
        sums.append(lanes[0])
    want = lanes16(sums) if n > 512 else sums[0]
    assert_same(sum_all(x, op="square_sum"), want)


def test_square_sum_fused_by_hand() -> None:
    """2^-24 + (1 + 2^-12)^2 is a float; the square alone, rounded, and the sum then, is not it."""
    x = np.zeros(17, np.float32)
    x[0], x[16] = 2.0**-12, 1 + 2.0**-12
    assert_same(sum_all(x, op="square_sum"), np.float32(1 + 2.0**-11 + 2.0**-23))


def test_product() -> None:
    x = normal(3)
    assert_same(sum_all(x, "seq", "product"), x[0] * x[1] * x[2])
    y = RANDOM.uniform(0.5, 1.5, 17).astype(np.float32)
    lanes = list(y[:16])
    lanes[0] = lanes[0] * y[16]
    for distance in (8, 4, 2, 1):
        lanes = [lanes[i] * lanes[i + distance] for i in range(distance)]
    assert_same(sum_all(y, "lanes16", "product"), lanes[0])


def test_narrow_floats_accumulate_in_f32() -> None:
    x = RANDOM.standard_normal(600).astype(np.float16)
    assert_same(sum_all(x), lanes16(list(x.astype(np.float32))).astype(np.float16))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap(dtype: DType) -> None:
    x = np.resize(special_integers(dtype), 700)
    modulus = 2**dtype.bits
    exact = {
        "sum": sum(map(int, x)),
        "square_sum": sum(int(v) ** 2 for v in x),
        "product": math.prod(int(v) | 1 for v in x),
    }
    for op, want in exact.items():
        got = sum_all(x | 1 if op == "product" else x, "exact", op)
        assert int(got) % modulus == want % modulus


def test_an_order_is_needed() -> None:
    with pytest.raises(IRError, match="fixes no bits"):
        sum_all(normal(3), "any")
    with pytest.raises(IRError, match="must be one of exact"):
        sum_all(np.arange(3), "lanes16")
    with pytest.raises(IRError, match="must be one of any, lanes16, seq"):
        sum_all(normal(3), "exact")


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_extremes(dtype: DType) -> None:
    x = special_floats(dtype)
    numbers = x[~np.isnan(x.astype(np.float64))]
    infinity = reference("det.cast", np.float32(np.inf), to=dtype)  # NaN where there is none
    smallest = reference("det.cast", np.float32(-np.inf), to=dtype)

    def extreme(op: str, x: Any) -> Any:
        return reference(f"det.reduce_{op}", x, axes=(0,), keepdims=False)

    if dtype is not DType.F4E2M1:
        assert np.isnan(extreme("max", x).astype(np.float64))
        assert np.isnan(extreme("min", x).astype(np.float64))
    wide = numbers.astype(np.float64)
    assert_same(extreme("max", numbers), wide.max().astype(dtype.numpy))
    assert_same(extreme("min", numbers), wide.min().astype(dtype.numpy))
    assert_same(extreme("max", x[:0]), smallest)
    assert_same(extreme("min", x[:0]), infinity)
    zero = np.array(0.0, dtype.numpy)
    if dtype.numpy.type(-0.0).tobytes() == zero.tobytes() or dtype is DType.F8E8M0:
        return  # there is no -0
    for pair in (np.array([zero, -zero]), np.array([-zero, zero])):
        assert_same(extreme("max", pair), zero)
        assert_same(extreme("min", pair), -zero)


def test_integer_extremes_and_logic() -> None:
    x = RANDOM.integers(-100, 100, (5, 37, 3), np.int8)
    for op, function in (("max", np.max), ("min", np.min)):
        got = reference(f"det.reduce_{op}", x, axes=(0, 2), keepdims=True)
        assert_same(got, function(x, axis=(0, 2), keepdims=True))
    none = reference("det.reduce_max", x[:, :0], axes=(1,), keepdims=False)
    assert_same(none, np.full((5, 3), -128, np.int8))
    some = x > 90
    for op, logic in (("any", np.any), ("all", np.all)):
        got = reference(f"det.reduce_{op}", some, axes=(1,), keepdims=False)
        assert_same(got, logic(some, axis=1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_cumulative_sum(exclusive: bool, reverse: bool) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    got = reference("det.cumulative_sum", x, axis=1, exclusive=exclusive, reverse=reverse)
    flags = {"exclusive": int(exclusive), "reverse": int(reverse)}
    assert_same(got, onnx_reference("CumSum", x, np.array(1), **flags)[0])
    y = normal(50)
    running, total = [], np.float32(0)
    for value in y[::-1] if reverse else y:
        running.append(total)
        total = total + value
        running[-1] = running[-1] if exclusive else total
    want = np.array(running[::-1] if reverse else running)
    got = reference("det.cumulative_sum", y, axis=0, exclusive=exclusive, reverse=reverse)
    assert_same(got, want)
