"""After this pass every type is what the ops' rules say of their operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.core import Module, Op
from aivmc.passes.legality import require_stage
from aivmc.passes.rewriting import NoMatch, RewritePass, Rewriter


@dataclass(frozen=True)
class InferTypes(RewritePass):
    """Infer all types anew from the inputs' types."""

    name: ClassVar[str] = "infer-types"

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def rewrite(self, op: Op, b: Rewriter) -> NoMatch:
        return NoMatch("only its types are inferred anew")
