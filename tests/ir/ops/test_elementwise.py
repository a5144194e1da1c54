"""Elementwise ops against plain NumPy and values written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from aivmc.ir.types import DType
from tests.ir.ops.cases import FLOATS, INTEGERS
from tests.ir.ops.evaluate import assert_same, reference, special_floats, special_integers

F32 = special_floats(DType.F32)
NAN_BITS = {DType.F64: 0x7FF8 << 48, DType.F32: 0x7FC0 << 16, DType.F16: 0x7E00, DType.BF16: 0x7FC0}
NAN_BITS |= {DType.F8E4M3FN: 0x7F, DType.F8E4M3FNUZ: 0x80, DType.F8E5M2: 0x7E}
NAN_BITS |= {DType.F8E5M2FNUZ: 0x80, DType.F8E8M0: 0xFF, DType.F4E2M1: 0}  # the last has none


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_comparisons(dtype: DType) -> None:
    values = special_floats(dtype) if dtype.is_float else special_integers(dtype)
    a, b = values[:, None], values
    with np.errstate(invalid="ignore"):
        below, not_above = a < b, a <= b
    assert_same(reference("det.less", a, b), below)
    assert_same(reference("det.less_equal", a, b), not_above)
    assert_same(reference("det.equal", a, b), a == b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_classification(dtype: DType) -> None:
    x = special_floats(dtype)
    wide = x.astype(np.float64)
    assert_same(reference("det.is_nan", x), np.isnan(wide))
    for positive in (False, True):
        for negative in (False, True):
            want = (positive & (wide == np.inf)) | (negative & (wide == -np.inf))
            assert_same(reference("det.is_inf", x, positive=positive, negative=negative), want)


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_nan_leaves(dtype: DType) -> None:
    x = special_floats(dtype)
    bits = f"u{x.itemsize}"
    want = np.where(np.isnan(x.astype(np.float64)), NAN_BITS[dtype], x.view(bits)).astype(bits)
    assert_same(reference("det.canonical_nan", x).view(bits), want)
    to = DType(f"u{dtype.bits}")
    assert_same(reference("det.bitcast", x, to=to), want.astype(to.numpy))


def test_bitcast_of_integers_keeps_payloads() -> None:
    bits = F32.view(np.int32)
    assert reference("det.bitcast", bits, to=DType.F32).tobytes() == F32.tobytes()


def test_rounding() -> None:
    x = f32(-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e30, -np.inf, np.nan)
    end = (1e30, -np.inf, np.nan)
    assert_same(reference("det.floor", x), f32(-3, -2, -1, -0.0, 0, 0, 1, 2, *end))
    assert_same(reference("det.ceil", x), f32(-2, -1, -0.0, -0.0, 0, 1, 2, 3, *end))
    assert_same(reference("det.trunc", x), f32(-2, -1, -0.0, -0.0, 0, 0, 1, 2, *end))
    assert_same(reference("det.rint", x), f32(-2, -2, -0.0, -0.0, 0, 0, 2, 2, *end))
    assert_same(reference("det.sign", x), f32(-1, -1, -1, -0.0, 0, 1, 1, 1, 1, -1, np.nan))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_sign_and_relu(dtype: DType) -> None:
    x = special_integers(dtype)
    wide = x.astype(dtype.wide.numpy)
    assert_same(reference("det.sign", x), np.sign(wide).astype(dtype.numpy))
    assert_same(reference("det.relu", x), np.maximum(wide, 0).astype(dtype.numpy))


def test_rectifiers() -> None:
    x = f32(-np.inf, -3, -1e-45, -0.0, 0.0, 1e-45, 3, np.inf, np.nan)
    assert_same(reference("det.relu", x), f32(0, 0, 0, -0.0, 0, 1e-45, 3, np.inf, np.nan))
    want = np.where(x < 0, x * np.float32(0.1), x)
    assert_same(reference("det.leaky_relu", x, slope=0.1), want)
    half = np.array([-3, 5], np.float16)
    want = np.array([np.float32(-3) * np.float32(0.1), 5], np.float32).astype(np.float16)
    assert_same(reference("det.leaky_relu", half, slope=0.1), want)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bits(dtype: DType) -> None:
    x = special_integers(dtype)
    a, b = x[:, None], x
    wide = x.astype(dtype.wide.numpy)
    p, q = wide[:, None], wide
    for name, want in {"and": p & q, "or": p | q, "xor": p ^ q}.items():
        assert_same(reference(f"det.bit_{name}", a, b), want.astype(dtype.numpy))
    assert_same(reference("det.bit_not", x), (~wide).astype(dtype.numpy))
    width = dtype.bits
    left = [[_wrap(int(p) << min(int(q) % 2**width, width), dtype) for q in x] for p in x]
    right = [[int(p) >> min(int(q) % 2**width, width) for q in x] for p in x]
    for name, rows in {"left": left, "right": right}.items():
        want = np.array(rows, dtype.wide.numpy).astype(dtype.numpy)
        assert_same(reference(f"det.shift_{name}", a, b), want)


@pytest.mark.parametrize("dtype", [t for t in INTEGERS if t.bits < 8])
def test_arithmetic_on_less_than_a_byte(dtype: DType) -> None:
    """All operands, by Python's integers: wrapped within the width."""
    x = special_integers(dtype)
    numbers = [int(v) for v in x]

    def quotient(p: int, q: int) -> int:
        return 0 if q == 0 else abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1)

    by_two: dict[str, Callable[[int, int], int]] = {
        "add": lambda p, q: p + q,
        "sub": lambda p, q: p - q,
        "mul": lambda p, q: p * q,
        "div": quotient,
        "rem": lambda p, q: p - quotient(p, q) * q,
        "maximum": max,
        "minimum": min,
    }
    for name, function in by_two.items():
        want = [[_wrap(function(p, q), dtype) for q in numbers] for p in numbers]
        got = reference(f"det.{name}", x[:, None], x)
        assert got.astype(int).tolist() == want, name
    for name, one in {"neg": lambda p: -p, "abs": abs}.items():
        assert reference(f"det.{name}", x).astype(int).tolist() == [
            _wrap(one(p), dtype) for p in numbers
        ]
    total = reference("det.reduce_sum", x, axes=(0,), keepdims=False, order="exact")
    assert int(total) == _wrap(sum(numbers), dtype)


