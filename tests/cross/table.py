"""One model, many machines: what our kernel gives on each, and what ONNX Runtime gives.

`python -m tests.cross.table [MODEL.onnx]` prints the table as Markdown. Without a model, it is the
small text recognizer of the examples.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import aivmc
from aivmc.backends.cpu.targets import TARGETS
from aivmc.ir.constants import tensor_digest
from examples.ocr.demo import SMALL as RECOGNIZER
from tests.cross.c_runner import CNode
from tests.cross.environments import C_NODES, PYTHON_NODES, PythonNode
from tests.guarantees.examples_kit import inputs_for

_SHOWN = 12  # digits of a digest
Row = tuple[str, str, str]  # machine, our digest, ONNX Runtime's


def rows(model: Path, folder: Path) -> list[Row]:
    """The table's rows. ``SystemExit`` where a machine is missing."""
    nodes: list[PythonNode | CNode] = [*PYTHON_NODES, *C_NODES.values()]
    missing = [m for node in nodes if (m := node.missing())]
    if missing:
        raise SystemExit("a machine is missing: " + ", ".join(missing))
    kernel = aivmc.compile(model, [t.name for t in TARGETS])
    inputs = inputs_for(kernel.inputs)
    kernel.save(folder / "case.aivm")
    np.savez(folder / "case.npz", **inputs)  # type: ignore[arg-type]
    (folder / "case.onnx").write_bytes(model.read_bytes())
    found = [
        (node.name, _digest(node.run(folder, 1)), _digest(node.run(folder, 0)))
        for node in PYTHON_NODES
    ]
    for name, node in C_NODES.items():
        outputs = node.run(folder / "case.aivm", inputs, folder)
        found.append((name, _one({n: tensor_digest(x) for n, x in outputs.items()}), "–"))
    return found


def _digest(answer: Any) -> str:
    return _one(answer["results"]["case"]["outputs"])


def _one(outputs: dict[str, str]) -> str:
    """A digest of the digests of all outputs, in order of name; that of one output is its own."""
    digests = [outputs[name] for name in sorted(outputs)]
    if len(digests) == 1:
        return digests[0].removeprefix("sha256:")
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def markdown(found: list[Row]) -> str:
    lines = ["| machine | aivmc | ONNX Runtime |", "|---|---|---|"]
    lines += [f"| {name} | `{ours[:_SHOWN]}` | {_code(theirs)} |" for name, ours, theirs in found]
    return "\n".join(lines)


def _code(digest: str) -> str:
    return digest if digest == "–" else f"`{digest[:_SHOWN]}`"


def main() -> None:
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else RECOGNIZER
    with tempfile.TemporaryDirectory() as folder:
        print(markdown(rows(model, Path(folder))))


if __name__ == "__main__":
    main()
