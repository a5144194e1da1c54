"""Movement ops against NumPy and ONNX's reference evaluator, and with symbolic dims."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aivmc.ir.definition import definition
from aivmc.ir.dims import dim_max, floor_div, symbol
from aivmc.ir.ops.reshape import matching_axes
from aivmc.ir.types import DType, TensorType
from tests.ir.ops.cases import CASES, distinct
from tests.ir.ops.evaluate import (
    assert_same,
    bind,
    evaluate_element,
    onnx_reference,
    reference,
)

N, M = symbol("N"), symbol("M")


def test_constants() -> None:
    assert_same(reference("det.dims", dims=(3, 5)), np.array([3, 5]))
    got = reference("det.iota", length=4, start=5, step=-3, dtype=DType.I32)
    assert_same(got, np.array([5, 2, -1, -4], np.int32))


def test_transpose_reshape_broadcast() -> None:
    x = distinct(2, 3, 4)
    assert_same(reference("det.transpose", x, permutation=(2, 0, 1)), np.einsum("abc->cab", x))
    assert_same(reference("det.reshape", x, shape=(4, 6)), np.arange(24, dtype="f4").reshape(4, 6))
    got = reference("det.broadcast_to", x[:, :1], shape=(5, 2, 3, 4))
    assert_same(got, np.tile(x[:, :1], (5, 1, 3, 1)))


def test_slice() -> None:
    x = distinct(5, 7)
    got = reference("det.slice", x, starts=(4, 1), steps=(-2, 3), sizes=(3, 2))
    assert_same(got, x[4::-2, 1:5:3].copy())


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(mode: str) -> None:
    x, value = distinct(3, 4), np.float32(-1)
    got = reference("det.pad", x, value, low=(2, 0), high=(1, 7), mode=mode)
    extra = {"constant_values": value} if mode == "constant" else {}
    assert_same(got, np.pad(x, ((2, 1), (0, 7)), mode, **extra))  # type: ignore[call-overload]
    got = reference("det.pad", x, value, low=(-1, 0), high=(0, -2), mode=mode)
    assert_same(got, x[1:, :2].copy())


def test_pad_crops_and_extends() -> None:
    x = distinct(4)
    got = reference("det.pad", x, np.float32(9), low=(-2,), high=(3,), mode="constant")
    assert_same(got, np.array([2, 3, 9, 9, 9], np.float32))
    got = reference("det.pad", x, np.float32(9), low=(-6,), high=(3,), mode="constant")
    assert_same(got, np.array([9], np.float32))


def test_concat() -> None:
    a, b = distinct(2, 3), distinct(2, 1)
    assert_same(reference("det.concat", a, b, axis=1), np.hstack([a, b]))


def test_gathers_by_onnx() -> None:
    x = distinct(3, 4, 5)
    i = np.array([[0, -1], [2, -3]])
    assert_same(reference("det.gather", x, i, axis=0), onnx_reference("Gather", x, i, axis=0)[0])
    e = np.array([[[1, 0, 2, 1, 1]], [[2, 2, 0, 0, 1]], [[0, 0, 0, 0, 0]]])
    want = onnx_reference("GatherElements", x[:, :1], e, axis=0)[0]
    assert_same(reference("det.gather_elements", x[:, :1], e, axis=0), want)
    nd = np.array([[0, 1], [2, 3]])
    assert_same(
        reference("det.gather_nd", x, nd, batch_dims=0), onnx_reference("GatherND", x, nd)[0]
    )
    nd = np.array([[1], [0], [3]])
    want = onnx_reference("GatherND", x, nd, batch_dims=1)[0]
    assert_same(reference("det.gather_nd", x, nd, batch_dims=1), want)


def test_indices_outside_are_clamped() -> None:
    x = distinct(4)
    i = np.array([-9, -5, -4, -1, 0, 3, 4, 2**62])
    want = np.array([0, 0, 0, 3, 0, 3, 3, 3], np.float32)
    assert_same(reference("det.gather", x, i, axis=0), want)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("k", [-2, 0, 1, 9])
def test_trilu(upper: bool, k: int) -> None:
    x = distinct(2, 3, 5) + 1
    want = np.triu(x, k) if upper else np.tril(x, k)
    assert_same(reference("det.trilu", x, np.int64(k), upper=upper), want)


def test_reshape_leaves_equal_axes_alone() -> None:
    assert matching_axes((2, N, 1, 6), (2, 1, N, 3, 2)) == [([0], [0]), ([1], [2]), ([3], [3, 4])]
    assert matching_axes((N, M, 4), (N * M, 4)) == [([0, 1], [0]), ([2], [1])]
    assert matching_axes((), (1, 1)) == []


def _t(*shape: Any, dtype: DType = DType.F32) -> TensorType:
    return TensorType(dtype, shape)


SYMBOLIC: list[tuple[str, tuple[TensorType, ...], dict[str, Any]]] = [
    ("det.reshape", (_t(N, 6, M),), {"shape": (N * 2, 3, 1, M)}),
    ("det.reshape", (_t(N, M, 4),), {"shape": (1, N * M * 4)}),
    ("det.reshape", (_t(N * M, 4),), {"shape": (M * 2, N * 2)}),
    ("det.broadcast_to", (_t(1, M),), {"shape": (N, M)}),
    ("det.transpose", (_t(N, M),), {"permutation": (1, 0)}),
    ("det.slice", (_t(N, M + 2),), {"starts": (0, M + 1), "steps": (1, -1), "sizes": (N, M)}),
    ("det.concat", (_t(N, 2), _t(M, 2), _t(0, 2), _t(1, 2)), {"axis": 0}),
    ("det.pad", (_t(N, M), _t()), {"low": (M, 1), "high": (0, N), "mode": "constant"}),
    *(
        ("det.pad", (_t(N + 1, M + 1), _t()), {"low": (M, 1), "high": (0, N), "mode": mode})
        for mode in ("edge", "reflect", "wrap")
    ),
    ("det.gather", (_t(N, 3), _t(2, M, dtype=DType.I64)), {"axis": 0}),
    ("det.gather_elements", (_t(N, M), _t(4, M, dtype=DType.I64)), {"axis": 0}),
    ("det.gather_nd", (_t(M, N, 2), _t(M, 1, dtype=DType.I32)), {"batch_dims": 1}),
    ("det.trilu", (_t(N, M), _t(dtype=DType.I64)), {"upper": True}),
    ("det.dims", (), {"dims": (N, M * 2, N + M)}),
    ("det.iota", (), {"length": N, "start": M, "step": N, "dtype": DType.I64}),
    ("det.add", (_t(N, 1), _t(M)), {}),
    *(
        (
            "det.resize",
            (_t(N + 1, M + 1),),
            {
                "sizes": (N * 2 + 1, floor_div(dim_max(M, 2), 2)),
                "scales": (),
                "mode": mode,
                "coordinate": coordinate,
                "nearest": "round_prefer_floor",
            },
        )
        for mode in ("nearest", "linear")
        for coordinate in ("half_pixel", "align_corners", "asymmetric")
    ),
]


@pytest.mark.parametrize("sizes", [(3, 5), (1, 1), (0, 4), (2, 0), (0, 0)])
@pytest.mark.parametrize("case", SYMBOLIC, ids=lambda c: c[0])
def test_symbolic_dims(
    case: tuple[str, tuple[TensorType, ...], dict[str, Any]], sizes: Any
) -> None:
    name, types, attributes = case
    symbols = dict(zip("NM", sizes))
    shapes = [bind(t.shape, symbols) for t in types]
    arrays = [distinct(*s, dtype=t.dtype.numpy) for s, t in zip(shapes, types)]
    want = definition(name).reference(
        *arrays, **{k: bind(v, symbols) for k, v in attributes.items()}
    )
    got = evaluate_element(name, arrays, types, symbols, **attributes)
    assert_same(got, want, nans="exact")


def test_symbolic_sizes_that_turn_out_equal_resize_nothing() -> None:
    """Aligned corners' f32 coordinates are not integral along so long an axis."""
    x = np.random.default_rng(1).standard_normal(8100).astype(np.float32)
    attributes = {"scales": (), "coordinate": "align_corners", "nearest": "floor"}
    got = evaluate_element(
        "det.resize", [x], [_t(N)], {"N": 8100, "M": 8100}, sizes=(M,), mode="linear", **attributes
    )
    assert_same(got, x)


def test_payloads_survive_movement() -> None:
    for name in ("det.transpose", "det.reshape", "det.concat"):
        for operands, attributes in CASES[name]:
            arrays = list(map(np.asarray, operands))
            unsigned = np.dtype(f"u{arrays[0].itemsize}")
            bits = [x.view(unsigned) for x in arrays]
            got = reference(name, *operands, **attributes)
            assert_same(got.view(unsigned), reference(name, *bits, **attributes))
