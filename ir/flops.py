"""How much arithmetic an op takes, by its definition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from aivmc.ir.core import Op
from aivmc.ir.definition import Site, definition
from aivmc.ir.dims import Dim, Expr, evaluate
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.types import DType, TensorType

CONTRACTIONS = ("det.matmul", "det.conv", "det.conv_transpose")

Types = Sequence[TensorType]  # of operands and result, static


def flops(op: Op, symbols: Mapping[str, int]) -> Counter[DType]:
    """The additions, subtractions, multiplications, divisions, remainders and square roots on
    floats of the op and those in its regions, by the dtype that they are done in; for contractions
    of integers those on integers. A fused multiply-add is two. Selections, comparisons, signs,
    roundings and conversions are none."""
    if op.regions:
        bodies = (inner for region in op.regions for inner in region.body)
        return sum((flops(inner, symbols) for inner in bodies), Counter())
    attributes = {name: _bound(value, symbols) for name, value in op.attributes.items()}
    types = [_static(v.tensor, symbols) for v in op.operands]
    result = _static(op.results[0].tensor, symbols)
    done: Counter[DType] = Counter()
    if op.name in _MANY:
        done[result.dtype.wide] = _MANY[op.name]([*types, result], attributes)
    elif definition(op.name).has_element:
        emit = _CountingEmit()
        index = [_Scalar(DType.I64)] * result.rank
        site = Site(tuple(types), result, attributes)
        definition(op.name).element(emit, lambda i, _: _Scalar(types[i].dtype), index, site)
        done.update({dtype: n * _size(result) for dtype, n in emit.counts.items()})
    is_contraction = op.name in CONTRACTIONS
    return Counter({d: n for d, n in done.items() if n and (d.is_float or is_contraction)})


def _size(type: TensorType) -> int:
    return prod(d for d in type.shape if isinstance(d, int))


def _static(type: TensorType, symbols: Mapping[str, int]) -> TensorType:
    return type.with_shape(tuple(evaluate(d, symbols) for d in type.shape))


def _bound(value: Any, symbols: Mapping[str, int]) -> Any:
    if isinstance(value, Expr):
        return evaluate(value, symbols)
    return tuple(_bound(v, symbols) for v in value) if isinstance(value, tuple) else value


def _matmul(types: Types, _: Mapping[str, Any]) -> int:
    return 2 * _size(types[-1]) * _dim(types[0].shape[-1])


def _conv(types: Types, _: Mapping[str, Any]) -> int:
    """Each element of the result reads one filter; padding is multiplied, too."""
    return 2 * _size(types[-1]) * prod(map(_dim, types[1].shape[1:]))


def _conv_transpose(types: Types, _: Mapping[str, Any]) -> int:
    """Each element of the input meets one filter."""
    return 2 * _size(types[0]) * prod(map(_dim, types[1].shape[1:]))


def _dim(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim


def _scatter(types: Types, attributes: Mapping[str, Any]) -> int:
    return _size(types[2]) if attributes["reduction"] in ("add", "mul") else 0


# Ops whose elements are combined of several.
_MANY: dict[str, Callable[[Types, Mapping[str, Any]], int]] = {
    "det.matmul": _matmul,
    "det.conv": _conv,
    "det.conv_transpose": _conv_transpose,
    "det.reduce_sum": lambda types, _: _size(types[0]),
    "det.reduce_product": lambda types, _: _size(types[0]),
    "det.reduce_square_sum": lambda types, _: 2 * _size(types[0]),
    "det.cumulative_sum": lambda types, _: _size(types[0]),
    "det.window_sum": lambda types, a: _size(types[-1]) * prod(a["window"]),
    "det.scatter_elements": _scatter,
    "det.scatter_nd": _scatter,
}


@dataclass(frozen=True)
class _Scalar:
    """A scalar of which only the dtype is known; indexes take Python's operators."""

    dtype: DType

    def _same(self, _: Any) -> _Scalar:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _same
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _same


class _CountingEmit:
    """Implements ``Emit``: counts, by dtype."""

    def __init__(self) -> None:
        self.counts: Counter[DType] = Counter()

    def dtype(self, x: _Scalar) -> DType:
        return x.dtype

    def const(self, value: float | int | bool, dtype: DType) -> _Scalar:
        return _Scalar(dtype)

    def _one(self, a: _Scalar, *_: _Scalar) -> _Scalar:
        self.counts[a.dtype] += 1
        return a

    add = sub = mul = div = rem = sqrt = _one

    def fma(self, a: _Scalar, b: _Scalar, c: _Scalar) -> _Scalar:
        self.counts[a.dtype] += 2
        return a

    def _none(self, a: _Scalar, *_: _Scalar) -> _Scalar:
        return a

    neg = abs = floor = ceil = trunc = rint = maximum = minimum = _none
    and_ = or_ = xor = not_ = shl = shr = _none

    def _bool(self, *_: _Scalar) -> _Scalar:
        return _Scalar(DType.BOOL)

    lt = le = eq = is_nan = _bool

    def select(self, condition: _Scalar, a: _Scalar, b: _Scalar) -> _Scalar:
        return a

    def lookup(self, table: Sequence[float], index: _Scalar) -> _Scalar:
        return _Scalar(DType.F64)

    def elementary(self, name: str, *xs: _Scalar) -> _Scalar:
        result: _Scalar = ELEMENTARY[name, xs[0].dtype](self, *xs)
        return result

    def cast(self, x: _Scalar, dtype: DType) -> _Scalar:
        return _Scalar(dtype)

    bitcast = cast

    def dim(self, dim: Dim) -> _Scalar:
        return _Scalar(DType.I64)
