"""After this pass an ONNX program has no dead op, and none that only training would give an effect.

What needs more than its first output, or trains, is left for legalization to judge; random ops
become functions of the seed there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.core import Function, Module, Op, Value
from aivmc.passes.base import Pass
from aivmc.passes.legality import require_stage
from aivmc.passes.ordering import in_order
from aivmc.passes.rewriting import NoMatch, Results, Rewriter, rewrite_module

_TRAINING_MODE = 2  # Dropout's input that says whether it drops anything


@dataclass(frozen=True)
class StripNondeterminism(Pass):
    """Drop dead ops, Identity and inference-time Dropout."""

    name: ClassVar[str] = "strip-nondeterminism"
    version: ClassVar[int] = 2

    def requires(self, module: Module) -> None:
        require_stage(module, "onnx")

    def run(self, module: Module) -> Module:
        module = module.with_main(_live(module.main))
        used = {value for op in module.walk() for value in op.operands}
        out = rewrite_module(module, lambda op, b: _strip(op, b, used))
        return out.with_main(_live(out.main))


def _strip(op: Op, b: Rewriter, used: set[Value]) -> Results | NoMatch:
    if op.name not in ("onnx.Identity", "onnx.Dropout"):
        return NoMatch("has an effect at inference")
    if not op.operands:
        return NoMatch("has no input")
    if op.name == "onnx.Dropout" and not _is_inactive(op, b):
        return NoMatch("its training mode is on, or known only when it runs")
    if any(value in used for value in op.results[1:]):
        return NoMatch("its mask is used")
    return (op.operands[0],) * len(op.results)


def _is_inactive(op: Op, b: Rewriter) -> bool:
    """Whether a Dropout passes its input on: without a training mode, or with a constant false."""
    if len(op.operands) <= _TRAINING_MODE:
        return True
    mode = op.operands[_TRAINING_MODE]
    constant = b.constant_of(mode)
    if constant is not None:
        return not constant.data.any()
    return b.produced_by(mode, "onnx.none") is not None


def _live(main: Function) -> Function:
    return Function(main.name, in_order(main.region), main.output_names)
