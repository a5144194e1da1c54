"""One model, many machines: what our kernel gives on each, and what ONNX Runtime gives.

`python -m tests.cross.table` writes the table into README.md, between its two marks. The model is
the demo's, and so is the picture that it reads. For the maintainer, after a change that moves bits
on purpose, or where there is another machine.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import onnxruntime

import aivmc
from aivmc.backends.cpu.targets import TARGETS
from aivmc.ir.constants import Array, tensor_digest
from examples.ocr.demo import PICTURE, README
from examples.ocr.recognize import HEIGHT, prepare, read_picture
from examples.published import published
from tests.cross.environments import C_NODES, HERE, QEMU_NODES, PythonNode

BEGIN, END = "<!-- Written by `python -m tests.cross.table` -->\n", "<!-- End of the table -->\n"
_SHOWN = 12  # digits of a digest
_THREADS, _BY_ONNXRUNTIME = 2, 0  # of tests/cross/node.py


@dataclass(frozen=True)
class Row:
    """What a machine gives: digests, without ONNX Runtime's where that can't run there."""

    machine: str
    target: str
    ours: str
    theirs: str | None

    def __str__(self) -> str:
        theirs = "–" if self.theirs is None else f"`{self.theirs[:_SHOWN]}`"
        return f"| {self.machine} | {self.target} | `{self.ours[:_SHOWN]}` | {theirs} |"


def rows(folder: Path, onnx_runtime: bool) -> Iterator[Row]:
    """The table's rows, measured anew; with what ONNX Runtime gives, if asked for."""
    model, inputs = published("ppocr_rec"), {"x": prepare(read_picture(PICTURE))}
    kernel = aivmc.compile(model, [t.name for t in TARGETS], {"x": (1, 3, HEIGHT, "W")})
    kernel.save(folder / "case.aivm")
    np.savez(folder / "case.npz", x=inputs["x"])
    (folder / "case.onnx").write_bytes(model.read_bytes())
    for node in (HERE, *QEMU_NODES):
        name = f"x86-64 {llvm.get_host_cpu_name()}" if node is HERE else node.name
        theirs = _digest(node, folder, _BY_ONNXRUNTIME) if onnx_runtime else None
        yield Row(name, node.target, _digest(node, folder, _THREADS), theirs)
    for name, c_node in C_NODES.items():
        outputs = c_node.run(folder / "case.aivm", inputs, folder, _THREADS)
        yield Row(name, c_node.target, _only(outputs), None)


def _digest(node: PythonNode, folder: Path, threads: int) -> str:
    answer: Any = node.run(folder, threads)
    (digest,) = answer["results"]["case"]["outputs"].values()
    return str(digest)


def _only(outputs: dict[str, Array]) -> str:
    (output,) = outputs.values()
    return tensor_digest(output)


def stated(readme: str) -> list[tuple[str, ...]]:
    """The rows in the README: machine, target, our digest and ONNX Runtime's, as shown."""
    table = readme.split(BEGIN)[1].split(END)[0]
    lines = re.findall(r"^\| (.*) \|$", table, re.MULTILINE)
    return [tuple(cell.strip("`") for cell in line.split(" | ")) for line in lines[1:]]


def with_table(readme: str, found: Sequence[Row]) -> str:
    """The README with these rows between the marks."""
    before, rest = readme.split(BEGIN)
    head = (
        f"| machine | code | aivmc | ONNX Runtime {onnxruntime.__version__} |\n|---|---|---|---|\n"
    )
    table = head + "".join(f"{row}\n" for row in found)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(Path(folder), onnx_runtime=True))
    README.write_text(with_table(README.read_text("utf-8"), found), "utf-8")


if __name__ == "__main__":
    main()
