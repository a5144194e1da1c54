"""Compiled kernels for the benchmark, kept for as long as model and compiler stay the same."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aivmc
import aivmc.backends
import aivmc.ir
import aivmc.passes
from examples.bench.subjects import Shape
from examples.published import ROOT, cache_folder


@dataclass(frozen=True)
class Compiled:
    """A kernel file and what compiling it cost, measured in a fresh process."""

    path: Path
    seconds: float
    peak_bytes: int


def compiled(name: str, model: Path, target: str, shapes: Mapping[str, Shape]) -> Compiled:
    """The kernel of the model; raises `CalledProcessError` where it does not compile."""
    path = cache_folder("bench") / f"{name}-{target}.aivm"
    record = path.with_suffix(".json")
    key = _key(model, shapes)
    known = json.loads(record.read_text()) if path.exists() and record.exists() else {}
    if known.get("key") != key:
        print(f"compiling {name} for {target}", file=sys.stderr)
        command = [sys.executable, "-m", "examples.bench.compile_once"]
        arguments = [str(model), str(path), target, json.dumps(shapes)]
        done = subprocess.run(
            command + arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        known = {"key": key, **json.loads(done.stdout)}
        record.write_text(json.dumps(known))
    return Compiled(path, known["seconds"], known["peak_bytes"])


def _key(model: Path, shapes: Mapping[str, Shape]) -> str:
    digest = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode())
    with model.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(_compiler_digest())
    return digest.hexdigest()


@cache
def _compiler_digest() -> bytes:
    """A digest of the compiler's own source files."""
    digest = hashlib.sha256()
    for package in (aivmc, aivmc.ir, aivmc.passes, aivmc.backends):
        folder = Path(package.__path__[0]).resolve()
        for source in sorted(folder.rglob("*.py")) + sorted(folder.rglob("*.lark")):
            digest.update(f"{source.relative_to(folder)}\0".encode())
            digest.update(source.read_bytes())
    return digest.digest()
