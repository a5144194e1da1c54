"""The machines that kernels run on here: this one, and others that QEMU emulates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aivmc.backends.cpu.targets import TARGETS, resolve
from aivmc.runtime.environment import missing_features
from examples.published import ROOT, cache_folder
from tests.cross.c_runner import INSTALL, CNode

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PythonNode:
    """A machine with Python. ``target`` is what it takes of a kernel with all targets, by itself or
    because it is ``told`` to; ``site`` has its packages, None if they are our own."""

    name: str
    target: str
    emulator: tuple[str, ...] = ()
    python: str = sys.executable
    site: str | None = None
    told: bool = False

    def missing(self) -> str | None:
        """What must be installed, and isn't."""
        needed = [n for n in (*self.emulator[:1], self.python) if shutil.which(n) is None]
        if self.site and not Path(self.site).is_dir():
            needed.append(self.site)
        return next((f"{n}: run {INSTALL}" for n in needed), None)

    def lacks(self) -> str | None:
        """What this processor can't do, if the node is this machine."""
        features = () if self.emulator else missing_features(resolve(self.target).requires)
        return f"this machine has no {', '.join(features)}" if features else None

    def run(self, folder: Path, threads: int) -> dict[str, Any]:
        """What tests/cross/node.py prints on this machine."""
        told = [self.target] if self.told else []
        result: dict[str, Any] = json.loads(self.execute("node.py", folder, threads, *told))
        return result

    def execute(self, script: str, *arguments: object) -> str:
        """What a script of this folder prints on this machine."""
        path = [str(ROOT), *([self.site] if self.site else [])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        command = [*self.emulator, self.python, str(_FOLDER / script), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout


def _x86(cpu: str, target: str) -> PythonNode:
    return PythonNode(f"x86-64 {cpu} (QEMU)", target, ("qemu-x86_64-static", "-cpu", cpu))


def _aarch64(cpu: str) -> PythonNode:
    root = cache_folder("cross") / "aarch64"
    emulator = ("qemu-aarch64-static", "-cpu", cpu, "-L", str(root))
    name = f"aarch64 {cpu} (QEMU)"
    return PythonNode(name, "aarch64", emulator, str(root / "usr/bin/python3"), str(root / "site"))


HERE = PythonNode("this machine", resolve("native").name)
NATIVE_NODES = tuple(
    PythonNode(f"this machine as {target.name}", target.name, told=True)
    for target in TARGETS
    if target.triple == resolve("native").triple
)
# NumPy's wheels need AVX from their libraries, so that a processor of x86-64-v2 has to have it.
QEMU_NODES = (
    _x86("SandyBridge", "x86-64-v2"),
    _x86("Haswell", "x86-64-v3"),
    _aarch64("neoverse-n1"),
    _aarch64("max"),
)
# As the last one, with the compiler's packages too.
COMPILING_HOST = replace(_aarch64("max"), site=str(cache_folder("cross") / "aarch64/compiler"))

C_NODES = {
    "x86-64 Nehalem (QEMU)": CNode("x86-64-v2", "gcc", ("qemu-x86_64-static", "-cpu", "Nehalem")),
    "aarch64 cortex-a53 (QEMU)": CNode(
        *("aarch64", "aarch64-linux-gnu-gcc", ("qemu-aarch64-static", "-cpu", "cortex-a53"))
    ),
    "riscv64 (QEMU)": CNode("riscv64", "riscv64-linux-gnu-gcc", ("qemu-riscv64-static",)),
}
