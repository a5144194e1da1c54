"""README's table of machines: one digest of ours, the demo's, and what the machines here give."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.ocr.demo import README, stated_values
from tests.cross.environments import C_NODES, HERE, QEMU_NODES
from tests.cross.table import rows, stated

OURS, THEIRS = 2, 3


def test_the_table_has_the_digest_of_the_demo() -> None:
    """And others of ONNX Runtime's, or it would show nothing."""
    readme = README.read_text("utf-8")
    table = stated(readme)
    (ours,) = {row[OURS] for row in table}
    assert stated_values(readme, "demo")["output"].startswith(f"sha256:{ours}")
    assert len({row[THEIRS] for row in table} - {"–"}) > 1
    assert {name for name, *_ in table} > {node.name for node in QEMU_NODES} | set(C_NODES)


@pytest.mark.cross
def test_the_machines_here_give_what_the_table_states(tmp_path: Path) -> None:
    assert all(node.missing() is None for node in (HERE, *QEMU_NODES))
    assert all(node.missing() is None for node in C_NODES.values())
    (ours,) = {row[OURS] for row in stated(README.read_text("utf-8"))}
    for row in rows(tmp_path, onnx_runtime=False):
        assert row.ours.startswith(ours), row