def _wrap(value: int, dtype: DType) -> int:
    value %= 2**dtype.bits
    return value - 2**dtype.bits if dtype.is_signed and value >= 2 ** (dtype.bits - 1) else value


def test_logic() -> None:
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert_same(reference("det.logical_and", a, b), a & b)
    assert_same(reference("det.logical_or", a, b), a | b)
    assert_same(reference("det.logical_xor", a, b), a ^ b)
    assert_same(reference("det.logical_not", a), ~a)


def test_select_moves_bits() -> None:
    condition = np.arange(len(F32)) % 2 == 0
    got = reference("det.select", condition, F32, F32[::-1].copy())
    want = np.where(condition, F32.view(np.uint32), F32[::-1].view(np.uint32))
    assert_same(got.view(np.uint32), want)


def test_casts() -> None:
    x = f32(-300, -128.9, -1.5, -0.0, 0.5, 1.5, 127.5, 300, np.inf, -np.inf, np.nan)
    want = np.array([-128, -128, -1, 0, 0, 1, 127, 127, 127, -128, 0], np.int8)
    assert_same(reference("det.cast", x, to=DType.I8), want)
    want = np.array([0, 0, 0, 0, 0, 1, 127, 255, 255, 0, 0], np.uint8)
    assert_same(reference("det.cast", x, to=DType.U8), want)
    assert_same(reference("det.cast", x, to=DType.BOOL), np.array([1, 1, 1, 0, *[1] * 7], bool))
    wide = np.array([2**40 + 300, -1, 255], np.int64)
    assert_same(reference("det.cast", wide, to=DType.U8), np.array([44, 255, 255], np.uint8))
    # Twice rounded, through f32, this would be 1 + 2^-10.
    tie = np.array([1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11], np.float64)
    want = np.array([1 + 2.0**-10, 1], np.float16)
    assert_same(reference("det.cast", tie, to=DType.F16), want)


def test_narrow_floats_compute_in_f32() -> None:
    a = special_floats(DType.F16)[:, None]
    b = special_floats(DType.F16)
    with np.errstate(all="ignore"):
        want = (a.astype(np.float32) / b.astype(np.float32)).astype(np.float16)
    assert_same(reference("det.div", a, b), want)


def test_elementary_functions_are_the_named_ones() -> None:
    x = f32(0.1, 0.5, 0.9)
    for name in ("exp", "log", "sin", "cos", "tanh", "exp2", "log1p", "sinh"):
        want = getattr(np, name)(x.astype(np.float64)).astype(np.float32)
        assert_same(reference(f"det.{name}", x), want)
    assert_same(reference("det.pow", f32(2, 3, 0), f32(10, -1, 0)), f32(1024, 1 / 3, 1))
