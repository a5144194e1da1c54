"""After this pass, products with constant weights read 8-bit operands as they are stored.

``(x - z) w = x w - z Σw``, and for signed x ``x w = (x + 128) w - 128 Σw`` with x + 128 unsigned:
what dot-product instructions of bytes take. Integer sums are exact modulo 2^32 (numerics, clause
12), so no bit changes: this pass stands to the right of the canonical line.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Module, Op, Value
from aivmc.ir.types import DType
from aivmc.passes.legality import require_stage
from aivmc.passes.ordering import without_dead_ops
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter

_MOVEMENT = ("det.pad", "det.transpose", "det.reshape")
_BYTES = (DType.U8, DType.I8)
_SIGN = -128  # as i8: its bit alone


@dataclass(frozen=True)
class SeparateZeroPoints(RewritePass):
    """Take zero points out of the left operands of integer contractions, and drop dead ops."""

    name: ClassVar[str] = "separate-zero-points"

    def requires(self, module: Module) -> None:
        require_stage(module, "kernel")

    def run(self, module: Module) -> Module:
        return without_dead_ops(super().run(module))

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name not in ("det.matmul", "det.conv") or op.result.tensor.dtype is not DType.I32:
            return NoMatch("no contraction of integers")
        weights = b.constant_of(op.operands[1])
        if weights is None or not weights.is_loaded:
            return NoMatch("the weights are not constant")
        sums = _feature_sums(op, weights)
        if sums is None:
            return NoMatch("a batch of weights, or features that are not the last axis")
        found = _stored(op.operands[0], b)
        if isinstance(found, NoMatch):
            return found
        total = b.op(op.name, found.as_unsigned(b), op.operands[1], **op.attributes)
        correction = found.times(sums, b)
        return total if correction is None else b.op("det.sub", total, correction)


@dataclass(frozen=True)
class _Stored:
    """``moves`` of ``x - zero``, where x is of 8 bits; ``zero``: a constant, or one element."""

    x: Value
    zero: Value | int
    moves: tuple[Op, ...] = ()

    def as_unsigned(self, b: Rewriter) -> Value:
        """The moved ``x``, plus 128 if it is signed, as u8."""
        x, dtype = self.x, self.x.tensor.dtype
        for move in self.moves:
            x = b.op(move.name, x, *self._fill(move, b), **move.attributes)
        if dtype is DType.U8:
            return x
        return b.op("det.bitcast", b.op("det.bit_xor", x, b.constant(_SIGN, dtype)), to=DType.U8)

    def _fill(self, move: Op, b: Rewriter) -> tuple[Value, ...]:
        """What x is padded with, so that the difference is 0 there."""
        if move.name != "det.pad":
            return ()
        if isinstance(self.zero, int):
            return (b.constant(self.zero, self.x.tensor.dtype),)
        return (b.op("det.reshape", self.zero, shape=()),)

    def times(self, sums: Array, b: Rewriter) -> Value | None:
        """The zero point of the unsigned x, times ``sums``; None if it is 0."""
        shift = 0 if self.x.tensor.dtype is DType.U8 else -_SIGN
        if isinstance(self.zero, int):
            zero = self.zero + shift
            return b.constant((sums * zero).astype(np.int32)) if zero else None
        wide = b.op("det.cast", b.op("det.reshape", self.zero, shape=(1,)), to=DType.I32)
        if shift:
            wide = b.op("det.add", wide, b.constant(np.full(1, shift, np.int32)))
        return b.op("det.mul", wide, b.constant(sums.astype(np.int32)))


def _stored(a: Value, b: Rewriter) -> _Stored | NoMatch:
    """Where a contraction's operand comes from."""
    if a.tensor.dtype in _BYTES:
        return _Stored(a, 0) if a.tensor.dtype is DType.I8 else NoMatch("read as it is stored")
    moves: list[Op] = []
    while (op := b.producer(a)) is not None and op.name in _MOVEMENT:
        if op.name == "det.pad" and not _pads_with_zeros(op, b):
            return NoMatch("padded with something else than its zero point")
        moves.insert(0, op)
        a = op.operands[0]
    if op is None or op.name != "det.sub":
        return NoMatch("no difference of bytes")
    x, zero = (_narrow(v, b) for v in op.operands)
    if not isinstance(x, Value) or x.tensor.shape != a.tensor.shape:
        return NoMatch("no difference of bytes")
    if zero is None or (isinstance(zero, Value) and zero.tensor.size != 1):
        return NoMatch("no zero point for all of them")
    return _Stored(x, zero, tuple(moves))


def _pads_with_zeros(op: Op, b: Rewriter) -> bool:
    value = b.constant_of(op.operands[1])
    constant = value is not None and value.is_loaded and not value.data.any()
    return bool(constant and op.attributes["mode"] == "constant")


def _narrow(value: Value, b: Rewriter) -> Value | int | None:
    """The bytes that ``value`` was cast from, or the number that it is."""
    constant = b.constant_of(value)
    if constant is not None and constant.is_loaded and constant.data.size == 1:
        return int(constant.data.item())
    cast = b.produced_by(value, "det.cast")
    return cast.operands[0] if cast and cast.operands[0].tensor.dtype in _BYTES else None


def _feature_sums(op: Op, weights: Constant) -> Array | None:
    """The sum of the weights of each feature, along the result's last axis."""
    w = weights.data
    if op.name == "det.conv":
        axes = tuple(range(1, w.ndim))
        last = op.attributes["layout"] == "channels_last"
        return w.sum(axes, np.int64) if last else None
    return w.sum(-2, np.int64).reshape(-1) if prod(w.shape[:-2]) == 1 else None
