"""Memory: the weights are used where they lie in the file, calls leave nothing behind, and
compiling ResNet-50 takes at most four times its weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aivmc.runtime.plan import Plan
from tests.guarantees.examples_kit import Examples

ROOT = Path(__file__).parents[2]
MIB = 1 << 20

STATUS = """
import sys

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
"""
# Anonymous memory is what is not a mapped file. Prints its growth by loading, by a first run and
# by further runs, and the arena's size; another kernel warms what is loaded once.
RUN = f"""{STATUS}
import numpy as np
import aivmc

aivmc.load(sys.argv[2]).run({{"x": np.zeros((1, 3, 32, 32), np.float32)}})
x = np.zeros((1, 3, 224, 224), np.float32)
marks = [status("RssAnon")]
kernel = aivmc.load(sys.argv[1])
marks.append(status("RssAnon"))
for runs in (1, 10):
    for _ in range(runs):
        kernel.run({{"x": x}}, threads=1)
    marks.append(status("RssAnon"))
print(*(after - before for before, after in zip(marks, marks[1:])))
"""
CALLS = f"""{STATUS}
import numpy as np
import aivmc

kernel = aivmc.load(sys.argv[1])
def call(rows):
    kernel.run({{"x": np.zeros((rows, 3, 32, 32), np.float32)}}, threads=1 + rows % 2)
for i in range(300):
    call(1 + i % 70)
before = status("RssAnon")
for i in range(1500):
    call(1 + i % 70)
for _ in range(30):
    aivmc.load(sys.argv[1]).close()
print(status("RssAnon") - before)
"""
# Prints the largest memory of the compiling process and of its largest child.
COMPILE = f"""{STATUS}
import resource
from aivmc.compiler import compile_file
compile_file(sys.argv[1], sys.argv[2])
print(status("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def numbers(code: str, *arguments: object) -> list[int]:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return [int(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def kernels(examples: Examples, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kernels")
    paths = {name: folder / f"{name}.aivm" for name in ("resnet50", "resnet50_small")}
    for name, path in paths.items():
        examples.kernel(name).save(path)
    return paths


def test_weights_are_stored_once(kernels: dict[str, Path], examples: Examples) -> None:
    weights = examples.path("resnet50").stat().st_size
    assert kernels["resnet50"].stat().st_size < 1.05 * weights


def test_weights_are_not_copied(kernels: dict[str, Path], examples: Examples) -> None:
    """ResNet-50 has 98 MiB of them."""
    loading, first, later = numbers(RUN, kernels["resnet50"], kernels["resnet50_small"])
    arena = _arena(examples)
    print(f"{loading / MIB:.1f}, {first / MIB:.1f} of {arena / MIB:.1f}, {later / MIB:.1f} MiB")
    assert loading < 8 * MIB, f"loading took {loading / MIB:.1f} MiB"
    assert first < arena + 8 * MIB, f"a run took {first / MIB:.1f} MiB"
    assert later < 4 * MIB, f"ten more runs took {later / MIB:.1f} MiB"


def _arena(examples: Examples) -> int:
    kernel = examples.kernel("resnet50")
    sizes = Plan.from_json(kernel.file.json("targets/x86-64-v3/plan.json")).sizes({"N": 1})
    return sizes.arena + sizes.scratch


def test_calls_leave_nothing_behind(kernels: dict[str, Path]) -> None:
    """1500 of them, of 70 shapes, and 30 loads."""
    (growth,) = numbers(CALLS, kernels["resnet50_small"])
    print(f"{growth / MIB:.1f} MiB")
    assert growth < 8 * MIB, f"{growth / MIB:.1f} MiB"


def test_compiling_takes_at_most_four_times_the_weights(examples: Examples, tmp_path: Path) -> None:
    """The interpreter and the compiler themselves included."""
    model = examples.path("resnet50")
    weights = model.stat().st_size
    own, child = numbers(COMPILE, model, tmp_path / "k.aivm")
    print(f"{own / weights:.2f} and {child / weights:.2f} times the weights")
    assert max(own, child) < 4 * weights
