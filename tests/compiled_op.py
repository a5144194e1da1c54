"""One op as a whole program: by the reference semantics, and compiled for a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import aivmc.ir.ops  # noqa: F401  registers the ops
from aivmc.backends.build import build_artifact
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array
from aivmc.ir.core import Bounds, Function, Module, Value
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.signature import Signature
from aivmc.runtime.executor import Executor
from aivmc.runtime.plan import Plan


def one_op(
    name: str,
    types: Sequence[TensorType],
    attributes: Mapping[str, Any],
    symbols: Mapping[str, Bounds] | None = None,
) -> Module:
    """The canonical program of the inputs ``x0`` … through one op to the outputs ``y0`` …"""
    inputs = tuple(Value(t, f"x{i}") for i, t in enumerate(types))
    b = Builder(inputs)
    results = b.ops(name, *inputs, **attributes)
    outputs = [b.op("det.canonical_nan", r) if r.tensor.dtype.is_float else r for r in results]
    region = b.terminate("return", *outputs)
    names = tuple(f"y{i}" for i in range(len(outputs)))
    return Module({"main": Function("main", region, names)}, "canonical", dict(symbols or {}))


def executor(module: Module, target: str) -> Executor:
    """``module`` compiled, to run. ``UnsupportedError`` where the target can't take it."""
    artifact = build_artifact(module, target)
    packed = {digest: array for digest, (_, array) in artifact.packed.items()}
    arrays = artifact.constants | packed
    return Executor(Signature.of(module), Plan.from_json(artifact.plan), artifact.code, arrays)


def inputs_of(operands: Sequence[Any]) -> dict[str, Array]:
    """The operands as the inputs of :func:`one_op`."""
    return {f"x{i}": np.asarray(a) for i, a in enumerate(operands)}


def types_of(operands: Sequence[Any]) -> tuple[TensorType, ...]:
    arrays = [np.asarray(a) for a in operands]
    return tuple(TensorType(DType.of(a.dtype), a.shape) for a in arrays)
