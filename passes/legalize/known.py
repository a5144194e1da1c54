"""What is known of values while a program is built: constants, and integers made of dims.

Shape arithmetic in a model is ordinary tensor code (Shape, Gather, Concat, ...). It is followed
here so that shapes, axes and the like can be read where ops need them: by the reference semantics
where all is constant, else on arrays of symbolic dims.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.core import Op, Value
from aivmc.ir.definition import definition
from aivmc.ir.dims import Dim, Expr, dim_max, floor_div, is_nonnegative
from aivmc.ir.errors import IRError
from aivmc.ir.types import TensorType

_LIMIT = 1 << 14  # elements; shape arithmetic is small


class _UndecidedError(Exception):
    """The answer depends on the values of symbols."""


class Known:
    """Contents by value: an array of the value's dtype, or an object array of dims."""

    def __init__(self) -> None:
        self._contents: dict[Value, Array] = {}

    def array(self, value: Value) -> Array | None:
        """The constant that ``value`` is, if it is one."""
        content = self._contents.get(value)
        if content is None or value.tensor.dtype.numpy == np.object_:
            return content
        return None if content.dtype == np.object_ else content

    def dims(self, value: Value) -> tuple[Dim, ...] | None:
        """The integers in ``value``, flattened, symbolic ones included."""
        content = self._contents.get(value)
        if content is None or not value.tensor.dtype.is_integer:
            return None
        return tuple(d if isinstance(d, Expr) else int(d) for d in content.reshape(-1))

    def observe(self, op: Op) -> None:
        """Work out the op's results if its operands are known."""
        if op.name == "det.constant":
            self._contents[op.result] = op.attributes["value"].data
            return
        contents = [self._contents.get(v) for v in op.operands]
        if op.regions or not all(isinstance(v.type, TensorType) for v in op.results):
            return
        if any(c is None or c.size > _LIMIT for c in contents):
            return
        if any(not isinstance(n := v.tensor.size, int) or n > _LIMIT for v in op.results):
            return
        results = _evaluate(op, [c for c in contents if c is not None])
        self._contents.update(zip(op.results, results))


def _evaluate(op: Op, contents: Sequence[Array]) -> Sequence[Array]:
    try:
        if _is_static(op.attributes) and all(c.dtype != np.object_ for c in contents):
            out = definition(op.name).reference(*contents, **op.attributes)
            return [np.asarray(x) for x in out] if isinstance(out, tuple) else (np.asarray(out),)
        if op.name in _SYMBOLIC and len(op.results) == 1:
            return (_settled(_SYMBOLIC[op.name](op, contents), op.result.tensor),)
    except (IRError, TypeError, _UndecidedError):
        pass  # no reference for these dtypes or before orders are fixed, or not decidable
    return ()


def _is_static(attributes: Mapping[str, Any]) -> bool:
    values = [v for a in attributes.values() for v in (a if isinstance(a, tuple) else (a,))]
    return not any(isinstance(v, Expr) for v in values)


def _settled(content: Array, type: TensorType) -> Array:
    """``content`` as an ordinary array where no symbol is left in it."""
    content = np.broadcast_to(content, type.shape)  # type: ignore[arg-type]
    if any(isinstance(d, Expr) for d in content.reshape(-1)):
        return content
    return content.astype(type.dtype.numpy)


def _as_dims(content: Array) -> Array:
    """An object array of dims. Undecided where a number is not an integer."""
    if content.dtype == np.object_:
        return content
    if content.dtype.kind == "f" and not np.array_equal(content, np.rint(content)):
        raise _UndecidedError
    return np.vectorize(int, otypes=[object])(content) if content.size else content.astype(object)


# --- elementwise ---------------------------------------------------------------------------------
def _quotient(a: Dim, b: Dim) -> Dim:
    """Truncated division; of floats, where it is exact (the caller checks)."""
    if (isinstance(b, int) and b == 0) or not is_nonnegative(a) or not is_nonnegative(b):
        raise _UndecidedError
    return floor_div(a, b)


def _remainder(a: Dim, b: Dim) -> Dim:
    return a - _quotient(a, b) * b


def _minimum(a: Dim, b: Dim) -> Dim:
    return a + b - dim_max(a, b)


def _equal(a: Dim, b: Dim) -> bool:
    if a == b:
        return True
    if is_nonnegative(a - b - 1) or is_nonnegative(b - a - 1):
        return False
    raise _UndecidedError


