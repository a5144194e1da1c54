"""What converters work with: the node to convert, and the program that is being built.

A converter is a function of (conversion, node) that appends det ops and returns the values of the
node's results. It raises :class:`Reject` with the reason where it can't.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import prod
from typing import Any, TypeAlias, TypeVar

import numpy as np

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Op, Region, Value
from aivmc.ir.dims import Dim, product
from aivmc.ir.errors import AivmcError
from aivmc.ir.types import DType, Shape, TensorType
from aivmc.passes.legalize.equations import Equations
from aivmc.passes.legalize.known import Known

T = TypeVar("T")
Results: TypeAlias = Value | tuple[Value | None, ...]  # None: unknown, reported where it arose
Number: TypeAlias = int | float | bool
Operand: TypeAlias = Value | Number

_MEMORY = 1 << 47  # elements that no process can address


class Reject(AivmcError):  # noqa: N818 - a verdict on a node rather than an error of its own
    """Why a node can't be converted; collected and reported for all nodes at once."""


class Node:
    """An ONNX op whose operands are values of the program that is being built."""

    def __init__(self, op: Op, inputs: Sequence[Value | None]) -> None:
        self.op = op
        self.inputs = tuple(inputs)

    @property
    def opset(self) -> int:
        """The opset version that introduced this meaning of the op."""
        return int(self.op.attributes["opset"])

    @property
    def result_count(self) -> int:
        return len(self.op.results)

    def input(self, i: int) -> Value:
        value = self.optional(i)
        if value is None:
            raise Reject(f"input {i} is missing")
        return value

    def optional(self, i: int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def all_inputs(self) -> list[Value]:
        """At least one."""
        if not self.inputs:
            raise Reject("input 0 is missing")
        return [self.input(i) for i in range(len(self.inputs))]

    def has(self, name: str) -> bool:
        return name in self.op.attributes

    def attribute(self, name: str, default: T) -> T:
        """The attribute, which must have the default's type, or the default."""
        return self._checked(name, type(default)) if self.has(name) else default

    def required(self, name: str, kind: type[T]) -> T:
        if not self.has(name):
            raise Reject(f"the attribute {name!r} is missing")
        return self._checked(name, kind)

    def ints(self, name: str) -> tuple[int, ...] | None:
        return self.tuple_of(name, int) if self.has(name) else None

    def tuple_of(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """A list attribute; empty if it is not there."""
        values: tuple[Any, ...] = self.attribute(name, ())
        if not all(isinstance(v, kind) for v in values):
            raise Reject(f"the attribute {name!r} must hold {kind.__name__}s")
        return values

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute that means yes or no."""
        return bool(self.attribute(name, int(default)))

    def _checked(self, name: str, kind: type[T]) -> T:
        value = self.op.attributes[name]
        if not isinstance(value, kind):
            raise Reject(f"the attribute {name!r} must be a {kind.__name__}")
        return value


class Conversion:
    """The program being built, and what is known of its values."""

    def __init__(self, builder: Builder, equations: Equations) -> None:
        self.builder = builder
        self.known = Known()
        self.equations = equations
        self.next_stream = count().__next__  # of random ops, until assign-streams numbers them
        self.convert_region: Callable[[Region], tuple[Value | None, ...]] = _no_regions

    # --- ops -------------------------------------------------------------------------------------
    def det(self, name: str, *operands: Value, **attributes: Any) -> Value:
        """Append ``det.name``; its only result."""
        (value,) = self.det_all(name, *operands, **attributes)
        return value

    def det_all(self, name: str, *operands: Value, **attributes: Any) -> tuple[Value, ...]:
        results = self.builder.ops(f"det.{name}", *operands, **attributes)
        for value in results:
            _check_size(value.tensor)
        self.known.observe(self.builder.region.ops[-1])
        return results

    def elementwise(self, name: str, *operands: Operand, **attributes: Any) -> Value:
        """An elementwise op with ONNX's broadcasting; numbers take the first value's dtype."""
        first = next(x for x in operands if isinstance(x, Value))
        values = [
            x if isinstance(x, Value) else self.constant(x, first.tensor.dtype) for x in operands
        ]
        return self.det(name, *self.aligned(values), **attributes)

    def constant(self, value: Any, dtype: DType | None = None) -> Value:
        """A constant: an array, or a number of ``dtype``."""
        if isinstance(value, float) and dtype is not None and not dtype.is_float:
            value = int(value)
        with np.errstate(over="ignore"):
            return self.det("constant", value=Constant.of(value, dtype))

    def cast(self, x: Value, dtype: DType) -> Value:
        return x if x.tensor.dtype is dtype else self.det("cast", x, to=dtype)

    def reshape(self, x: Value, shape: Sequence[Dim]) -> Value:
        """``x`` with ``shape``; equal counts are required of the symbols where not evident."""
        shape = tuple(shape)
        if shape == x.tensor.shape:
            return x
        if product(shape) != x.tensor.size:
            flat = self.det("reshape", x, shape=(x.tensor.size,))
            x = self.with_shape(flat, (product(shape),))
        return self.det("reshape", x, shape=shape)

    def transpose(self, x: Value, permutation: Sequence[int]) -> Value:
        if list(permutation) == list(range(x.tensor.rank)):
            return x
        return self.det("transpose", x, permutation=tuple(permutation))

    def broadcast_to(self, x: Value, shape: Sequence[Dim]) -> Value:
        shape = tuple(shape)
        return x if shape == x.tensor.shape else self.det("broadcast_to", x, shape=shape)

    def dims_value(self, dims: Sequence[Dim], dtype: DType = DType.I64) -> Value:
        """Dims as a vector of ``dtype``."""
        return self.cast(self.det("dims", dims=tuple(dims)), dtype)

    def dim_scalar(self, dim: Dim, dtype: DType) -> Value:
        """A dim as a scalar of ``dtype``: a constant if it is one."""
        if isinstance(dim, int):
            return self.constant(dim, dtype)
        return self.cast(self.reshape(self.dims_value((dim,)), ()), dtype)

    def iota(self, length: Dim, axis: int = 0, rank: int = 1) -> Value:
        """0, 1, ... along ``axis`` of a tensor of ``rank`` axes, the others of length 1."""
        line = self.det("iota", length=length, start=0, step=1, dtype=DType.I64)
        shape: list[Dim] = [1] * rank
        shape[axis] = length
        return self.reshape(line, shape)

    def reduce(
        self, name: str, x: Value, axes: Sequence[int], keepdims: bool = True, ordered: bool = True
    ) -> Value:
        """``det.reduce_<name>``; ``ordered`` where the order matters in floats."""
        attributes = {"order": "any" if x.tensor.dtype.is_float else "exact"} if ordered else {}
        return self.det(
            f"reduce_{name}", x, axes=tuple(sorted(axes)), keepdims=keepdims, **attributes
        )

    # --- dims ------------------------------------------------------------------------------------
    def agree(self, a: Dim, b: Dim) -> Dim:
        """One dim where the two must be equal: a requirement on the inputs if they differ."""
        if a != b:
            if isinstance(a, int) and isinstance(b, int):
                raise Reject(f"dims {a} and {b} must be equal")
            self.equations.require(a, b)
        return a if isinstance(a, int) or not isinstance(b, int) else b

    def with_shape(self, x: Value, shape: Sequence[Dim]) -> Value:
        """``x`` seen as having ``shape``, whose dims must be equal to its own."""
        shape = tuple(self.agree(want, d) for want, d in zip(shape, x.tensor.shape))
        if shape == x.tensor.shape:
            return x
        rank = len(shape)
        return self.det("slice", x, starts=(0,) * rank, steps=(1,) * rank, sizes=shape)

    def aligned(self, xs: Sequence[Value]) -> list[Value]:
        """Operands whose dims broadcast as they stand."""
        shape = self.broadcast_shape([x.tensor.shape for x in xs])
        out = []
        for x in xs:
            own = x.tensor.shape
            wide = shape[len(shape) - len(own) :]
            out.append(self.with_shape(x, tuple(d if d == 1 else w for d, w in zip(own, wide))))
        return out

    def broadcast_shape(self, shapes: Sequence[Shape]) -> Shape:
        """NumPy's rule. Two dims of which none is 1 must be equal when inputs are bound."""
        rank = max(map(len, shapes))
        out: list[Dim] = []
        for dims in zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes)):
            wide = [d for d in dims if d != 1]
            dim: Dim = wide[0] if wide else 1
            for d in wide[1:]:
                dim = self.agree(dim, d)
            out.append(dim)
        return tuple(out)

    # --- what is known ---------------------------------------------------------------------------
    def array(self, value: Value | None) -> Array | None:
        """The constant that ``value`` is, if it is one."""
        return None if value is None else self.known.array(value)

    def dims(self, value: Value, what: str) -> tuple[Dim, ...]:
        """The dims that ``value`` holds; :class:`Reject` if they are not known."""
        dims = self.known.dims(value)
        if dims is None:
            raise Reject(f"{what} must be known when the model is compiled")
        return dims

    def ints(self, value: Value, what: str) -> tuple[int, ...]:
        dims = self.dims(value, what)
        out = tuple(d for d in dims if isinstance(d, int))
        if len(out) < len(dims):
            raise Reject(f"{what} must not depend on the inputs' dims")
        return out

    def lengths(self, value: Value, what: str) -> tuple[Dim, ...]:
        """The dims of a shape, none of them negative."""
        dims = self.dims(value, what)
        if any(isinstance(d, int) and d < 0 for d in dims):
            raise Reject(f"{what} has a negative dim")
        return dims

    def dim(self, value: Value, what: str) -> Dim:
        """The only dim that ``value`` holds."""
        dims = self.dims(value, what)
        if len(dims) != 1:
            raise Reject(f"{what} must be one number")
        return dims[0]

    def integer(self, value: Value, what: str) -> int:
        dim = self.dim(value, what)
        if not isinstance(dim, int):
            raise Reject(f"{what} must not depend on the inputs' dims")
        return dim

    def number(self, value: Value | None, what: str) -> Any:
        """The constant scalar that ``value`` is, as a Python number."""
        array = self.array(value)
        if array is None or array.size != 1:
            raise Reject(f"{what} must be a constant scalar")
        return array.reshape(()).item()


