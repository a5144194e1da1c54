"""Elementary functions through compiled kernels, on ranges of the 2^32 f32 inputs.

    python -m tests.exhaustive.check exp log --part 0.01

checks every hundredth chunk of inputs; without ``--part`` all of them, two or three minutes a
function on two cores. The expected values come from the C library in f64 where it decides the
rounding, from the table of hard cases where it doesn't; see reference.c.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aivmc.backends.cpu.targets import TARGETS
from aivmc.ir.constants import Array
from aivmc.ir.core import Bounds
from aivmc.ir.dims import symbol
from aivmc.ir.elementary import UNARY
from aivmc.ir.types import DType, TensorType
from aivmc.runtime.environment import missing_features
from aivmc.runtime.executor import Executor
from tests.compiled_op import executor, one_op

CHUNK = 2**22
CHUNKS = range(0, 2**32, CHUNK)
HARD_CASES = Path(__file__).parents[1] / "data" / "hard_cases"
# Of these the table has the inputs without a sign only.
ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf")
EVEN = ("cos", "cosh")
UNDECIDED = 2
_SIGN = np.uint32(0x8000_0000)
_SOURCE = Path(__file__).with_name("reference.c")


@dataclass
class Result:
    """Of one function: how many inputs were checked, and on which a target is wrong."""

    checked: int = 0
    from_table: int = 0
    wrong: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)  # input, got, want

    def __str__(self) -> str:
        counts = ", ".join(f"{len(found)} wrong on {t}" for t, found in self.wrong.items())
        return f"{self.checked} inputs, {self.from_table} of them hard: {counts}"


def runnable() -> list[str]:
    """The targets that this machine runs."""
    return [t.name for t in TARGETS if not missing_features(t.requires)]


def kernel(name: str, target: str) -> Executor:
    """The function compiled for vectors of any length."""
    x = TensorType(DType.F32, (symbol("N"),))
    return executor(one_op(f"det.{name}", [x], {}, {"N": Bounds(0, 2**40)}), target)


def check(name: str, chunks: Iterable[int], targets: Sequence[str]) -> Result:
    """Compare on the ``CHUNK`` inputs from each of these bit patterns, two chunks at a time."""
    result = Result(wrong={target: [] for target in targets})
    # An executor serves one call at a time: one for each worker.
    kernels = [{t: kernel(name, t) for t in targets} for _ in range(len(os.sched_getaffinity(0)))]

    def work(first: int) -> tuple[int, dict[str, list[tuple[int, int, int]]]]:
        mine = kernels.pop()
        try:
            x = np.arange(first, first + CHUNK, dtype=np.uint32)
            want, hard = _expected(name, x)
            return hard, {t: _wrong(mine[t], x, want) for t in targets}
        finally:
            kernels.append(mine)

    with ThreadPoolExecutor(len(kernels)) as pool:
        for hard, wrong in pool.map(work, chunks):
            result.checked += CHUNK
            result.from_table += hard
            for target, found in wrong.items():
                result.wrong[target] += found
    return result


def _wrong(compiled: Executor, x: Array, want: Array) -> list[tuple[int, int, int]]:
    got = compiled.run({"x0": x.view(np.float32)}, threads=1)["y0"].view(np.uint32)
    at = np.flatnonzero(got != want)
    return list(zip(x[at].tolist(), got[at].tolist(), want[at].tolist()))


def correctly_rounded(name: str, x: Array) -> Array:
    """The bits of the results for inputs given as bits."""
    return _expected(name, x)[0]


def reference(name: str, x: Array) -> tuple[Array, Array]:
    """The bits of the results by the C library, and for each UNDECIDED, 1 if it is near to the
    middle of two floats, or 0."""
    results, doubt = np.empty(len(x), np.uint32), np.empty(len(x), np.uint8)
    function = getattr(_library(), f"reference_{name}")
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, results, doubt)]
    function(pointers[0], ctypes.c_int64(len(x)), *pointers[1:])
    return results, doubt


def _expected(name: str, x: Array) -> tuple[Array, int]:
    """The correctly rounded results, and how many of them the table decided."""
    results, doubt = reference(name, x)
    at = np.flatnonzero(doubt == UNDECIDED)
    inputs, values = _hard_cases(name)
    place = np.minimum(np.searchsorted(inputs, x[at]), len(inputs) - 1)
    missing = x[at][inputs[place] != x[at]]
    if len(missing):
        listed = ", ".join(f"{bits:08x}" for bits in missing[:10].tolist())
        raise ValueError(f"{name} is undecided at inputs that no table has: {listed}")
    results[at] = values[place]
    return results, len(at)


@cache
def _hard_cases(name: str) -> tuple[Array, Array]:
    with np.load(HARD_CASES / f"{name}.npz") as data:
        inputs, results = data["inputs"], data["results"]
    if name in ODD or name in EVEN:
        opposite = results ^ _SIGN if name in ODD else results
        inputs, results = np.append(inputs, inputs ^ _SIGN), np.append(results, opposite)
    order = np.argsort(inputs)
    return inputs[order], results[order]


def c_compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def _library() -> Any:
    """reference.c, compiled. ``RuntimeError`` where there is no C compiler."""
    compiler = c_compiler()
    if compiler is None:
        raise RuntimeError("the exhaustive check needs a C compiler: install gcc")
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "reference.so")
        flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", library]
        subprocess.run([compiler, *flags, str(_SOURCE), "-lm"], check=True)
        return ctypes.CDLL(library)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", default=list(UNARY), metavar="function")
    parser.add_argument("--part", type=float, default=1.0, help="what part of all chunks to take")
    arguments = parser.parse_args()
    bad = 0
    for name in arguments.functions:
        start = time.monotonic()
        chunks = CHUNKS[:: max(round(1 / arguments.part), 1)]
        result = check(name, chunks, runnable())
        print(f"{name}: {result}; {time.monotonic() - start:.0f} s", flush=True)
        for target, found in result.wrong.items():
            bad += len(found)
            for x, got, want in found[:10]:
                print(f"  {target}: {name}({x:08x}) is {got:08x}, should be {want:08x}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
