"""The hard cases: inputs whose results lie within 2^-40 (relative) of the middle of two floats.

    python -m tests.exhaustive.hard_cases exp log

finds all of a function among the 2^32 inputs, by the C library in f64, decides each with mpmath,
and writes tests/data/hard_cases; some minutes a function. Of odd and even functions the table has
the inputs without a sign only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.elementary import UNARY
from tests.exhaustive.check import CHUNK, CHUNKS, EVEN, HARD_CASES, ODD, reference
from tests.ir.exact_functions import expected


def find(name: str, chunks: Iterable[int]) -> tuple[Array, Array]:
    """The inputs among the ``CHUNK`` from each of these bit patterns, and the correctly rounded
    results, both as bits."""
    inputs = np.concatenate([_near(name, first) for first in chunks])
    exact = [expected(name, float(x)) for x in inputs.view(np.float32)]
    return inputs, np.array(exact, np.float32).view(np.uint32)


def _near(name: str, first: int) -> Array:
    x = np.arange(first, first + CHUNK, dtype=np.uint32)
    return x[np.flatnonzero(reference(name, x)[1])]


def chunks_of(name: str) -> range:
    """Those that the function's table covers."""
    return CHUNKS[: len(CHUNKS) // 2] if name in ODD or name in EVEN else CHUNKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", default=list(UNARY), metavar="function")
    for name in parser.parse_args().functions:
        inputs, results = find(name, chunks_of(name))
        np.savez_compressed(HARD_CASES / f"{name}.npz", inputs=inputs, results=results)
        print(f"{name}: {len(inputs)} hard cases", flush=True)


if __name__ == "__main__":
    main()
