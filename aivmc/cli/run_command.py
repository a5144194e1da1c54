"""``aivmc run``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aivmc.cli.npz import read_npz, write_npz
from aivmc.cli.output import print_json, print_table, print_text
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import SEED_BYTES
from aivmc.ir.types import DType, TensorType
from aivmc.runtime.kernel import load

_SEED = re.compile(rf"[0-9a-fA-F]{{{2 * SEED_BYTES}}}")


def run(
    kernel_path: Path,
    inputs_path: Path,
    output_path: Path,
    threads: int | None,
    seed: str | None,
    as_json: bool,
) -> None:
    seed_bytes = None if seed is None else _seed_bytes(seed)
    with load(kernel_path) as kernel:
        inputs = read_npz(inputs_path, kernel.inputs)
        outputs = kernel.run(inputs, threads, seed_bytes)
        identity = kernel.identity
    write_npz(output_path, outputs)
    described = {"inputs": _describe(inputs), "outputs": _describe(outputs)}
    if as_json:
        print_json({"kernel": identity, **described, "output": str(output_path)})
        return
    print_text(identity)
    rows = [
        (kind[:-1], name, tensor["type"], tensor["sha256"])
        for kind, tensors in described.items()
        for name, tensor in tensors.items()
    ]
    print_table(("", "name", "type", "sha256"), rows)


def _seed_bytes(text: str) -> bytes:
    if not _SEED.fullmatch(text):
        raise AivmcError(f"--seed {text!r} is not {2 * SEED_BYTES} hex digits: {SEED_BYTES} bytes")
    return bytes.fromhex(text)


def _describe(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Type and canonical digest of each array, by name."""
    return {
        name: {
            "type": str(TensorType(DType.of(array.dtype), np.shape(array))),
            "sha256": tensor_digest(array),
        }
        for name, array in sorted(arrays.items())
    }