def normal_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front."""
    if not -rank <= axis < rank:
        raise Reject(f"axis {axis} is not among the {rank} axes")
    return axis % rank


def normal_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, sorted. :class:`Reject` if one comes twice."""
    out = tuple(sorted(normal_axis(a, rank) for a in axes))
    if len(set(out)) < len(out):
        raise Reject(f"axes {list(axes)} name one axis twice")
    return out


def _check_size(type: TensorType) -> None:
    static = [d for d in type.shape if isinstance(d, int)]
    if any(d < 0 for d in static):
        raise Reject(f"{type} has a negative dim")
    if prod(d or 1 for d in static) >= _MEMORY:
        raise Reject(f"{type} is larger than any memory")


def _no_regions(region: Region) -> tuple[Value | None, ...]:
    raise Reject("control flow is not supported here")


Converter: TypeAlias = Callable[[Conversion, Node], Results]
_CONVERTERS: dict[str, Converter] = {}
C = TypeVar("C", bound=Converter)


def converts(*op_types: str) -> Callable[[C], C]:
    """Register a converter of ``onnx.<op_type>`` ops."""

    def register(function: C) -> C:
        for op_type in op_types:
            name = f"onnx.{op_type}"
            if name in _CONVERTERS:
                raise ValueError(f"{name} is converted twice")
            _CONVERTERS[name] = function
        return function

    return register


def converter(op_name: str) -> Converter | None:
    return _CONVERTERS.get(op_name)
