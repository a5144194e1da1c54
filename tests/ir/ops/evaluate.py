"""Running one op in tests: by its reference, by its element definition, and by ONNX's own
reference evaluator; and the values at which arithmetic goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnx.helper
from onnx.reference import ReferenceEvaluator

import aivmc.ir.ops  # noqa: F401  registers the ops
from aivmc.ir.definition import Site, definition
from aivmc.ir.dims import Expr, evaluate
from aivmc.ir.numpy_emit import NumpyEmit, canonical_nan
from aivmc.ir.types import DType, TensorType

Array = Any


class BoundEmit(NumpyEmit):
    """NumPy emission in which dim symbols have values."""

    def __init__(self, values: Mapping[str, int]) -> None:
        self.values = values

    def dim(self, dim: Any) -> Array:
        return np.int64(evaluate(dim, self.values))


def reference(op_name: str, *arrays: Any, **attributes: Any) -> Any:
    """The results by the op's reference semantics; its schema and type rule are checked first."""
    rule = definition(op_name)
    operands = [np.asarray(a) for a in arrays]
    rule.check_schema(len(operands), attributes)
    types = rule.infer([type_of(a) for a in operands], attributes, ())
    before = [a.tobytes() for a in operands]
    results = rule.reference(*operands, **attributes)
    assert [a.tobytes() for a in operands] == before, "a reference must not write to operands"
    listed = results if isinstance(results, tuple) else (results,)
    assert tuple(map(type_of, listed)) == types
    return results


def evaluate_element(
    op_name: str,
    arrays: Sequence[Array],
    types: Sequence[TensorType] | None = None,
    symbols: Mapping[str, int] | None = None,
    **attributes: Any,
) -> Array:
    """The result by the op's element definition at every index at once.

    ``types`` and attributes may hold dims with symbols, whose values ``symbols`` gives. A load
    out of bounds fails; one from an array without elements gives ones, which must be discarded.
    """
    values = symbols or {}
    rule = definition(op_name)
    types = tuple(types or map(type_of, arrays))
    result: Any = rule.infer(types, attributes, ())[0]
    shape = tuple(evaluate(d, values) for d in result.shape)

    def load(operand: int, index: Sequence[Array]) -> Array:
        array = arrays[operand]
        assert len(index) == array.ndim, f"{len(index)} indexes into {array.shape}"
        for i, length in zip(index, array.shape):
            assert np.asarray(i).dtype == np.int64
            assert np.all((i >= 0) & (i < max(length, 1))), f"{op_name} loads out of bounds"
        return array[tuple(index)] if array.size else np.ones((), array.dtype)

    with np.errstate(all="ignore"):
        value = rule.element(
            BoundEmit(values), load, list(np.indices(shape)), Site(types, result, attributes)
        )
    assert DType.of(np.asarray(value).dtype) is result.dtype
    return np.array(np.broadcast_to(value, shape), order="C")


def bind(value: Any, symbols: Mapping[str, int]) -> Any:
    """An attribute with its dims evaluated."""
    if isinstance(value, tuple):
        return tuple(bind(v, symbols) for v in value)
    return evaluate(value, symbols) if isinstance(value, Expr) else value


def type_of(array: Array) -> TensorType:
    array = np.asarray(array)
    return TensorType(DType.of(array.dtype), array.shape)


def assert_same(got: Any, want: Any, nans: str = "any") -> None:
    """Equal types and bytes; all NaNs are alike unless ``nans`` is "exact"."""
    got, want = np.asarray(got), np.asarray(want)
    assert type_of(got) == type_of(want)
    if nans == "any":
        got, want = canonical_nan(got), canonical_nan(want)
    if got.tobytes() != want.tobytes():
        np.testing.assert_array_equal(got, want)
        raise AssertionError(f"equal but for the sign of a zero or a NaN:\n{got}\n{want}")


def onnx_reference(kind: str, *arrays: Array, opset: int = 21, **attributes: Any) -> list[Array]:
    """The outputs of one ONNX node by ONNX's reference evaluator; None is an absent input."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    outputs = ["y0", "y1"] if kind == "TopK" else ["y0"]
    node = onnx.helper.make_node(kind, names, outputs, **attributes)
    given = {n: np.asarray(a) for n, a in zip(names, arrays) if n}
    infos = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), None)
        for n, a in given.items()
    ]
    untyped = [onnx.ValueInfoProto(name=n) for n in outputs]
    graph = onnx.helper.make_graph([node], "one", infos, untyped)
    opsets = [onnx.helper.make_opsetid("", opset)]
    results: list[Array] = ReferenceEvaluator(
        onnx.helper.make_model(graph, opset_imports=opsets)
    ).run(None, given)
    return results


def special_floats(dtype: DType) -> Array:
    """Zeros, subnormals, ties, extremes, infinities, NaNs of both signs with odd payloads; all
    there are of less than two bytes."""
    if dtype.bits <= 8:
        return np.arange(2**dtype.bits, dtype=np.uint8).view(dtype.numpy)
    info = {DType.F64: (52, 11), DType.F32: (23, 8), DType.F16: (10, 5), DType.BF16: (7, 8)}
    mantissa, exponent = info[dtype]
    infinity = ((1 << exponent) - 1) << mantissa
    quiet = infinity | 1 << (mantissa - 1)
    positive = [0, 1, (1 << mantissa) - 1, 1 << mantissa, infinity - 1, infinity, quiet, quiet | 5]
    bits = positive + [b | 1 << (mantissa + exponent) for b in positive]
    unsigned = np.array(bits, f"u{dtype.numpy.itemsize}").view(dtype.numpy)
    plain = [0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 3, -7, 0.1, 200.7, -300.2, 65504.0]
    return np.concatenate([unsigned, np.array(plain).astype(dtype.numpy)])


def special_integers(dtype: DType) -> Array:
    """Zero, small ones, counts of bits, extremes; all there are of less than a byte."""
    low = -(1 << (dtype.bits - 1)) if dtype.is_signed else 0
    high = low + (1 << dtype.bits) - 1
    values = {0, 1, 2, 3, 7, 8, 31, 63, 100, -1, -2, -5, -100, low, low + 1, high}
    if dtype.bits < 8:
        return np.arange(low, high + 1).astype(dtype.numpy)
    return np.array(sorted(v for v in values if low <= v <= high), dtype.numpy)


def fma32(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """``a * b + c`` of finite numbers by exact rational arithmetic; an exact zero is +0."""
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return np.float32(0)
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    quantum = Fraction(2) ** max(exponent - 23, -149)
    return np.float32(float(round(exact / quantum) * quantum))  # Fraction rounds half to even
