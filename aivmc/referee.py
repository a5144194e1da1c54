"""The referee of a dispute: computes one kernel by the reference semantics, and trusts nobody.

What the kernel reads comes with proofs that both parties committed to it before they differed, or
from the kernel file; so a value that is computed from it shows who is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aivmc.ir.binding import bind_symbols
from aivmc.ir.constants import Array
from aivmc.ir.core import Module, Value
from aivmc.ir.float_environment import default_float_environment
from aivmc.ir.interpret import interpret_op
from aivmc.kernel_file.program import kernel_program
from aivmc.kernel_file.reader import KernelFile
from aivmc.passes.trace_points import output_bases, traced_values
from aivmc.protocol.merkle import root_of_proof
from aivmc.protocol.trace import leaf_digest
from aivmc.trust.errors import TrustError


@dataclass(frozen=True)
class Operand:
    """A value that the disputed kernel reads, and that a leaf of both traces names.

    ``proofs`` are audit paths of the leaf to the roots that the parties signed.
    """

    leaf: int
    array: Array
    proofs: Sequence[Sequence[bytes]]


class Case:
    """A dispute about one leaf, of a target's program on inputs of these shapes."""

    def __init__(
        self,
        kernel: KernelFile,
        target: str,
        inputs: Mapping[str, Array],
        seed: bytes | None,
        leaf: int,
    ) -> None:
        """``inputs`` must be those of both receipts, and ``seed`` what the runs drew from."""
        self._module = kernel_program(kernel, target)
        self._inputs = inputs
        self._seed = seed
        self._symbols = _symbols(self._module, inputs)
        self._makers = {v: op for op in self._module.main.region.body for v in op.results}
        self._leaf_of = traced_values(self._module)
        disputed = [v for v, number in self._leaf_of.items() if number == leaf]
        if not disputed:
            raise TrustError(
                f"the program has {len(self._leaf_of)} traced values, no number {leaf}"
            )
        self._disputed = disputed[0]
        self.leaf = leaf

    @property
    def leaves(self) -> int:
        """How many a trace of this program has."""
        return len(self._leaf_of)

    @property
    def output_leaves(self) -> dict[str, int]:
        """The leaf that names each output."""
        bases = output_bases(self._module)
        return {n: self._leaf_of[v] for n, v in zip(self._module.main.output_names, bases)}

    @property
    def description(self) -> str:
        """The disputed value: the ops of its kernel, and its type."""
        op = self._makers[self._disputed]
        inner = [o.name.removeprefix("det.") for o in op.regions[0].body]
        return f"{op.name}({', '.join(inner)}) : {self._disputed.type}"

    @property
    def needed(self) -> list[int]:
        """Leaves of the values that the referee must be given, all before the disputed one."""
        found: set[int] = set()

        def visit(value: Value) -> None:
            if value in self._leaf_of and value is not self._disputed:
                found.add(self._leaf_of[value])
            elif value in self._makers:
                for operand in self._makers[value].operands:
                    visit(operand)

        visit(self._disputed)
        return sorted(found)

    @default_float_environment()
    def judge(self, roots: Sequence[bytes], operands: Sequence[Operand]) -> bytes:
        """The digest that the disputed leaf must have.

        ``TrustError`` where an operand is missing, or is not what all ``roots`` commit to.
        """
        given = {o.leaf: self._checked(o, roots) for o in operands}
        missing = [n for n in self.needed if n not in given]
        if missing:
            raise TrustError(f"the referee lacks the values of leaves {missing}")
        values: dict[Value, Array] = dict(
            zip(self._module.main.inputs, (self._inputs[v.name] for v in self._module.main.inputs))
        )
        values |= {v: given[n] for v, n in self._leaf_of.items() if n in given}
        return leaf_digest(self._compute(self._disputed, values))

    def _checked(self, operand: Operand, roots: Sequence[bytes]) -> Array:
        digest = leaf_digest(operand.array)
        found = [
            root_of_proof(digest, operand.leaf, self.leaves, proof) for proof in operand.proofs
        ]
        if found != list(roots):
            raise TrustError(f"the value given for leaf {operand.leaf} is not what both agreed on")
        return operand.array

    def _compute(self, value: Value, values: dict[Value, Array]) -> Array:
        """The value, by the reference semantics, and what it needs that is not there yet."""
        if value not in values:
            op = self._makers[value]
            operands = [self._compute(v, values) for v in op.operands]
            results = interpret_op(op, operands, self._symbols, self._seed)
            for result, array in zip(op.results, results):
                values.setdefault(result, array)
        return values[value]


def _symbols(module: Module, inputs: Mapping[str, Array]) -> dict[str, int]:
    arguments = [(v.name, v.tensor) for v in module.main.inputs]
    bounds = {n: (b.low, b.high) for n, b in module.symbols.items()}
    shapes = {name: array.shape for name, array in inputs.items()}
    return bind_symbols(arguments, shapes, module.constraints, bounds)
