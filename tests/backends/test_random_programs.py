"""Random programs of elementwise, movement, reduction and scan ops, fused: the interpreter's bytes
at random sizes, on one thread and on two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import Dim, evaluate, symbol
from aivmc.ir.types import DType, Shape, TensorType
from tests.backends.op_harness import TARGETS, Array, assert_compiled, program

N, M = symbol("N"), symbol("M")
_DIMS: tuple[Dim, ...] = (1, 2, 5, 16, 17, 40, N, M)
_SIZES = (0, 1, 2, 3, 15, 16, 17, 33, 70)
_SCALARS = (0.0, -0.0, 1.0, 3.0, -0.5, float("inf"))
_UNARY = ("neg", "abs", "sqrt", "relu", "floor", "exp", "tanh", "sign", "rint", "sigmoid")
_BINARY = ("add", "sub", "mul", "div", "rem", "maximum", "minimum")
_NARROW = (DType.F16, DType.BF16, DType.I32, DType.I8, DType.F64, DType.BOOL)


@st.composite
def programs(draw: st.DrawFn) -> Module:
    """Five to nine ops on f32 tensors whose shapes broadcast, and some of their values."""
    shape = tuple(draw(st.lists(st.sampled_from(_DIMS), min_size=1, max_size=3)))
    types = {"x": TensorType(DType.F32, shape)}
    for i in range(draw(st.integers(0, 2))):
        part = [draw(st.sampled_from([d, 1])) for d in shape]
        types[f"y{i}"] = TensorType(DType.F32, tuple(part[draw(st.integers(0, len(part))) :]))

    def body(b: Builder, *arguments: Value) -> Sequence[Value]:
        values = list(arguments)
        for _ in range(draw(st.integers(5, 9))):
            values.append(draw(st.sampled_from(_STEPS))(draw, b, values))
        return [values[-1], *draw(st.lists(st.sampled_from(values), max_size=2))]

    return program(types, body)


def _value(draw: st.DrawFn, values: Sequence[Value]) -> Value:
    return draw(st.sampled_from(list(values)[-4:]))


def _unary(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    return b.op(f"det.{draw(st.sampled_from(_UNARY))}", _value(draw, values))


def _binary(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    fitting = [y for y in values if _broadcast(x, y)]
    y = draw(st.sampled_from(fitting))
    return b.op(
        f"det.{draw(st.sampled_from(_BINARY))}", *((x, y) if draw(st.booleans()) else (y, x))
    )


def _broadcast(x: Value, y: Value) -> bool:
    pairs = zip(reversed(x.tensor.shape), reversed(y.tensor.shape))
    return all(p == q or 1 in (p, q) for p, q in pairs)


def _scalar(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    number = b.constant(np.float32(draw(st.sampled_from(_SCALARS))))
    return b.op(f"det.{draw(st.sampled_from(_BINARY))}", x, number)


def _select(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    y = draw(st.sampled_from([v for v in values if _broadcast(x, v)]))
    return b.op("det.select", b.op("det.less", x, y), x, b.op("det.neg", x))


def _through(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    narrow = b.op("det.cast", _value(draw, values), to=draw(st.sampled_from(_NARROW)))
    return b.op("det.cast", narrow, to=DType.F32)


def _transpose(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    return b.op("det.transpose", x, permutation=tuple(draw(st.permutations(range(x.tensor.rank)))))


def _slice(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    sizes = [draw(st.integers(0, d)) if isinstance(d, int) else d for d in x.tensor.shape]
    starts = [
        draw(st.integers(0, d - n)) if isinstance(d, int) and isinstance(n, int) else 0
        for d, n in zip(x.tensor.shape, sizes)
    ]
    steps = (1,) * x.tensor.rank
    return b.op("det.slice", x, starts=tuple(starts), steps=steps, sizes=tuple(sizes))


def _pad(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    low, high = (tuple(draw(st.integers(0, 2)) for _ in x.tensor.shape) for _ in range(2))
    one = b.constant(np.float32(1))
    return b.op("det.pad", x, one, low=low, high=high, mode="constant")


def _concat(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    if x.tensor.rank == 0:
        return b.op("det.neg", x)
    return b.op(
        "det.concat", x, b.op("det.abs", x), x, axis=draw(st.integers(0, x.tensor.rank - 1))
    )


def _flatten(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    return b.op("det.reshape", x, shape=(x.tensor.size,))


def _reduce(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    axes = (
        tuple(sorted(draw(st.sets(st.sampled_from(range(x.tensor.rank)))))) if x.tensor.rank else ()
    )
    attributes: dict[str, Any] = {"axes": axes, "keepdims": draw(st.booleans())}
    name = draw(st.sampled_from(["sum", "square_sum", "product", "max", "min", "any", "all"]))
    if name in ("any", "all"):
        x = b.op("det.less", x, b.constant(np.float32(0.5)))
        found = b.op(f"det.reduce_{name}", x, **attributes)
        return b.op("det.cast", found, to=DType.F32)
    if name not in ("max", "min"):
        attributes["order"] = draw(st.sampled_from(["lanes16", "seq"]))
    return b.op(f"det.reduce_{name}", x, **attributes)


def _normalize(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    """A reduction and what reads it beside its operand, as in a softmax."""
    x = _value(draw, values)
    if x.tensor.rank == 0:
        return b.op("det.neg", x)
    axes = (draw(st.integers(0, x.tensor.rank - 1)),)
    e = b.op("det.exp", b.op("det.sub", x, b.op("det.reduce_max", x, axes=axes, keepdims=True)))
    total = b.op("det.reduce_sum", e, axes=axes, keepdims=True, order="lanes16")
    return b.op("det.div", e, total)


def _scan(draw: st.DrawFn, b: Builder, values: Sequence[Value]) -> Value:
    x = _value(draw, values)
    if x.tensor.rank == 0:
        return b.op("det.neg", x)
    axis = draw(st.integers(0, x.tensor.rank - 1))
    if draw(st.booleans()):
        flags: dict[str, Any] = {"exclusive": draw(st.booleans()), "reverse": draw(st.booleans())}
        return b.op("det.cumulative_sum", x, axis=axis, **flags)
    k = x.tensor.shape[axis]
    results = b.ops("det.top_k", x, axis=axis, k=k, largest=draw(st.booleans()))
    return results[0] if draw(st.booleans()) else b.op("det.cast", results[1], to=DType.F32)


_STEPS: tuple[Callable[[st.DrawFn, Builder, Sequence[Value]], Value], ...] = (
    *(_unary, _binary, _binary, _scalar, _select, _through, _transpose, _slice, _pad, _concat),
    *(_flatten, _reduce, _reduce, _normalize, _scan),
)


def _inputs(module: Module, seed: int, values: dict[str, int]) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 2.5], np.float32)

    def tensor(shape: Shape) -> Array:
        sizes = tuple(evaluate(d, values) for d in shape)
        x = random.standard_normal(sizes).astype(np.float32)
        return np.where(random.random(sizes) < 0.1, random.choice(special, sizes), x)

    return {v.name: tensor(v.tensor.shape) for v in module.main.inputs}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.sampled_from(TARGETS), st.integers(0, 999), st.data())
def test_random_programs(module: Module, target: str, seed: int, data: st.DataObject) -> None:
    inputs = []
    for _ in range(3):
        values = {name: data.draw(st.sampled_from(_SIZES)) for name in module.symbols}
        inputs.append(_inputs(module, seed, values))
    assert_compiled(module, inputs, [target], threads=(1, 2))
