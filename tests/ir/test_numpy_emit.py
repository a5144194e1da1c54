"""The NumPy emitter against exact rational arithmetic and the clauses of the numerics document."""

from __future__ import annotations

import math
import struct
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivmc.ir.emit import Emit
from aivmc.ir.numpy_emit import NumpyEmit, canonical_nan
from aivmc.ir.types import DType

E: Emit = NumpyEmit()
INTEGERS = [DType.I8, DType.I16, DType.I32, DType.I64, DType.U8, DType.U16, DType.U32, DType.U64]
# precision, exponent of the smallest subnormal, largest finite
FORMATS = {
    DType.F64: (53, -1074, Fraction(2**1024 - 2**971)),
    DType.F32: (24, -149, Fraction(2**128 - 2**104)),
    DType.F16: (11, -24, Fraction(65504)),
    DType.BF16: (8, -133, Fraction(2**128 - 2**120)),
    DType.F8E5M2: (3, -16, Fraction(57344)),
}


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def nearest(exact: Fraction, dtype: DType) -> float:
    """``exact`` rounded to nearest even in integers: independent of the code under test."""
    precision, smallest, largest = FORMATS[dtype]
    if exact == 0:
        return 0.0
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - precision + 1, smallest)
    rounded = round(magnitude / quantum) * quantum  # Fraction rounds half to even
    value = math.inf if rounded > largest else float(rounded)
    return -value if exact < 0 else value


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    got, want = canonical_nan(np.asarray(got)), canonical_nan(np.asarray(want))
    return got.dtype == want.dtype and got.tobytes() == want.tobytes()


def ieee_fma(a: float, b: float, c: float, dtype: DType) -> float:
    if not all(map(math.isfinite, (a, b, c))) or a == 0 or b == 0:
        with np.errstate(all="ignore"):
            product = np.float64(a) * np.float64(b)
            if math.isfinite(a) and math.isfinite(b) and not math.isfinite(c):
                product = np.float64(0)
            return float(product + np.float64(c))
    return nearest(Fraction(a) * Fraction(b) + Fraction(c), dtype)


SPECIAL_F64 = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.0**-1022]
SPECIAL_F64 += [1.7976931348623157e308, -1.7976931348623157e308, 1 + 2.0**-52, 2.0**-537, 2.0**1000]
SPECIAL_F32 = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 2.0**-149, -(2.0**-149)]
SPECIAL_F32 += [2.0**-126, 3.4028234663852886e38, -3.4028234663852886e38, 1 + 2.0**-23, 2.0**-75]


def triples(values: list[float], dtype: DType) -> list[np.ndarray]:
    grid = np.meshgrid(*[np.array(values, dtype.numpy)] * 3)
    return [g.ravel() for g in grid]


@pytest.mark.parametrize(
    "dtype, values", [(DType.F32, SPECIAL_F32), (DType.F64, SPECIAL_F64)], ids=["f32", "f64"]
)
def test_fma_on_special_values(dtype, values):
    a, b, c = triples(values, dtype)
    want = [ieee_fma(float(p), float(q), float(r), dtype) for p, q, r in zip(a, b, c)]
    assert same_bits(E.fma(a, b, c), np.array(want).astype(dtype.numpy))


def adversarial(dtype: DType, seed: int, count: int) -> list[np.ndarray]:
    """Products near the middle of two floats, with an addend that decides, or cancels."""
    rng = np.random.default_rng(seed)
    precision = FORMATS[dtype][0]
    kind = dtype.numpy.type
    a = 1 + rng.integers(0, 1 << precision - 1, count) * 2.0 ** (1 - precision)
    b = 1 + (rng.integers(0, 16, count) * 2.0 ** (1 - precision)) * rng.choice([1, 2**20], count)
    spread = 120 if dtype is DType.F32 else 1000
    a = a * 2.0 ** rng.integers(-spread // 2, spread // 2, count)
    b = b * 2.0 ** rng.integers(-spread // 2, spread // 2, count)
    product = a * b
    tiny = product * 2.0 ** rng.integers(-3 * precision, 4, count)
    cancelling = -product * (1 + rng.integers(-2, 3, count) * 2.0 ** (1 - precision))
    c = np.choose(rng.integers(0, 3, count), [tiny, cancelling, rng.standard_normal(count)])
    signs = rng.choice([-1.0, 1.0], count)
    with np.errstate(all="ignore"):
        return [(a * signs).astype(kind), b.astype(kind), (c * signs).astype(kind)]


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64], ids=["f32", "f64"])
def test_fma_is_rounded_once_on_adversarial_triples(dtype):
    a, b, c = adversarial(dtype, 1, 6000)
    want = [ieee_fma(float(p), float(q), float(r), dtype) for p, q, r in zip(a, b, c)]
    assert same_bits(E.fma(a, b, c), np.array(want).astype(dtype.numpy))


