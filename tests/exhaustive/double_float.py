"""Functions in pairs of f32, compiled for this CPU, on ranges of the 2^32 f32 inputs.

    python -m tests.exhaustive.double_float exp tanh --part 0.01

counts the inputs whose results are not decided, which the definition would compute, and compares
the others with the definition's results; without ``--part`` for all inputs, a minute a function on
two cores. The operations are those of IEEE 754 on f32, the same in PTX.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np

from aivmc.backends.cpu import targets
from aivmc.backends.double_float.functions import FUNCTIONS
from aivmc.ir.constants import Array
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.emit import Emit, Scalar
from aivmc.ir.types import DType
from aivmc.runtime.executor import Executor
from tests.exhaustive.check import CHUNK, CHUNKS, kernel, runnable

_UNDECIDED = 0xFFC1_2345  # no result's bits


@dataclass
class Result:
    """Of one function: how many inputs were checked, how many of them are not decided, and on which
    it decides wrongly."""

    checked: int = 0
    undecided: int = 0
    wrong: list[tuple[int, int, int]] = field(default_factory=list)  # input, got, want

    def __str__(self) -> str:
        counts = f"{self.undecided} not decided, {len(self.wrong)} decided wrongly"
        return f"{self.checked} inputs: {counts}"


def check(name: str, chunks: Iterable[int]) -> Result:
    """Compare on the ``CHUNK`` inputs from each of these bit patterns."""
    result, definition, deciding = Result(), kernel(name, runnable()[0]), _kernel(name)
    for first in chunks:
        x = np.arange(first, first + CHUNK, dtype=np.uint32)
        want, got = (_bits(function, x) for function in (definition, deciding))
        decided = got != _UNDECIDED
        at = np.flatnonzero(decided & (got != want))
        result.wrong += list(zip(x[at].tolist(), got[at].tolist(), want[at].tolist()))
        result.undecided += int(np.sum(~decided))
        result.checked += CHUNK
    return result


def _bits(function: Executor, x: Array) -> Array:
    threads = len(os.sched_getaffinity(0))
    return function.run({"x0": x.view(np.float32)}, threads)["y0"].view(np.uint32)


def _kernel(name: str) -> Executor:
    """The function as for a processor with slow f64, its definition replaced by _UNDECIDED."""

    def undecided(e: Emit, x: Scalar) -> Scalar:
        return e.bitcast(e.const(_UNDECIDED, DType.U32), DType.F32)

    slow = tuple(replace(t, lacks=(*t.lacks, "f64")) for t in targets.TARGETS)
    with (
        patch.object(targets, "TARGETS", slow),
        patch.dict(ELEMENTARY, {(name, DType.F32): undecided}),
    ):
        return kernel(name, runnable()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", default=list(FUNCTIONS), metavar="function")
    parser.add_argument("--part", type=float, default=1.0, help="what part of all chunks to take")
    arguments = parser.parse_args()
    bad = 0
    for name in arguments.functions:
        start = time.monotonic()
        result = check(name, CHUNKS[:: max(round(1 / arguments.part), 1)])
        print(f"{name}: {result}; {time.monotonic() - start:.0f} s", flush=True)
        bad += len(result.wrong)
        for x, got, want in result.wrong[:10]:
            print(f"  {name}({x:08x}) is {got:08x}, should be {want:08x}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
