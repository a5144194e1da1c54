"""After this pass a float output of ``main`` holds no NaN but the canonical one
(docs/numerics.md, clause 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.errors import IRError
from aivmc.passes.base import Pass
from aivmc.passes.legality import require_stage


@dataclass(frozen=True)
class CanonicalNan(Pass):
    """Put det.canonical_nan before each float output that hasn't gone through it."""

    name: ClassVar[str] = "canonical-nan"

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def run(self, module: Module) -> Module:
        main = module.main
        pending = dict.fromkeys(_open_outputs(main))
        b = Builder(main.inputs, main.region.terminator.location)
        b.region.ops.extend(main.region.body)
        closed = {v: b.op("det.canonical_nan", v) for v in pending}
        region = b.terminate("return", *(closed.get(v, v) for v in main.outputs))
        return module.with_main(Function("main", region, main.output_names))

    def ensures(self, module: Module) -> None:
        if _open_outputs(module.main):
            raise IRError("a float output doesn't come out of det.canonical_nan")


def _open_outputs(main: Function) -> list[Value]:
    """Float outputs that may hold NaNs other than the canonical one."""
    closed = {
        value for op in main.region.body if op.name == "det.canonical_nan" for value in op.results
    }
    return [v for v in main.outputs if v.tensor.dtype.is_float and v not in closed]
