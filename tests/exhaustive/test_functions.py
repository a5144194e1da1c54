"""Elementary functions on compiled kernels: every f16 and bf16 input, and parts of f32 or all."""

from __future__ import annotations

from collections import Counter
from functools import cache

import ml_dtypes
import numpy as np
import pytest

from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.elementary import UNARY, exponential
from aivmc.ir.types import DType, TensorType
from tests.compiled_op import executor
from tests.exhaustive.check import (
    CHUNK,
    CHUNKS,
    HARD_CASES,
    Result,
    c_compiler,
    check,
    correctly_rounded,
    runnable,
)
from tests.exhaustive.hard_cases import find

pytestmark = pytest.mark.skipif(
    c_compiler() is None, reason="expected values need a C compiler: install gcc"
)

TARGETS = runnable()
NARROW = {DType.F16: np.dtype(np.float16), DType.BF16: np.dtype(ml_dtypes.bfloat16)}


def wrong(result: Result) -> dict[str, list[tuple[str, ...]]]:
    return {
        target: [tuple(f"{bits:08x}" for bits in one) for one in found[:10]]
        for target, found in result.wrong.items()
    }


NONE: dict[str, list[tuple[str, ...]]] = {target: [] for target in TARGETS}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", UNARY)
def test_all_inputs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = check(name, CHUNKS, TARGETS)
    with capsys.disabled():
        print(f"\n{name}: {result}")
    assert result.checked == 2**32
    assert wrong(result) == NONE


def test_the_check_sees_one_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    x = 0xBCF3A937  # a case that exp2 has patched
    chunk = x // CHUNK * CHUNK
    result = check("exp2", [chunk], TARGETS[:1])
    assert wrong(result) == {TARGETS[0]: []} and result.checked == CHUNK
    monkeypatch.delitem(exponential._EXP2_PATCHES, x)
    (found,) = check("exp2", [chunk], TARGETS[:1]).wrong[TARGETS[0]]
    assert found[::2] == (x, 0x3F7AC6B1) and abs(found[1] - found[2]) == 1


@pytest.mark.parametrize("name", UNARY)
def test_the_table_of_hard_cases(name: str) -> None:
    """Where it is densest."""
    with np.load(HARD_CASES / f"{name}.npz") as data:
        table = dict(zip(data["inputs"].tolist(), data["results"].tolist()))
    chunk, count = Counter(x // CHUNK * CHUNK for x in table).most_common(1)[0]
    inputs, results = find(name, [chunk])
    assert count > 5
    assert dict(zip(inputs.tolist(), results.tolist())) == {
        x: y for x, y in table.items() if x // CHUNK * CHUNK == chunk
    }


# Of f16 and bf16: the correctly rounded f32 value, rounded once more (numerics, clause 5).


@cache
def every(dtype: DType) -> Array:
    return np.arange(2**16, dtype=np.uint16).view(NARROW[dtype])


@cache
def results(dtype: DType, target: str) -> dict[str, Array]:
    """All functions of all inputs of a narrow type, by one kernel."""
    x = Value(TensorType(dtype, (2**16,)), "x")
    b = Builder((x,))
    ys = [b.op("det.canonical_nan", b.op(f"det.{name}", x)) for name in UNARY]
    region = b.terminate("return", *ys)
    module = Module({"main": Function("main", region, UNARY)}, "canonical", {})
    return executor(module, target).run({"x": every(dtype)})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.value)
@pytest.mark.parametrize("name", UNARY)
def test_all_narrow_inputs(name: str, dtype: DType, target: str) -> None:
    x = every(dtype).astype(np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        want = correctly_rounded(name, x).view(np.float32).astype(NARROW[dtype])
    nan = np.array(0x7E00 if dtype is DType.F16 else 0x7FC0, np.uint16)
    bits = np.where(np.isnan(want), nan, want.view(np.uint16))
    got = results(dtype, target)[name].view(np.uint16)
    at = np.flatnonzero(got != bits)
    assert [(hex(i), hex(got[i]), hex(bits[i])) for i in at[:10].tolist()] == []
