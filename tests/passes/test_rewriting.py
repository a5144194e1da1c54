"""Rewriting op by op: regions, results, names, and what is told of ops left alone."""

from __future__ import annotations

import pytest

from aivmc.ir.errors import IRError
from aivmc.ir.text import parse, print_module
from aivmc.ir.verify import verify
from aivmc.passes.recognize_idioms import RecognizeIdioms
from aivmc.passes.rewriting import NoMatch, explain, rewrite_module

TEXT = """
module det {
  func @main(%p: bool[], %x: f32[2]) -> (y: f32[2], z: f32[2]) {
    %0 = det.neg(%x) : f32[2]
    %1, %2 = det.if(%p, %0) : f32[2], f32[2] {
      (%a: f32[2]):
        %3 = det.exp(%0) : f32[2]
        yield %3, %a
    } {
      (%b: f32[2]):
        %4 = det.exp(%b) : f32[2]
        yield %b, %4
    }
    return %2, %1
  }
}
"""


def test_a_rule_that_never_matches_keeps_the_program() -> None:
    module = parse(TEXT)
    same = rewrite_module(module, lambda op, b: NoMatch("never"))
    assert same == module
    before = {id(v) for op in module.walk() for v in op.results}
    assert before.isdisjoint(id(v) for op in same.walk() for v in op.results)


def test_regions_see_the_new_values() -> None:
    """exp becomes neg, neg becomes abs: in regions and out, over replaced outer values."""

    def rule(op, b):
        swaps = {"det.exp": "det.neg", "det.neg": "det.abs"}
        return b.op(swaps[op.name], *op.operands) if op.name in swaps else NoMatch("other")

    out = rewrite_module(parse(TEXT), rule)
    verify(out)
    expected = TEXT.replace("det.neg", "det.abs").replace("det.exp", "det.neg")
    assert print_module(out) == print_module(parse(expected))


def test_the_rule_must_give_every_result() -> None:
    with pytest.raises(IRError, match=r"det.if at .*: 1 results in place of 2"):
        rewrite_module(
            parse(TEXT), lambda op, b: op.operands[1] if op.regions else NoMatch("plain")
        )


def test_reasons_are_collected_in_order() -> None:
    module = parse(TEXT)
    reasons = explain(RecognizeIdioms(), module)
    # The ops of a region come before the op that holds it.
    assert [op.name for op, _ in reasons] == ["det.neg", "det.exp", "det.exp", "det.if"]
    assert {reason for _, reason in reasons} == {"not a product"}
