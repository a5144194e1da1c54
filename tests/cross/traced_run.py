"""Run by a node's Python: a trace of one run there, as `aivmc run --trace` writes it.

python traced_run.py KERNEL INPUTS TRACE THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from aivmc.protocol.execution import open_session


def main(kernel: str, inputs: str, trace: str, threads: int) -> None:
    with open_session(kernel) as session, np.load(inputs) as arrays:
        done = session.execute(dict(arrays), threads, traced=True)
    assert done.trace is not None
    Path(trace).write_bytes(done.trace.to_bytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
