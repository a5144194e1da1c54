"""``aivmc run --trace`` and ``aivmc bisect``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.ir.constants import Array
from aivmc.protocol.execution import Execution, Session, Tensor
from aivmc.protocol.receipt import write_receipt
from aivmc.protocol.trace import read_trace
from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import aivmc_cli, good, refused
from tests.protocol.test_trace import lying_run
from tests.small_model import small_model

HONEST, LIAR = PrivateKey(bytes(32)), PrivateKey(b"1" * 32)
X: Mapping[str, Array] = {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel, inputs, and an honest node's receipt and trace, as the command line makes them."""
    folder = tmp_path_factory.mktemp("bisect")
    aivmc.compile(small_model()).save(folder / "k.aivm")
    np.savez(folder / "in.npz", x=X["x"])
    write_private_key(folder / "node.pem", HONEST)
    good(
        *("run", folder / "k.aivm", "--inputs", folder / "in.npz", "--output", folder / "o.npz"),
        *("--receipt", folder / "a.json", "--key", folder / "node.pem"),
        *("--trace", folder / "a.bin"),
    )
    return folder


def execution(folder: Path) -> tuple[Session, Execution]:
    session = Session(aivmc.load(folder / "k.aivm").file)
    return session, session.execute(X, traced=True)


def tell(folder: Path, done: Execution, name: str = "b", key: PrivateKey = LIAR) -> None:
    """Write a node's receipt and trace."""
    assert done.trace is not None
    (folder / f"{name}.json").write_bytes(write_receipt(done, key))
    (folder / f"{name}.bin").write_bytes(done.trace.to_bytes())


def false_execution(folder: Path, leaf: int) -> Execution:
    session, done = execution(folder)
    liar, arrays = lying_run(session, X, leaf)
    outputs = {name: Tensor.of(array) for name, array in arrays.items()}
    assert done.trace is not None
    return replace(done, outputs=outputs, trace=replace(done.trace, digests=liar.digests))


def bisect(folder: Path, a: str = "a", b: str = "b") -> tuple[object, ...]:
    traces = ("--traces", folder / f"{a}.bin", folder / f"{b}.bin")
    files = ("--kernel", folder / "k.aivm", "--inputs", folder / "in.npz")
    return ("bisect", folder / f"{a}.json", folder / f"{b}.json", *traces, *files)


def verdict(code: int, *command: object) -> Any:
    result = aivmc_cli(*command, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_help() -> None:
    assert "Example" in good("bisect", "--help")


def test_nodes_that_agree(folder: Path) -> None:
    _, done = execution(folder)
    tell(folder, done)
    data = verdict(0, *bisect(folder))
    assert data["verdict"]["wrong"] == []
    assert data["rounds"] == [
        {"begin": 0, "end": len(read_trace(folder / "a.bin").digests), "agree": True}
    ]
    assert data["signers"] == {"A": HONEST.public.hex(), "B": LIAR.public.hex()}
    assert "the nodes agree" in good(*bisect(folder))


@pytest.mark.parametrize("leaf", [0, 1])
def test_a_lie(folder: Path, leaf: int) -> None:
    tell(folder, false_execution(folder, leaf))
    data = verdict(1, *bisect(folder))
    assert (data["verdict"]["wrong"], data["verdict"]["leaf"]) == (["B"], leaf)
    assert verdict(1, *bisect(folder, "b", "a"))["verdict"]["wrong"] == ["A"]
    result = aivmc_cli(*bisect(folder))
    assert f"disputed value {leaf}: kernel." in result.stdout
    assert f"A is right: {HONEST.public.hex()}" in result.stdout
    assert f"B is WRONG: {LIAR.public.hex()}" in result.stdout


def test_both_can_be_wrong(folder: Path) -> None:
    tell(folder, false_execution(folder, 0), "b")
    once = false_execution(folder, 0)
    assert once.trace is not None
    digests = (bytes(32), *once.trace.digests[1:])
    tell(folder, replace(once, trace=replace(once.trace, digests=digests)), "c")
    assert verdict(1, *bisect(folder, "b", "c"))["verdict"]["wrong"] == ["A", "B"]


def test_a_lie_about_the_outputs_alone(folder: Path) -> None:
    _, done = execution(folder)
    lie = {"y": Tensor(done.outputs["y"].type, "00" * 32)}
    tell(folder, replace(done, outputs=lie))
    data = verdict(1, *bisect(folder))
    assert data["verdict"]["wrong"] == ["B"]
    assert data["verdict"]["value"] == "output y : f32[3, 24]"


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    session, done = execution(folder)
    tell(folder, done)
    other = false_execution(folder, 1)
    assert other.trace is not None
    (folder / "b.bin").write_bytes(other.trace.to_bytes())
    message = refused(1, *bisect(folder))
    assert f"B ({LIAR.public.hex()}): the trace is not the one that the receipt" in message
    tell(folder, done)
    np.savez(folder / "other.npz", x=X["x"] * 2)
    command = [folder / "other.npz" if w == folder / "in.npz" else w for w in bisect(folder)]
    assert "is for other inputs" in refused(1, *command)
    aivmc.compile(small_model(), seed=1).save(folder / "other.aivm")
    command = [folder / "other.aivm" if w == folder / "k.aivm" else w for w in bisect(folder)]
    assert "the receipt is for the kernel" in refused(1, *command)
    verify = ("receipt", "verify", folder / "a.json", "--trace")
    assert "ok      trace" in good(*verify, folder / "a.bin")
    assert aivmc_cli(*verify, folder / "other.bin").exit_code == 2
    session.close()
