"""Tensors without elements: what code reads of them is there, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.interpret import interpret
from aivmc.ir.types import DType, TensorType
from aivmc.ptx.device import Device
from tests.backends.op_harness import assert_compiled, assert_same, executor, program

F32 = DType.F32
N, M = symbol("N"), symbol("M")
LONG = 1 << 24  # four bytes each: nobody has them behind an array by chance


def _padded(b: Builder, x: Value) -> Value:
    padding = b.constant(np.array(3, np.float32))
    return b.op("det.pad", x, padding, low=(1, 0), high=(0, 0), mode="constant")


def _gathered(b: Builder, x: Value) -> Value:
    return b.op("det.gather", x, b.constant(np.array([0])), axis=0)


def _joined(b: Builder, x: Value) -> Value:
    ones = b.constant(np.ones((1, 1), np.float32))
    wide = b.op("det.broadcast_to", ones, shape=(1, x.tensor.shape[1]))
    return b.op("det.concat", x, wide, axis=0)


def _computed(b: Builder, x: Value) -> Value:
    """Of a slot of the arena instead of an input."""
    return _padded(b, b.op("det.reduce_max", x, axes=(2,), keepdims=False))


def _reshaped(b: Builder, x: Value) -> Value:
    """A view that reads more than what it is a view of has."""
    return _padded(b, b.op("det.reshape", x, shape=(N, M)))


CASES: dict[str, tuple[Callable[[Builder, Value], Value], tuple[Any, ...]]] = {
    "pad": (_padded, (N, LONG)),
    "gather": (_gathered, (N, LONG)),
    "concat": (_joined, (N, LONG)),
    "slot": (_computed, (N, LONG // 4, 4)),
    "static": (_padded, (0, LONG)),
}


def _module(case: str, length: int) -> tuple[Module, dict[str, Array]]:
    body, shape = CASES[case]
    shape = tuple(length if d == LONG else length // 4 if d == LONG // 4 else d for d in shape)
    given = {"x": np.zeros([0 if d in (N, 0) else d for d in shape], np.float32)}
    return program({"x": TensorType(F32, shape)}, body), given


@pytest.mark.parametrize("case", CASES)
def test_on_cpus(case: str) -> None:
    module, given = _module(case, LONG)
    assert_compiled(module, [given])


@pytest.mark.parametrize("case", CASES)
def test_on_gpus(case: str) -> None:
    module, given = _module(case, 4096)
    kernel = executor(module, "cuda", Device())
    assert_same(kernel.run(given), interpret(module, given), case)
    kernel.close()


def test_views_of_inputs() -> None:
    module = program({"x": TensorType(F32, (N * M,)), "y": TensorType(F32, (N, M))}, _view)
    given = {"x": np.zeros(0, np.float32), "y": np.zeros((0, LONG), np.float32)}
    assert_compiled(module, [given])


def _view(b: Builder, x: Value, y: Value) -> list[Value]:
    return [_reshaped(b, x), y]
