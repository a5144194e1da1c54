"""The conformance vectors: made by the generator, and met by the reference and every target."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from aivmc.ir.definition import definitions
from aivmc.ptx.device import Device
from tests.conformance import generate
from tests.conformance.check import check, check_compiled
from tests.conformance.vectors import FOLDER, Vector, read
from tests.exhaustive.check import runnable
from tests.ir.ops.test_definitions import WITHOUT_REFERENCE

PATHS = sorted(FOLDER.glob("*.json"))
OPS = [path.stem for path in PATHS]
SPARSE = 8  # the default tests take every eighth vector, and the last


@cache
def vectors(path: Path) -> list[Vector]:
    return list(read(path))


def sample(path: Path) -> list[Vector]:
    return vectors(path)[::SPARSE] + vectors(path)[-1:]


def test_every_op_has_vectors() -> None:
    assert set(OPS) == {n for n in definitions() if n.startswith("det.")} - WITHOUT_REFERENCE
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
    check_compiled(sample(path), target)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=OPS)
@pytest.mark.parametrize("target", runnable())
def test_target_on_all(path: Path, target: str) -> None:
    check_compiled(vectors(path), target)


@pytest.mark.parametrize("path", PATHS, ids=OPS)
def test_gpu(path: Path) -> None:
    """On the simulated one."""
    check_compiled(sample(path)[-1:], "cuda", Device(order=1))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=OPS)
def test_gpu_on_all(path: Path) -> None:
    check_compiled(vectors(path), "cuda", Device(order=1))


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
