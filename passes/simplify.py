"""Simplifications that keep every bit of every result, whatever the operands.

A rule takes an op over simplified operands and gives the value that stands for its result, or None.
On floats only these laws are used, exact for NaN (one value), infinities and both zeros:
    x * 1 = x,  x / 1 = x,  x + (-0) = x,  x - (+0) = x,  -(-x) = x,  |(|x|)| = |x|
(x + (+0) is not x: it turns -0 into +0.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Op, Value
from aivmc.ir.definition import definition
from aivmc.passes.rewriting import is_elementwise


class Maker(Protocol):
    """What a rule may use: the ops made so far, and making simplified ones."""

    def produced_by(self, value: Value, name: str) -> Op | None:
        """The op that makes ``value`` if it is a ``name``."""

    def constant_of(self, value: Value) -> Constant | None:
        """The constant that ``value`` is, if it is one."""

    def make(self, name: str, *operands: Value, **attributes: Any) -> Value:
        """The simplified result of an op."""


Rule: TypeAlias = Callable[[Op, Maker], Value | None]

# Ops that give back their operand where the result has its type (and what else is asked below).
_CONVERSIONS = ("det.cast", "det.bitcast", "det.reshape", "det.broadcast_to")
# f(f(x)) = x, and f(f(x)) = f(x).
_INVOLUTIONS = ("det.neg", "det.logical_not", "det.bit_not")
_IDEMPOTENT = ("det.abs", "det.canonical_nan", "det.floor", "det.ceil", "det.trunc", "det.rint")
# The right operand that changes nothing, for floats and integers; the left one too where it may.
_NEUTRAL: dict[str, tuple[float, int, bool]] = {
    "det.add": (-0.0, 0, True),
    "det.sub": (0.0, 0, False),
    "det.mul": (1.0, 1, True),
    "det.div": (1.0, 1, False),
}


def drop_conversion(op: Op, m: Maker) -> Value | None:
    """A conversion to the type that the operand has. (A bitcast canonicalizes no NaN then.)"""
    if op.name not in _CONVERSIONS or op.result.type != op.operands[0].type:
        return None
    return op.operands[0]


def drop_whole_slice(op: Op, m: Maker) -> Value | None:
    """slice(x) = x where it takes all, forwards."""
    if op.name != "det.slice" or op.result.type != op.operands[0].type:
        return None
    starts, steps = op.attributes["starts"], op.attributes["steps"]
    whole = all(start == 0 for start in starts) and all(step == 1 for step in steps)
    return op.operands[0] if whole else None


def drop_empty_pad(op: Op, m: Maker) -> Value | None:
    """pad(x) = x where nothing is added or cropped."""
    if op.name != "det.pad" or any(n != 0 for n in (*op.attributes["low"], *op.attributes["high"])):
        return None
    return op.operands[0]


def drop_single_concat(op: Op, m: Maker) -> Value | None:
    """concat(x) = x."""
    return op.operands[0] if op.name == "det.concat" and len(op.operands) == 1 else None


def merge_transposes(op: Op, m: Maker) -> Value | None:
    """transpose(transpose(x, p), q) = transpose(x, p[q]); the identity is nothing."""
    if op.name != "det.transpose":
        return None
    permutation: tuple[int, ...] = op.attributes["permutation"]
    if permutation == tuple(range(len(permutation))):
        return op.operands[0]
    inner = m.produced_by(op.operands[0], "det.transpose")
    if inner is None:
        return None
    first = inner.attributes["permutation"]
    merged = tuple(first[p] for p in permutation)
    return m.make("det.transpose", inner.operands[0], permutation=merged)


def merge_shapes(op: Op, m: Maker) -> Value | None:
    """reshape(reshape(x)) = reshape(x), broadcast_to(broadcast_to(x)) = broadcast_to(x)."""
    if op.name not in ("det.reshape", "det.broadcast_to"):
        return None
    inner = m.produced_by(op.operands[0], op.name)
    return None if inner is None else m.make(op.name, inner.operands[0], **op.attributes)


def undo_twice(op: Op, m: Maker) -> Value | None:
    """f(f(x)) = x for negations; f(f(x)) = f(x) for what rounds or clears."""
    if op.name not in _INVOLUTIONS + _IDEMPOTENT:
        return None
    inner = m.produced_by(op.operands[0], op.name)
    if inner is None:
        return None
    return inner.operands[0] if op.name in _INVOLUTIONS else inner.result


def drop_neutral(op: Op, m: Maker) -> Value | None:
    """x * 1, x / 1, x + (-0), x - (+0), and the like on integers, where x has the result's type."""
    if op.name not in _NEUTRAL:
        return None
    for_float, for_integer, commutes = _NEUTRAL[op.name]
    a, b = op.operands
    for x, other in ((a, b), (b, a)) if commutes else ((a, b),):
        neutral = for_float if x.tensor.dtype.is_float else for_integer
        if x.type == op.result.type and _is_uniform(m.constant_of(other), neutral):
            return x
    return None


