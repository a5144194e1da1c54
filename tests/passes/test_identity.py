"""The semantic digest sees what a program means and nothing else; canonical programs show it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivmc.ir.core import Bounds, Module
from aivmc.ir.text import parse, print_module
from aivmc.ir.verify import verify
from aivmc.passes.canonicalize import Canonicalize
from aivmc.passes.identity import semantic_digest
from tests.passes.programs import programs, rewritten
from tests.passes.test_golden import assert_same_bits

TEXT = """
module canonical {
  symbols {M, N: 1..8}
  constraints {M == 2*N}
  func @main(%x: f32[N, 3], %y: f32[M], %p: bool[]) -> (y: f32[N, 3], z: f32[M], n: i64[1]) {
    %0 = det.constant {value = const<f32[3], [1.0, 2.0, 0.0]>} : f32[3]
    %1 = det.mul(%x, %0) : f32[N, 3]
    %2 = det.leaky_relu(%1) {slope = 0.5} : f32[N, 3]
    %3 = det.reduce_sum(%2) {axes = [1], keepdims = true, order = "lanes16"} : f32[N, 1]
    %4 = det.sub(%2, %3) : f32[N, 3]
    %5 = det.dims {dims = [N]} : i64[1]
    %6 = det.if(%p) : f32[M] {
        %7 = det.exp(%y) : f32[M]
        yield %7
    } {
        yield %y
    }
    return %4, %6, %5
  }
}
"""


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(0, 1000))
def test_the_way_of_writing_does_not_matter(module: Module, seed: int) -> None:
    other = rewritten(module, seed)
    verify(other)
    assert semantic_digest(other) == semantic_digest(module)
    canonical, other_canonical = Canonicalize().run(module), Canonicalize().run(other)
    assert semantic_digest(other_canonical) == semantic_digest(canonical)
    assert anonymous(other_canonical) == anonymous(canonical)


def anonymous(module: Module) -> str:
    """The text without locations and the names that users see."""
    text = re.sub(r' loc\("[^"]*"\)', "", print_module(module))
    text = re.sub(r"\bN(_\d)?\b", "N", text)
    text = re.sub(r"%([xy])\d?\b", r"%\1", text)
    return re.sub(r"\b(out|renamed)(\d)", r"out\2", text)


@settings(max_examples=100, deadline=None)
@given(programs())
def test_canonicalize_keeps_bits_and_is_idempotent(module: Module) -> None:
    text = print_module(module)
    canonical = Canonicalize().run(module)
    assert print_module(module) == text, "the pass changed its input"
    verify(canonical)
    assert Canonicalize().run(canonical) == canonical
    assert_same_bits(module, canonical)
    computed = [(op.name, str(op.attributes), *map(id, op.operands)) for op in canonical.walk()]
    assert len(set(computed)) == len(computed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1.0, 2.0, 0.0]", "[1.0, 2.0, -0.0]"),
        ("[1.0, 2.0, 0.0]", "[1.0000001192092896, 2.0, 0.0]"),
        ("slope = 0.5", "slope = 0.25"),
        ("lanes16", "seq"),
        ("det.sub(%2, %3)", "det.sub(%3, %2)"),
        ("det.sub(", "det.add("),
        ("det.exp", "det.exp2"),
        ("1..8", "1..9"),
        ("symbols {M,", "symbols {M: 0..100,"),
        ("M == 2*N", "M == 3*N"),
        ("dims = [N]", "dims = [M]"),
        ("return %4, %6, %5", "return %2, %6, %5"),
        ("det.if(%p) : f32[M] {\n        %7 = det.exp(%y) : f32[M]\n        yield %7\n    } {\n"
         "        yield %y\n    }",
         "det.if(%p) : f32[M] {\n        yield %y\n    } {\n        %7 = det.exp(%y) : f32[M]\n"
         "        yield %7\n    }"),
        ("module canonical", "module det"),
    ],
)  # fmt: skip
def test_every_difference_in_meaning_is_seen(old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    changed = parse(TEXT.replace(old, new))
    verify(changed)
    assert semantic_digest(changed) != semantic_digest(parse(TEXT))


def test_the_digest_is_this_one_in_every_process() -> None:
    """Also under another hash seed; a change of the digest's definition shows here."""
    code = f"from aivmc.ir.text import parse; from aivmc.passes.identity import *; " \
        f"print(semantic_digest(parse({TEXT!r})))"  # fmt: skip
    found = {semantic_digest(parse(TEXT))}
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout.strip())
    assert found == {"0d22b5712dd59bdd811b83cee421b6b16223a1c042918bb94dbb69192e77955a"}


def test_unused_symbols_do_not_count() -> None:
    module = parse(TEXT)
    module.symbols["Z"] = Bounds(3, 4)
    assert semantic_digest(module) == semantic_digest(parse(TEXT))
    assert "Z" not in Canonicalize().run(module).symbols
