"""Matrix products, convolutions and pooling: exactly, one scalar at a time; and against f64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from aivmc.ir.errors import IRError
from aivmc.ir.ops.conv import conv_block
from aivmc.ir.types import DType
from tests.ir.ops.evaluate import assert_same, fma32, onnx_reference, reference

RANDOM = np.random.default_rng(9)
PLAIN: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "low": (0, 0), "high": (0, 0)}
MOVED = {"strides": (2, 1), "dilations": (1, 2), "low": (1, 0), "high": (0, 2)}


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def chain(pairs: Any) -> np.float32:
    total = np.float32(0)
    for a, b in pairs:
        total = fma32(a, b, total)
    return total


def in_blocks(blocks: Any) -> np.float32:
    first, *rest = map(chain, blocks)
    for block_sum in rest:
        first = first + block_sum
    return first


@pytest.mark.parametrize("k", [1, 7, 512, 513, 1030])
def test_matmul_exactly(k: int) -> None:
    a, b = normal(2, k), normal(k, 2)
    got = reference("det.matmul", a, b, block=512)
    for i, j in np.ndindex(2, 2):
        pairs = list(zip(a[i], b[:, j]))
        want = in_blocks(pairs[s : s + 512] for s in range(0, k, 512))
        assert got[i, j].tobytes() == want.tobytes()


def test_matmul_broadcasts_and_bounds() -> None:
    a, b = normal(2, 1, 3, 600), normal(4, 600, 5)
    got = reference("det.matmul", a, b, block=512)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert np.all(np.abs(got - exact) <= 600 * 2.0**-24 * size)


def test_matmul_rows_do_not_depend_on_the_batch() -> None:
    a, b = normal(8, 700), normal(700, 6)
    whole = reference("det.matmul", a, b, block=512)
    assert_same(reference("det.matmul", a[3:4], b, block=512), whole[3:4])


def test_matmul_narrow_floats_round_once() -> None:
    a, b = normal(3, 40).astype(np.float16), normal(40, 2).astype(np.float16)
    wide = reference("det.matmul", a.astype(np.float32), b.astype(np.float32), block=512)
    assert_same(reference("det.matmul", a, b, block=512), wide.astype(np.float16))


@pytest.mark.parametrize("left", [np.int8, np.uint8, np.int32])
def test_matmul_integers_are_exact(left: Any) -> None:
    a = RANDOM.integers(0, 127, (3, 700)).astype(left)
    b = RANDOM.integers(-128, 127, (700, 4), np.int8)
    want = (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)
    assert_same(reference("det.matmul", a, b, block=0), want)


def test_a_block_is_needed() -> None:
    with pytest.raises(IRError, match="fixes no bits"):
        reference("det.matmul", normal(2, 3), normal(3, 2), block=0)
    with pytest.raises(IRError, match="does not fit i32"):
        reference("det.matmul", np.ones((2, 2), "i1"), np.ones((2, 2), "i1"), block=512)


def conv(x: Any, w: Any, group: int = 1, block: int = 16, **moves: Any) -> Any:
    moves = {**PLAIN, **moves}
    return reference("det.conv", x, w, group=group, block=block, layout="channels_first", **moves)


def conv_exactly(x: Any, w: Any, group: int, block: int, moves: dict[str, Any]) -> Any:
    """Clause 9 by its words, for two spatial axes."""
    (sh, sw), (dh, dw), (lh, lw), (hh, hw) = moves.values()
    padded = np.pad(x, ((0, 0), (0, 0), (lh, hh), (lw, hw)))
    features, channels, kh, kw = w.shape
    rows = (padded.shape[2] - (kh - 1) * dh - 1) // sh + 1
    columns = (padded.shape[3] - (kw - 1) * dw - 1) // sw + 1
    out = np.zeros((len(x), features, rows, columns), np.float32)
    for n, m, r, c in np.ndindex(out.shape):
        first = m // (features // group) * channels
        blocks = [
            [
                (w[m, ic, i, j], padded[n, first + ic, r * sh + i * dh, c * sw + j * dw])
                for ic in range(start, min(start + block, channels))
                for i, j in np.ndindex(kh, kw)
            ]
            for start in range(0, channels, block)
        ]
        out[n, m, r, c] = in_blocks(blocks) + np.float32(0)
    return out


@pytest.mark.parametrize(("group", "block"), [(1, 16), (1, 1), (1, 3), (2, 1), (4, 16)])
def test_conv_exactly(group: int, block: int) -> None:
    x, w = normal(2, 4, 5, 4), normal(4, 4 // group, 3, 2)
    assert_same(conv(x, w, group, block, **MOVED), conv_exactly(x, w, group, block, MOVED))


def test_conv_bounds_and_layout() -> None:
    x, w = normal(1, 70, 6, 7), normal(5, 70, 3, 3)
    moves: dict[str, Any] = {**PLAIN, "low": (1, 1), "high": (1, 1)}
    got = conv(x, w, block=48, **moves)
    wide, weights = x.astype(np.float64), w.astype(np.float64)
    exact = onnx_reference("Conv", wide, weights, pads=[1, 1, 1, 1])[0]
    size = onnx_reference("Conv", np.abs(wide), np.abs(weights), pads=[1, 1, 1, 1])[0]
    assert np.all(np.abs(got - exact) <= 630 * 2.0**-24 * size)
    attributes = {**moves, "group": 1, "block": 48, "layout": "channels_last"}
    last = reference("det.conv", np.moveaxis(x, 1, 3).copy(), w, **attributes)
    assert_same(np.moveaxis(last, 3, 1).copy(), got)


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_of_other_ranks(rank: int) -> None:
    x, w = normal(1, 2, *[5] * rank), normal(3, 2, *[3] * rank)
    ones = (1,) * rank
    moves: dict[str, Any] = {"strides": ones, "dilations": ones, "low": ones, "high": ones}
    got = conv(x, w, **moves)
    exact = onnx_reference(
        "Conv", x.astype(np.float64), w.astype(np.float64), pads=[1] * (2 * rank)
    )[0]
    np.testing.assert_allclose(got, exact, rtol=0, atol=54 * 2.0**-24 * 54)


def test_conv_of_integers_is_exact() -> None:
    x = RANDOM.integers(0, 255, (1, 40, 5, 5), np.uint8)
    w = RANDOM.integers(-128, 127, (3, 40, 3, 3), np.int8)
    wide, weights = x.astype(np.float64), w.astype(np.float64)
    want = onnx_reference("Conv", wide, weights, pads=[1, 0, 0, 1])[0].astype(np.int32)
    assert_same(conv(x, w, block=0, low=(1, 0), high=(0, 1)), want)


def test_convolutions_of_no_images() -> None:
    x, w = np.zeros((0, 4, 5, 5), np.float32), np.ones((4, 2, 3, 3), np.float32)
    assert conv(x, w, group=2).shape == (0, 4, 3, 3)
    attributes = {**PLAIN, "output_pad": (0, 0), "group": 2, "block": 16}
    assert reference("det.conv_transpose", x, w, **attributes).shape == (0, 4, 7, 7)


def test_conv_padding_is_multiplied() -> None:
    x, w = np.ones((1, 1, 1, 2), np.float32), np.array([[[[np.inf, 1]]]], np.float32)
    got = conv(x, w, low=(0, 1))
    assert_same(got, np.array([[[[np.nan, np.inf]]]], np.float32))


def test_conv_result_is_never_minus_zero() -> None:
    x, w = np.full((1, 1, 1, 1), -1e-30, np.float32), np.full((1, 1, 1, 1), 1e-30, np.float32)
    assert_same(conv(x, w), np.zeros((1, 1, 1, 1), np.float32))


@pytest.mark.parametrize(
    ("channels", "taps", "block"),
    [
        *((3, 49, 3), (64, 1, 64), (1024, 1, 512), (64, 9, 48), (256, 9, 48), (1, 9, 1)),
        *((64, 49, 16), (200, 25, 16), (512, 33, 16), (100, 3, 100), (256, 3, 160)),
    ],
)
def test_conv_block(channels: int, taps: int, block: int) -> None:
    assert conv_block(channels, taps) == block


def transpose_exactly(
    x: Any, w: Any, shape: Any, group: int, block: int, moves: dict[str, Any]
) -> Any:
    """Contributing (ic, kh, kw) ascending, same blocks."""
    (sh, sw), (dh, dw), (lh, lw), _ = moves.values()
    out = np.zeros(shape, np.float32)
    channels, features = x.shape[1] // group, w.shape[1]
    for n, m, r, c in np.ndindex(shape):
        first = m // features * channels
        blocks = []
        for start in range(0, channels, block):
            pairs = []
            for ic, i, j in itertools.product(
                range(start, min(start + block, channels)), range(w.shape[2]), range(w.shape[3])
            ):
                row, row_left = divmod(r + lh - i * dh, sh)
                column, column_left = divmod(c + lw - j * dw, sw)
                inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
                if inside and not row_left and not column_left:
                    pairs.append((x[n, first + ic, row, column], w[first + ic, m % features, i, j]))
            blocks.append(pairs)
        out[n, m, r, c] = in_blocks(blocks) + np.float32(0)
    return out


@pytest.mark.parametrize(("group", "block"), [(1, 16), (1, 2), (2, 1)])
def test_conv_transpose_exactly(group: int, block: int) -> None:
    x, w = normal(2, 4, 3, 4), normal(4, 3, 3, 2)
    moves = {"strides": (2, 3), "dilations": (2, 1), "low": (1, 0), "high": (2, 1)}
    attributes = {**moves, "output_pad": (1, 2), "group": group, "block": block}
    got = reference("det.conv_transpose", x, w, **attributes)
    assert_same(got, transpose_exactly(x, w, got.shape, group, block, moves))
    # ONNX's evaluator takes one group at a time.
    parts = zip(np.split(x.astype(np.float64), group, 1), np.split(w.astype(np.float64), group, 0))
    pads: dict[str, Any] = {"pads": [1, 0, 2, 1], "output_padding": [1, 2]}
    exact = [
        onnx_reference("ConvTranspose", *part, strides=[2, 3], dilations=[2, 1], **pads)[0]
        for part in parts
    ]
    np.testing.assert_allclose(got, np.concatenate(exact, 1), rtol=0, atol=1e-5)


def window(x: Any, op: str, shape: Any, **moves: Any) -> Any:
    return reference(f"det.window_{op}", x, window=shape, **{**PLAIN, **moves})


def test_window_max() -> None:
    x = normal(1, 2, 7, 6)
    got = reference(
        "det.window_max",
        x,
        window=(1, 1, 3, 2),
        strides=(1, 1, 2, 1),
        dilations=(1, 1, 1, 2),
        low=(0, 0, 1, 0),
        high=(0, 0, 0, 1),
    )
    want = onnx_reference(
        "MaxPool", x, kernel_shape=[3, 2], strides=[2, 1], dilations=[1, 2], pads=[1, 0, 0, 1]
    )[0]
    assert_same(got, want)


def test_window_max_padding_never_wins() -> None:
    x = np.array([[-0.0, np.nan, -np.inf]], np.float32)
    got = window(x, "max", (1, 1), low=(0, 1), high=(0, 1))
    assert_same(got, np.array([[-np.inf, -0.0, np.nan, -np.inf, -np.inf]], np.float32))
    bytes_ = np.array([[-128, 5]], np.int8)
    got = window(bytes_, "max", (1, 2), low=(0, 1))
    assert_same(got, np.array([[-128, 5]], np.int8))


def test_window_sum_takes_taps_in_lanes() -> None:
    x = normal(9, 8)
    got = window(x, "sum", (5, 7), low=(2, 3), high=(2, 3), order="lanes16")
    padded = np.pad(x, ((2, 2), (3, 3)))
    for r, c in np.ndindex(*got.shape):
        lanes = [np.float32(0)] * 16
        for i, value in enumerate(padded[r : r + 5, c : c + 7].reshape(-1)):
            lanes[i % 16] = lanes[i % 16] + value
        for distance in (8, 4, 2, 1):
            lanes = [lanes[i] + lanes[i + distance] for i in range(distance)]
        assert got[r, c].tobytes() == lanes[0].tobytes()


def test_windows_of_narrow_floats_and_integers() -> None:
    x = RANDOM.integers(-9, 9, (4, 6)).astype(np.int32)
    want = x[:3] + x[1:]
    assert_same(window(x, "sum", (2, 1), order="exact"), want)
    half = DType.BF16.numpy
    assert_same(window(x.astype(half), "sum", (2, 1), order="lanes16"), want.astype(half))
    assert_same(window(x.astype(half), "max", (1, 1)), x.astype(half))
