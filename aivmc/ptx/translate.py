"""A kernel's instructions as LLVM IR: one function that runs one thread to the next barrier.

Registers become stack slots, which LLVM makes registers again. At a barrier the function stores the
registers that are needed later and returns the barrier's number, from 1; called again with that
number it goes on there. It returns 0 when the thread has ended and -1 after a fault. Every access
to memory is checked before it happens.
"""

from __future__ import annotations

from dataclasses import dataclass

from aivmc.ptx.builder import Builder
from aivmc.ptx.context import FRESH, OFFSET_BITS, Fault
from aivmc.ptx.flow import Flow, registers
from aivmc.ptx.gate import AdmittedModule
from aivmc.ptx.instructions import SPECIAL, Form, Slot
from aivmc.ptx.semantics import SEMANTICS
from aivmc.ptx.syntax import (
    BITS,
    Address,
    Instruction,
    Kernel,
    Literal,
    Operand,
    Register,
    Symbol,
    Vector,
)

# Parameters of the function, beside the special registers.
PARAMETERS = (
    ("ptr", "%context"),
    ("i32", "%resume"),
    ("ptr", "%state"),
    ("ptr", "%buffers"),
    ("i64", "%buffer_count"),
    ("ptr", "%parameters"),
    ("ptr", "%shared"),
    ("ptr", "%writers"),
    ("ptr", "%readers"),
    ("i32", "%tag"),  # interval and thread, as in `writers`
    *(("i32", name) for name in sorted(SPECIAL)),
)


_ALIGNMENT = 16  # of a thread's state: the widest access


@dataclass(frozen=True)
class Translation:
    """``lines`` are the function ``@thread``; ``barriers`` gives each barrier's instruction."""

    lines: list[str]
    declarations: set[str]
    barriers: tuple[int, ...]
    state_bytes: int
    granule: int  # bytes of shared memory that are watched as one


def translate(admitted: AdmittedModule, name: str, canonical_nan: bool) -> Translation:
    """The translation of the kernel ``name``."""
    kernel, forms = admitted.module.kernels[name], list(admitted.forms[name])
    return _Translator(kernel, forms, admitted.flow[name], canonical_nan).translation()


