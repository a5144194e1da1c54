"""Run both branches of every ``det.if`` and select between their results.

All ops are total, so a branch that is not taken does no harm as long as its sizes make sense: they
may depend on symbols only where nothing is sliced or indexed by them. No bit changes: this pass
stands to the right of the canonical line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.core import Op
from aivmc.ir.dims import Expr
from aivmc.ir.errors import UnsupportedError
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter, is_elementwise


@dataclass(frozen=True)
class InlineBranches(RewritePass):
    """Turn ``det.if`` into ``det.select``."""

    name: ClassVar[str] = "inline-branches"

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name != "det.if":
            return NoMatch("there is nothing to choose")
        for inner in (o for region in op.regions for o in region.body):
            if not is_elementwise(inner) and any(_symbolic(inner)):
                raise UnsupportedError(
                    f"{op.location}: {op.name} with sizes that depend on the input"
                    f" ({inner.name} at {inner.location})"
                )
        condition, *arguments = op.operands
        yes, no = (b.inline(region, arguments) for region in op.regions)
        return tuple(b.op("det.select", condition, x, y) for x, y in zip(yes, no))


def _symbolic(op: Op) -> Iterator[bool]:
    for value in (*op.operands, *op.results):
        yield not value.tensor.is_static
    for attribute in op.attributes.values():
        entries = attribute if isinstance(attribute, tuple) else (attribute,)
        yield any(isinstance(entry, Expr) for entry in entries)
