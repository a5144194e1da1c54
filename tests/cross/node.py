"""Run by a node's Python: the digests of what kernels give there, as JSON.

    python node.py FOLDER THREADS [TARGET]

FOLDER holds ``NAME.aivm`` and its inputs, ``NAME.npz``. A kernel runs its code for TARGET, or the
one that it picks. With THREADS 0, ONNX Runtime runs ``NAME.onnx`` instead, as it is installed, on
one thread.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: str, threads: int, target: str | None = None) -> None:
    results = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path) as arrays:
            inputs = {name: arrays[name] for name in arrays.files}
        results[path.stem] = (
            _by_onnxruntime(path, inputs)
            if threads == 0
            else _by_kernel(path, inputs, threads, target)
        )
    print(json.dumps({"machine": platform.machine(), "results": results}))


def _by_kernel(
    path: Path, inputs: dict[str, Any], threads: int, target: str | None
) -> dict[str, Any]:
    from aivmc.ir.constants import tensor_digest
    from aivmc.runtime.kernel import load, pick_target

    with load(path.with_suffix(".aivm"), target) as kernel:
        # Dtypes that NumPy's files can't name are there as integers.
        typed = {n: x.view(kernel.inputs[n].dtype.numpy) for n, x in inputs.items()}
        outputs = kernel.run(typed, threads)
        picked = pick_target(kernel.file.manifest.targets, target)
    return {"target": picked, "outputs": {n: tensor_digest(x) for n, x in outputs.items()}}


def _by_onnxruntime(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    import onnxruntime

    from aivmc.ir.constants import tensor_digest

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path.with_suffix(".onnx")), options)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    return {"target": "onnxruntime", "outputs": {n: tensor_digest(x) for n, x in outputs.items()}}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
