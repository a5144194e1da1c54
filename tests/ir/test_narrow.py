"""Types of a byte or less against their definitions, written out as numbers: the OCP specification
of 8-bit floats (E4M3, E5M2), that of microscaling formats (E2M1, E8M0), and the FNUZ variants
(Noune et al., "8-bit numerical formats for deep neural networks", 2022).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from aivmc.backends import emit_float
from aivmc.ir.interpret import interpret
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import program

E = NumpyEmit()
# Exponent and mantissa bits, bias, the largest number, what is beyond it.
FORMATS = {
    DType.F8E4M3FN: (4, 3, 7, 448.0, "nan"),
    DType.F8E4M3FNUZ: (4, 3, 8, 240.0, "nan"),
    DType.F8E5M2: (5, 2, 15, 57344.0, "inf"),
    DType.F8E5M2FNUZ: (5, 2, 16, 57344.0, "nan"),
    DType.F4E2M1: (2, 1, 1, 6.0, "largest"),
}
FLOATS = (*FORMATS, DType.F8E8M0)
NO_MINUS_ZERO = (DType.F8E4M3FNUZ, DType.F8E5M2FNUZ)


def magnitudes(dtype: DType) -> list[float]:
    """The numbers without sign by code, ascending, and the one that would come next."""
    if dtype is DType.F8E8M0:
        return [2.0 ** (code - 127) for code in range(256)]
    exponent, mantissa, bias, largest, _ = FORMATS[dtype]
    numbers = [
        2.0 ** (max(e, 1) - bias) * ((e > 0) + m / 2**mantissa)
        for e in range(2**exponent + 1)
        for m in range(2**mantissa)
    ]
    return numbers[: numbers.index(largest) + 2]


def numbers(dtype: DType) -> Any:
    """What each code means, as f64."""
    finite = magnitudes(dtype)[:-1]
    count = 2 ** (dtype.bits - (dtype is not DType.F8E8M0))
    half = np.full(count, np.nan)
    half[: len(finite)] = finite
    if dtype is DType.F8E8M0:
        return half
    if dtype is DType.F8E5M2:
        half[len(finite)] = np.inf
    both = np.concatenate([half, -half])
    if dtype in NO_MINUS_ZERO:
        both[count] = np.nan
    return both


def nearest(x: Any, dtype: DType) -> Any:
    """The numbers nearest to the f64 ``x``, ties to the even code, as f64: by comparison alone."""
    steps = np.array(magnitudes(dtype))
    middles = steps[1:] / 2 + steps[:-1] / 2
    size = np.abs(x)
    below, above = (np.searchsorted(middles, size, side) for side in ("left", "right"))
    code = np.where(below % 2 == 0, below, above) if dtype is not DType.F8E8M0 else above
    result = steps[np.minimum(code, len(steps) - 1)]
    beyond = FORMATS[dtype][-1] if dtype in FORMATS else "nan"
    limit = {"nan": np.nan, "inf": np.inf, "largest": steps[-2]}[beyond]
    result = np.where(code >= len(steps) - 1, limit, result)
    if dtype is DType.F8E8M0:
        return np.where(x > 0, result, np.nan)
    result = np.where(np.isnan(x), 0.0 if dtype is DType.F4E2M1 else np.nan, result)
    signed = np.where(np.signbit(x) & ~np.isnan(x), -result, result)
    return np.where(result == 0, 0.0, signed) if dtype in NO_MINUS_ZERO else signed


def assert_numbers(got: Any, want: Any) -> None:
    """Equal as f64 to the sign of zero; all NaNs are alike."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    nan = np.isnan(want)
    assert np.array_equal(np.isnan(got), nan)
    wrong = np.flatnonzero(~nan & (got.view(np.int64) != want.view(np.int64)))
    assert wrong.size == 0, (got[wrong[:5]], want[wrong[:5]])


def codes(dtype: DType) -> Any:
    return np.arange(2**dtype.bits).astype(f"u{dtype.numpy.itemsize}").view(dtype.numpy)