class _Translator:
    def __init__(self, kernel: Kernel, forms: list[Form], flow: Flow, canonical_nan: bool) -> None:
        self.kernel, self.forms = kernel, forms
        self.builder = Builder(canonical_nan)
        self.live = flow.live_after(lambda form: form.family == "barrier")
        self.barriers = tuple(self.live)
        self.granule = _granule(forms)
        self.slots = {name: f"%r{i}" for i, name in enumerate(kernel.registers)}
        self.parameters = {p.name: p for p in kernel.parameters}
        self.variables = {v.name: v.offset for v in (*kernel.shared, *kernel.local)}
        kept = max(map(self._register_bytes, self.barriers), default=0)
        self.local_at = -(-kept // _ALIGNMENT) * _ALIGNMENT  # in a thread's state
        self.number = 0  # of the current instruction

    def translation(self) -> Translation:
        b = self.builder
        self._allocate_registers()
        targets = " ".join(f"i32 {k}, label %resume{k}" for k in range(1, len(self.barriers) + 1))
        b.do(f"switch i32 %resume, label %begin [{targets}]")
        b.label("begin")
        if self.kernel.local_bytes:
            size = self.kernel.local_bytes
            b.do(
                f"call void @llvm.memset.p0.i64(ptr {self._saved(self.local_at)}, i8 {FRESH}, "
                f"i64 {size}, i1 false)"
            )
        b.do(f"br label %{self._block(0)}")
        for i, (instruction, form) in enumerate(zip(self.kernel.instructions, self.forms)):
            self.number = i
            if i in self.kernel.targets or i == 0:
                if i > 0 and not self._ends_block(i - 1):
                    b.do(f"br label %{self._block(i)}")
                b.label(self._block(i))
            self._guarded(instruction, form)
        signature = ", ".join(f"{kind} {name}" for kind, name in PARAMETERS)
        head = f"define internal i32 @thread({signature}) alwaysinline {{"
        return Translation(
            [head, "start:", *b.lines, "}"],
            b.declarations,
            self.barriers,
            -(-(self.local_at + self.kernel.local_bytes) // _ALIGNMENT) * _ALIGNMENT,
            self.granule,
        )

    def _allocate_registers(self) -> None:
        used = {
            register.name
            for instruction in self.kernel.instructions
            for operand in instruction.operands
            for register in registers(operand)
        }
        used |= {i.guard.predicate.name for i in self.kernel.instructions if i.guard}
        for name, slot in self.slots.items():
            if name in used:
                self.builder.do(f"{slot} = alloca i{BITS[self.kernel.registers[name]]}")

    def _block(self, number: int) -> str:
        return f"at{number}"

    def _ends_block(self, number: int) -> bool:
        """Whether what was emitted for an instruction leaves the code without a successor."""
        family, guard = self.forms[number].family, self.kernel.instructions[number].guard
        return family in ("bra", "ret") and guard is None

    def _guarded(self, instruction: Instruction, form: Form) -> None:
        b = self.builder
        if instruction.guard is None:
            self._instruction(instruction, form)
            following = self.number + 1
            is_last = following == len(self.forms)
            if (
                self._ends_block(self.number)
                and not is_last
                and following not in self.kernel.targets
            ):
                b.label(b.new_label())  # for what can't be reached
            return
        predicate = self._read_register(instruction.guard.predicate, "pred")
        then, after = b.new_label(), b.new_label()
        yes, no = (after, then) if instruction.guard.negated else (then, after)
        b.do(f"br i1 {predicate}, label %{yes}, label %{no}")
        b.label(then)
        self._instruction(instruction, form)
        if form.family not in ("bra", "ret"):
            b.do(f"br label %{after}")
        b.label(after)

    def _instruction(self, instruction: Instruction, form: Form) -> None:
        operands = instruction.operands
        match form.family:
            case "bra":
                label = operands[0]
                assert isinstance(label, Symbol)
                self.builder.do(f"br label %{self._block(self.kernel.labels[label.name])}")
            case "ret":
                self.builder.do("ret i32 0")
            case "barrier":
                self._barrier()
            case "ld_param":
                self._load_parameter(operands, form)
            case "ld":
                self._load(operands, form)
            case "st":
                self._store(operands, form)
            case "pack":
                self._pack(operands, form)
            case "unpack":
                self._unpack(operands, form)
            case _:
                self._compute(operands, form)

    def _compute(self, operands: tuple[Operand, ...], form: Form) -> None:
        sources = [self._read(o, s.type) for o, s in zip(operands[1:], form.slots[1:])]
        if form.family in ("div", "rem"):
            self._check_division(form, *sources)
        self._write(
            operands[0], form.slots[0], SEMANTICS[form.family](self.builder, form, *sources)
        )

    def _check_division(self, form: Form, x: str, y: str) -> None:
        """The ISA doesn't say what they give: no kernel may depend on it."""
        b, bits = self.builder, BITS[form.type]
        good = b.value(f"icmp ne i{bits} {y}, 0")
        if form.type[0] == "s":
            overflow = b.binary(
                "and",
                1,
                b.value(f"icmp eq i{bits} {x}, {-(1 << (bits - 1))}"),
                b.value(f"icmp eq i{bits} {y}, -1"),
            )
            good = b.binary("and", 1, good, b.binary("xor", 1, overflow, "true"))
        self._require(good, Fault.DIVISION)

    def _require(self, good: str, fault: Fault | str, address: str = "0", other: str = "0") -> None:
        b = self.builder
        on, off = b.new_label(), b.new_label()
        b.do(f"br i1 {good}, label %{on}, label %{off}, !prof !0")
        b.label(off)
        kind = fault if isinstance(fault, str) else int(fault)
        b.do(
            f"call void @fault(ptr %context, i32 {kind}, i64 {self.number}, i64 {address}, "
            f"i32 %tag, i32 {other})"
        )
        b.do("ret i32 -1")
        b.label(on)

    # Registers

    def _read(self, operand: Operand, kind: str) -> str:
        match operand:
            case Literal():
                return str(operand.value & ((1 << BITS[kind]) - 1))
            case Symbol():
                return str(self.variables[operand.name])
            case Register() if operand.name in SPECIAL:
                return operand.name
            case Register():
                return self._read_register(operand, kind)
        raise AssertionError(operand)  # which the verifier admits nowhere

    def _read_register(self, register: Register, kind: str) -> str:
        bits = BITS[self.kernel.registers[register.name]]
        value = self.builder.value(f"load i{bits}, ptr {self.slots[register.name]}")
        return self.builder.resize(value, bits, BITS[kind])

    def _write(self, operand: Operand | None, slot: Slot, value: str) -> None:
        if operand is None:
            return
        assert isinstance(operand, Register)
        bits = BITS[self.kernel.registers[operand.name]]
        value = self.builder.resize(value, BITS[slot.type], bits, slot.type[0] == "s")
        self.builder.do(f"store i{bits} {value}, ptr {self.slots[operand.name]}")

    def _pack(self, operands: tuple[Operand, ...], form: Form) -> None:
        b, bits, part = self.builder, BITS[form.type], form.slots[1].type
        vector = operands[1]
        assert isinstance(vector, Vector)
        result = "0"
        for i, element in enumerate(vector.elements):
            assert element is not None
            x = b.resize(self._read(element, part), BITS[part], bits)
            result = b.binary("or", bits, result, b.binary("shl", bits, x, i * BITS[part]))
        self._write(operands[0], form.slots[0], result)

    def _unpack(self, operands: tuple[Operand, ...], form: Form) -> None:
        b, bits, slot = self.builder, BITS[form.type], form.slots[0]
        vector, whole = operands[0], self._read(operands[1], form.type)
        assert isinstance(vector, Vector)
        for i, element in enumerate(vector.elements):
            part = b.binary("lshr", bits, whole, i * BITS[slot.type])
            self._write(element, slot, b.resize(part, bits, BITS[slot.type]))

    # Memory

    def _load_parameter(self, operands: tuple[Operand, ...], form: Form) -> None:
        address = operands[1]
        assert isinstance(address, Address)
        offset = self.parameters[address.base.name].offset
        at = self.builder.value(f"getelementptr i8, ptr %parameters, i64 {offset}")
        value = self.builder.value(f"load i{BITS[form.type]}, ptr {at}, !invariant.load !1")
        self._write(operands[0], form.slots[0], value)

    def _load(self, operands: tuple[Operand, ...], form: Form) -> None:
        b, slot = self.builder, form.slots[0]
        pointer = self._pointer(operands[1], form, slot, "read")
        kind = f"i{BITS[slot.type]}"
        if slot.lanes == 1:
            value = b.value(f"load {kind}, ptr {pointer}, align {BITS[slot.type] // 8}")
            self._write(operands[0], slot, value)
            return
        vector = operands[0]
        assert isinstance(vector, Vector)
        align = slot.lanes * BITS[slot.type] // 8
        loaded = b.value(f"load <{slot.lanes} x {kind}>, ptr {pointer}, align {align}")
        for i, element in enumerate(vector.elements):
            value = b.value(f"extractelement <{slot.lanes} x {kind}> {loaded}, i32 {i}")
            self._write(element, slot, value)

    def _store(self, operands: tuple[Operand, ...], form: Form) -> None:
        b, slot = self.builder, form.slots[1]
        pointer = self._pointer(operands[0], form, slot, "write")
        kind = f"i{BITS[slot.type]}"
        align = slot.lanes * BITS[slot.type] // 8
        if slot.lanes == 1:
            value = self._read(operands[1], slot.type)
            b.do(f"store {kind} {value}, ptr {pointer}, align {align}")
            return
        vector, type_ = operands[1], f"<{slot.lanes} x {kind}>"
        assert isinstance(vector, Vector)
        stored = "poison"
        for i, element in enumerate(vector.elements):
            assert element is not None
            value = self._read(element, slot.type)
            stored = b.value(f"insertelement {type_} {stored}, {kind} {value}, i32 {i}")
        b.do(f"store {type_} {stored}, ptr {pointer}, align {align}")

    def _pointer(self, operand: Operand, form: Form, slot: Slot, access: str) -> str:
        """The real address of a checked access."""
        assert isinstance(operand, Address)
        b, size = self.builder, slot.lanes * BITS[slot.type] // 8
        if isinstance(operand.base, Symbol):
            address = str(self.variables[operand.base.name] + operand.offset)
        else:
            base = self._read_register(operand.base, "u64")
            address = b.binary("add", 64, base, operand.offset) if operand.offset else base
        aligned = b.value(f"icmp eq i64 {b.binary('and', 64, address, size - 1)}, 0")
        match form.modifiers[0]:
            case "global":
                return self._global_pointer(address, aligned, size)
            case "local":
                return self._local_pointer(address, aligned, size)
        return self._shared_pointer(address, aligned, size, access)

    def _global_pointer(self, address: str, aligned: str, size: int) -> str:
        b = self.builder
        number = b.binary("lshr", 64, address, OFFSET_BITS)
        known = b.value(f"icmp ult i64 {number}, %buffer_count")
        entry = b.value(
            f"getelementptr {{ptr, i64}}, ptr %buffers, i64 {b.select(known, 'i64', number, '0')}"
        )
        base = b.value(f"load ptr, ptr {entry}, !invariant.load !1")
        length = b.value(f"getelementptr i8, ptr {entry}, i64 8")
        length = b.value(f"load i64, ptr {length}, !invariant.load !1")
        offset = b.binary("and", 64, address, (1 << OFFSET_BITS) - 1)
        inside = b.value(f"icmp ule i64 {b.binary('add', 64, offset, size)}, {length}")
        self._require(b.binary("and", 1, inside, aligned), Fault.GLOBAL_ADDRESS, address)
        return b.value(f"getelementptr i8, ptr {base}, i64 {offset}")

    def _local_pointer(self, address: str, aligned: str, size: int) -> str:
        b = self.builder
        inside = self._fits(address, size, self.kernel.local_bytes)
        self._require(b.binary("and", 1, inside, aligned), Fault.LOCAL_ADDRESS, address)
        return self._saved(b.binary("add", 64, address, self.local_at))

    def _fits(self, address: str, size: int, length: int) -> str:
        if size > length:
            return "false"
        return self.builder.value(f"icmp ule i64 {address}, {length - size}")

    def _shared_pointer(self, address: str, aligned: str, size: int, access: str) -> str:
        b = self.builder
        inside = self._fits(address, size, self.kernel.shared_bytes)
        self._require(b.binary("and", 1, inside, aligned), Fault.SHARED_ADDRESS, address)
        lanes = size // self.granule
        watch = f"@shared_{access}_{lanes}"
        first = b.binary("udiv", 64, address, self.granule)
        found = b.value(f"call i64 {watch}(ptr %writers, ptr %readers, i64 {first}, i32 %tag)")
        fault, other = b.resize(found, 64, 32), b.resize(b.binary("lshr", 64, found, 32), 64, 32)
        self._require(b.value(f"icmp eq i64 {found}, 0"), fault, address, other)
        return b.value(f"getelementptr i8, ptr %shared, i64 {address}")

    # Barriers

    def _barrier(self) -> None:
        b = self.builder
        number = self.barriers.index(self.number) + 1
        for name, offset in self._state(self.number):
            bits = _stored_bits(self.kernel.registers[name])
            value = self._read_register(Register(name, self.kernel.place), self._type(name))
            value = b.resize(value, BITS[self._type(name)], bits)
            b.do(f"store i{bits} {value}, ptr {self._saved(offset)}")
        b.do(f"ret i32 {number}")
        b.label(f"resume{number}")
        for name, offset in self._state(self.number):
            bits = _stored_bits(self.kernel.registers[name])
            value = b.value(f"load i{bits}, ptr {self._saved(offset)}")
            value = b.resize(value, bits, BITS[self._type(name)])
            b.do(f"store i{BITS[self._type(name)]} {value}, ptr {self.slots[name]}")

    def _type(self, name: str) -> str:
        return self.kernel.registers[name]

    def _saved(self, offset: int | str) -> str:
        return self.builder.value(f"getelementptr i8, ptr %state, i64 {offset}")

    def _state(self, barrier: int) -> list[tuple[str, int]]:
        """Where each register that is live at a barrier is kept: wide ones first, so that all are
        aligned."""
        names = sorted(self.live[barrier], key=lambda n: -_stored_bits(self._type(n)))
        offset, places = 0, []
        for name in names:
            places.append((name, offset))
            offset += _stored_bits(self._type(name)) // 8
        return places

    def _register_bytes(self, barrier: int) -> int:
        return sum(_stored_bits(self._type(name)) // 8 for name in self.live[barrier])


def _stored_bits(kind: str) -> int:
    return max(BITS[kind], 8)


def _granule(forms: list[Form]) -> int:
    """The least number of bytes that a kernel reads or writes at once in shared memory."""
    widths = [
        BITS[f.type] // 8 for f in forms if f.family in ("ld", "st") and "shared" in f.modifiers
    ]
    return min(widths, default=4)