def test_fma_is_not_a_product_and_a_sum():
    a, b, c = adversarial(DType.F32, 2, 6000)
    with np.errstate(all="ignore"):
        assert not same_bits(E.fma(a, b, c), a * b + c)
        double = (a.astype(np.float64) * b + c).astype(np.float32)
    assert not same_bits(E.fma(a, b, c), double)


ANY_F64 = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", struct.pack("<Q", n))[0])


@settings(max_examples=300, deadline=None)
@given(ANY_F64, ANY_F64, ANY_F64)
def test_fma_f64_on_any_bits(a, b, c):
    got = E.fma(*(np.array([v]) for v in (a, b, c)))
    assert same_bits(got, np.array([ieee_fma(a, b, c, DType.F64)]))


def float_bits_f64() -> np.ndarray:
    """f64 values at, beside and between the rounding boundaries of every smaller format."""
    rng = np.random.default_rng(3)
    exponents = np.concatenate([rng.integers(-155, 132, 4000), rng.integers(-30, 20, 4000)])
    mantissas = 1 + rng.integers(0, 1 << 12, 8000) * 2.0**-12
    # a tie of the narrow format plus less than f32 can see: a second rounding would show
    offsets = rng.choice([0.0, 2.0**-30, -(2.0**-30), 2.0**-52, -(2.0**-52)], 8000)
    values = rng.choice([-1.0, 1.0], 8000) * (mantissas + offsets) * 2.0**exponents
    return np.concatenate([values, np.array(SPECIAL_F64)])


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.BF16, DType.F8E5M2])
def test_float_narrowing_rounds_once(dtype):
    x = float_bits_f64()
    want = [nearest(Fraction(v), dtype) if math.isfinite(v) else v for v in x]
    want = np.copysign(np.array(want), x)
    got = E.cast(x, dtype)
    assert got.dtype == dtype.numpy
    assert same_bits(got.astype(np.float64), want)


@pytest.mark.parametrize("source", [DType.I64, DType.U64, DType.I32, DType.U32, DType.I16])
@pytest.mark.parametrize("dtype", [DType.F64, DType.F32, DType.F16, DType.BF16])
def test_integer_to_float_rounds_once(source, dtype):
    info = np.iinfo(source.numpy)
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**63, 3000, dtype=np.uint64) >> rng.integers(0, 64, 3000).astype("u8")
    ties = [
        (1 << k) + (1 << (k - p)) + d
        for k in range(1, 63)
        for p in (8, 11, 24, 53)
        if k >= p
        for d in (-1, 0, 1)
    ]
    values = [int(v) for v in bits] + ties + [-t for t in ties] + [info.min, info.max, 0]
    values = [v for v in values if info.min <= v <= info.max]
    got = E.cast(np.array(values, source.numpy), dtype)
    want = [nearest(Fraction(v), dtype) for v in values]
    assert same_bits(got.astype(np.float64), np.array(want))


@pytest.mark.parametrize("dtype", [*INTEGERS, DType.I4, DType.U4, DType.I2, DType.U2])
@pytest.mark.parametrize("source", [DType.F64, DType.F32, DType.F16, DType.BF16])
def test_float_to_integer_truncates_and_saturates(source, dtype):
    low = -(2 ** (dtype.bits - 1)) if dtype.is_signed else 0
    high = 2 ** (dtype.bits - (1 if dtype.is_signed else 0)) - 1
    raw = [
        0.0,
        -0.0,
        0.99,
        -0.99,
        1.5,
        -1.5,
        2.5,
        100.7,
        math.inf,
        -math.inf,
        math.nan,
        1e30,
        -1e30,
    ]
    raw += [float(low), float(high), low - 1.0, high + 1.0, high * 0.75, low * 0.75, 65504.0]
    with np.errstate(all="ignore"):
        x = np.array(raw).astype(source.numpy)

    def convert(v: float) -> int:
        if math.isnan(v):
            return 0
        return min(max(int(v), low), high) if math.isfinite(v) else (high if v > 0 else low)

    got = E.cast(x, dtype)
    assert got.dtype == dtype.numpy
    assert [int(v) for v in got] == [convert(float(v)) for v in x]


