"""PTX text for tests: kernels around instructions."""

from __future__ import annotations

from collections.abc import Sequence

from aivmc.ptx.instructions import Form
from tests.ptx.isa import width

HEADER = ".version 6.0\n.target sm_52\n.address_size 64\n\n"
NEWER_HEADER = HEADER.replace("6.0", "7.0").replace("sm_52", "sm_80")


def kernel(
    body: str,
    parameters: Sequence[str] = (),
    registers: str = "",
    block: str = "",
    name: str = "k",
) -> str:
    """An entry with parameters ``p0``, ``p1``, … of these types and generous registers."""
    listed = ", ".join(f".param .{kind} p{i}" for i, kind in enumerate(parameters))
    return (
        f".visible .entry {name}({listed})\n{block}\n{{\n"
        "\t.reg .pred %p<9>;\n\t.reg .b16 %h<9>;\n\t.reg .b32 %r<40>;\n\t.reg .b64 %d<40>;\n"
        f"{registers}{body}}}\n"
    )


def module(*kernels: str) -> str:
    return HEADER + "\n".join(kernels)


def lines(text: str) -> str:
    """Instructions separated by ``;``, some after a label, one in a line."""
    return "".join(_line(part.strip()) for part in text.split(";") if part.strip())


def _line(text: str) -> str:
    label, colon, rest = text.partition(": ")
    return f"{label}:\n\t{rest};\n" if colon else f"\t{text};\n"


_CLASS = {1: "p", 8: "h", 16: "h", 32: "r", 64: "d"}


def register(kind: str, number: int) -> str:
    return f"%{_CLASS[width(kind)]}{number}"


def instruction_kernel(cases: Sequence[tuple[str, Form]], name: str = "k") -> str:
    """A kernel whose thread i applies each instruction to the i-th operands.

    Its parameters are the addresses of a table of sources and of one of results, both of 8-byte
    words, ``[slot][thread]``, and the number of threads.
    """
    body = lines(
        "ld.param.u64 %d30, [p0]; ld.param.u64 %d31, [p1]; ld.param.u32 %r30, [p2];"
        "mov.u32 %r31, %tid.x; mul.wide.u32 %d32, %r31, 8; add.s64 %d30, %d30, %d32;"
        "add.s64 %d31, %d31, %d32; mul.wide.u32 %d33, %r30, 8"
    )
    for opcode, form in cases:
        result, *sources = form.slots
        text = "mov.u64 %d34, %d30;"
        for number, slot in enumerate(sources, 1):
            text += _loaded(slot.type, number) + "add.s64 %d34, %d34, %d33;"
        operands = [register(s.type, n) for n, s in enumerate(form.slots)]
        text += f"{opcode} {', '.join(operands)};"
        text += _stored(result.type) + "add.s64 %d31, %d31, %d33;"
        body += lines(text)
    return kernel(body + "\tret;\n", ("u64", "u64", "u32"), name=name)


def _loaded(kind: str, number: int) -> str:
    if kind == "pred":
        return f"ld.global.u32 %r20, [%d34]; setp.ne.u32 %p{number}, %r20, 0;"
    return f"ld.global.b{width(kind)} {register(kind, number)}, [%d34];"


def _stored(kind: str) -> str:
    if kind == "pred":
        return "selp.u32 %r20, 1, 0, %p0; st.global.u32 [%d31], %r20;"
    return f"st.global.b{width(kind)} [%d31], {register(kind, 0)};"
