"""Whether results, and compiled kernels, meet conformance vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aivmc.backends.tir_emit import is_emittable
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array, tensor_bytes, tensor_digest
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.types import DType
from aivmc.runtime.device_executor import Device
from tests.backends.op_harness import executor
from tests.compiled_op import types_of
from tests.conformance.vectors import Vector


def check(vector: Vector, results: Sequence[Array]) -> None:
    """Types, digests and bytes are those of the vector."""
    got = [(str(types_of([a])[0]), tensor_digest(a)) for a in results]
    assert got == [(type, digest) for type, digest, _ in vector.results], vector.op
    for array, (_, _, data) in zip(results, vector.results):
        assert data is None or bytes(tensor_bytes(array)) == data


def check_compiled(chosen: Sequence[Vector], target: str, device: Device | None = None) -> None:
    """All of them in one kernel, on the device if there is one; those that no target can take are
    left out."""
    chosen = [v for v in chosen if is_compiled(v)]
    module, values = program(chosen)
    got = iter(executor(module, target, device).run(values, threads=1).values())
    for vector in chosen:
        check(vector, [next(got) for _ in vector.results])


def program(chosen: Sequence[Vector]) -> tuple[Module, dict[str, Array]]:
    """One program that does all of them, its outputs in their order, and its inputs."""
    b = Builder()
    inputs: list[Value] = []
    outputs: list[Value] = []
    values: dict[str, Array] = {}
    for n, vector in enumerate(chosen):
        named = {f"x{n}.{i}": np.asarray(a) for i, a in enumerate(vector.operands)}
        mine = [Value(t, name) for t, name in zip(types_of([*named.values()]), named)]
        results = b.ops(vector.op, *mine, **vector.attributes)
        outputs += [b.op("det.canonical_nan", r) if r.tensor.dtype.is_float else r for r in results]
        inputs += mine
        values |= named
    b.region.arguments = tuple(inputs)
    region = b.terminate("return", *outputs)
    names = tuple(f"y{i}" for i in range(len(outputs)))
    return Module({"main": Function("main", region, names)}, "canonical", {}), values


def is_compiled(vector: Vector) -> bool:
    """Whether there is code for its dtypes."""
    dtypes = [DType.of(np.asarray(a).dtype) for a in vector.operands]
    dtypes += [DType(type.partition("[")[0]) for type, _, _ in vector.results]
    return all(map(is_emittable, dtypes))
