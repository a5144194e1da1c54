"""A module that passes has only instructions of the table, with operands as they must be.

Registers are declared and of the right type and width, numbers fit, labels and variables exist, and
each kernel ends where its last instruction says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ptx.errors import PtxError
from aivmc.ptx.gpus import capability
from aivmc.ptx.instructions import SPECIAL, Form, Slot, instructions, vector_move
from aivmc.ptx.refusals import refusal
from aivmc.ptx.syntax import (
    BITS,
    Address,
    Instruction,
    Kernel,
    Literal,
    Operand,
    Place,
    Register,
    Symbol,
    Vector,
)

_TERMINATORS = ("bra", "ret")


def verify(kernel: Kernel, text: str, gpu: str) -> list[Form]:
    """The form of each instruction, of those that ``gpu`` has. ``PtxError`` at the first that is
    not right."""
    verifier = _Verifier(kernel, text, gpu)
    forms = [verifier.form(instruction) for instruction in kernel.instructions]
    last = kernel.instructions[-1]
    if forms[-1].family not in _TERMINATORS or last.guard is not None:
        raise verifier.error("the kernel goes on after its last instruction", last.place)
    for label, number in kernel.labels.items():
        if number == len(forms):
            raise verifier.error(f"the label {label!r} has no instruction", last.place)
    return forms


class _Verifier:
    def __init__(self, kernel: Kernel, text: str, gpu: str) -> None:
        self.kernel, self.text, self.gpu = kernel, text, gpu
        self.parameters = {p.name: p for p in kernel.parameters}
        self.shared = {v.name for v in kernel.shared}
        self.local = {v.name for v in kernel.local}

    def error(self, reason: str, place: Place) -> PtxError:
        return PtxError(reason, self.text, place.line, place.column)

    def form(self, instruction: Instruction) -> Form:
        form = self._find(instruction)
        operands = instruction.operands
        if len(operands) != len(form.slots):
            reason = f"{instruction.opcode} takes {len(form.slots)} operands, not {len(operands)}"
            raise self.error(reason, instruction.place)
        self._check_guard(instruction, form)
        for operand, slot in zip(operands, form.slots, strict=True):
            self._check(operand, slot, form)
        if form.family == "ld_param":
            self._check_parameter(operands, form)
        if form.family == "barrier" and not (
            isinstance(operands[0], Literal) and operands[0].value == 0
        ):
            raise self.error("only barrier 0, of all threads of the block", operands[0].place)
        return form

    def _find(self, instruction: Instruction) -> Form:
        counts = [len(o.elements) if isinstance(o, Vector) else 1 for o in instruction.operands]
        form = instructions().get(instruction.opcode)
        if form is not None and form.family == "mov" and counts != [1, 1] and len(counts) == 2:
            form = vector_move(instruction.opcode, *counts)
            if form is None:
                raise self.error("no mov takes vectors so", instruction.place)
        if form is None:
            raise self.error(refusal(instruction.opcode), instruction.place)
        if capability(self.gpu) < capability(form.gpu):
            reason = f"{instruction.opcode} needs {form.gpu}, and the module is for {self.gpu}"
            raise self.error(reason, instruction.place)
        return form

    def _check_guard(self, instruction: Instruction, form: Form) -> None:
        if instruction.guard is None:
            return
        predicate = instruction.guard.predicate
        self._check_register(predicate, Slot("source", "pred"))
        if form.family == "barrier":
            raise self.error("a barrier under a predicate", predicate.place)
        if instruction.opcode == "bra.uni":
            raise self.error("bra.uni under a predicate", predicate.place)

    def _check(self, operand: Operand, slot: Slot, form: Form) -> None:
        if slot.role == "address":
            self._check_address(operand, slot.type)
        elif slot.role == "label":
            if not isinstance(operand, Symbol) or operand.name not in self.kernel.labels:
                raise self.error("a label of this kernel must stand here", operand.place)
        elif slot.lanes > 1:
            self._check_vector(operand, slot)
        elif isinstance(operand, Symbol):
            if (
                form.family != "mov"
                or form.type[1:] not in ("32", "64")
                or form.type[0] == "f"
                or operand.name not in self.shared | self.local
            ):
                raise self.error(f"unknown operand {operand.name[:40]!r}", operand.place)
        elif isinstance(operand, Register) and operand.name in SPECIAL:
            if form.family != "mov" or slot.role != "source" or form.type not in ("u32", "b32"):
                raise self.error("a special register is read by mov.u32 only", operand.place)
        else:
            self._check_scalar(operand, slot)

    def _check_scalar(self, operand: Operand, slot: Slot) -> None:
        if isinstance(operand, Register):
            self._check_register(operand, slot)
        elif isinstance(operand, Literal) and slot.role == "source":
            if not _fits(operand, slot.type):
                raise self.error(f"this is no number of type {slot.type}", operand.place)
        else:
            raise self.error(f"a {slot.role} of type {slot.type} must stand here", operand.place)

    def _check_register(self, register: Register, slot: Slot) -> None:
        declared = self.kernel.registers.get(register.name)
        if declared is None:
            raise self.error(f"unknown register {register.name[:40]!r}", register.place)
        if not _holds(declared, slot):
            reason = f"{register.name} is of type {declared}; {slot.type} is needed"
            raise self.error(reason, register.place)

    def _check_vector(self, operand: Operand, slot: Slot) -> None:
        if not isinstance(operand, Vector) or len(operand.elements) != slot.lanes:
            raise self.error(f"{slot.lanes} operands in braces must stand here", operand.place)
        results: set[str] = set()
        for element in operand.elements:
            if element is None:
                if slot.role == "source":
                    raise self.error("'_' is no source", operand.place)
                continue
            self._check_scalar(element, slot)
            if slot.role == "result" and isinstance(element, Register):
                if element.name in results:
                    raise self.error(f"{element.name} is written twice", element.place)
                results.add(element.name)

    def _check_address(self, operand: Operand, space: str) -> None:
        if not isinstance(operand, Address):
            raise self.error("an address in brackets must stand here", operand.place)
        base = operand.base
        if isinstance(base, Register) and space != "param":
            declared = self.kernel.registers.get(base.name)
            narrow = space != "global" and declared is not None and BITS[declared] == 32
            self._check_register(base, Slot("source", "u32" if narrow else "u64"))
            return
        known = {"param": self.parameters, "shared": self.shared, "local": self.local}.get(
            space, ()
        )
        if isinstance(base, Register) or base.name not in known:
            raise self.error(f"{base.name[:40]!r} is no address in {space} memory", base.place)

    def _check_parameter(self, operands: Sequence[Operand], form: Form) -> None:
        address = operands[1]
        assert isinstance(address, Address)
        parameter = self.parameters[address.base.name]
        if address.offset or BITS[parameter.type] != BITS[form.type]:
            reason = f"{parameter.name} is one {parameter.type} and is loaded whole"
            raise self.error(reason, address.place)


def _holds(declared: str, slot: Slot) -> bool:
    """Whether a register of this type can stand in the slot (ISA, "Operand Type Checking")."""
    if "pred" in (declared, slot.type):
        return declared == slot.type
    is_float = slot.type[0] == "f"
    if slot.wider and not is_float:
        if BITS[declared] < BITS[slot.type]:
            return False
    elif BITS[declared] != BITS[slot.type]:
        return False
    if "b" in (declared[0], slot.type[0]):
        return True
    return (declared[0] == "f") == is_float


def _fits(literal: Literal, kind: str) -> bool:
    """Whether a number is one of the type ``kind``."""
    if kind == "pred":
        return literal.kind == "int" and literal.value in (-1, 0, 1)
    if literal.kind != "int":
        return kind == literal.kind or (kind[0] == "b" and BITS[kind] == BITS[literal.kind])
    bits = BITS[kind]
    return kind[0] != "f" and -(1 << (bits - 1)) <= literal.value < 1 << bits
