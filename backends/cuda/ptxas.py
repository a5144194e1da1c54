"""What NVIDIA's assembler makes of PTX, where it is installed: registers and spills."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_KERNEL = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)
_LONGEST = 600  # seconds


@dataclass(frozen=True)
class Usage:
    """Of one kernel: ``registers`` of a thread, bytes of ``spills``."""

    registers: int
    spills: int


def find_ptxas() -> str | None:
    """Its path; None where it isn't installed."""
    return shutil.which("ptxas")


def usages(ptxas: str, ptx: str, architecture: str) -> dict[str, Usage] | None:
    """By kernel, of code for ``architecture``; None where this ``ptxas`` can't make it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, "ascii")
        command = [ptxas, "-v", f"-arch={architecture}", str(source), "-o", f"{folder}/out"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST)
    if done.returncode:
        return None
    return {
        name: Usage(int(registers), int(stores) + int(loads))
        for name, stores, loads, registers in _KERNEL.findall(done.stdout + done.stderr)
    }
