"""Matrix products and what is made of them."""

from __future__ import annotations

from aivmc.ir.core import Value
from aivmc.passes.legalize.conversion import Conversion, Node, Reject, Results, converts


@converts("MatMul")
def matmul(c: Conversion, n: Node) -> Results:
    return product(c, n.input(0), n.input(1))


def product(c: Conversion, a: Value, b: Value) -> Value:
    """NumPy's matmul: vectors become matrices of one row or column, and lose that again."""
    if 0 in (a.tensor.rank, b.tensor.rank):
        raise Reject("a scalar is no matrix")
    row, column = a.tensor.rank == 1, b.tensor.rank == 1
    if row:
        a = c.reshape(a, (1, *a.tensor.shape))
    if column:
        b = c.reshape(b, (*b.tensor.shape, 1))
    out = c.det("matmul", *_fitted(c, a, b), block=0)
    shape = list(out.tensor.shape)
    if row:
        del shape[-2]
    if column:
        del shape[-1]
    return c.reshape(out, shape)


def _fitted(c: Conversion, a: Value, b: Value) -> tuple[Value, Value]:
    """Operands whose inner and batch dims are the same dims."""
    (*batch_a, m, k), (*batch_b, j, n) = a.tensor.shape, b.tensor.shape
    inner = c.agree(k, j)
    batch = c.broadcast_shape([tuple(batch_a), tuple(batch_b)])
    for_a, for_b = (
        tuple(d if d == 1 else w for d, w in zip(own, batch[len(batch) - len(own) :]))
        for own in (batch_a, batch_b)
    )
    return c.with_shape(a, (*for_a, m, inner)), c.with_shape(b, (*for_b, inner, n))


@converts("Gemm")
def gemm(c: Conversion, n: Node) -> Results:
    """alpha * A B + beta * C; scales of 1 are left out."""
    a, b, bias = n.input(0), n.input(1), n.optional(2)
    if a.tensor.rank != 2 or b.tensor.rank != 2:
        raise Reject("matrices are needed")
    a = c.transpose(a, (1, 0)) if n.flag("transA") else a
    b = c.transpose(b, (1, 0)) if n.flag("transB") else b
    out = _scaled(c, product(c, a, b), n.attribute("alpha", 1.0))
    beta = n.attribute("beta", 1.0)
    if bias is None or beta == 0.0:
        return out
    return c.elementwise("add", out, _scaled(c, bias, beta))


def _scaled(c: Conversion, x: Value, factor: float) -> Value:
    if factor == 1.0:
        return x
    if not x.tensor.dtype.is_float:
        raise Reject(f"integers scaled by {factor}")
    return c.elementwise("mul", x, factor)
