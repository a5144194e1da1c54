"""Which results of a kernel-stage program a trace names (docs/protocol.md, Traces).

Those of kernels that compute, and the program's outputs. Kernels that only move elements are left
out: whoever checks a trace makes their results again at no cost.
"""

from __future__ import annotations

from aivmc.ir.core import Module, Op

_MOVES = frozenset(
    {
        *("det.broadcast_to", "det.concat", "det.constant", "det.pad", "det.reshape"),
        *("det.slice", "det.transpose", "det.trilu"),
    }
)


def is_traced(op: Op, module: Module) -> bool:
    """Whether a trace names the results of this kernel op of ``module.main``."""
    outputs = set(module.main.outputs)
    return not moves_only(op) or any(v in outputs for v in op.results)


def moves_only(op: Op) -> bool:
    """Whether a kernel op gives its operands' elements as they are, in other places."""
    return all(inner.name in _MOVES for inner in op.regions[0].body)
