"""The conformance vectors: made by the generator, and met by the reference and both targets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aivmc.backends.tir_emit import is_emittable
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array, tensor_bytes, tensor_digest
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.definition import definitions
from aivmc.ir.types import DType
from tests.compiled_op import executor, types_of
from tests.conformance import generate
from tests.conformance.vectors import FOLDER, Vector, read
from tests.exhaustive.check import runnable

PATHS = sorted(FOLDER.glob("*.json"))
OPS = [path.stem for path in PATHS]
SPARSE = 8  # the default tests take every eighth vector, and the last


@cache
def vectors(path: Path) -> list[Vector]:
    return list(read(path))


def sample(path: Path) -> list[Vector]:
    return vectors(path)[::SPARSE] + vectors(path)[-1:]


def check(vector: Vector, results: Sequence[Array]) -> None:
    """Types, digests and bytes are those of the vector."""
    got = [(str(types_of([a])[0]), tensor_digest(a)) for a in results]
    assert got == [(type, digest) for type, digest, _ in vector.results], vector
    for array, (_, _, data) in zip(results, vector.results):
        assert data is None or bytes(tensor_bytes(array)) == data


def test_every_op_has_vectors() -> None:
    assert set(OPS) == {n for n in definitions() if n.startswith("det.")} - {"det.if"}
    assert sum(path.stat().st_size for path in PATHS) < 3_000_000


def test_the_files_are_what_the_generator_makes() -> None:
    made = generate.files()
    assert sorted(made) == [path.name for path in PATHS]
    for path in PATHS:
        assert path.read_text(encoding="utf-8") == made[path.name], path.name


@pytest.mark.parametrize("path", PATHS, ids=OPS)
def test_reference(path: Path) -> None:
    for vector in sample(path):
        check(vector, generate.results(vector.op, vector.operands, vector.attributes))


@pytest.mark.parametrize("path", PATHS, ids=OPS)
@pytest.mark.parametrize("target", runnable())
def test_target(path: Path, target: str) -> None:
    _check_target(sample(path), target)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=OPS)
@pytest.mark.parametrize("target", runnable())
def test_target_on_all(path: Path, target: str) -> None:
    _check_target(vectors(path), target)


def _check_target(chosen: Sequence[Vector], target: str) -> None:
    """All of them in one kernel."""
    chosen = [v for v in chosen if _is_compiled(v)]
    if not chosen:
        pytest.skip("the target takes none of these dtypes")
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
    kernel = executor(Module({"main": Function("main", region, names)}, "canonical", {}), target)
    got = iter(kernel.run(values, threads=1).values())
    for vector in chosen:
        check(vector, [next(got) for _ in vector.results])


def _is_compiled(vector: Vector) -> bool:
    dtypes = [DType.of(np.asarray(a).dtype) for a in vector.operands]
    dtypes += [DType(type.partition("[")[0]) for type, _, _ in vector.results]
    return all(map(is_emittable, dtypes))


@pytest.mark.parametrize("name", ["sum", "square_sum"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_the_order_of_a_sum_shows(name: str, dtype: str) -> None:
    """Vectors that another order would not meet."""
    digests = {
        (v.operands[0].shape, v.attributes["order"]): v.results[0][1]
        for v in vectors(FOLDER / f"det.reduce_{name}.json")
        if v.results[0][0] == f"{dtype}[8]" and v.attributes["axes"] == (1,)
    }
    for n in (513, 9000):
        assert digests[(8, n), "lanes16"] != digests[(8, n), "seq"]