@pytest.mark.parametrize("dtype", [*INTEGERS, DType.I4, DType.U4, DType.I2, DType.U2])
@pytest.mark.parametrize("source", INTEGERS)
def test_integer_to_integer_wraps(source, dtype):
    info = np.iinfo(source.numpy)
    values = [info.min, info.max, 0, 1, 7, 8, 9, 100, info.max // 3, info.min // 3]
    got = E.cast(np.array(values, source.numpy), dtype)
    wrapped = [v % 2**dtype.bits for v in values]
    if dtype.is_signed:
        wrapped = [w - 2**dtype.bits if w >= 2 ** (dtype.bits - 1) else w for w in wrapped]
    assert [int(v) for v in got] == wrapped


REAL = [t for t in DType if t not in (DType.C64, DType.C128, DType.STRING)]


@pytest.mark.parametrize("source", REAL, ids=lambda t: t.value)
def test_every_real_type_casts_compares_and_selects(source):
    ones = E.const(1.0 if source.is_float else 1, source)
    for target in REAL:
        assert E.cast(ones, target).dtype == target.numpy
        assert float(E.cast(E.cast(ones, target), DType.F32)) == 1.0
    assert bool(E.eq(ones, ones)) and bool(E.le(ones, ones)) and not bool(E.lt(ones, ones))
    assert not bool(E.is_nan(ones))
    assert E.select(E.eq(ones, ones), ones, ones).dtype == source.numpy


def test_cast_to_bool_is_unequal_to_zero():
    x = np.array([0.0, -0.0, math.nan, 2.0**-149, math.inf], np.float32)
    assert E.cast(x, DType.BOOL).tolist() == [False, False, True, True, True]


def integer_samples(dtype: DType) -> list[int]:
    info: Any = np.iinfo(dtype.numpy)
    edge = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7, info.max // 2]
    return edge + ([-1, -2, -3, -7] if dtype.is_signed else [])


def wrapped(value: int, dtype: DType) -> int:
    value %= 2**dtype.bits
    return value - 2**dtype.bits if dtype.is_signed and value >> dtype.bits - 1 else value


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda t: t.value)
def test_integer_arithmetic(dtype):
    samples = integer_samples(dtype)
    pairs = [(p, q) for p in samples for q in samples]
    a, b = (np.array(side, dtype.numpy) for side in zip(*pairs))

    def quotient(p: int, q: int) -> int:
        return 0 if q == 0 else abs(p) // abs(q) * (1 if (p < 0) == (q < 0) else -1)

    expected: dict[str, Any] = {
        "add": lambda p, q: p + q,
        "sub": lambda p, q: p - q,
        "mul": lambda p, q: p * q,
        "div": quotient,
        "rem": lambda p, q: p - quotient(p, q) * q,
        "maximum": max,
        "minimum": min,
        "and_": lambda p, q: p & q,
        "or_": lambda p, q: p | q,
        "xor": lambda p, q: p ^ q,
    }
    for name, function in expected.items():
        got = getattr(E, name)(a, b)
        assert got.dtype == dtype.numpy
        assert got.tolist() == [wrapped(function(p, q), dtype) for p, q in pairs], name
    assert E.neg(a).tolist() == [wrapped(-p, dtype) for p, _ in pairs]
    assert E.abs(a).tolist() == [wrapped(abs(p), dtype) for p, _ in pairs]
    assert E.not_(a).tolist() == [wrapped(~p, dtype) for p, _ in pairs]


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda t: t.value)
def test_shifts_beyond_the_width(dtype):
    counts = [0, 1, dtype.bits - 1, dtype.bits, dtype.bits + 1, 100] + [-1] * dtype.is_signed
    pairs = [(p, n) for p in integer_samples(dtype) for n in counts]
    a, n = (np.array(side, dtype.numpy) for side in zip(*pairs))
    beyond = dtype.bits  # a negative count is a huge unsigned one
    counts = [k if 0 <= k < beyond else beyond for _, k in pairs]
    left = [wrapped(p << k, dtype) for (p, _), k in zip(pairs, counts)]
    right = [p >> k for (p, _), k in zip(pairs, counts)]  # Python's is arithmetic
    assert E.shl(a, n).tolist() == left
    assert E.shr(a, n).tolist() == right


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64], ids=["f32", "f64"])
def test_maximum_and_minimum_order_zeros_and_propagate_nan(dtype):
    values = np.array([0.0, -0.0, 1.5, -1.5, math.inf, -math.inf, math.nan], dtype.numpy)
    a, b = (g.ravel() for g in np.meshgrid(values, values))

    def key(v: float) -> tuple[float, float]:
        return v, math.copysign(1.0, v)

    for name, choose in (("maximum", max), ("minimum", min)):
        want = [
            choose(p, q, key=key) if p == p and q == q else math.nan
            for p, q in zip(a.tolist(), b.tolist())
        ]
        assert same_bits(getattr(E, name)(a, b), np.array(want, dtype.numpy)), name


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64], ids=["f32", "f64"])
def test_rounding_to_integral_keeps_the_sign_of_zero(dtype):
    x = np.array(
        [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.3, -0.3, 1e30, math.inf], dtype.numpy
    )
    z = -0.0
    tables = {
        "floor": [0, z, 0, -1, 1, -2, 2, -3, 0, -1, 1e30, math.inf],
        "ceil": [0, z, 1, z, 2, -1, 3, -2, 1, z, 1e30, math.inf],
        "trunc": [0, z, 0, z, 1, -1, 2, -2, 0, z, 1e30, math.inf],
        "rint": [0, z, 0, z, 2, -2, 2, -2, 0, z, 1e30, math.inf],
    }
    for name, want in tables.items():
        assert same_bits(getattr(E, name)(x), np.array(want, dtype.numpy)), name


