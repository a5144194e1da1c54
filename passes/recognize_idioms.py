"""Activations that exporters spell out in several ops become the one op that is correctly rounded
(docs/numerics.md, clauses 6 and 11). This changes bits, so the list of forms is fixed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

from aivmc.ir.core import Module, Op
from aivmc.passes.legality import require_stage
from aivmc.passes.patterns import Chain, X, call, match_chain, one_of, plus, times
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter

_CUBIC = 0.044715
_TANH_SCALE = sqrt(2 / pi)

# Sums and products match in any order and grouping.
IDIOMS: dict[str, Chain] = {
    "silu": times(call("det.sigmoid", X), X),
    "mish": times(call("det.tanh", call("det.softplus", X)), X),
    # x · ½ · (1 + erf(x / √2))
    "gelu": times(
        plus(call("det.erf", one_of(call("det.div", X, sqrt(2)), times(sqrt(0.5), X))), 1.0),
        0.5,
        X,
    ),
    # x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³))), the x in front of the inner sum or in it
    "gelu_tanh": times(
        plus(
            call(
                "det.tanh",
                one_of(
                    times(_TANH_SCALE, plus(times(_CUBIC, X, X, X), X)),
                    times(_TANH_SCALE, plus(times(_CUBIC, X, X), 1.0), X),
                ),
            ),
            1.0,
        ),
        0.5,
        X,
    ),
}


@dataclass(frozen=True)
class RecognizeIdioms(RewritePass):
    """Replace spelled-out activations by one op each. Each option turns one of them off."""

    name: ClassVar[str] = "recognize-idioms"
    silu: bool = True
    mish: bool = True
    gelu: bool = True
    gelu_tanh: bool = True

    def requires(self, module: Module) -> None:
        require_stage(module, "det")

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name != "det.mul":
            return NoMatch("not a product")
        for name in (name for name, wanted in self.options.items() if wanted):
            x = match_chain(IDIOMS[name], op, b)
            if x is not None and x.type == op.result.type:
                return b.op(f"det.{name}", x)
        return NoMatch("no activation that is spelled out")
