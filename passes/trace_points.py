"""Which values of a kernel-stage program a trace names (docs/protocol.md, Traces).

Results of kernels that compute, and what the program's outputs are views of. Kernels that only move
elements are left out: whoever checks a trace makes their results again at no cost.
"""

from __future__ import annotations

from aivmc.ir.core import Module, Op, Value

_TOP = ("det.constant", "det.stream_key", "det.reshape")
_MOVES = frozenset(
    {
        *("det.broadcast_to", "det.concat", "det.constant", "det.pad", "det.reshape"),
        *("det.slice", "det.transpose", "det.trilu"),
    }
)


def traced_values(module: Module) -> dict[Value, int]:
    """The values, with their numbers in a trace, in the order in which they are computed."""
    outputs = set(output_bases(module))
    kernels = [op for op in module.main.region.body if op.name not in _TOP]
    traced = [
        v for op in kernels if not moves_only(op) or outputs & set(op.results) for v in op.results
    ]
    return {v: i for i, v in enumerate(traced)}


def output_bases(module: Module) -> list[Value]:
    """For each output the value whose memory it is, maybe in another shape."""
    makers = {v: op for op in module.main.region.body for v in op.results}

    def base(value: Value) -> Value:
        while value in makers and makers[value].name == "det.reshape":
            value = makers[value].operands[0]
        return value

    return [base(v) for v in module.main.outputs]


def moves_only(op: Op) -> bool:
    """Whether a kernel op gives its operands' elements as they are, in other places."""
    return all(inner.name in _MOVES for inner in op.regions[0].body)
