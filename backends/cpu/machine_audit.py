"""The audit of machine code: an object has only the instructions that its LLVM IR accounts for.

Every executable byte is disassembled. Each instruction is on the whitelist of its architecture,
and what may only come from one construct of the IR (fused multiply-adds, square roots, divisions,
writes of the floating-point environment, indirect calls) is only in functions whose IR has that.
No fused multiply-add was made of a product and a sum: where the IR has all three, the controls
(:mod:`aivmc.backends.cpu.contraction`) show it. The object imports ``memcpy`` and its kin, nothing
else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import capstone

from aivmc.backends.cpu.audit import AuditError, AuditReport
from aivmc.backends.cpu.contraction import needs_control
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


def audit_machine_code(
    code: bytes, ir: AuditReport, controls: Sequence[bytes] = ()
) -> dict[str, int]:
    """Check an ELF64 object made from the IR of this report; the number of its instructions by
    name, sorted. ``controls`` are objects of the functions that need them. ``AuditError`` names
    function, offset and instruction."""
    audit_imports(code)
    parsed = ObjectCode(code)
    architecture = ARCHITECTURES.get(parsed.machine)
    if architecture is None:
        raise AuditError(f"there is no list of instructions for machine {parsed.machine} of ELF")
    contracted = _contracted(controls, architecture)
    total: Counter[str] = Counter()
    for piece in parsed.code():
        instructions = list(_disassemble(piece, architecture))
        if not piece.name:
            _audit_gap(piece, instructions, architecture)
            continue
        has = ir.functions.get(piece.name)
        if has is None:
            raise AuditError(f"the object has a function that its IR doesn't have: {piece.name}")
        _audit_instructions(piece, instructions, architecture, has)
        counts = _count(instructions)
        _audit_fused(piece.name, counts, contracted.get(piece.name), architecture, has)
        total += counts
    return dict(sorted(total.items()))


def _contracted(controls: Iterable[bytes], architecture: Architecture) -> dict[str, int]:
    """For each function of the controls how many fused multiply-adds it has there."""
    contracted: Counter[str] = Counter()
    for piece in (piece for control in controls for piece in ObjectCode(control).code()):
        counts = _count(_disassemble(piece, architecture))
        contracted[piece.name] += _sum(counts, architecture.fused)
    return contracted


def _audit_instructions(
    piece: Code,
    instructions: list[Instruction],
    architecture: Architecture,
    has: Mapping[str, int],
) -> None:
    for kind in dict.fromkeys(instruction[2:] for instruction in instructions):
        fault = _fault(*kind, architecture, has)
        if fault:
            first = next(i for i in instructions if i[2:] == kind)
            raise _refusal(piece, first, fault)


def _audit_fused(
    name: str,
    counts: Mapping[str, int],
    contracted: int | None,
    architecture: Architecture,
    has: Mapping[str, int],
) -> None:
    """Fused multiply-adds are where the IR has them, and nowhere else."""
    if has.get("llvm.fma") and not _sum(counts, architecture.fused):
        raise AuditError(f"generated code: {name} fuses nothing where its IR has llvm.fma")
    if not needs_control(has):
        return
    if contracted is None:
        raise AuditError(f"generated code: {name} has no control that tells what it fuses")
    if contracted:
        raise AuditError(
            f"generated code: {name} has fused multiply-adds that were made of a product and a sum"
        )


def _count(instructions: Iterable[Instruction]) -> Counter[str]:
    return Counter(mnemonic for _, _, mnemonic, _ in instructions)


def _sum(counts: Mapping[str, int], names: Iterable[str]) -> int:
    return sum(counts.get(name, 0) for name in names)


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
