"""Runs a kernel's code as a C program: for processors that have no Python here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aivmc.ir.binding import bind_symbols
from aivmc.ir.constants import Array
from aivmc.ir.dims import evaluate
from aivmc.ir.types import TensorType
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.runtime.plan import Plan

INSTALL = "tests/cross/install.sh"
# runner.c says what they are for.
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread")
RUNNER = Path(__file__).with_name("runner.c")
_ZEROED, _GIVEN, _OUTPUT = 0, 1, 2


@dataclass(frozen=True)
class CNode:
    """``compiler`` makes a program of C and the object for ``target``; ``emulator`` starts it."""

    target: str
    compiler: str
    emulator: tuple[str, ...]

    def missing(self) -> str | None:
        """What there must be, and isn't."""
        needed = (self.compiler, self.emulator[0])
        return next((f"{n}: run {INSTALL}" for n in needed if shutil.which(n) is None), None)

    def run(
        self, kernel: Path, inputs: Mapping[str, Array], folder: Path, threads: int = 1
    ) -> dict[str, Array]:
        """The kernel's outputs; files that come up go to ``folder``."""
        file = open_kernel(kernel)
        code, program, case = (folder / name for name in ("kernel.o", "program", "case"))
        code.write_bytes(file.members[f"targets/{self.target}/kernel.o"])
        subprocess.run([self.compiler, *FLAGS, "-o", program, RUNNER, code, "-lm"], check=True)
        outputs = _write_case(case, file, self.target, inputs)
        command = [*self.emulator, str(program), str(case), str(threads)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.target}: exit {done.returncode}: {done.stderr.decode()}")
        return _split(done.stdout, outputs)


def _write_case(
    path: Path, file: KernelFile, target: str, inputs: Mapping[str, Array]
) -> dict[str, tuple[TensorType, tuple[int, ...]]]:
    """Write the runner's file; gives the outputs' types and shapes in their order there."""
    signature = file.manifest.signature
    plan = Plan.from_json(file.json(f"targets/{target}/plan.json"))
    bounds = {name: (b.low, b.high) for name, b in signature.symbols.items()}
    shapes = {name: array.shape for name, array in inputs.items()}
    values = bind_symbols(signature.inputs, shapes, signature.constraints, bounds)
    sizes, constants = plan.sizes(values), file.arrays()
    outputs = {
        name: (type, tuple(evaluate(d, values) for d in type.shape))
        for name, type in signature.outputs
    }
    blocks: list[tuple[int, int]] = [(sizes.arena, _ZEROED)]
    blocks += [
        (int(np.prod(shape)) * type.dtype.numpy.itemsize, _OUTPUT)
        for type, shape in outputs.values()
    ]
    data: list[bytes] = []
    places: list[tuple[int, int]] = []
    for kind, which in plan.buffers:
        if kind == "arena":
            places.append((0, sizes.offsets[int(which)]))
        elif kind == "output":
            places.append((1 + int(which), 0))
        else:
            name = signature.inputs[int(which)][0] if kind == "input" else ""
            data.append((inputs[name] if name else constants[str(which)]).tobytes())
            places.append((len(blocks), 0))
            blocks.append((len(data[-1]), _GIVEN))
    counts = (len(blocks), len(places), len(sizes.dims), len(sizes.tasks), sizes.scratch)
    tables: list[Sequence[int]] = [counts, *blocks, *places, sizes.dims, sizes.tasks]
    words = [word for table in tables for word in table]
    path.write_bytes(np.array(words, "<i8").tobytes() + b"".join(data))
    return outputs


def _split(
    raw: bytes, outputs: Mapping[str, tuple[TensorType, tuple[int, ...]]]
) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    at = 0
    for name, (type, shape) in outputs.items():
        dtype, count = type.dtype.numpy, int(np.prod(shape))
        arrays[name] = np.frombuffer(raw, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize
    if at != len(raw):
        raise ValueError(f"{len(raw)} bytes of outputs, not {at}")
    return arrays
