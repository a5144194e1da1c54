"""Random programs, and ways to write the same program differently."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from aivmc.ir.builder import Builder
from aivmc.ir.core import Bounds, Function, Location, Module, Op, Region, Value
from aivmc.ir.dims import Expr, substitute, symbol
from aivmc.ir.types import DType, TensorType

N = symbol("N")
_SCALARS = (0.0, -0.0, 1.0, -1.0, 2.0, float("inf"))
_UNARY = ("neg", "abs", "sqrt", "relu", "floor", "canonical_nan")
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
_SHAPES = ((N, 2, 3), (N, 6), (2, N, 3), (6, N), (N, 3, 2), (6 * N,))


@st.composite
def programs(draw: st.DrawFn) -> Module:
    """Straight-line programs over f32 with much that can be simplified; some ops are dead."""
    x, y = (Value(TensorType(DType.F32, (N, 2, 3)), name) for name in "xy")
    b = Builder((x, y))
    values = [x, y]
    for i in range(draw(st.integers(1, 14))):
        b.location = Location(name=f"node {i}")
        values.append(_op(draw, b, draw(st.sampled_from(values))))
    outputs = [draw(st.sampled_from(values)) for _ in range(draw(st.integers(1, 3)))]
    names = tuple(f"out{i}" for i in range(len(outputs)))
    main = Function("main", b.terminate("return", *outputs), names)
    return Module({"main": main}, "canonical", {"N": Bounds(1, 8)})


def _op(draw: st.DrawFn, b: Builder, x: Value) -> Value:
    match draw(st.sampled_from(["unary", "binary", "scalar", "transpose", "reshape", "sum"])):
        case "unary":
            return b.op(f"det.{draw(st.sampled_from(_UNARY))}", x)
        case "binary":
            return b.op(f"det.{draw(st.sampled_from(_BINARY))}", x, x)
        case "scalar":
            shape = draw(st.sampled_from([(), (1,), (1,) * x.tensor.rank]))
            number = draw(st.sampled_from(_SCALARS))
            pair = [x, b.constant(np.full(shape, number, np.float32))]
            if draw(st.booleans()):
                pair.reverse()
            return b.op(f"det.{draw(st.sampled_from(_BINARY))}", *pair)
        case "transpose":
            permutation = tuple(draw(st.permutations(range(x.tensor.rank))))
            return b.op("det.transpose", x, permutation=permutation)
        case "reshape":
            return b.op("det.reshape", x, shape=draw(st.sampled_from(_SHAPES)))
        case _:
            axes = (draw(st.integers(0, x.tensor.rank - 1)),)
            order = draw(st.sampled_from(["lanes16", "seq"]))
            total = b.op("det.reduce_sum", x, axes=axes, keepdims=True, order=order)
            return b.op("det.broadcast_to", total, shape=x.tensor.shape)


def rewritten(module: Module, seed: int) -> Module:
    """The same program with ops in another order, other names, locations and symbols, repeated
    constants, and an op that is dead."""
    rng = random.Random(seed)
    renaming = {name: symbol(f"{name}_{seed % 7}") for name in module.symbols}
    values = {
        v: Value(_renamed(v.type, renaming), f"{v.name}{seed % 3}") for v in module.main.inputs
    }
    b = Builder(tuple(values.values()))
    b.op("det.exp", rng.choice(list(values.values())))
    for op in _shuffled(module.main.region, rng):
        b.location = Location(name=f"renamed {rng.random()}")
        if op.name == "det.constant":
            b.constant(op.attributes["value"])
        attributes = {name: _renamed(a, renaming) for name, a in op.attributes.items()}
        results = b.ops(op.name, *(values[v] for v in op.operands), **attributes)
        values.update(zip(op.results, results))
    region = b.terminate("return", *(values[v] for v in module.main.outputs))
    names = tuple(f"renamed{i}" for i in range(len(module.main.outputs)))
    symbols = {str(renaming[name]): bounds for name, bounds in module.symbols.items()}
    return Module({"main": Function("main", region, names)}, module.stage, symbols)


def _shuffled(region: Region, rng: random.Random) -> list[Op]:
    """The ops in a random order that keeps definitions before uses."""
    known, waiting, order = set(region.arguments), list(region.body), []
    while waiting:
        ready = [op for op in waiting if all(v in known for v in op.operands)]
        op = rng.choice(ready)
        waiting.remove(op)
        known.update(op.results)
        order.append(op)
    return order


def _renamed(item: Any, renaming: dict[str, Any]) -> Any:
    match item:
        case TensorType():
            return item.with_shape(_renamed(item.shape, renaming))
        case tuple():
            return tuple(_renamed(i, renaming) for i in item)
        case Expr():
            return substitute(item, renaming)
    return item
