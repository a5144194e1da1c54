"""What notices that kernels break a promise: the audit, the conformance vectors, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aivmc.backends.cpu.audit import AuditError
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.interpret import interpret
from aivmc.ir.types import DType, TensorType
from tests.compiled_op import executor, one_op
from tests.conformance.check import check_compiled
from tests.conformance.vectors import FOLDER, read
from tests.float_environment import HOSTILE, Environment

TARGET = "x86-64-v3"


@dataclass(frozen=True)
class Check:
    """``run`` raises ``notices`` where something is wrong."""

    text: str
    run: Callable[[], None]
    notices: type[Exception] = AssertionError


def vectors(op: str, *dtypes: str) -> Check:
    """The conformance vectors of an op, on a compiled kernel; those for these dtypes only."""

    def run() -> None:
        chosen = [v for v in read(FOLDER / f"det.{op}.json") if v.operands]
        wanted = [v for v in chosen if not dtypes or str(v.operands[0].dtype) in dtypes]
        check_compiled(wanted, TARGET)

    return Check(f"conformance vectors of `det.{op}`", run)


def audit(op: str) -> Check:
    """The audit of every compile, on a kernel of one op."""

    def compile() -> None:
        executor(one_op(f"det.{op}", [TensorType(DType.F32, (100,))], {}), TARGET)

    return Check("the audit of every compile", compile, AuditError)


def _multiply_add() -> Module:
    """x · y + z, as two ops."""
    inputs = tuple(Value(TensorType(DType.F32, (1000,)), name) for name in "xyz")
    b = Builder(inputs)
    total = b.op("det.add", b.op("det.mul", inputs[0], inputs[1]), inputs[2])
    region = b.terminate("return", b.op("det.canonical_nan", total))
    return Module({"main": Function("main", region, ("out",))}, "canonical", {})


def _compare(module: Module, inputs: Mapping[str, Array]) -> None:
    got, want = executor(module, TARGET).run(inputs), interpret(module, inputs)
    assert {n: a.tobytes() for n, a in got.items()} == {n: a.tobytes() for n, a in want.items()}


def _multiplies_and_adds() -> None:
    random = np.random.default_rng(3)
    normal = {name: random.standard_normal(1000).astype(np.float32) for name in "xyz"}
    _compare(_multiply_add(), normal)


def _ignores_the_environment() -> None:
    environment, tiny = Environment(), np.full(1000, 1e-20, np.float32)
    inputs = {"x": tiny, "y": tiny, "z": np.full(1000, 2e-39, np.float32)}
    kernel = executor(_multiply_add(), TARGET)
    want = interpret(_multiply_add(), inputs)["out"].tobytes()
    for control in HOSTILE:
        with environment.mode(control):
            got = kernel.run(inputs, threads=1)["out"]
        assert got.tobytes() == want


def _same_alone_and_in_a_batch() -> None:
    random = np.random.default_rng(4)
    a, b = (random.standard_normal(s).astype(np.float32) for s in ((7, 1200), (1200, 40)))
    alone, among = (_product(a[:rows], b)[0].tobytes() for rows in (1, 7))
    assert alone == among


def _product(a: Array, b: Array) -> Any:
    types = [TensorType(DType.F32, x.shape) for x in (a, b)]
    kernel = executor(one_op("det.matmul", types, {"block": 512}), TARGET)
    return kernel.run({"x0": a, "x1": b})["y0"]


def _multiplies_packed_bytes() -> None:
    """255 · 127 twice is more than 16 bits hold."""
    random = np.random.default_rng(5)
    x, w = (
        random.integers(200, 256, (3, 40), np.uint8),
        random.integers(100, 128, (40, 20), np.int8),
    )
    argument = Value(TensorType(DType.U8, x.shape), "x")
    b = Builder((argument,))
    region = b.terminate("return", b.op("det.matmul", argument, b.constant(w), block=0))
    module = Module({"main": Function("main", region, ("out",))}, "canonical", {})
    got = executor(module, TARGET).run({"x": x})["out"]
    assert got.tolist() == (x.astype(int) @ w.astype(int)).tolist()


MULTIPLY_ADD = Check("x · y + z, compiled, against the reference", _multiplies_and_adds)
ENVIRONMENT = Check("a kernel called with other rounding and flushing", _ignores_the_environment)
BATCH = Check("a row alone and the same among others", _same_alone_and_in_a_batch)
PACKED = Check("bytes by constant weights, against plain arithmetic", _multiplies_packed_bytes)
