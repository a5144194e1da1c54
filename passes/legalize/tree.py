"""ai.onnx.ml tree ensembles: all trees walked at once, one step for each level, by gathers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Value
from aivmc.ir.types import DType
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, Results, converts
from aivmc.passes.legalize.linear_models import (
    best_label,
    class_labels,
    label_where,
    post_transformed,
)

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


@dataclass(frozen=True)
class Forest:
    """Nodes of all trees in one numbering; a leaf's successors are the leaf itself."""

    feature: Array
    threshold: Array
    mode: Array
    if_true: Array
    if_false: Array
    missing_is_true: Array
    roots: Array
    depth: int
    place: dict[tuple[int, int], int]  # (tree, node) -> number


def _forest(n: Node) -> Forest:
    trees, nodes = n.tuple_of("nodes_treeids", int), n.tuple_of("nodes_nodeids", int)
    place = {key: i for i, key in enumerate(zip(trees, nodes))}
    if len(place) < len(trees) or len(nodes) != len(trees) or not trees:
        raise Reject("the nodes of the trees are not numbered uniquely")
    modes = n.tuple_of("nodes_modes", str)
    true_ids, false_ids = (
        n.tuple_of("nodes_truenodeids", int),
        n.tuple_of("nodes_falsenodeids", int),
    )
    features = np.array(n.tuple_of("nodes_featureids", int), np.int64)
    thresholds = _numbers(n, "nodes_values")
    missing = n.ints("nodes_missing_value_tracks_true") or (0,) * len(trees)
    lists = (modes, true_ids, false_ids, features, thresholds, missing)
    if any(len(entries) != len(trees) for entries in lists):
        raise Reject("the lists of the trees' nodes differ in length")
    if_true, if_false = np.arange(len(trees)), np.arange(len(trees))
    for i, mode in enumerate(modes):
        if mode == "LEAF":
            continue
        try:
            if_true[i] = place[trees[i], true_ids[i]]
            if_false[i] = place[trees[i], false_ids[i]]
        except KeyError as key:
            raise Reject(f"node {key} of a tree does not exist") from None
    roots, depth = _roots_and_depth(if_true, if_false, np.array(trees))
    return Forest(
        features,
        thresholds,
        np.array([_mode_number(m) for m in modes]),
        if_true,
        if_false,
        np.array(missing, bool),
        roots,
        depth,
        place,
    )


def _mode_number(mode: str) -> int:
    if mode not in (*_MODES, "LEAF"):
        raise Reject(f"the branch mode {mode!r} is unknown")
    return _MODES.index(mode) if mode != "LEAF" else 0


def _numbers(n: Node, name: str) -> Array:
    """A list of floats, or its form as a tensor, which may be f64."""
    tensor = n.attribute(f"{name}_as_tensor", Constant.of(np.zeros(0, np.float32)))
    return tensor.data if tensor.data.size else np.array(n.tuple_of(name, float), np.float32)


def _roots_and_depth(if_true: Array, if_false: Array, trees: Array) -> tuple[Array, int]:
    """The root of each tree, in the order of the trees' first nodes, and the longest path."""
    here = np.arange(len(trees))
    inner = if_true != here
    targets = np.concatenate([if_true[inner], if_false[inner]])
    roots = np.setdiff1d(here, targets)
    if len(np.unique(targets)) < len(targets) or len(set(trees[roots])) < len(roots):
        raise Reject("the nodes do not form trees")
    if len(roots) < len(set(trees)):
        raise Reject("a tree has no root")
    depth, level = 0, roots
    while np.any(inner[level]):
        level = np.concatenate([if_true[level[inner[level]]], if_false[level[inner[level]]]])
        depth += 1
    return roots, depth


def _leaves(c: Conversion, x: Value, forest: Forest) -> Value:
    """[N, trees]: the number of the leaf that each row reaches in each tree."""
    tables = {
        name: c.constant(array)
        for name, array in (
            ("feature", forest.feature),
            ("threshold", forest.threshold.astype(x.tensor.dtype.numpy)),
            ("if_true", forest.if_true),
            ("if_false", forest.if_false),
        )
    }
    shape = (x.tensor.shape[0], len(forest.roots))
    node = c.broadcast_to(c.constant(forest.roots), shape)
    for _ in range(forest.depth):
        here = {name: c.det("gather", table, node, axis=0) for name, table in tables.items()}
        value = c.det("gather_elements", x, here["feature"], axis=1)
        holds = _branch(c, forest, node, value, here["threshold"])
        node = c.elementwise("select", holds, here["if_true"], here["if_false"])
    return node