def around(dtype: DType) -> Any:
    """f64 at and around the numbers of a type and the middles between them."""
    steps = np.array(magnitudes(dtype))
    points = np.concatenate([[0.0, np.inf, np.nan], steps, (steps[1:] / 2 + steps[:-1] / 2)])
    # By a last place of f32, and by less, which a type on the way would lose.
    near = [points * (1 + d * 2.0**-p) for d in (-1, 0, 1) for p in (23, 24, 40, 52)]
    x = np.concatenate([*near, 2.0 ** np.arange(-160, 140)])
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_code_means_its_number(dtype: DType) -> None:
    every = codes(dtype)
    assert_numbers(every.astype(np.float64), numbers(dtype))
    for wide in (DType.F64, DType.F32, DType.BF16, DType.F16):
        if wide is not DType.F16 or dtype is not DType.F8E8M0:
            assert_numbers(E.cast(every, wide).astype(np.float64), numbers(dtype))
    assert E.is_nan(every).tolist() == np.isnan(numbers(dtype)).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_conversions_are_rounded_once_to_the_nearest(dtype: DType) -> None:
    """Of all floats of 16 bits and less, and around all boundaries of f32 and f64."""
    with np.errstate(all="ignore"):
        sources = [codes(t) for t in (DType.F16, DType.BF16, *FLOATS)]
        sources += [around(dtype), around(dtype).astype(np.float32)]
        for x in sources:
            got = numbers(dtype)[E.cast(x, dtype).view(np.uint8)]
            assert_numbers(got, nearest(x.astype(np.float64), dtype))


@pytest.mark.parametrize("source", [DType.I64, DType.U64, DType.I32, DType.I16, DType.U4, DType.I2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_integers_are_rounded_once(dtype: DType, source: DType) -> None:
    low = -(1 << (source.bits - 1)) if source.is_signed else 0
    high = low + (1 << source.bits) - 1
    steps = [int(s) for s in magnitudes(dtype) if 1 <= s < 2**64]
    middles = [(a + b) // 2 for a, b in itertools.pairwise(steps)]
    values = {n + d for n in (*steps, *middles, 0) for d in (-1, 0, 1)} | {low, high}
    values |= {-v for v in values}
    some = sorted(v for v in values if low <= v <= high)
    x = np.array(some, source.wide.numpy).astype(source.numpy)
    # An integer beyond 2^53 is nowhere near a boundary unless it is one: f64 keeps its side.
    exact = np.array([float(v) if abs(v) <= 2**53 else _beside(v) for v in some])
    with np.errstate(all="ignore"):
        got = numbers(dtype)[E.cast(x, dtype).view(np.uint8)]
    assert_numbers(got, nearest(exact, dtype))


def _beside(value: int) -> float:
    """f64 on the same side of every boundary of a small float."""
    near = float(value)
    if int(near) == value:
        return near
    return float(np.nextafter(near, np.inf if value > int(near) else -np.inf))


@pytest.mark.parametrize("dtype", [*emit_float.FORMATS, DType.F8E8M0])
def test_bits_to_f32_and_back(dtype: DType) -> None:
    """What code does where a processor has no such conversion, in NumPy."""
    every = codes(dtype)
    unsigned = every.view(f"u{every.itemsize}").astype(np.uint32)
    assert_numbers(emit_float.decode(E, unsigned, dtype), every.astype(np.float64))
    if dtype is DType.F16:
        return  # tests/backends/test_targets.py
    with np.errstate(all="ignore"):
        x = np.concatenate([around(dtype).astype(np.float32), codes(DType.BF16).astype("f4")])
        got = emit_float.encode(E, x, dtype)
        assert_numbers(numbers(dtype)[got], nearest(x.astype(np.float64), dtype))


@pytest.mark.parametrize("name", ["i4", "u4", "i2", "u2", "f4e2m1"])
def test_what_else_is_in_a_byte_is_no_part_of_the_value(name: str) -> None:
    """Clause 17, by the interpreter; compiled code in tests/backends/test_narrow.py."""
    dtype = DType(name)
    every = np.arange(256, dtype=np.uint8)
    module = program({"x": TensorType(dtype, (256,))}, lambda b, x: x)
    out = interpret(module, {"x": every.view(dtype.numpy)})["out0"]
    assert out.view(np.uint8).tolist() == (every % 2**dtype.bits).tolist()
