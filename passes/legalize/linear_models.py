"""ai.onnx.ml: scalers, normalizers and linear models. Features are [N, F]; results are f32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.ir.core import Value
from aivmc.ir.types import DType
from aivmc.passes.legalize.activation import softmax_over
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, Results, converts
from aivmc.passes.legalize.matmul import product


@converts("ai_onnx_ml.Scaler")
def scaler(c: Conversion, n: Node) -> Results:
    """(x - offset) * scale."""
    x = c.cast(n.input(0), DType.F32)
    offset, scale = n.tuple_of("offset", float), n.tuple_of("scale", float)
    if offset:
        x = c.elementwise("sub", x, c.constant(offset, DType.F32))
    return c.elementwise("mul", x, c.constant(scale, DType.F32)) if scale else x


@converts("ai_onnx_ml.Normalizer")
def normalizer(c: Conversion, n: Node) -> Results:
    """x / norm over the last axis; x itself where the norm is 0."""
    x = c.cast(n.input(0), DType.F32)
    axes = (x.tensor.rank - 1,)
    match n.attribute("norm", "MAX"):
        case "MAX":
            norm = c.reduce("max", x, axes, ordered=False)
        case "L1":
            norm = c.reduce("sum", c.det("abs", x), axes)
        case "L2":
            norm = c.det("sqrt", c.reduce("square_sum", x, axes))
        case other:
            raise Reject(f"the norm {other!r} is unknown")
    none = c.elementwise("equal", norm, 0.0)
    return c.elementwise("select", none, x, c.elementwise("div", x, norm))


@converts("ai_onnx_ml.Binarizer")
def binarizer(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    threshold = c.constant(n.attribute("threshold", 0.0), x.tensor.dtype)
    return c.cast(c.elementwise("less", threshold, x), x.tensor.dtype)


@converts("ai_onnx_ml.ArrayFeatureExtractor")
def array_feature_extractor(c: Conversion, n: Node) -> Results:
    x = n.input(0)
    indices = c.reshape(n.input(1), (n.input(1).tensor.size,))
    if x.tensor.rank == 1:
        x = c.reshape(x, (1, *x.tensor.shape))
    return c.det("gather", x, indices, axis=x.tensor.rank - 1)


@converts("ai_onnx_ml.LinearRegressor")
def linear_regressor(c: Conversion, n: Node) -> Results:
    scores = _scores(c, n, n.attribute("targets", 1))
    return post_transformed(c, n, scores)


@converts("ai_onnx_ml.LinearClassifier")
def linear_classifier(c: Conversion, n: Node) -> Results:
    """The label with the best score, and the scores: one score s of two classes is [1 - s, s]."""
    labels = class_labels(n)
    targets = len(n.tuple_of("intercepts", float)) or len(labels)
    scores = _scores(c, n, targets)
    if targets == 1 and len(labels) == 2:
        positive = c.elementwise("less", c.constant(0.0, DType.F32), scores)
        scores = post_transformed(c, n, scores)
        both = c.det("concat", c.elementwise("sub", 1.0, scores), scores, axis=1)
        return label_where(c, labels, positive), both
    return best_label(c, labels, scores), post_transformed(c, n, scores)


def _scores(c: Conversion, n: Node, targets: int) -> Value:
    """x [N, F] by the coefficients [targets, F] transposed, plus intercepts."""
    x = c.cast(n.input(0), DType.F32)
    coefficients = np.array(n.tuple_of("coefficients", float), np.float32)
    if targets < 1 or coefficients.size % targets:
        raise Reject(f"{coefficients.size} coefficients for {targets} targets")
    weights = np.ascontiguousarray(coefficients.reshape(targets, -1).T)
    out = product(c, x, c.constant(weights))
    intercepts = n.tuple_of("intercepts", float)
    return c.elementwise("add", out, c.constant(intercepts, DType.F32)) if intercepts else out


def class_labels(n: Node) -> tuple[int, ...]:
    """Integer labels, under either of the names that ops give them."""
    labels = n.ints("classlabels_int64s") or n.ints("classlabels_ints")
    if not labels:
        raise Reject("only integer class labels are supported")
    return labels


def best_label(c: Conversion, labels: Sequence[int], scores: Value) -> Value:
    """[N]: the label of the first largest score of each row."""
    best = c.det("arg_max", scores, axis=1, keepdims=True, last=False)
    table = c.constant(np.array(labels, np.int64))
    return c.reshape(c.det("gather", table, best, axis=0), (scores.tensor.shape[0],))


def label_where(c: Conversion, labels: Sequence[int], positive: Value) -> Value:
    """[N]: the second label where ``positive`` [N, 1] holds, else the first."""
    first, second = (c.constant(label, DType.I64) for label in labels)
    chosen = c.elementwise("select", positive, second, first)
    return c.reshape(chosen, (positive.tensor.shape[0],))


def post_transformed(c: Conversion, n: Node, scores: Value) -> Value:
    match n.attribute("post_transform", "NONE"):
        case "NONE":
            return scores
        case "LOGISTIC":
            return c.det("sigmoid", scores)
        case "SOFTMAX":
            return softmax_over(c, scores, (1,))
        case other:
            raise Reject(f"the post_transform {other!r} is not supported")
