"""After this pass random ops have the numbers of their streams for good, or a fixed seed's keys.

Streams are numbered 0, 1, 2, … in the one order of :mod:`aivmc.passes.ordering`: neither dead ops,
nor names, nor what is computed around a random op, move its stream. Streams that a model names by
seeds of its own stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.core import Function, Module, Op
from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import FIRST_NAMED_STREAM, SEED_BYTES, stream_key
from aivmc.passes.base import Pass
from aivmc.passes.legality import require_stage
from aivmc.passes.ordering import in_order
from aivmc.passes.rewriting import NoMatch, Results, Rewriter, rewrite_module


@dataclass(frozen=True)
class AssignStreams(Pass):
    """Number the streams of random ops; with a ``seed`` (hex), turn their keys into constants."""

    name: ClassVar[str] = "assign-streams"
    seed: str = ""

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def run(self, module: Module) -> Module:
        main = module.main
        module = module.with_main(Function(main.name, in_order(main.region), main.output_names))
        seed, numbers = self._seed_bytes(), _numbers(module)

        def assign(op: Op, b: Rewriter) -> Results | NoMatch:
            if op.name != "det.stream_key":
                return NoMatch("is no stream's key")
            stream = op.attributes["stream"]
            stream = numbers.get(stream, stream)
            if seed:
                return b.constant(stream_key(seed, stream))
            return b.op("det.stream_key", stream=stream)

        return rewrite_module(module, assign)

    def _seed_bytes(self) -> bytes:
        try:
            seed = bytes.fromhex(self.seed)
        except ValueError:
            seed = b"?"
        if len(seed) not in (0, SEED_BYTES):
            raise AivmcError(f"{self.name}: a seed is {2 * SEED_BYTES} hex digits, or none")
        return seed


def _numbers(module: Module) -> dict[int, int]:
    """The final number of each stream that has no name, for a program in order."""
    numbers: dict[int, int] = {}
    for op in module.walk():
        if op.name == "det.stream_key" and op.attributes["stream"] < FIRST_NAMED_STREAM:
            numbers.setdefault(op.attributes["stream"], len(numbers))
    return numbers
