"""Resizing against ONNX's reference evaluator, at sizes where f32 coordinates are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ir.ops.cases import distinct
from tests.ir.ops.evaluate import assert_same, onnx_reference, reference

KINDS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resize(x: Any, sizes: tuple[int, ...], mode: str = "nearest", **attributes: Any) -> Any:
    given = {"scales": (), "coordinate": "half_pixel", "nearest": "round_prefer_floor"}
    return reference("det.resize", x, sizes=sizes, mode=mode, **{**given, **attributes})


# Aligned corners at other sizes have coordinates that are not exact: f32 and f64 may differ.
EXACT = [(c, s) for c in KINDS if c != "align_corners" for s in [(8, 16), (2, 4), (4, 32), (1, 8)]]


@pytest.mark.parametrize(("coordinate", "sizes"), [*EXACT, ("align_corners", (1, 8))])
@pytest.mark.parametrize("nearest", ROUNDINGS)
def test_nearest_by_onnx(coordinate: str, nearest: str, sizes: tuple[int, int]) -> None:
    x = distinct(4, 8)
    want = onnx_reference(
        "Resize",
        x,
        None,
        None,
        np.array(sizes),
        mode="nearest",
        coordinate_transformation_mode=coordinate,
        nearest_mode=nearest,
    )[0]
    assert_same(resize(x, sizes, coordinate=coordinate, nearest=nearest), want)


@pytest.mark.parametrize("coordinate", KINDS)
@pytest.mark.parametrize("sizes", [(8, 16), (2, 4), (7, 5), (1, 1)])
def test_linear_by_onnx(coordinate: str, sizes: tuple[int, int]) -> None:
    x = distinct(4, 8)
    want = onnx_reference(
        "Resize",
        x,
        None,
        None,
        np.array(sizes),
        mode="linear",
        coordinate_transformation_mode=coordinate,
    )[0]
    got = resize(x, sizes, "linear", coordinate=coordinate)
    np.testing.assert_allclose(got, want, rtol=0, atol=32 * 2.0**-20)


def test_scales_are_not_sizes() -> None:
    """A scale of 1.4 to 7 elements: 5 * 1.4 = 7, but 4 * 1.8 is cut to 7."""
    x = distinct(4)
    got = resize(x, (7,), coordinate="asymmetric", nearest="floor", scales=(1.8,))
    want = [int(np.float32(i) / np.float32(1.8)) for i in range(7)]
    assert_same(got, np.array(want, np.float32))


def test_unchanged_axes_keep_every_bit() -> None:
    x = np.array([[-0.0, np.inf, np.nan, 1e-45]], np.float32)
    got = resize(x, (2, 4), "linear")
    assert_same(got, np.concatenate([x, x]))


def test_linear_is_exact_on_elements() -> None:
    x = np.array([1, np.inf, 2], np.float32)
    got = resize(x, (5,), "linear", coordinate="align_corners")
    assert_same(got, np.array([1, np.inf, np.inf, np.nan, 2], np.float32))
