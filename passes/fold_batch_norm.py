"""Batch normalization after a convolution or matrix product with constant weights becomes part of
the weights (docs/numerics.md, clause 11): computed in f64, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Module, Op, Value
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType, TensorType
from aivmc.passes.legality import require_stage
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter

# The result's axis that the output features run along.
_FEATURE_AXIS = {"det.conv": 1, "det.conv_transpose": 1, "det.matmul": -1}


@dataclass(frozen=True)
class FoldBatchNorm(RewritePass):
    """fma(conv(x, w) + c, a, b) = conv(x, w·a) + (c·a + b) with a, b, c one number a feature."""

    name: ClassVar[str] = "fold-batch-norm"

    def requires(self, module: Module) -> None:
        require_stage(module, "det")

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name != "det.fma":
            return NoMatch("not an fma")
        found = _contraction(op.operands[0], b)
        if isinstance(found, NoMatch):
            return found
        contraction, bias = found
        if op.result.type != contraction.result.type:
            return NoMatch("the normalization broadcasts")
        weights = b.constant_of(contraction.operands[1])
        if weights is None or not weights.is_loaded:
            return NoMatch("the weights are not constant")
        if contraction.name == "det.matmul" and weights.type.rank != 2:
            return NoMatch("the weights are not one matrix")
        terms = [_features(v, contraction, b) for v in (op.operands[1], op.operands[2], bias)]
        scale, shift, offset = terms
        if scale is None or shift is None or offset is None:
            return NoMatch("scale, shift or bias is not one constant for each feature")
        x = contraction.operands[0]
        scaled = b.constant(_rounded(_scaled(weights, scale, contraction), weights.type.dtype))
        (product,) = b.ops(contraction.name, x, scaled, **contraction.attributes)
        total = _rounded(offset * scale + shift, weights.type.dtype)
        return b.op("det.add", product, b.constant(_aligned(total, contraction)))


def _contraction(x: Value, b: Rewriter) -> tuple[Op, Value | None] | NoMatch:
    """The contraction that makes ``x``, and the bias added on the way."""
    bias = None
    add = b.produced_by(x, "det.add")
    if not b.used_once(x):
        return NoMatch("its input has other uses")
    if add is not None:
        constants = [v for v in add.operands if b.constant_of(v) is not None]
        if len(constants) != 1:
            return NoMatch("its input is a sum, not of a bias")
        (bias,) = constants
        x = next(v for v in add.operands if v is not bias)
    contraction = b.producer(x)
    if contraction is None or contraction.name not in _FEATURE_AXIS or not b.used_once(x):
        return NoMatch("its input is no contraction used here only")
    if add is not None and add.result.type != x.type:
        return NoMatch("the bias broadcasts")
    return contraction, bias


def _features(value: Value | None, contraction: Op, b: Rewriter) -> Array | None:
    """One f64 for each feature, or one for all; ``None`` (no bias) is 0."""
    if value is None:
        return np.zeros(1)
    constant = b.constant_of(value)
    if constant is None or not constant.is_loaded:
        return None
    result = contraction.result.tensor
    axis = _FEATURE_AXIS[contraction.name] % result.rank
    shape = (1,) * (result.rank - constant.type.rank) + constant.data.shape
    if any(d != 1 for i, d in enumerate(shape) if i != axis):
        return None
    return constant.data.reshape(-1).astype(np.float64)


def _scaled(weights: Constant, scale: Array, contraction: Op) -> Array:
    """The weights times the scale of the feature that each goes into."""
    w = weights.data.astype(np.float64)
    if contraction.name == "det.matmul":  # [K, N]
        return w * scale
    if contraction.name == "det.conv":  # [M, C/group, *K]
        return w * scale.reshape(-1, *[1] * (w.ndim - 1))
    # [C, M/group, *K]: the features of a group follow one another.
    group, features = contraction.attributes["group"], w.shape[1]
    scale = np.broadcast_to(scale, (group * features,))
    grouped = w.reshape(group, -1, *w.shape[1:])
    by_group = scale.reshape(group, 1, features, *[1] * (w.ndim - 2))
    scaled: Array = (grouped * by_group).reshape(w.shape)
    return scaled


def _rounded(array: Array, dtype: DType) -> Array:
    rounded: Array = NumpyEmit().cast(array, dtype)
    return rounded


def _aligned(features: Array, contraction: Op) -> Array:
    """The vector in a shape that broadcasts along the feature axis."""
    result: TensorType = contraction.result.tensor
    axis = _FEATURE_AXIS[contraction.name] % result.rank
    return features.reshape(-1, *[1] * (result.rank - 1 - axis))
