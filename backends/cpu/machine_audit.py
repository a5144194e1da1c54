"""The audit of machine code: an object has only the instructions that its LLVM IR accounts for.

Every executable byte is disassembled. Each instruction is on the whitelist of its architecture,
and what may only come from one construct of the IR (fused multiply-adds, square roots, divisions,
writes of the floating-point environment, indirect calls) is only in functions whose IR has that.
Fused multiply-adds are no more than the IR's, counted in elements, and some where it has some: none
was made of a product and a sum. (LLVM leaves out elements that nothing uses.) The object imports
``memcpy`` and its kin, nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import capstone

from aivmc.backends.cpu.audit import AuditError, AuditReport
from aivmc.backends.cpu.instructions import ARCHITECTURES, Architecture
from aivmc.backends.cpu.object_code import Code, ObjectCode

_IMPORTS = frozenset(["memcpy", "memmove", "memset"])
_JUMPS = frozenset(["jmp", "br", "jr", "c.jr"])
_JUMPS_BY_REGISTER = frozenset(["jr", "jalr"])
_CALLS_AND_JUMPS = _JUMPS | {"call", "blr", "jalr", "c.jalr"}

Instruction = tuple[int, int, str, str]  # offset, size, mnemonic, operands


def audit_imports(code: bytes) -> None:
    """Check that an object needs only the memory functions of the C library: LLVM may turn an
    innocent instruction into a call (``fma`` without the instruction, f64 to f16)."""
    imports = sorted(set(ObjectCode(code).imports) - _IMPORTS)
    if imports:
        raise AuditError(f"the object calls outside functions: {', '.join(imports)}")


def audit_machine_code(code: bytes, ir: AuditReport) -> dict[str, int]:
    """Check an ELF64 object made from the IR of this report; the number of its instructions by
    name, sorted. ``AuditError`` names function, offset and instruction."""
    audit_imports(code)
    parsed = ObjectCode(code)
    architecture = ARCHITECTURES.get(parsed.machine)
    if architecture is None:
        raise AuditError(f"there is no list of instructions for machine {parsed.machine} of ELF")
    counts: Counter[str] = Counter()
    for piece in parsed.code():
        instructions = list(_disassemble(piece, architecture))
        if piece.name:
            _audit_function(piece, instructions, architecture, ir)
            counts.update(mnemonic for _, _, mnemonic, _ in instructions)
        else:
            _audit_gap(piece, instructions, architecture)
    return dict(sorted(counts.items()))


def _audit_function(
    piece: Code,
    instructions: list[Instruction],
    architecture: Architecture,
    ir: AuditReport,
) -> None:
    has: Mapping[str, int] | None = ir.functions.get(piece.name)
    if has is None:
        raise AuditError(f"the object has a function that its IR doesn't have: {piece.name}")
    lanes = products = 0
    kinds = Counter((mnemonic, operands) for _, _, mnemonic, operands in instructions)
    for (mnemonic, operands), count in kinds.items():
        fault = _fault(mnemonic, operands, architecture, has)
        if fault:
            first = next(i for i in instructions if i[2:] == (mnemonic, operands))
            raise _refusal(piece, first, fault)
        lanes += count * architecture.lanes(mnemonic, operands)
        products += count * (mnemonic in architecture.products)
    allowed = has.get("fma lanes", 0)
    # A product that was fused is gone; where all are there, more fused ones are repeated ones.
    repeated = allowed and architecture.products and products >= has.get("fmul lanes", 0)
    if (lanes > allowed and not repeated) or (allowed and not lanes):
        raise AuditError(
            f"generated code: {piece.name} fuses {lanes} multiply-adds where its IR has {allowed}"
        )


def _fault(
    mnemonic: str, operands: str, architecture: Architecture, has: Mapping[str, int]
) -> str | None:
    """What is wrong with an instruction in a function whose IR has these constructs."""
    need = architecture.need(mnemonic, operands)
    if need is None:
        return "which is not on the list"
    if need and not has.get(need):
        return f"though its IR has no {need}"
    table = has.get("switch") and mnemonic in _JUMPS
    if _is_indirect(mnemonic, operands) and not table and not has.get("indirect call"):
        return "though its IR has no indirect call"
    return None


def _audit_gap(piece: Code, instructions: list[Instruction], architecture: Architecture) -> None:
    for instruction in instructions:
        if instruction[2] not in architecture.padding:
            raise _refusal(piece, instruction, "which belongs to no function")


def _is_indirect(mnemonic: str, operands: str) -> bool:
    """Whether it goes where a register or memory says, and is no return (RISC-V's jr ra)."""
    target = operands.lstrip("#-")
    return mnemonic in _CALLS_AND_JUMPS and target != "ra" and not target[:1].isdigit()


def _disassemble(piece: Code, architecture: Architecture) -> Iterator[Instruction]:
    end = piece.offset
    disassembler = _disassembler(*architecture.disassembler)
    near = ""  # a register that RISC-V's auipc has just set
    for offset, size, mnemonic, operands in disassembler.disasm_lite(piece.data, piece.offset):
        end = offset + size
        direct = bool(near) and mnemonic in _JUMPS_BY_REGISTER and near in operands.split(", ")
        # The two together go to an address that is in the code.
        yield offset, size, mnemonic, "0" if direct else operands
        near = operands.split(", ")[0] if mnemonic == "auipc" else ""
    if end != piece.offset + len(piece.data):
        left = piece.data[end - piece.offset :][:8].hex(" ")
        raise AuditError(
            f"generated code: {piece.name or piece.section} at {end:#x} has {left} …, which is no "
            "known instruction"
        )


@cache
def _disassembler(architecture: int, mode: int) -> Any:
    return capstone.Cs(architecture, mode)


def _refusal(piece: Code, instruction: Instruction, why: str) -> AuditError:
    offset, _, mnemonic, operands = instruction
    text = f"{mnemonic} {operands}".strip()
    where = f"{piece.name or piece.section} at {offset:#x}"
    return AuditError(f"generated code: {where} has {text}, {why}")
