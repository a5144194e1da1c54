"""What docs/write-a-pass.md says is so: its plug-in and its commands run as written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError, IRError
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse, print_module
from aivmc.passes.manager import run_pipeline
from aivmc.passes.pipelines import parse_pipeline
from aivmc.passes.plugins import load_plugin
from aivmc.passes.rewriting import explain

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "write-a-pass.md").read_text()
PLUGIN = ROOT / "examples" / "passes" / "multiply_by_reciprocal.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The passes of the document's module, imported from a copy of it."""
    (tmp_path / "pass_from_document.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(tmp_path)
    return load_plugin("pass_from_document")


@pytest.fixture
def module() -> Module:
    return parse(blocks("air")[0])


def test_the_example_file_is_the_documents() -> None:
    assert PLUGIN.read_text() == blocks("python")[0]


def test_the_command_prints_what_the_document_says(plugin, module) -> None:
    command, printed = blocks("console")[0].split("\n", 1)
    (text,) = re.findall(r'-p "([^"]+)"', command)
    after, _ = run_pipeline(module, parse_pipeline(text, plugin))
    assert print_module(after) == printed


def test_bits_stay(plugin) -> None:
    values = [0.0, -0.0, 1.0, np.inf, -np.inf, 1e-45, -3e-39, 3.4028235e38, 1.1754944e-38, 0.1]
    inputs = {"x": np.array(values, np.float32)}
    for exponent in (-126, -24, -1, 0, 1, 3, 24, 126):
        text = blocks("air")[0].replace("8.0", repr(2.0**exponent)).replace("[3]>", "[10]>")
        before = parse(text.replace("f32[3]", "f32[10]"))
        after, _ = run_pipeline(before, (plugin[0](),))
        assert not any(op.name == "det.div" for op in after.main.region.ops[:2])
        expected, got = interpret(before, inputs), interpret(after, inputs)
        assert got["y"].tobytes() == expected["y"].tobytes(), exponent


def test_reasons(plugin, module) -> None:
    reasons = {op.name: reason for op, reason in explain(plugin[0](largest=2), module)}
    assert reasons == {
        "det.constant": "not a division of f32",
        "det.div": "the divisor 3.0 is not a power of two in range",
    }


def test_requirement(plugin, module) -> None:
    with pytest.raises(IRError, match=r"before pass multiply-by-reciprocal\{largest=127\}: larg"):
        run_pipeline(module, parse_pipeline("multiply-by-reciprocal{largest=127}", plugin))


def test_the_ledger_shows_where_the_pass_is_from(plugin, module) -> None:
    _, ledger = run_pipeline(module, (plugin[0](),))
    assert ledger.steps == [
        {
            "pass": "multiply-by-reciprocal",
            "version": 1,
            "options": {"largest": 126},
            "plugin": {"module": "pass_from_document", "version": "1.0"},
        }
    ]
    (entry,) = ledger.entries
    assert entry.before != entry.after


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "has no tuple PASSES"),
        ("PASSES = ()", "has no tuple PASSES"),
        ("PASSES = (int,)", "is not a subclass"),
        (
            "from aivmc.passes.base import Pass\nclass A(Pass):\n    pass\nPASSES = (A,)",
            "has no name",
        ),
        (
            "from aivmc.passes.base import Pass\nclass A(Pass):\n    name = 'a'\nPASSES = (A,)",
            "is not a frozen dataclass",
        ),
        (
            "from dataclasses import dataclass\nfrom aivmc.passes.base import Pass\n"
            "@dataclass(frozen=True)\nclass A(Pass):\n    name = 'a'\n    k: int\nPASSES = (A,)",
            "has an option without",
        ),
        ("import nothing_of_this_name", "can't import"),
        ("1 +", "can't import"),
        ("1 / 0", "can't import"),
    ],
)
def test_bad_plugins(source, message, tmp_path, monkeypatch) -> None:
    (tmp_path / "bad_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_plugin", raising=False)
    with pytest.raises(AivmcError, match=message):
        load_plugin("bad_plugin")


def test_two_passes_of_one_name(plugin) -> None:
    with pytest.raises(AivmcError, match="two passes are named"):
        parse_pipeline("canonicalize", (*plugin, type("Other", (plugin[0],), {})))