def same_choice(op: Op, m: Maker) -> Value | None:
    """select(c, a, a) = maximum(a, a) = minimum(a, a) = a, where a has the result's type."""
    if op.name not in ("det.select", "det.maximum", "det.minimum"):
        return None
    a, b = op.operands[-2:]
    return a if a is b and a.type == op.result.type else None


def drop_broadcast(op: Op, m: Maker) -> Value | None:
    """An elementwise op broadcasts by itself: give it the small operand."""
    if not is_elementwise(op):
        return None
    for wide in dict.fromkeys(op.operands):
        narrow = _narrower(wide, m)
        if narrow is None:
            continue
        types = [narrow.type if v is wide else v.type for v in op.operands]
        if definition(op.name).infer(types, op.attributes, ()) == (op.result.type,):
            small = narrow if isinstance(narrow, Value) else m.make("det.constant", value=narrow)
            operands = (small if v is wide else v for v in op.operands)
            return m.make(op.name, *operands, **op.attributes)
    return None


RULES: tuple[Rule, ...] = (
    drop_conversion,
    drop_whole_slice,
    drop_empty_pad,
    drop_single_concat,
    merge_transposes,
    merge_shapes,
    undo_twice,
    drop_neutral,
    same_choice,
    drop_broadcast,
)


def _narrower(value: Value, m: Maker) -> Value | Constant | None:
    """What broadcasts to ``value`` and has a lower rank or fewer elements."""
    broadcast = m.produced_by(value, "det.broadcast_to")
    if broadcast is not None:
        return broadcast.operands[0]
    constant = m.constant_of(value)
    return None if constant is None else _narrow_constant(constant)


def _narrow_constant(constant: Constant) -> Constant | None:
    """The scalar that all elements are, or the constant without its leading axes of length 1."""
    shape = constant.type.shape
    if not constant.is_loaded or not shape:
        return None
    if _all_equal(constant.data):
        return Constant.of(constant.data.reshape(-1)[0])
    if shape[0] != 1:
        return None
    kept = next(i for i, d in enumerate(shape) if d != 1)
    return Constant.of(constant.data.reshape(constant.data.shape[kept:]))


def _all_equal(array: Array) -> bool:
    """Whether all elements have the same bits, and there is one."""
    if array.dtype == np.object_ or array.size == 0:
        return False
    bits = array.reshape(-1, 1).view(np.uint8)
    return bool((bits[-1] == bits[0]).all() and (bits == bits[0]).all())


def _is_uniform(constant: Constant | None, number: float) -> bool:
    """Whether every element is ``number``, down to the sign of zero."""
    if constant is None or not constant.is_loaded or not _all_equal(constant.data):
        return False
    element = float(constant.data.reshape(-1)[0])
    return element == number and np.signbit(element) == np.signbit(number)
