"""Einsum: diagonals, sums, and products of two operands at a time, from the left."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from aivmc.ir.core import Value
from aivmc.ir.dims import product
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, Results, converts
from aivmc.passes.legalize.matmul import product as matrix_product
from aivmc.passes.legalize.movement import part_of


@dataclass(frozen=True)
class Labelled:
    """A tensor and one label for each axis."""

    value: Value
    labels: str


@converts("Einsum")
def einsum(c: Conversion, n: Node) -> Results:
    terms, result = _parse(n.required("equation", str), n.all_inputs())
    operands = [_diagonal(c, term) for term in terms]
    done = operands[0]
    for i, operand in enumerate(operands[1:], 1):
        needed = set(result).union(*(o.labels for o in operands[i + 1 :]))
        done = _multiplied(c, done, operand, needed)
    done = _summed(c, done, set(result))
    return c.transpose(done.value, [done.labels.index(label) for label in result])


def _parse(equation: str, values: Sequence[Value]) -> tuple[list[Labelled], str]:
    """Operands with their labels, and the result's labels; spare ones for the ellipsis."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise Reject(f"the equation {equation!r} has {len(terms)} terms")
    spare = [x for x in string.ascii_letters if x not in equation]
    hidden = max(v.tensor.rank - len(t.replace("...", "")) for t, v in zip(terms, values))
    if hidden > len(spare):
        raise Reject(f"the equation {equation!r} has too many axes")
    ellipsis = "".join(spare[: max(hidden, 0)])
    operands = []
    for term, value in zip(terms, values):
        count = value.tensor.rank - len(term.replace("...", ""))
        labels = term.replace("...", ellipsis[len(ellipsis) - count :] if count > 0 else "")
        if len(labels) != value.tensor.rank or (not labels.isalpha() and labels):
            raise Reject(f"the term {term!r} does not fit {value.tensor}")
        operands.append(Labelled(value, labels))
    if arrow:
        result = right.replace("...", ellipsis)
    else:
        once = sorted(x for x in set(left) if x.isalpha() and left.count(x) == 1)
        result = ellipsis + "".join(once)
    known = set("".join(o.labels for o in operands))
    if len(set(result)) < len(result) or not set(result) <= known:
        raise Reject(f"the result of {equation!r} has a label twice or an unknown one")
    return operands, result


def _diagonal(c: Conversion, x: Labelled) -> Labelled:
    """Axes with the same label become one: every (d + 1)-th element of the two flattened."""
    for i, label in enumerate(x.labels):
        j = x.labels.find(label, i + 1)
        if j < 0:
            continue
        rest = [a for a in range(len(x.labels)) if a not in (i, j)]
        value = c.transpose(x.value, [*rest, i, j])
        d = c.agree(value.tensor.shape[-2], value.tensor.shape[-1])
        if not isinstance(d, int):
            raise Reject("a diagonal over a dim that is not known")
        flat = c.reshape(value, (*value.tensor.shape[:-2], d * d))
        picked = part_of(c, flat, len(rest), 0, d, d + 1)
        return _diagonal(c, Labelled(picked, "".join(x.labels[a] for a in rest) + label))
    return x


def _summed(c: Conversion, x: Labelled, needed: set[str]) -> Labelled:
    """Labels that nothing else needs are summed away."""
    axes = [i for i, label in enumerate(x.labels) if label not in needed]
    if not axes:
        return x
    value = c.reduce("sum", x.value, axes, keepdims=False)
    return Labelled(value, "".join(label for label in x.labels if label in needed))


def _multiplied(c: Conversion, a: Labelled, b: Labelled, needed: set[str]) -> Labelled:
    """The product of two operands, summed over the labels that they share and nothing needs."""
    a, b = _summed(c, a, needed | set(b.labels)), _summed(c, b, needed | set(a.labels))
    shared = [x for x in a.labels if x in b.labels]
    batch = "".join(x for x in shared if x in needed)
    inner = "".join(x for x in shared if x not in needed)
    rows = "".join(x for x in a.labels if x not in shared)
    columns = "".join(x for x in b.labels if x not in shared)
    left = _arranged(c, a, batch, rows, inner)
    right = _arranged(c, b, batch, inner, columns)
    value = matrix_product(c, left, right) if inner else c.elementwise("mul", left, right)
    sizes = dict(zip(a.labels, a.value.tensor.shape)) | dict(zip(b.labels, b.value.tensor.shape))
    shape = (*value.tensor.shape[: len(batch)], *(sizes[x] for x in rows + columns))
    return Labelled(c.reshape(value, shape), batch + rows + columns)


def _arranged(c: Conversion, x: Labelled, batch: str, first: str, second: str) -> Value:
    """[*batch, product of first, product of second]."""
    value = c.transpose(x.value, [x.labels.index(label) for label in batch + first + second])
    dims = value.tensor.shape
    middle = len(batch) + len(first)
    groups = (product(dims[len(batch) : middle]), product(dims[middle:]))
    return c.reshape(value, (*dims[: len(batch)], *groups))
