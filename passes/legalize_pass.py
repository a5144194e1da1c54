"""The pass around :func:`aivmc.passes.legalize.legalize`: from ONNX ops to deterministic ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.core import Module
from aivmc.passes.base import Pass
from aivmc.passes.legality import require_stage
from aivmc.passes.legalize import legalize


@dataclass(frozen=True)
class Legalize(Pass):
    """Decompose ONNX ops into det ops: onnx to det stage."""

    name: ClassVar[str] = "legalize"

    def requires(self, module: Module) -> None:
        require_stage(module, "onnx")

    def run(self, module: Module) -> Module:
        return legalize(module)

    def ensures(self, module: Module) -> None:
        require_stage(module, "det")
