"""``aivmc run``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aivmc.cli.documents import hex_bytes, read_document, seed_bytes
from aivmc.cli.npz import read_npz, write_npz
from aivmc.cli.output import print_json, print_table, print_text
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.atomic import atomic_file
from aivmc.protocol.execution import Execution, Tensor, open_session
from aivmc.protocol.receipt import write_receipt
from aivmc.trust.keys import PrivateKey, read_private_key
from aivmc.trust.request import Proof
from aivmc.trust.sources import parse_request


@dataclass(frozen=True)
class Randomness:
    """What a run draws from, as options give it."""

    seed: str | None = None
    request: Path | None = None
    beacon: str | None = None
    proof: str | None = None
    nonces: Path | None = None

    def arguments(self) -> dict[str, Any]:
        """As :meth:`aivmc.protocol.execution.Session.execute` takes it."""
        given = {
            "seed": None if self.seed is None else seed_bytes(self.seed),
            "nonces": self.nonces,
        }
        if self.request is None:
            for option, value in (("beacon", self.beacon), ("proof", self.proof)):
                if value is not None:
                    raise AivmcError(f"--{option} goes with --request, which is not given")
            if self.nonces is not None:
                raise AivmcError("--nonces goes with --request, which is not given")
            return given
        request = parse_request(read_document(self.request))
        if self.proof is None:
            return {**given, "request": request}
        beacon = hex_bytes(self.beacon or "", "--beacon")
        return {**given, "proof": Proof(request, hex_bytes(self.proof, "--proof"), beacon)}


@dataclass(frozen=True)
class Signed:
    """Where a receipt goes, and the trace that it commits to; and the key that signs."""

    receipt: Path | None = None
    key: Path | None = None
    trace: Path | None = None

    def read_key(self) -> PrivateKey | None:
        """The key, where there is a receipt to sign."""
        if (self.receipt is None) != (self.key is None):
            raise AivmcError("--receipt and --key go together")
        return None if self.key is None else read_private_key(self.key)

    def write(self, execution: Execution, key: PrivateKey | None) -> None:
        if self.trace is not None and execution.trace is not None:
            with atomic_file(self.trace) as file:
                file.write(execution.trace.to_bytes())
        if self.receipt is not None and key is not None:
            with atomic_file(self.receipt) as file:
                file.write(write_receipt(execution, key))


def run(
    kernel_path: Path,
    inputs_path: Path,
    output_path: Path,
    threads: int | None,
    device: str,
    randomness: Randomness,
    signed: Signed,
    as_json: bool,
) -> None:
    arguments, key = randomness.arguments(), signed.read_key()
    with open_session(kernel_path, device=device) as session:
        inputs = read_npz(inputs_path, session.kernel.inputs)
        traced = signed.trace is not None
        execution = session.execute(inputs, threads, traced=traced, **arguments)
    write_npz(output_path, execution.arrays)
    signed.write(execution, key)
    if as_json:
        files = {"output": output_path, "receipt": signed.receipt, "trace": signed.trace}
        print_json(_facts(execution) | {n: str(path) for n, path in files.items() if path})
    else:
        _print(execution)


def _facts(execution: Execution) -> dict[str, Any]:
    return {
        "kernel": execution.kernel,
        "inputs": _described(execution.inputs),
        "outputs": _described(execution.outputs),
    }


def _print(execution: Execution) -> None:
    print_text(execution.kernel)
    rows = [
        (kind, name, tensor.type, tensor.sha256)
        for kind, tensors in (("input", execution.inputs), ("output", execution.outputs))
        for name, tensor in sorted(tensors.items())
    ]
    print_table(("", "name", "type", "sha256"), rows)


def _described(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: asdict(tensor) for name, tensor in sorted(tensors.items())}
