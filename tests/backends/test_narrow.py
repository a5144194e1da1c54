"""Types of a byte or less as compiled code: every conversion of every value, and every byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Constant
from aivmc.ir.core import Value
from aivmc.ir.types import DType, TensorType
from tests.backends.op_harness import RUNNABLE, TARGETS, assert_compiled, program
from tests.ir.ops.cases import SMALL
from tests.ir.test_narrow import around, codes

TWO_BYTES = (DType.F16, DType.BF16, DType.I16, DType.U16)
ONE_BYTE = (DType.I8, DType.U8)
WIDE = (DType.F64, DType.F32, DType.I64, DType.U64, DType.I32, DType.U32)


def _conversions(sources: tuple[DType, ...], targets: tuple[DType, ...], step: int = 1) -> Any:
    """A program that converts every value of each source to each target, or to every so many,
    others for each source; and its inputs."""
    pairs = [
        (a, b)
        for n, a in enumerate(sources)
        for m, b in enumerate(targets)
        if a is not b and (n + m) % step == 0
    ]
    inputs = {a.value: codes(a) for a in dict.fromkeys(a for a, _ in pairs)}
    types = {a.value: TensorType(a, (2**a.bits,)) for a, _ in pairs}

    def body(b: Builder, *values: Value) -> Iterator[Value]:
        named = dict(zip(types, values))
        for source, to in pairs:
            yield b.op("det.cast", named[source.value], to=to)

    return program(types, body), inputs


@pytest.mark.parametrize("target", TARGETS)
def test_conversions_of_every_value(target: str) -> None:
    """From all types of 16 bits and less; to and from small ones, a third for each target."""
    every = (*SMALL, *ONE_BYTE, *TWO_BYTES)
    first = TARGETS.index(target)
    for sources, targets in ((every[first:], SMALL), (SMALL, every[first:] + WIDE)):
        module, inputs = _conversions(sources, targets, step=3)
        assert_compiled(module, [inputs], [target])


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNNABLE)
def test_all_conversions_of_every_value(target: str) -> None:
    every = (*SMALL, *ONE_BYTE, *TWO_BYTES, DType.BOOL)
    for sources, targets in ((every, SMALL), (SMALL, (*every, *WIDE))):
        module, inputs = _conversions(sources, targets)
        assert_compiled(module, [inputs], [target])


def test_conversions_around_every_boundary() -> None:
    """From f64 and f32, which are rounded once."""
    small = [t for t in SMALL if t.is_float]
    inputs: dict[str, Any] = {}
    with np.errstate(all="ignore"):
        for t in small:
            inputs[f"{t.value}_of_f64"] = around(t)
            inputs[f"{t.value}_of_f32"] = around(t).astype(np.float32)
    types = {n: TensorType(DType.of(x.dtype), x.shape) for n, x in inputs.items()}

    def body(b: Builder, *values: Value) -> Iterator[Value]:
        for name, value in zip(types, values):
            yield b.op("det.cast", value, to=DType(name.split("_")[0]))

    assert_compiled(program(types, body), [inputs])


@pytest.mark.parametrize("dtype", [t for t in SMALL if t.bits < 8])
def test_what_else_is_in_a_byte_is_no_part_of_the_value(dtype: DType) -> None:
    """All bytes as input, moved, computed on and returned as they are; also as a constant."""
    every = np.arange(256, dtype=np.uint8).view(dtype.numpy)
    types = {"x": TensorType(dtype, (256,)), "i": TensorType(DType.I64, (9,))}

    def body(b: Builder, x: Value, i: Value) -> Iterator[Value]:
        yield x
        yield b.op("det.reshape", x, shape=(16, 16))
        yield b.op("det.transpose", b.op("det.reshape", x, shape=(16, 16)), permutation=(1, 0))
        yield b.op("det.concat", x, x, axis=0)
        yield b.op("det.gather", x, i, axis=0)
        yield b.op("det.scatter_elements", x, i, b.op("det.gather", x, i, axis=0), **scatter)
        yield b.op("det.cast", x, to=DType.F32)
        yield b.op("det.bitcast", x, to=DType.U4 if dtype.bits == 4 else DType.U2)
        yield b.op("det.equal", x, b.op("det.constant", value=constant))
        yield b.op("det.add", x, x)
        yield from b.ops("det.top_k", x, axis=0, k=20, largest=True)

    constant = Constant(TensorType(dtype, (256,)), every)
    scatter: dict[str, Any] = {"axis": 0, "reduction": "none"}
    indices = np.arange(9) * 31 - 7
    assert_compiled(program(types, body), [{"x": every, "i": indices}])
