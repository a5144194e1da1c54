"""Searches, sorts and scatters: NaN is largest, ties are fixed, updates ascend."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from aivmc.ir.types import DType
from tests.ir.ops.cases import FLOATS, INTEGERS, distinct
from tests.ir.ops.evaluate import (
    assert_same,
    onnx_reference,
    reference,
    special_floats,
    special_integers,
)

NAN = np.nan


def compare(a: float, b: float) -> int:
    """NaN above all and equal to itself; -0 equal to +0."""
    if a != a or b != b:
        return int(a != a) - int(b != b)
    return int(a > b) - int(a < b)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_top_k_is_a_stable_sort(dtype: DType, largest: bool) -> None:
    x = special_floats(dtype) if dtype.is_float else special_integers(dtype)
    x = np.concatenate([x, x[::-1], x])
    plain = [float(v) if dtype.is_float else int(v) for v in x]
    sign = -1 if largest else 1
    key: Any = functools.cmp_to_key(lambda a, b: sign * compare(a, b))
    order = np.array(sorted(range(len(x)), key=lambda i: key(plain[i])))
    values, indices = reference("det.top_k", x, axis=0, k=len(x), largest=largest)
    assert_same(indices, order)
    assert values.tobytes() == x[order].tobytes()
    _, few = reference("det.top_k", x, axis=0, k=3, largest=largest)
    assert_same(few, order[:3])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_top_k_by_onnx(axis: int) -> None:
    x = np.random.default_rng(3).permutation(60).reshape(3, 4, 5).astype(np.float32)
    want = onnx_reference("TopK", x, np.array([2]), axis=axis, largest=1, sorted=1)
    got = reference("det.top_k", x, axis=axis, k=2, largest=True)
    assert_same(got[0], want[0])
    assert_same(got[1], want[1])


@pytest.mark.parametrize(
    ("values", "largest", "last_largest", "smallest", "last_smallest"),
    [
        ([1, 3, 3, 2, 1], 1, 2, 0, 4),
        ([1, NAN, 3, NAN, 0], 1, 3, 4, 4),
        ([NAN, NAN], 0, 1, 0, 1),
        ([-0.0, 0.0, -0.0], 0, 2, 0, 2),
        ([NAN, np.inf, np.inf], 0, 0, 1, 2),
        ([-np.inf, -1, -np.inf], 1, 1, 0, 2),
    ],
)
def test_arg_extremes(
    values: Any, largest: int, last_largest: int, smallest: int, last_smallest: int
) -> None:
    x = np.array(values, np.float32)
    want = {
        ("max", False): largest,
        ("max", True): last_largest,
        ("min", False): smallest,
        ("min", True): last_smallest,
    }
    for (op, last), index in want.items():
        got = reference(f"det.arg_{op}", x, axis=0, keepdims=False, last=last)
        assert_same(got, np.int64(index))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arg_extremes_of_integers(dtype: DType) -> None:
    x = special_integers(dtype)
    x = np.stack([x, x[::-1]])
    got = reference("det.arg_max", x, axis=1, keepdims=True, last=False)
    assert_same(got, np.argmax(x, 1, keepdims=True))
    got = reference("det.arg_min", x, axis=1, keepdims=True, last=False)
    assert_same(got, np.argmin(x, 1, keepdims=True))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters_by_onnx(reduction: str) -> None:
    x = distinct(3, 4)
    i, updates = np.array([[0, -1], [2, 1]]), np.array([[9, 2], [3, 30]], np.float32)
    got = reference("det.scatter_elements", x, i, updates, axis=1, reduction=reduction)
    want = onnx_reference("ScatterElements", x, i, updates, axis=1, reduction=reduction)[0]
    assert_same(got, want)
    i, rows = np.array([[2], [0]]), distinct(2, 4) - 3
    got = reference("det.scatter_nd", x, i, rows, reduction=reduction)
    assert_same(got, onnx_reference("ScatterND", x, i, rows, reduction=reduction)[0])


def test_scatter_ascends() -> None:
    """Of duplicates the last stays, and sums round in the order of the updates."""
    x, i = np.zeros((1, 2), np.float32), np.array([[1, 1, 1]])
    updates = np.array([[1e8, 1, -1e8]], np.float32)
    got = reference("det.scatter_elements", x, i, updates, axis=1, reduction="none")
    assert_same(got, np.array([[0, -1e8]], np.float32))
    got = reference("det.scatter_elements", x, i, updates, axis=1, reduction="add")
    assert_same(got, np.array([[0, 0]], np.float32))
    got = reference("det.scatter_nd", x[0], i.T, updates[0], reduction="add")
    assert_same(got, np.array([0, 0], np.float32))
    reordered = updates[0, [0, 2, 1]].copy()
    got = reference("det.scatter_nd", x[0], i.T, reordered, reduction="add")
    assert_same(got, np.array([0, 1], np.float32))


def test_scatter_rounds_each_step() -> None:
    x, i = np.zeros(1, np.float16), np.zeros((4, 1), np.int64)
    updates = np.array([2048, 1, 1, 1], np.float16)
    got = reference("det.scatter_nd", x, i, updates, reduction="add")
    assert_same(got, np.array([2048], np.float16))
