"""Control flow of a kernel: which registers hold a value at each instruction, and need it later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aivmc.ptx.errors import PtxError
from aivmc.ptx.instructions import SPECIAL, Form
from aivmc.ptx.syntax import Address, Instruction, Kernel, Operand, Register, Symbol, Vector

# Sets of registers are integers, a bit for each.


@dataclass(frozen=True, slots=True)
class _Access:
    reads: int
    writes: int
    kills: int  # what is written whatever the predicate says


class Flow:
    """Of a verified kernel."""

    def __init__(self, kernel: Kernel, forms: Sequence[Form]) -> None:
        self._kernel, self._forms = kernel, forms
        self._numbers = {name: i for i, name in enumerate(kernel.registers)}
        self._names = list(kernel.registers)
        self._access = [self._accesses(i, f) for i, f in zip(kernel.instructions, forms)]
        starts = {0, *kernel.labels.values()}
        for i, form in enumerate(forms):
            if form.family in ("bra", "ret"):
                starts.add(i + 1)
        bounds = sorted(starts | {len(forms)})
        self.blocks = [range(a, b) for a, b in pairwise(bounds)]
        self._block_at = {block.start: n for n, block in enumerate(self.blocks)}
        self.successors = [list(self._successors(block)) for block in self.blocks]

    def require_values(self, text: str) -> None:
        """``PtxError`` at an instruction that may read a register nothing has been written to."""
        every = (1 << len(self._names)) - 1
        known = [0] + [every] * (len(self.blocks) - 1)

        def transfer(block: int) -> int:
            values = known[block]
            for i in self.blocks[block]:
                values |= self._access[i].kills
            return values

        work = [0]
        seen = {0}
        while work:
            block = work.pop()
            after = transfer(block)
            for successor in self.successors[block]:
                met = known[successor] & after
                if met != known[successor] or successor not in seen:
                    known[successor] = met
                    seen.add(successor)
                    work.append(successor)
        for block in sorted(seen):
            self._require_values(block, known[block], text)

    def live_after(self, wanted: Callable[[Form], bool]) -> dict[int, list[str]]:
        """For each instruction of a ``wanted`` form, the registers whose values are read later."""
        live_in = [0] * len(self.blocks)

        def live_out(block: int) -> int:
            live = 0
            for successor in self.successors[block]:
                live |= live_in[successor]
            return live

        changed = True
        while changed:
            changed = False
            for block in reversed(range(len(self.blocks))):
                live = live_out(block)
                for i in reversed(self.blocks[block]):
                    live = self._live_before(i, live)
                if live != live_in[block]:
                    live_in[block], changed = live, True
        found = {}
        for block in range(len(self.blocks)):
            live = live_out(block)
            for i in reversed(self.blocks[block]):
                if wanted(self._forms[i]):
                    found[i] = [name for n, name in enumerate(self._names) if live >> n & 1]
                live = self._live_before(i, live)
        return dict(sorted(found.items()))

    def _live_before(self, i: int, live: int) -> int:
        access = self._access[i]
        return (live & ~access.kills) | access.reads

    def _require_values(self, block: int, values: int, text: str) -> None:
        for i in self.blocks[block]:
            missing = self._access[i].reads & ~values
            if missing:
                name = self._names[(missing & -missing).bit_length() - 1]
                place = self._kernel.instructions[i].place
                reason = f"{name} may be read before it is written"
                raise PtxError(reason, text, place.line, place.column)
            values |= self._access[i].kills

    def _successors(self, block: range) -> Iterator[int]:
        last = block[-1]
        instruction, form = self._kernel.instructions[last], self._forms[last]
        if form.family == "bra":
            label = instruction.operands[0]
            assert isinstance(label, Symbol)
            yield self._block_at[self._kernel.labels[label.name]]
        if form.family not in ("bra", "ret") or instruction.guard is not None:
            yield self._block_at[last + 1]

    def _accesses(self, instruction: Instruction, form: Form) -> _Access:
        reads = writes = 0
        if instruction.guard is not None:
            reads |= self._bit(instruction.guard.predicate)
        for operand, slot in zip(instruction.operands, form.slots):
            bits = sum({self._bit(register) for register in registers(operand)})
            if slot.role == "result":
                writes |= bits
            else:
                reads |= bits
        return _Access(reads, writes, 0 if instruction.guard is not None else writes)

    def _bit(self, register: Register) -> int:
        return 0 if register.name in SPECIAL else 1 << self._numbers[register.name]


def registers(operand: Operand) -> Iterator[Register]:
    """The registers in an operand."""
    if isinstance(operand, Register):
        yield operand
    elif isinstance(operand, Address) and isinstance(operand.base, Register):
        yield operand.base
    elif isinstance(operand, Vector):
        yield from (e for e in operand.elements if isinstance(e, Register))
