"""After this pass every float reduction and contraction has its order written on it, so that no
backend may choose one (docs/numerics.md, clauses 8 to 12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from aivmc.ir.core import Module, Op
from aivmc.ir.dims import product
from aivmc.ir.errors import IRError
from aivmc.ir.ops.conv import conv_block
from aivmc.passes.legality import check_legal, is_ordered, require_stage
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter

MATMUL_BLOCK = 512


@dataclass(frozen=True)
class FixReductionOrder(RewritePass):
    """Give every reduction an order and every contraction a block: det to canonical stage."""

    name: ClassVar[str] = "fix-reduction-order"

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def run(self, module: Module) -> Module:
        module = super().run(module)
        module.stage = "canonical"
        return module

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if is_ordered(op):
            return NoMatch("has its order, or needs none")
        return b.like(op, **canonical_order(op))

    def ensures(self, module: Module) -> None:
        require_stage(module, "canonical")
        check_legal(module)


def canonical_order(op: Op) -> dict[str, Any]:
    """The attributes that fix the order of an op that has none yet."""
    if "order" in op.attributes:
        return {"order": "lanes16"}
    return {"block": contraction_block(op)}


def contraction_block(op: Op) -> int:
    """Steps of k in a block for ``det.matmul``; channels in a block for convolutions."""
    if op.name == "det.matmul":
        return MATMUL_BLOCK
    if op.name in ("det.conv", "det.conv_transpose"):
        weights = op.operands[1].tensor.shape
        taps = product(weights[2:])
        # A transposed convolution has its input channels first: [C, M/group, *K].
        groups = op.attributes["group"] if op.name == "det.conv_transpose" else 1
        channels = weights[0] // groups if op.name == "det.conv_transpose" else weights[1]
        if isinstance(taps, int) and isinstance(channels, int):
            return conv_block(channels, taps)
        raise IRError(f"{op.name} at {op.location}: the weights' shape must be known")
    raise IRError(f"{op.name} at {op.location}: no rule gives it an order")