def _less(a: Dim, b: Dim) -> bool:
    if is_nonnegative(b - a - 1):
        return True
    if is_nonnegative(a - b):
        return False
    raise _UndecidedError


def _elementwise(function: Callable[..., Any]) -> Callable[[Op, Sequence[Array]], Array]:
    def evaluate(op: Op, contents: Sequence[Array]) -> Array:
        out = np.frompyfunc(function, len(contents), 1)(*map(_as_dims, contents))
        return np.array(out, dtype=object)

    return evaluate


def _divide(op: Op, contents: Sequence[Array]) -> Array:
    quotients = _elementwise(_quotient)(op, contents)
    if op.result.tensor.dtype.is_float:
        left, right = map(_as_dims, contents)
        if not np.array_equal(quotients * right, np.broadcast_to(left, quotients.shape)):
            raise _UndecidedError
    return quotients


def _cast(op: Op, contents: Sequence[Array]) -> Array:
    if not (op.result.tensor.dtype.is_integer or op.result.tensor.dtype.is_float):
        raise _UndecidedError
    return _as_dims(contents[0])


# --- movement ------------------------------------------------------------------------------------
def _moved(*data: int) -> Callable[[Op, Sequence[Array]], Array]:
    """Movement of the operands numbered ``data`` (none: all), done on positions in their place."""

    def evaluate(op: Op, contents: Sequence[Array]) -> Array:
        moved = data or range(len(contents))
        if not _is_static(op.attributes):
            raise _UndecidedError
        operands: list[Array] = list(contents)
        pool: list[Array] = []
        start = 0
        for i in moved:
            size = contents[i].size
            operands[i] = np.arange(start, start + size).reshape(contents[i].shape)
            pool.append(_as_dims(contents[i]).reshape(-1))
            start += size
        if any(c.dtype == np.object_ for c in operands):
            raise _UndecidedError
        positions = np.asarray(definition(op.name).reference(*operands, **op.attributes))
        out: Array = np.concatenate(pool)[positions]
        return np.array(out, dtype=object)

    return evaluate


def _dims(op: Op, contents: Sequence[Array]) -> Array:
    return np.array(op.attributes["dims"], dtype=object)


def _iota(op: Op, contents: Sequence[Array]) -> Array:
    length, start, step = (op.attributes[k] for k in ("length", "start", "step"))
    return np.array([start + step * i for i in range(length)], dtype=object)


def _reduced(function: Callable[[Any, Any], Any], initial: int) -> Any:
    def evaluate(op: Op, contents: Sequence[Array]) -> Array:
        axes, keepdims = op.attributes["axes"], op.attributes["keepdims"]
        ufunc = np.frompyfunc(function, 2, 1)
        out = _as_dims(contents[0])
        for axis in reversed(axes):
            out = ufunc.reduce(out, axis=axis, keepdims=keepdims, initial=initial)
        return np.array(out, dtype=object)

    return evaluate


_SYMBOLIC: Mapping[str, Callable[[Op, Sequence[Array]], Array]] = {
    "det.dims": _dims,
    "det.iota": _iota,
    "det.add": _elementwise(operator.add),
    "det.sub": _elementwise(operator.sub),
    "det.mul": _elementwise(operator.mul),
    "det.div": _divide,
    "det.rem": _elementwise(_remainder),
    "det.neg": _elementwise(operator.neg),
    "det.maximum": _elementwise(dim_max),
    "det.minimum": _elementwise(_minimum),
    "det.equal": _elementwise(_equal),
    "det.less": _elementwise(_less),
    "det.less_equal": _elementwise(lambda a, b: not _less(b, a)),
    "det.floor": _elementwise(lambda a: a),
    "det.ceil": _elementwise(lambda a: a),
    "det.trunc": _elementwise(lambda a: a),
    "det.rint": _elementwise(lambda a: a),
    "det.cast": _cast,
    "det.select": _moved(1, 2),
    "det.reshape": _moved(),
    "det.transpose": _moved(),
    "det.broadcast_to": _moved(),
    "det.slice": _moved(),
    "det.concat": _moved(),
    "det.pad": _moved(),
    "det.gather": _moved(0),
    "det.gather_elements": _moved(0),
    "det.gather_nd": _moved(0),
    "det.reduce_sum": _reduced(operator.add, 0),
    "det.reduce_product": _reduced(operator.mul, 1),
}
