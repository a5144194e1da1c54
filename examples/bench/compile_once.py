"""Compile one model in a process of its own, and say what that cost.

`python -m examples.bench.compile_once MODEL.onnx KERNEL.aivm TARGET SHAPES`, shapes as JSON,
prints {"seconds": …, "peak_bytes": …}: the compile call's time, the process's peak memory.
"""

import json
import resource
import sys
import time
from pathlib import Path

import aivmc


def main() -> None:
    model, path, target, shapes = sys.argv[1:]
    fixed = {name: tuple(dims) for name, dims in json.loads(shapes).items()}
    start = time.perf_counter()
    aivmc.compile(model, target=target, shapes=fixed).save(path)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """The largest resident size this process had.

    Linux hands ru_maxrss of the parent on to its children, so the kernel's own count comes first.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    counts = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    unit = 1 if sys.platform == "darwin" else 1024
    return counts[0] if counts else unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
