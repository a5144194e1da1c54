"""The gate: PTX that passes computes floats only as IEEE 754 and docs/numerics.md define.

Everything in it is parsed and on the whitelist of :mod:`aivmc.ptx.instructions`, every operand is
checked, and no register is read before it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aivmc.ptx.flow import Flow
from aivmc.ptx.gpus import OLDEST
from aivmc.ptx.instructions import Form
from aivmc.ptx.parser import parse
from aivmc.ptx.syntax import Module
from aivmc.ptx.verify import verify


@dataclass(frozen=True)
class AdmittedModule:
    """PTX that has passed. ``forms`` has what each instruction of a kernel is, and ``flow`` where
    it leads."""

    module: Module
    forms: Mapping[str, Sequence[Form]]
    flow: Mapping[str, Flow]

    @property
    def total(self) -> dict[str, int]:
        """The number of instructions by opcode, sorted by name."""
        total = Counter(i.opcode for k in self.module.kernels.values() for i in k.instructions)
        return dict(sorted(total.items()))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """For each kernel its number of instructions by opcode, sorted by name."""
        return {
            name: dict(sorted(Counter(i.opcode for i in kernel.instructions).items()))
            for name, kernel in sorted(self.module.kernels.items())
        }


def admit(text: str, gpu: str = OLDEST) -> AdmittedModule:
    """Parse and check PTX for ``gpu``. ``PtxError`` quotes the first line that is refused."""
    module = parse(text, gpu)
    forms = {name: verify(kernel, text, gpu) for name, kernel in module.kernels.items()}
    flow = {name: Flow(kernel, forms[name]) for name, kernel in module.kernels.items()}
    for each in flow.values():
        each.require_values(text)
    return AdmittedModule(module, forms, flow)