def test_float_arithmetic_is_ieee():
    a, b, _ = adversarial(DType.F32, 5, 2000)
    exact = {"add": lambda p, q: p + q, "mul": lambda p, q: p * q, "div": lambda p, q: p / q}
    for name, function in exact.items():
        want = [
            nearest(function(Fraction(float(p)), Fraction(float(q))), DType.F32)
            for p, q in zip(a, b)
        ]
        assert same_bits(getattr(E, name)(a, b), np.array(want, np.float32)), name
    zero, one = np.float32(0), np.float32(1)
    assert E.div(one, E.neg(zero)) == -math.inf
    assert np.isnan(E.div(zero, zero)) and np.isnan(E.sqrt(-one))
    assert same_bits(E.rem(np.float32(-5.5), np.float32(2)), np.array(-1.5, np.float32))
    assert same_bits(E.sub(one, one), np.array(zero))


def test_bitcast_keeps_bits_and_checks_widths():
    bits = np.array([0x7FA00001, 0xFFC00000, 1, 0x80000000], np.uint32)
    back = E.bitcast(E.bitcast(bits, DType.F32), DType.U32)
    assert back.tolist() == bits.tolist()
    assert [int(v) for v in E.bitcast(E.const(-1, DType.I4), DType.U4).reshape(1)] == [15]
    with pytest.raises(TypeError, match="widths differ"):
        E.bitcast(bits, DType.F64)


def test_constants_round_once():
    tie = 1 + 2.0**-11 + 2.0**-40  # above the middle of two f16, but a tie once rounded to f32
    assert float(E.const(tie, DType.F16)) == 1 + 2.0**-10
    assert int(E.const(2**53 + 1, DType.I64)) == 2**53 + 1
    assert float(E.const(2**24 + 1, DType.F32)) == 2.0**24
    with pytest.raises(OverflowError):
        E.const(300, DType.U8)


def test_wrong_types_are_refused():
    half, single = np.ones(2, np.float16), np.ones(2, np.float32)
    with pytest.raises(TypeError, match="differ in dtype: f32, f16"):
        E.add(single, half)
    with pytest.raises(TypeError, match="cast to f32"):
        E.add(half, half)
    with pytest.raises(TypeError, match="only on f32 and f64"):
        E.fma(half, half, half)
    with pytest.raises(TypeError, match="bit operations"):
        E.and_(single, single)
    with pytest.raises(TypeError, match="bool condition"):
        E.select(single, single, single)
    with pytest.raises(TypeError, match="c64"):
        E.cast(np.ones(2, np.complex64), DType.F32)


def test_scalars_broadcast():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    two = E.const(2.0, DType.F32)
    assert E.fma(x, two, two).tolist() == (x * 2 + 2).tolist()
    y = np.arange(6, dtype=np.float64).reshape(2, 3) * 2.0**-1000
    z = E.const(2.0**-70, DType.F64)
    assert E.fma(y, z, y).tolist() == y.tolist()


def test_canonical_nan_is_one_value():
    bits = np.array([0x7FA00001, 0xFFC00000, 0x3F800000], np.uint32)
    assert canonical_nan(bits.view(np.float32)).view(np.uint32).tolist() == [
        0x7FC00000,
        0x7FC00000,
        0x3F800000,
    ]


def test_lookup_takes_an_index_modulo_eight():
    table = [1.0, -0.0, math.inf, 5e-324, -2.5, 0.1, 1e300, -1e-300]
    index = np.array([0, 7, 8, 13, -1, -8, 2**62 + 3, -(2**63)])
    want = np.array([table[i] for i in (0, 7, 0, 5, 7, 0, 3, 0)])
    assert same_bits(E.lookup(table, index), want)
    with pytest.raises(TypeError, match="8 constants and i64"):
        E.lookup(table[:7], index)
    with pytest.raises(TypeError, match="8 constants and i64"):
        E.lookup(table, index.astype(np.int32))
