"""The largest errors of the functions on f64 that a search finds, through compiled kernels.

    python -m tests.exhaustive.errors exp pow --rounds 20

takes inputs of all magnitudes and of the ranges in which the functions bend, a million a round, and
from the second round on half of them near those with the largest errors so far. The exact values
are those of libquadmath; see errors.c.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.core import Bounds
from aivmc.ir.dims import symbol
from aivmc.ir.elementary import NAMES
from aivmc.ir.types import DType, TensorType
from aivmc.runtime.executor import Executor
from tests.compiled_op import executor, one_op
from tests.exhaustive.check import c_compiler, runnable

ROUND = 2**20
_WORST = 256  # inputs that the next round looks around
_SOURCE = Path(__file__).with_name("errors.c")


def search(name: str, rounds: int, seed: int = 0) -> tuple[float, tuple[float, ...]]:
    """The largest error in ulps, and the operands that have it."""
    random = np.random.default_rng(seed)
    compiled = kernel(name, runnable()[0])
    worst, errors = np.zeros((2, 0)), np.zeros(0)
    for _ in range(rounds):
        operands = samples(name, random)
        if len(errors):
            operands[:, ::2] = _near(worst, ROUND // 2, random)
        found = errors_of(name, compiled, operands)
        worst, errors = np.concatenate([worst, operands], 1), np.concatenate([errors, found])
        kept = np.argsort(errors)[-_WORST:]
        worst, errors = worst[:, kept], errors[kept]
    return float(errors[-1]), tuple(worst[: 2 if name == "pow" else 1, -1].tolist())


def samples(name: str, random: np.random.Generator) -> Array:
    """[2, ROUND]: any bits, any magnitude within reach of exponentials, uniform ones; for pow with
    exponents that keep the result within the range of f64."""
    bits = random.integers(0, 2**64, ROUND, np.uint64, endpoint=False).view(np.float64)
    signs = random.choice([-1.0, 1.0], ROUND)
    scaled = signs * np.exp2(random.uniform(-30, 10.6, ROUND))
    uniform = random.uniform(-2, 2, ROUND)
    wide = random.uniform(-760, 760, ROUND)
    above_one = 1 + np.exp2(random.uniform(-52, 0, ROUND)) * signs
    x = random.choice([0, 1, 2, 3, 4], ROUND, p=[0.2, 0.3, 0.2, 0.2, 0.1])
    x = np.choose(x, [bits, scaled, uniform, wide, above_one])
    if name != "pow":
        return np.stack([x, x])
    x = np.abs(x)
    with np.errstate(all="ignore"):
        y = random.uniform(-1076, 1025, ROUND) / np.log2(x)
    return np.stack([x, np.where(np.isfinite(y), y, 1.0)])


def _near(worst: Array, count: int, random: np.random.Generator) -> Array:
    """Inputs at random distances from these."""
    chosen = worst[:, random.integers(0, worst.shape[1], count)]
    distance = np.exp2(random.uniform(-52, -4, (2, count))) * random.choice([-1.0, 1.0], (2, count))
    near: Array = chosen * (1 + distance)
    return near


def errors_of(name: str, compiled: Executor, operands: Array) -> Array:
    """The errors in ulps; infinity where a NaN or a sign is wrong."""
    names = ("x0", "x1") if name == "pow" else ("x0",)
    arrays = [np.ascontiguousarray(a) for a in operands[: len(names)]]
    got = compiled.run(dict(zip(names, arrays)), threads=1)["y0"]
    errors = np.empty(len(got))
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, got, errors)]
    getattr(_library(), f"errors_{name}")(*pointers, ctypes.c_int64(len(got)))
    return errors


def kernel(name: str, target: str) -> Executor:
    """The function on f64 compiled for vectors of any length."""
    x = TensorType(DType.F64, (symbol("N"),))
    types = [x, x] if name == "pow" else [x]
    return executor(one_op(f"det.{name}", types, {}, {"N": Bounds(0, 2**40)}), target)


@cache
def _library() -> Any:
    """errors.c, compiled. ``RuntimeError`` where there is no compiler."""
    compiler = c_compiler()
    if compiler is None:
        raise RuntimeError("the search needs GCC with libquadmath")
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "errors.so")
        flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", library]
        subprocess.run([compiler, *flags, str(_SOURCE), "-lquadmath", "-lm"], check=True)
        return ctypes.CDLL(library)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", default=list(NAMES), metavar="function")
    parser.add_argument("--rounds", type=int, default=8, help="of a million inputs each")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.functions:
        error, operands = search(name, arguments.rounds, arguments.seed)
        print(f"{name}: {error:.3f} at {', '.join(x.hex() for x in operands)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