def _branch(c: Conversion, forest: Forest, node: Value, value: Value, threshold: Value) -> Value:
    """Whether each value takes the true branch of its node."""
    used = [int(m) for m in np.unique(forest.mode)]
    outcomes = [_compare(c, _MODES[m], value, threshold) for m in used]
    holds = outcomes[0]
    if len(used) > 1:
        mode = c.det("gather", c.constant(forest.mode), node, axis=0)
        for m, outcome in zip(used[1:], outcomes[1:]):
            holds = c.elementwise("select", c.elementwise("equal", mode, m), outcome, holds)
    if np.any(forest.missing_is_true):
        tracks = c.det("gather", c.constant(forest.missing_is_true), node, axis=0)
        missing = c.elementwise("logical_and", tracks, c.det("is_nan", value))
        holds = c.elementwise("logical_or", holds, missing)
    return holds


def _compare(c: Conversion, mode: str, a: Value, b: Value) -> Value:
    match mode:
        case "BRANCH_LEQ":
            return c.elementwise("less_equal", a, b)
        case "BRANCH_LT":
            return c.elementwise("less", a, b)
        case "BRANCH_GTE":
            return c.elementwise("less_equal", b, a)
        case "BRANCH_GT":
            return c.elementwise("less", b, a)
    equal = c.elementwise("equal", a, b)
    return equal if mode == "BRANCH_EQ" else c.elementwise("logical_not", equal)


def _features(c: Conversion, n: Node) -> Value:
    x = n.input(0)
    if x.tensor.rank != 2:
        raise Reject(f"features must be [N, F], not {x.tensor}")
    return x if x.tensor.dtype is DType.F64 else c.cast(x, DType.F32)


def _weights(n: Node, forest: Forest, prefix: str, columns: int) -> Array:
    """[nodes, columns]: what each leaf adds to each target or class."""
    ids, weights = n.tuple_of(f"{prefix}_ids", int), _numbers(n, f"{prefix}_weights")
    trees, nodes = n.tuple_of(f"{prefix}_treeids", int), n.tuple_of(f"{prefix}_nodeids", int)
    if not len(ids) == len(weights) == len(trees) == len(nodes):
        raise Reject("the lists of the leaves' weights differ in length")
    table = np.zeros((len(forest.feature), columns), np.float32)
    for tree, node, column, weight in zip(trees, nodes, ids, weights):
        if (tree, node) not in forest.place or not 0 <= column < columns:
            raise Reject(f"a weight of node {node} of tree {tree}, which does not exist")
        table[forest.place[tree, node], column] += np.float32(weight)
    return table


def _with_base(c: Conversion, n: Node, scores: Value) -> Value:
    base = _numbers(n, "base_values")
    if not base.size:
        return scores
    return c.elementwise("add", scores, c.constant(base.astype(np.float32)))


@converts("ai_onnx_ml.TreeEnsembleRegressor")
def tree_ensemble_regressor(c: Conversion, n: Node) -> Results:
    forest = _forest(n)
    table = _weights(n, forest, "target", n.attribute("n_targets", 1))
    leaves = _leaves(c, _features(c, n), forest)
    values = c.det("gather", c.constant(table), leaves, axis=0)  # [N, trees, targets]
    match n.attribute("aggregate_function", "SUM"):
        case "SUM":
            scores = c.reduce("sum", values, (1,), keepdims=False)
        case "AVERAGE":
            total = c.reduce("sum", values, (1,), keepdims=False)
            scores = c.elementwise("div", total, float(len(forest.roots)))
        case "MIN" | "MAX" as extreme:
            scores = c.reduce(extreme.lower(), values, (1,), keepdims=False, ordered=False)
        case other:
            raise Reject(f"the aggregate_function {other!r} is unknown")
    return post_transformed(c, n, _with_base(c, n, scores))


@converts("ai_onnx_ml.TreeEnsembleClassifier")
def tree_ensemble_classifier(c: Conversion, n: Node) -> Results:
    """Label and scores. Where leaves weigh one of two classes only, its score s stands for both:
    [1 - s, s] and a threshold of 0.5 if all weights are positive, else [-s, s] and 0."""
    labels = class_labels(n)
    forest = _forest(n)
    ids = n.tuple_of("class_ids", int)
    binary = len(labels) == 2 and len(set(ids)) == 1
    table = _weights(n, forest, "class", max(len(labels), 2))
    if binary:
        table = table[:, ids[0] : ids[0] + 1]
    leaves = _leaves(c, _features(c, n), forest)
    values = c.det("gather", c.constant(np.ascontiguousarray(table)), leaves, axis=0)
    scores = c.reduce("sum", values, (1,), keepdims=False)
    if not binary:
        scores = _with_base(c, n, scores)
        return best_label(c, labels, scores), post_transformed(c, n, scores)
    base = _numbers(n, "base_values")
    if base.size:
        scores = c.elementwise("add", scores, c.constant(base[-1:].astype(np.float32)))
    probability = bool(np.all(_numbers(n, "class_weights") >= 0))
    threshold = c.constant(0.5 if probability else 0.0, DType.F32)
    label = label_where(c, labels, c.elementwise("less", threshold, scores))
    other = c.elementwise("sub", 1.0, scores) if probability else c.det("neg", scores)
    both = c.det("concat", other, scores, axis=1)
    return label, both if probability else post_transformed(c, n, both)
