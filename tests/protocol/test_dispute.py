"""A dispute as nodes have it: signed receipts, files of traces, `aivmc bisect`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aivmc import referee
from aivmc.ir.core import Op
from aivmc.ir.interpret import interpret_op
from aivmc.passes.trace_points import moves_only
from aivmc.protocol.execution import Session, Tensor
from tests.cli.test_bisect import HONEST, LIAR, bisect, tell, verdict
from tests.guarantees.examples_kit import Examples
from tests.protocol.test_trace import TARGETS, compiled, inputs_of, lying_run


@pytest.mark.parametrize(
    "name", ["resnet50_small", pytest.param("resnet50", marks=pytest.mark.slow)]
)
def test_a_tampered_op(
    name: str, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in few rounds, and the referee computes that op alone."""
    kernel = compiled(name, examples)
    inputs = inputs_of(kernel)
    kernel.save(tmp_path / "k.aivm")
    np.savez(tmp_path / "in.npz", **inputs)  # type: ignore[arg-type]
    session = Session(kernel.file, TARGETS[0])
    honest = session.execute(inputs, traced=True)
    assert honest.trace is not None
    ops = len(honest.trace.digests)
    tampered = ops // 3
    liar, arrays = lying_run(session, inputs, tampered)
    outputs = {n: Tensor.of(array) for n, array in arrays.items()}
    lie = replace(honest, outputs=outputs, trace=replace(honest.trace, digests=liar.digests))
    tell(tmp_path, honest, "a", HONEST)
    tell(tmp_path, lie, "b", LIAR)
    computed = []

    def count(op: Op, *rest: Any) -> Any:
        computed.extend([op] if op.regions and not moves_only(op) else [])
        return interpret_op(op, *rest)

    monkeypatch.setattr(referee, "interpret_op", count)
    data = verdict(1, *bisect(tmp_path))
    assert data["verdict"]["wrong"] == ["B"]
    assert data["verdict"]["leaf"] == tampered
    assert len(data["rounds"]) <= math.ceil(math.log2(ops)) + 1
    assert len(computed) == 1
