"""Every op compiled for every target gives the bytes of its reference semantics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from aivmc.backends.tir_emit import is_emittable
from aivmc.ir.builder import Builder
from aivmc.ir.core import Value
from aivmc.ir.definition import definition, definitions
from aivmc.ir.dims import symbol
from aivmc.ir.elementary import UNARY
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import (
    RUNNABLE,
    TARGETS,
    Array,
    Case,
    assert_compiled,
    executor,
    program,
    program_of_cases,
)
from tests.ir.ops.cases import CASES, SMALL, specials

# Ops without compiled cases in CASES, and why.
ELSEWHERE = {
    "det.if": "has regions: test_if",
    "det.stream_key": "is no code: the runtime gives it (tests/guarantees/test_random.py)",
}
_QUICK = 12  # cases of an op for a target, unless all are asked for
_QUICK_SMALL = 3  # of types that are computed as wider ones: tests/backends/test_narrow.py
_WIDE = 37  # two vectors and a tail
_RANDOM = np.random.default_rng(7)
F32 = DType.F32
N = symbol("N")


def compiled_cases(op: str) -> list[Case]:
    cases: list[Case] = []
    for arrays, attributes in CASES[op]:
        if attributes.get("layout") != "channels_last":  # which no canonical program has
            wide = definition(op).is_elementwise
            operands = [_widened(a) if wide else np.asarray(a) for a in arrays]
            cases.append((op, operands, attributes))
    return cases


def _widened(x: Array) -> Array:
    """Every axis longer than 1 with its elements repeated to a length that fills vectors."""
    x = np.asarray(x)
    for axis, n in enumerate(x.shape):
        if n > 1:
            x = np.take(x, np.arange(max(n, _WIDE)) % n, axis)
    return x


def _some(cases: list[Case], first: int) -> list[Case]:
    """Few of many cases, of all kinds: the step has no divisor in common with their pattern."""
    if definition(cases[0][0]).is_elementwise:  # the first of a dtype has all the values
        cases = list({_kind(case): case for case in reversed(cases)}.values())
    small = [case for case in cases if _dtypes(case).intersection(SMALL)]
    wide = [case for case in cases if not _dtypes(case).intersection(SMALL)]
    chosen = []
    for some, most in ((wide, _QUICK), (small, _QUICK_SMALL)):
        step = next(s for s in (1, 5, 7, 11, 17, 19, 61, 211) if len(some) <= s * most)
        chosen += some[(first + len(cases[0][0])) % step :: step]
    return chosen


def _dtypes(case: Case) -> set[DType]:
    named = {a for a in case[2].values() if isinstance(a, DType)}
    return {DType.of(np.asarray(a).dtype) for a in case[1]} | named


def _kind(case: Case) -> tuple[str, ...]:
    return (*(a.dtype.name for a in case[1]), str(case[2]))


def test_every_op_is_compiled() -> None:
    det = {name for name in definitions() if name.startswith("det.")}
    assert {name for name in CASES if compiled_cases(name)} | set(ELSEWHERE) == det


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", sorted(CASES))
def test_op(op: str, target: str) -> None:
    """What is static for one target is symbolic for the other."""
    number = TARGETS.index(target)
    cases = _some(compiled_cases(op), number)
    module, inputs = program_of_cases(cases, symbolic=(len(op) + number) % 2 == 1)
    assert_compiled(module, [inputs], [target])


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("op", sorted(CASES))
def test_op_in_all_cases(op: str, symbolic: bool, target: str) -> None:
    module, inputs = program_of_cases(compiled_cases(op), symbolic)
    assert_compiled(module, [inputs], [target])


# Shapes: one program with symbols, run on many sizes; and static programs of some.

LENGTHS = (1, 3, 15, 16, 17, 33, 511, 513, 4096, 4097, 8209)
FAR = 512 * 512 + 513  # three levels of lanes16
M = symbol("M")


def _reductions(b: Builder, x: Value, axes: tuple[int, ...]) -> list[Value]:
    ordered: dict[str, Any] = {"keepdims": True, "order": "lanes16"}
    return [
        b.op("det.reduce_sum", x, axes=axes, **ordered),
        b.op("det.reduce_square_sum", x, axes=axes, **ordered),
        b.op("det.reduce_max", x, axes=axes, keepdims=False),
    ]


def _slow_along(b: Builder, x: Value, axis: int) -> list[Value]:
    """Ops whose reference takes a step for each element of an axis."""
    flags: dict[str, Any] = {"exclusive": False, "reverse": axis == 0}
    return [
        b.op("det.reduce_sum", x, axes=(axis,), keepdims=False, order="seq"),
        b.op("det.cumulative_sum", x, axis=axis, **flags),
        b.op("det.arg_max", x, axis=axis, keepdims=False, last=axis == 0),
        *b.ops("det.top_k", x, axis=axis, k=1, largest=True),
        *b.ops("det.top_k", x, axis=axis, k=x.tensor.shape[axis], largest=False),
    ]


def _values(*shape: int) -> Array:
    """Normal, with some that are equal, infinite, zero of either sign, or NaN."""
    x = _RANDOM.standard_normal(shape).astype(np.float32)
    special = np.array([1.5, -0.0, 0.0, np.inf, -np.inf, np.nan], np.float32)
    where = _RANDOM.random(shape) < 0.01
    return np.where(where, _RANDOM.choice(special, shape), x)


def _finite(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_of_any_length(axis: int) -> None:
    shape = (N, 3) if axis == 0 else (3, N)
    fast = program({"x": TensorType(F32, shape)}, lambda b, x: _reductions(b, x, (axis,)))
    slow = program({"x": TensorType(F32, shape)}, lambda b, x: _slow_along(b, x, axis), least=1)
    sizes = [(n, 3) if axis == 0 else (3, n) for n in (0, *LENGTHS, FAR)]
    assert_compiled(fast, [{"x": make(*s)} for s in sizes for make in (_values, _finite)])
    assert_compiled(slow, [{"x": _values(*s)} for s in sizes[1:-1]])


@pytest.mark.parametrize("length", [17, 4097, FAR])
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_of_static_length(axis: int, length: int) -> None:
    shape = (length, 3) if axis == 0 else (3, length)

    def body(b: Builder, x: Value) -> list[Value]:
        slow = _slow_along(b, x, axis) if length < FAR else []
        return [*_reductions(b, x, (axis,)), *slow]

    assert_compiled(program({"x": TensorType(F32, shape)}, body), [{"x": _finite(*shape)}])


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_reductions_over_axes(axes: tuple[int, ...]) -> None:
    """Also of rows of 1 and of vectors side by side."""
    module = program({"x": TensorType(F32, (N, 35, M))}, lambda b, x: _reductions(b, x, axes))
    sizes = [(1, 1), (3, 16), (40, 17), (2, 33), (0, 4), (4, 0)]
    assert_compiled(module, [{"x": _values(n, 35, m)} for n, m in sizes])


def test_elementwise_broadcasting_of_any_length() -> None:
    shapes: list[tuple[Any, ...]] = [(N, 1, M), (1, 5, M), (M,), (5, 1), (N, 5, M), ()]
    types = {f"x{i}": TensorType(F32, s) for i, s in enumerate(shapes)}

    def body(b: Builder, *xs: Value) -> Iterator[Value]:
        for x, y in pairwise(xs):
            yield b.op("det.add", x, y)
        yield b.op("det.fma", *xs[:3])
        yield b.op("det.exp", b.op("det.mul", xs[4], xs[5]))
        yield b.op("det.transpose", xs[4], permutation=(2, 0, 1))
        yield b.op("det.concat", xs[4], b.op("det.neg", xs[4]), axis=2)

    module = program(types, body)
    sizes = [(n, m) for n in (0, 1, 3) for m in (0, *LENGTHS)] + [(700, 2)]
    inputs = [
        {k: _values(*(_size(d, n, m) for d in t.shape)) for k, t in types.items()} for n, m in sizes
    ]
    assert_compiled(module, inputs, threads=(1, 2))


def _size(d: Any, n: int, m: int) -> int:
    return d if isinstance(d, int) else n if d == N else m


@pytest.mark.parametrize("target", TARGETS)
def test_nans_of_elementary_functions_leave_a_kernel_canonical(target: str) -> None:
    """det.canonical_nan after one of them does nothing, for it has done so itself; after another
    op it does, and where the result is narrower."""
    nans = np.array([0x7FC00001, 0xFFC00000, 0x7F800001, 0xFFBFFFFF, 0xFFFFFFFF] * 5, np.uint32)

    def body(b: Builder, x: Value) -> Iterator[Value]:
        results = [b.op(f"det.{name}", x) for name in UNARY]
        half = b.op("det.cast", x, to=DType.F16)
        results += [b.op("det.neg", results[0]), b.op("det.exp", half)]
        yield from (b.op("det.canonical_nan", r) for r in results)

    module = program({"x": TensorType(F32, (len(nans),))}, body)
    for y in executor(module, target).run({"x": nans.view(np.float32)}, threads=1).values():
        want = 0x7FC00000 if y.dtype == np.float32 else 0x7E00
        assert set(y.view(f"u{y.itemsize}").tolist()) == {want}


def test_empty_operands_are_not_read() -> None:
    """Definitions by element may name element 0 of a tensor that turns out to have none."""
    types = {
        "x": TensorType(F32, (N, 3)),
        "i": TensorType(DType.I64, (M,)),
        "zero": TensorType(F32),
    }

    def body(b: Builder, x: Value, i: Value, zero: Value) -> Iterator[Value]:
        yield b.op("det.gather", x, i, axis=0)
        yield b.op("det.pad", x, zero, low=(1, 0), high=(2, 1), mode="constant")
        yield b.op("det.concat", x, b.op("det.exp", x), axis=0)
        yield b.op("det.reduce_sum", x, axes=(0, 1), keepdims=False, order="lanes16")

    inputs = [
        {"x": _values(n, 3), "i": np.arange(m) - 2, "zero": np.float32(3)}
        for n in (0, 1, 5)
        for m in (0, 7)
    ]
    assert_compiled(program(types, body), inputs)


def test_matrix_products_of_nothing() -> None:
    k = symbol("K")
    types = {"a": TensorType(F32, (2, N, k)), "b": TensorType(F32, (2, k, M))}
    half = {"a16": TensorType(DType.F16, (N, k)), "b16": TensorType(DType.F16, (k, M))}

    def body(b: Builder, x: Value, y: Value, x16: Value, y16: Value) -> list[Value]:
        return [b.op("det.matmul", x, y, block=512), b.op("det.matmul", x16, y16, block=512)]

    inputs = []
    for n, m, d in ((0, 3, 4), (3, 0, 4), (3, 17, 0), (2, 2, 700)):
        a, w = -np.abs(_finite(2, n, d)), np.zeros((2, d, m), np.float32)
        inputs.append({"a": a, "b": w, "a16": a[0].astype("f2"), "b16": w[0].astype("f2")})
    assert_compiled(program(types | half, body), inputs)


def test_if() -> None:
    """Both branches are run, and one is taken."""

    def branch(b: Builder, x: Value, name: str) -> Any:
        inner = Builder([Value(x.type)])
        y = inner.op(name, *inner.region.arguments)
        return inner.terminate("yield", y, inner.op("det.add", y, x))

    def body(b: Builder, condition: Value, x: Value) -> Sequence[Value]:
        regions = (branch(b, x, "det.exp"), branch(b, x, "det.neg"))
        return b.ops("det.if", condition, x, regions=regions)

    module = program({"c": TensorType(DType.BOOL), "x": TensorType(F32, (N, 7))}, body)
    assert_compiled(module, [{"c": np.bool_(c), "x": _values(5, 7)} for c in (False, True)])


def test_if_on_symbolic_sizes_is_refused() -> None:
    def body(b: Builder, condition: Value, x: Value) -> Value:
        regions = []
        for start in (0, 1):
            inner = Builder()
            part = inner.op("det.slice", x, starts=(start,), steps=(1,), sizes=(4,))
            regions.append(inner.terminate("yield", part))
        return b.op("det.if", condition, regions=regions)

    module = program({"c": TensorType(DType.BOOL), "x": TensorType(F32, (N,))}, body)
    with pytest.raises(UnsupportedError, match=r"det\.if .*det\.slice"):
        executor(module, TARGETS[0])


@pytest.mark.parametrize("dtype", [t for t in DType if not is_emittable(t)])
def test_other_dtypes_are_refused_by_name(dtype: DType) -> None:
    module = program(
        {"x": TensorType(dtype, (3,))}, lambda b, x: b.op("det.transpose", x, permutation=(0,))
    )
    with pytest.raises(UnsupportedError, match=rf"det\.transpose on {dtype.value}"):
        executor(module, TARGETS[0])


def test_conversions_to_narrow_floats_are_rounded_once() -> None:
    """Through f32, these would be rounded twice."""
    near = np.float64(1) + np.float64(2) ** -8 * (1 + np.array([1, -1, 0]) * 2.0**-40)
    half = np.float64(1) + np.float64(2) ** -11 * (1 + np.array([1, -1, 0]) * 2.0**-30)
    floats = np.resize(np.concatenate([near, half, -near, -half, half * 2.0**-15]), 40)
    wide = np.array([2**62 + 2**54 + 1, 2**62 + 2**54 - 1, 2**62 + 2**54, 2**40 + 2**32 + 1])
    integers = np.resize(np.concatenate([wide, -wide, [2**63 - 1, -(2**63)]]), 40)
    values = [floats, integers, integers.view(np.uint64), (integers >> 31).astype(np.int32)]
    cases: list[Case] = [
        ("det.cast", [x], {"to": to}) for x in values for to in (DType.F16, DType.BF16)
    ]
    module, inputs = program_of_cases(cases, symbolic=False)
    assert_compiled(module, [inputs])


def test_float_remainder_of_all_exponents() -> None:
    cases: list[Case] = []
    for dtype in (np.float32, np.float64):
        bits = _RANDOM.integers(0, 2 ** (np.dtype(dtype).itemsize * 8), (2, 400), np.uint64)
        a, b = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
        cases.append(("det.rem", [a, b], {}))
        cases.append(("det.rem", [np.round(a), np.round(b)], {}))
    module, inputs = program_of_cases(cases, symbolic=False)
    assert_compiled(module, [inputs])


_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "less", "less_equal", "equal")
_BITS = ("rem", "bit_and", "bit_or", "bit_xor", "shift_left", "shift_right")
_CONSTANTS = {
    F32: (0.0, -0.0, 1.0, np.inf, np.nan),
    DType.I32: (0, 1, -1, 33, -(2**31)),
    DType.U8: (0, 1, 8, 255),
}


@pytest.mark.parametrize("dtype", _CONSTANTS)
def test_constant_operands(dtype: DType) -> None:
    """What a compiler thinks it knows of 0, 1, NaN and the like."""

    def body(b: Builder, x: Value) -> Iterator[Value]:
        y = b.op("det.neg", x)  # what reads it is one kernel with it
        for value in _CONSTANTS[dtype]:
            c = b.constant(np.array(value, dtype.numpy))
            for name in _BINARY if dtype is F32 else _BINARY + _BITS:
                yield b.op(f"det.{name}", y, c)
                yield b.op(f"det.{name}", c, y)
            yield b.op("det.select", b.op("det.less", y, c), c, y)
            for to in (DType.F16, DType.I32, DType.BOOL, F32):
                yield b.op("det.cast", c, to=to)

    module = program({"x": TensorType(dtype, (_WIDE,))}, body)
    assert_compiled(module, [{"x": np.resize(specials(dtype), _WIDE)}], TARGETS[-1:])


def test_constants_of_one_element_as_operands() -> None:
    """Elsewhere such constants are part of the code."""

    def body(b: Builder, x: Value, column: Value) -> Iterator[Value]:
        one, zero = b.constant(np.ones((1, 1), np.float32)), b.constant(np.zeros((1, 1), np.int64))
        yield b.op("det.matmul", column, one, block=512)
        yield b.op("det.concat", x, one, axis=1)
        yield b.op(
            "det.scatter_nd", x, zero, b.constant(np.ones((1, 3), np.float32)), reduction="add"
        )
        yield b.op("det.scatter_elements", x, zero, one, axis=1, reduction="add")
        yield b.op("det.gather_nd", x, zero, batch_dims=0)
        total = b.op("det.reduce_sum", one, axes=(1,), keepdims=True, order="lanes16")
        yield b.op("det.add", total, x)

    module = program({"x": TensorType(F32, (1, 3)), "column": TensorType(F32, (5, 1))}, body)
    assert_compiled(module, [{"x": _finite(1, 3), "column": _finite(5, 1)}])
